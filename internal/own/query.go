package own

import (
	"bytes"
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// Availability says whether an object's value can be had.
type Availability uint8

// Availabilities.
const (
	Pending   Availability = iota + 1 // it will be made
	Available                         // it is there, or an error stands for it
	Never                             // Status.Gone says why
)

// Status is what this node knows of an object.
type Status struct {
	Is    Availability
	Gone  Gone
	Why   string // why Gone, in words
	Where Where
	Size  int64
	Error bool // an error stands for the value
}

// NodeBytes is how many of a task's argument bytes lie on a node.
type NodeBytes struct {
	Node  id.Node
	Bytes int64
}

// Known returns what this node knows of o.
func (m *Machine) Known(o id.Object) Status {
	obj := m.find(o)
	switch {
	case obj == nil && m.notYetKnown(o):
		return Status{Is: Pending}
	case obj != nil && obj.state == objNone && obj.needed():
		return Status{Is: Pending} // whoever wants it has it made again
	case obj == nil && m.mine(o.Owner()), obj != nil && obj.state == objNone:
		return Status{Is: Never, Gone: Freed, Why: whyFreed}
	case obj == nil:
		return Status{Is: Never, Gone: Unknown, Why: "nothing on this node holds a reference to it"}
	case obj.state == objPending:
		return Status{Is: Pending}
	case obj.state == objGone:
		return Status{Is: Never, Gone: obj.gone, Why: m.whyGone(o, obj)}
	}
	return Status{Is: Available, Where: obj.where, Size: obj.size, Error: obj.where == ByError}
}

// Locations appends the nodes in whose stores o lies.
func (m *Machine) Locations(o id.Object, buf []id.Node) []id.Node {
	obj := m.find(o)
	if obj == nil || obj.state != objAvailable {
		return buf
	}
	if obj.where == AtNode {
		buf = append(buf, obj.node)
	}
	if obj.ext != nil {
		buf = append(buf, obj.ext.copies...)
	}
	return buf
}

// Contained returns the references inside o's value. Who sends the value on
// registers the receiver for them too.
func (m *Machine) Contained(o id.Object) []id.Object {
	if obj := m.find(o); obj != nil && obj.ext != nil {
		return slices.Clone(obj.ext.inner)
	}
	return nil
}

// Locality appends how many of t's argument bytes lie on which node.
func (m *Machine) Locality(t id.Task, buf []NodeBytes) []NodeBytes {
	r := m.task(t)
	if r == nil || r.deps == nil {
		return buf
	}
	for _, a := range r.deps.objs[:r.deps.nargs] {
		o := m.find(a)
		if o == nil || o.state != objAvailable || o.size == 0 {
			continue
		}
		if o.where == AtNode {
			buf = addBytes(buf, o.node, o.size)
		}
		if o.ext != nil {
			for _, n := range o.ext.copies {
				buf = addBytes(buf, n, o.size)
			}
		}
	}
	return buf
}

func addBytes(buf []NodeBytes, n id.Node, size int64) []NodeBytes {
	for i := range buf {
		if buf[i].Node == n {
			buf[i].Bytes += size
			return buf
		}
	}
	return append(buf, NodeBytes{n, size})
}

// Waits returns the arguments that t waits for.
func (m *Machine) Waits(t id.Task) []id.Object {
	r := m.task(t)
	if r == nil || r.deps == nil || r.state != Waiting {
		return nil
	}
	var out []id.Object
	for _, a := range r.deps.objs[:r.deps.nargs] {
		if o := m.find(a); o == nil || o.state != objAvailable {
			out = append(out, a)
		}
	}
	return out
}

// Holders says who needs an object.
type Holders struct {
	Sessions []SessionHold
	Nodes    []HolderRecord
	Tasks    []id.Task   // pending, with it among their arguments
	Lineage  []id.Task   // ended; a rebuild would need it
	Outer    []id.Object // whose values contain it
}

// SessionHold is how many references a session holds.
type SessionHold struct {
	Session id.Session
	N       int
}

// Refs returns who needs o. It looks at every record.
func (m *Machine) Refs(o id.Object) Holders {
	var h Holders
	obj := m.find(o)
	if obj == nil {
		return h
	}
	if obj.own > 0 {
		s, _ := id.SplitSeq(o.Task().Seq())
		h.Sessions = append(h.Sessions, SessionHold{s, int(obj.own)})
	}
	for n, s := range m.sessions {
		if k := s.holds[o]; k > 0 {
			h.Sessions = append(h.Sessions, SessionHold{n, int(k)})
		}
	}
	slices.SortFunc(h.Sessions, func(a, b SessionHold) int { return int(a.Session) - int(b.Session) })
	if obj.ext != nil {
		for _, n := range obj.ext.holders {
			h.Nodes = append(h.Nodes, HolderRecord{n.node, n.via, int(n.count), n.subscribed})
		}
	}
	for _, tid := range m.allTasks() {
		m.task(tid).refers(o, &h)
	}
	for _, b := range sortedObjects(m.borrowed) {
		if e := m.borrowed[b].ext; e != nil && slices.Contains(e.inner, o) {
			h.Outer = append(h.Outer, b)
		}
	}
	return h
}

func (t *task) refers(o id.Object, h *Holders) {
	if t.deps != nil && slices.Contains(t.deps.objs, o) {
		if t.is(kept) {
			h.Lineage = append(h.Lineage, t.id)
		} else {
			h.Tasks = append(h.Tasks, t.id)
		}
	}
	for k := range t.count() {
		if index, obj := t.slot(k); obj.ext != nil && slices.Contains(obj.ext.inner, o) {
			h.Outer = append(h.Outer, t.id.Return(index))
		}
	}
}

// TaskInfo describes a task that has not been forgotten.
type TaskInfo struct {
	Task      id.Task
	Parent    id.Task // only while the task is pending
	Spec      *spec.Task
	Session   id.Session
	State     State
	Attempt   uint32
	Node      id.Node // where it runs
	Missing   int     // arguments it waits for
	Failed    bool
	Cancelled bool
	Lineage   bool // ended, and kept for rebuilding
}

// Task returns what is known of t.
func (m *Machine) Task(t id.Task) (TaskInfo, bool) {
	r := m.task(t)
	if r == nil || r.spec == nil {
		return TaskInfo{}, false
	}
	return r.info(), true
}

func (t *task) info() TaskInfo {
	i := TaskInfo{Task: t.id, Spec: t.spec, Session: t.ses, State: t.state, Attempt: t.attempt, Node: t.node,
		Failed: t.is(failed), Cancelled: t.is(cancelled), Lineage: t.is(kept)}
	if t.fam != nil {
		i.Parent = t.fam.parent
	}
	if t.deps != nil && t.state == Waiting {
		i.Missing = t.deps.missing
	}
	return i
}

// Tasks returns up to limit tasks with ids above after, in the order of ids.
func (m *Machine) Tasks(after id.Task, limit int) []TaskInfo {
	p := page{after: after, limit: limit}
	m.eachTask(func(t *task) {
		if t.spec != nil {
			p.add(t.id)
		}
	})
	out := []TaskInfo{}
	for _, tid := range p.result() {
		out = append(out, m.task(tid).info())
	}
	return out
}

// ObjectInfo describes an object that this node owns.
type ObjectInfo struct {
	Object id.Object
	Status Status
	Nodes  []id.Node
	Refs   int // holds, pending tasks and outer values of this node, and other nodes
}

// Objects returns up to about limit objects of tasks with ids above after, in
// the order of ids; all of a task's objects are in the same page.
func (m *Machine) Objects(after id.Task, limit int) []ObjectInfo {
	p := page{after: after, limit: limit}
	m.eachTask(func(t *task) {
		if t.count() > 0 {
			p.add(t.id)
		}
	})
	out := []ObjectInfo{}
	for _, tid := range p.result() {
		t := m.task(tid)
		for k := range t.count() {
			index, o := t.slot(k)
			oid := tid.Return(index)
			i := ObjectInfo{Object: oid, Status: m.Known(oid), Nodes: m.Locations(oid, nil), Refs: int(o.own + o.others + o.pins)}
			if o.ext != nil {
				i.Refs += o.ext.positive
			}
			out = append(out, i)
		}
		if len(out) >= limit {
			break
		}
	}
	return out
}

func (m *Machine) eachTask(f func(*task)) {
	for _, t := range m.tasks {
		f(t)
	}
	for _, t := range m.adopted {
		f(t)
	}
}

// page keeps the limit smallest ids above after.
type page struct {
	after id.Task
	limit int
	ids   []id.Task
}

func (p *page) add(t id.Task) {
	if bytes.Compare(t[:], p.after[:]) <= 0 {
		return
	}
	p.ids = append(p.ids, t)
	if len(p.ids) >= 2*p.limit+64 {
		p.result()
	}
}

func (p *page) result() []id.Task {
	sortTasks(p.ids)
	p.ids = p.ids[:min(len(p.ids), p.limit)]
	return p.ids
}

// Stats are the sizes of an owner's tables.
type Stats struct {
	Waiting, Queued, Running int // tasks
	Ended                    int // tasks and puts whose objects or lineage are still needed
	Lineage                  int // of them, kept for rebuilding
	LineageBytes             int64
	Borrowed                 int // foreign objects in use
	Early                    int // objects known by reference and not yet submitted
	Sessions                 int
	Families                 int // parents with pending children or dead attempts
}

// Stats returns the sizes of m's tables.
func (m *Machine) Stats() Stats {
	return Stats{
		Waiting: m.states[Waiting], Queued: m.states[Queued], Running: m.states[Running], Ended: m.states[Ended],
		Lineage: m.lineage.n, LineageBytes: m.lineage.bytes,
		Borrowed: len(m.borrowed), Early: len(m.early), Sessions: len(m.sessions), Families: len(m.families),
	}
}

// HasSession reports whether a session has not ended: after a SessionEnd of at
// most N tasks, that there are more.
func (m *Machine) HasSession(s id.Session) bool { return m.sessions[s] != nil }
