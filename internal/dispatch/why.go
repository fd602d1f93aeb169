package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// Phase is where a task is in this node's dispatcher.
type Phase uint8

// Phases of a task.
const (
	Queued    Phase = iota + 1 // waits for a lease
	Pipelined                  // sent to a worker behind a running task
	Running                    // computes
	Lent                       // waits in a call to the node
	Actor                      // lives: its constructor ended
)

func (p Phase) String() string {
	return [...]string{"unknown", "queued", "pipelined", "running", "blocked", "alive"}[p]
}

// Cause is what a queued task waits for.
type Cause uint8

// Causes of waiting.
const (
	ForNothing  Cause = iota
	ForResource       // Resource, Asked, Free, Total, Holders
	ForWorker         // Class: its worker process starts
	ForMemory         // the node admits nothing new for want of memory
	ForBundle         // its bundle of Group waits for its resources, or (no Group) older bundles come first
	ForTurn           // others come first: Ahead
)

// Holder is a task that has some of what another waits for.
type Holder struct {
	Task   id.Task
	Amount resource.Amount
	Phase  Phase
}

// Reason says where a task is and what it waits for.
type Reason struct {
	Task    id.Task
	Attempt uint32
	Phase   Phase
	Cause   Cause

	Worker id.Worker // it was sent to
	Lease  Lease
	Class  Class

	Resource           string
	Asked, Free, Total resource.Amount
	Group              id.Group // whose bundle lacks it, if any
	Holders            []Holder // those with most of it first; at most maxHolders
	More               int      // further holders
	// Stuck: no task that computes holds any of it, so only the end of an
	// actor or of a blocked task's wait can help.
	Stuck bool

	Ahead int // tasks before it in its queue
}

const maxHolders = 8

// Waiting says where a task is and, if it waits, what for. It looks through
// all tasks: it is for people who ask, not for the path of a task.
func (m *Machine) Waiting(t id.Task) (Reason, bool) {
	if l, i := m.find(t); l != nil {
		r := Reason{Task: t, Worker: l.w.id, Lease: l.id, Class: l.q.class.name, Phase: l.phase(i), Ahead: i}
		if i < l.n {
			r.Attempt = l.item(i).attempt
		}
		return r, true
	}
	for _, q := range m.inOrder {
		ahead := 0
		for i := range q.lanes {
			for e := range q.lanes[i].fifo.all {
				if e.task == t && !m.dead(e) {
					r := Reason{Task: t, Attempt: e.attempt, Phase: Queued, Ahead: ahead, Class: q.class.name}
					m.explain(q, &r)
					return r, true
				}
				ahead++
			}
		}
	}
	return Reason{}, false
}

// dead reports whether e was taken out, without forgetting it.
func (m *Machine) dead(e *entry) bool {
	attempt, ok := m.tombs[e.task]
	return ok && e.attempt <= attempt
}

func (l *lease) phase(i int) Phase {
	switch {
	case l.blocked && i == 0:
		return Lent
	case l.n == 0:
		return Actor
	case i > 0:
		return Pipelined
	}
	return Running
}

func (m *Machine) explain(q *queue, r *Reason) {
	switch {
	case q.starting > 0:
		r.Cause = ForWorker
	case !m.admits():
		r.Cause = ForMemory
	case m.lacking(q.shape) == nil:
		r.Cause, r.Group = ForBundle, q.shape.group
	case m.fit(q.shape) == nil:
		r.Cause = ForResource
		m.explainLack(q.shape, r)
	case m.reserves(q):
		r.Cause = ForBundle
	default:
		r.Cause = ForTurn
	}
}

// explainLack names the first resource that s lacks and who holds it.
func (m *Machine) explainLack(s *shape, r *Reason) {
	p := m.lacking(s)
	if s.zero {
		r.Resource = "tasks without resources"
		r.Asked, r.Free, r.Total = resource.Unit, resource.Amount(m.zeroFree)*resource.Unit, resource.Amount(m.o.ZeroTasks)*resource.Unit
	} else {
		r.Resource, r.Asked, r.Free, _ = p.free.Missing(&s.need)
		r.Total, r.Group = p.total.Get(r.Resource), p.group
	}
	var all []Holder
	r.Stuck = true
	for _, l := range m.leases.at {
		if l.id == 0 || l.resting || m.home(l) != p && !s.zero {
			continue
		}
		h := l.holder(r.Resource, s.zero)
		if h.Amount == 0 {
			continue
		}
		r.Stuck = r.Stuck && (h.Phase == Lent || h.Phase == Actor)
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Amount, a.Amount), bytesCompare(a.Task, b.Task))
	})
	r.Holders = all[:min(len(all), maxHolders)]
	r.More = len(all) - len(r.Holders)
}

// holder says how much l keeps of a resource, and by what task.
func (l *lease) holder(name string, zero bool) Holder {
	h := Holder{Amount: l.q.shape.need.Get(name), Task: l.owner, Phase: Running}
	if l.n > 0 {
		h.Task = l.item(0).task
	}
	if l.w != nil {
		h.Phase = l.phase(0)
	}
	if zero && l.q.shape.zero {
		h.Amount = resource.Unit
	}
	if l.blocked && (name == resource.CPU || zero) {
		h.Amount = 0
	}
	return h
}

// lacking returns the pool in which s does not fit: the node, or the first
// bundle it could be in.
func (m *Machine) lacking(s *shape) *pool {
	if !s.grouped {
		return &m.node
	}
	if g := m.groups[s.group]; g != nil {
		for _, p := range g.bundles {
			if s.bundle < 0 || s.bundle == p.bundle {
				return p
			}
		}
	}
	return nil
}

// Waits returns the tasks of which one has to end, or be through with what
// it waits for, before t can run here: the edges by which cycles of waits are
// found. Nil if t is not queued for a resource.
func (m *Machine) Waits(t id.Task) []id.Task {
	r, ok := m.Waiting(t)
	if !ok || r.Phase != Queued || r.Cause != ForResource {
		if r.Phase == Pipelined {
			l := m.leases.get(r.Lease)
			return []id.Task{l.item(0).task}
		}
		return nil
	}
	out := make([]id.Task, 0, len(r.Holders))
	for _, h := range r.Holders {
		if !h.Task.IsZero() {
			out = append(out, h.Task)
		}
	}
	return out
}

// String says it in a sentence.
func (r Reason) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Phase)
	switch r.Phase {
	case Queued:
		r.sayCause(&b)
		if r.Ahead > 0 {
			fmt.Fprintf(&b, "; %d before it in its queue", r.Ahead)
		}
	case Pipelined:
		fmt.Fprintf(&b, " on worker %d behind %d others", r.Worker, r.Ahead)
	default:
		fmt.Fprintf(&b, " on worker %d", r.Worker)
	}
	return b.String()
}

func (r Reason) sayCause(b *strings.Builder) {
	switch r.Cause {
	case ForResource:
		fmt.Fprintf(b, ": waits for %s %s, of which %s is free of %s", r.Asked, r.Resource, r.Free, r.Total)
		if !r.Group.IsZero() {
			fmt.Fprintf(b, " in placement group %s", r.Group)
		}
		for i, h := range r.Holders {
			fmt.Fprintf(b, "%s %s by %s (%s)", [2]string{",", "; held:"}[b2i(i == 0)], h.Amount, h.Task, h.Phase)
		}
		if r.More > 0 {
			fmt.Fprintf(b, " and %d more", r.More)
		}
		if r.Stuck {
			b.WriteString("; none of them will end by itself")
		}
	case ForWorker:
		b.WriteString(": its worker process is starting")
	case ForMemory:
		b.WriteString(": the node is short of memory and starts nothing new")
	case ForBundle:
		if !r.Group.IsZero() {
			fmt.Fprintf(b, ": its bundle of placement group %s still waits for its resources", r.Group)
			return
		}
		b.WriteString(": placement groups that were asked for earlier get the resources first")
	case ForTurn:
		b.WriteString(": others come first")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func bytesCompare(a, b id.Task) int { return slices.Compare(a[:], b[:]) }
