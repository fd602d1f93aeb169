package own

import (
	"fmt"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// Record is one task or put that Drain exports and Adopt imports.
type Record struct {
	Task          id.Task
	Parent        id.Task // only of a pending task
	ParentAttempt uint32
	Spec          *spec.Task // nil: a put
	State         State
	Attempt       uint32
	Node          id.Node // where it runs
	SystemUsed    uint16  // retries
	UserUsed      uint16
	OOMUsed       uint8
	Rebuilds      uint8
	Failed        bool
	Cancelled     bool
	Recursive     bool // cancelled with its children
	Lineage       bool // ended, and kept for rebuilding
	Evicted       bool
	Payload       bool // its arguments travel with it
	Retired       bool
	Args          []id.Object
	Inner         []id.Object
	Bytes         int64
	Objects       []ObjectRecord
	Stream        *StreamRecord // of a stream
	Leftover      bool          // of an unshared task whose objects were shared one by one
}

// ObjectRecord is one object of a Record.
type ObjectRecord struct {
	Index   uint32
	Pending bool // otherwise Has, or gone, or neither: only lineage is left
	Has     bool
	Where   Where
	Gone    Gone
	Size    int64
	Nodes   []id.Node
	Inner   []id.Object
	Holders []HolderRecord
}

// HolderRecord is what a node holds of an object.
type HolderRecord struct {
	Node       id.Node
	Via        id.Node // who gave it the references; none for a subscription
	N          int
	Subscribed bool
}

// StreamRecord is how far a stream is.
type StreamRecord struct {
	Made, Consumed uint32
	Sizes          []int64
	Ended, Dropped bool
}

// Drain hands everything that this node owns to the node to, which adopts the
// records; they travel on the ordered link to it, behind all else. From then on this node forwards what it is told about them, and
// what its own sessions still hold of them is borrowed. The shell has stopped
// submits, and moves the payloads and the sole copies.
func (m *Machine) Drain(to id.Node, fx []Effect) ([]Record, []Effect, error) {
	ids := m.allTasks()
	for _, tid := range ids {
		if m.task(tid).is(unshared) {
			return nil, fx, fmt.Errorf("own: cannot drain: task %v belongs to a program in this process; end that program first", tid)
		}
	}
	m.fx = fx
	for _, oid := range sortedObjects(m.early) {
		m.vanish(oid, m.early[oid], Unknown)
	}
	m.settleTodo()
	records := make([]Record, 0, len(ids))
	left := map[id.Object]int32{} // what sessions of this node hold of what moves
	for _, tid := range ids {
		if t := m.task(tid); t != nil {
			records = append(records, m.export(t, to, left))
		}
	}
	for _, r := range records {
		m.heirs[r.Task.Owner()] = to
	}
	m.heirs[m.self] = to
	m.drained = true
	m.letGo(left)
	return records, m.end(), nil
}

func (m *Machine) settleTodo() {
	fx := m.end()
	m.fx = fx
}

// export describes t, and registers to as a holder of every foreign object
// that moves with it.
func (m *Machine) export(t *task, to id.Node, left map[id.Object]int32) Record {
	r := Record{
		Task: t.id, ParentAttempt: t.parentAttempt, Spec: t.spec, State: t.state, Attempt: t.attempt, Node: t.node,
		SystemUsed: t.systemUsed, UserUsed: t.userUsed, OOMUsed: t.oomUsed, Rebuilds: t.rebuilds,
		Failed: t.is(failed), Cancelled: t.is(cancelled), Recursive: t.is(cascade), Lineage: t.is(kept),
		Evicted: t.is(evicted), Payload: t.is(payload), Retired: t.is(retired), Leftover: t.is(sparse) && t.stream() == nil,
	}
	if t.fam != nil {
		r.Parent = t.fam.parent
	}
	if t.state == Running && t.node == m.self {
		r.State, r.Node = Queued, id.Node{}
	}
	if d := t.deps; d != nil {
		r.Args, r.Inner, r.Bytes = d.objs[:d.nargs:d.nargs], d.objs[d.nargs:], d.bytes
		m.sendForeign(d.objs, to)
	}
	if s := t.stream(); s != nil {
		r.Stream = &StreamRecord{Made: s.made, Consumed: s.consumed, Sizes: s.sizes, Ended: s.ended, Dropped: s.dropped}
	}
	for k := range t.count() {
		index, o := t.slot(k)
		r.Objects = append(r.Objects, m.exportObject(t, index, o, to, left))
	}
	return r
}

func (m *Machine) exportObject(t *task, index uint32, o *object, to id.Node, left map[id.Object]int32) ObjectRecord {
	r := ObjectRecord{Index: index, Pending: o.state == objPending, Has: o.state == objAvailable, Where: o.where, Gone: o.gone, Size: o.size}
	if r.Has && o.where == AtNode {
		r.Nodes = append(r.Nodes, o.node)
	}
	if e := o.ext; e != nil {
		r.Nodes = append(r.Nodes, e.copies...)
		r.Inner = append(r.Inner, e.inner...)
		m.sendForeign(e.inner, to)
		for _, h := range e.holders {
			r.Holders = append(r.Holders, HolderRecord{h.node, h.via, int(h.count), h.subscribed})
		}
	}
	oid := t.id.Return(index)
	if n := o.own + o.others; n > 0 {
		left[oid] = n
		r.Holders = append(r.Holders, HolderRecord{Node: m.self, Via: m.self, N: 1})
		if o.own > 0 {
			m.session(t.ses).add(oid, o.own)
		}
	}
	return r
}

func (m *Machine) sendForeign(refs []id.Object, to id.Node) {
	for _, o := range refs {
		if !m.mine(o.Owner()) {
			m.sendRef(o, to)
		}
	}
}

// letGo turns this node into a borrower of what its sessions hold.
func (m *Machine) letGo(left map[id.Object]int32) {
	m.tasks, m.adopted = map[uint64]*task{}, map[id.Task]*task{}
	m.families, m.tombs.buf, m.tombs.next = map[id.Task]*family{}, nil, 0
	m.lineage, m.states = lineage{}, [done + 1]int{}
	for _, s := range m.sessions {
		s.head = nil
	}
	for _, b := range m.borrowed {
		b.pins, b.lin = 0, 0
		if b.ext != nil {
			b.ext.waiters, b.ext.stale = nil, 0
		}
	}
	for _, oid := range sortedObjects(left) {
		m.token(oid, m.self).others = left[oid]
	}
	for _, oid := range sortedObjects(m.borrowed) {
		if b := m.borrowed[oid]; b.ext != nil {
			for _, in := range b.ext.inner {
				m.pin(in)
			}
		}
	}
	for _, oid := range sortedObjects(m.borrowed) {
		m.later(opRelease, oid)
	}
}

// adopt takes over what old has drained.
func (m *Machine) adopt(old id.Node, records []Record) {
	m.heirs[old] = m.self
	delete(m.heirs, m.self)
	for i := range records {
		m.heirs[records[i].Task.Owner()] = m.self
	}
	delete(m.heirs, m.self)
	for i := range records {
		m.importTask(old, &records[i])
	}
	for i := range records {
		m.importRefs(old, &records[i])
	}
	for _, oid := range sortedObjects(m.borrowed) {
		if m.mine(oid.Owner()) && m.borrowed[oid].state == objPending {
			m.vanish(oid, &m.borrowed[oid].object, Freed)
		}
	}
	for i := range records {
		t := m.task(records[i].Task)
		switch {
		case t == nil:
		case t.state == Queued && !t.creates():
			t.attempt++ // the old owner may have had it begun
			m.await(t)
		case t.state == Waiting || t.state == Queued:
			m.await(t)
		case t.state == Running && m.dead[t.node]:
			m.failed(t, NodeDied, id.Object{})
		}
	}
}

func (m *Machine) importTask(old id.Node, r *Record) {
	t := m.pools.task()
	t.id, t.spec, t.state, t.attempt, t.node = r.Task, r.Spec, r.State, r.Attempt, r.Node
	t.systemUsed, t.userUsed, t.oomUsed, t.rebuilds = r.SystemUsed, r.UserUsed, r.OOMUsed, r.Rebuilds
	for f, on := range map[flag]bool{failed: r.Failed, cancelled: r.Cancelled, cascade: r.Recursive,
		evicted: r.Evicted, payload: r.Payload, retired: r.Retired, sparse: r.Leftover || r.Stream != nil} {
		if on {
			t.flags |= f
		}
	}
	if s := r.Stream; s != nil {
		t.wide = &wide{stream: &stream{made: s.Made, consumed: s.Consumed, base: s.Made, sizes: append([]int64(nil), s.Sizes...), ended: s.Ended, dropped: s.Dropped}}
	} else if t.is(sparse) {
		t.wide = &wide{}
	} else if t.count() > 1 {
		t.wide = &wide{rets: make([]object, t.count()-1)}
	}
	m.states[t.state]++
	if t.id.Owner() == m.self {
		m.tasks[t.id.Seq()] = t
	} else {
		m.adopted[t.id] = t
	}
	for i := range r.Objects {
		m.importObject(old, t, &r.Objects[i])
	}
	m.join(t, r.Parent, r.ParentAttempt)
}

func (m *Machine) importObject(old id.Node, t *task, r *ObjectRecord) {
	oid := t.id.Return(r.Index)
	var o *object
	if t.is(sparse) {
		o = m.addItem(t, r.Index)
	} else {
		o = t.object(r.Index)
	}
	o.where, o.gone, o.size = r.Where, r.Gone, r.Size
	switch {
	case r.Pending:
		o.state = objPending
	case r.Has:
		o.state = objAvailable
	case r.Gone != Present:
		o.state = objGone
	}
	if len(r.Nodes) > 0 {
		o.node = r.Nodes[0]
		if o.where != AtNode {
			o.node = id.Node{}
			o.more(&m.pools).copies = append(o.more(&m.pools).copies, r.Nodes...)
		} else if len(r.Nodes) > 1 {
			o.more(&m.pools).copies = append(o.more(&m.pools).copies, r.Nodes[1:]...)
		}
	}
	for _, h := range r.Holders {
		m.importHolder(oid, o, h)
	}
	m.merge(old, oid, o)
}

func (m *Machine) importHolder(oid id.Object, o *object, h HolderRecord) {
	switch {
	case m.dead[h.Node]:
	case h.Subscribed && h.Node != m.self:
		m.subscribed(o, h.Node, true)
	case h.N != 0:
		m.count(o, h.Node, h.Via, int32(h.N))
		if m.dead[h.Via] {
			m.question(oid, o, holder{node: h.Node, via: h.Via})
		}
	}
}

// merge moves what this node had borrowed of oid into the record it now owns.
// Its tokens go back by way of the old owner, behind what this node has told
// that one and it has yet to pass on.
func (m *Machine) merge(old id.Node, oid id.Object, o *object) {
	b := m.borrowed[oid]
	if b == nil {
		return
	}
	delete(m.borrowed, oid)
	m.giveBack(oid, b, old)
	m.clearValue(&b.object)
	o.others, o.pins, o.lin = b.others, b.pins, b.lin
	e := b.ext
	m.pools.putBorrow(b)
	if e == nil {
		return
	}
	o.more(&m.pools).waiters = append(o.more(&m.pools).waiters, e.waiters...)
	m.pools.putExt(e)
	switch o.state {
	case objAvailable:
		m.emit(Effect{Kind: Ready, Object: oid})
		m.wake(o)
	case objGone:
		m.later(opGone, oid)
	}
}

// importRefs counts what r's task and values refer to. The old owner has
// registered this node for each foreign one.
func (m *Machine) importRefs(old id.Node, r *Record) {
	t := m.task(r.Task)
	refs := append(append([]id.Object(nil), r.Args...), r.Inner...)
	for _, o := range refs {
		if !m.mine(o.Owner()) {
			m.token(o, old)
		}
	}
	if len(refs) > 0 || r.Bytes > 0 || r.Lineage {
		d := m.pools.deps()
		d.objs, d.nargs, d.bytes = append(d.objs, refs...), len(r.Args), r.Bytes
		t.deps = d
		switch {
		case t.state != done || t.mayRestart():
			for _, o := range refs {
				m.pin(o)
			}
		case r.Lineage:
			m.keep(t)
		}
	}
	for i := range r.Objects {
		if len(r.Objects[i].Inner) > 0 {
			m.importInner(old, t.object(r.Objects[i].Index), r.Objects[i].Inner)
		}
	}
	for k := range t.count() {
		index, _ := t.slot(k)
		m.later(opRelease, t.id.Return(index))
	}
}

func (m *Machine) importInner(old id.Node, o *object, inner []id.Object) {
	e := o.more(&m.pools)
	for _, in := range inner {
		if !m.mine(in.Owner()) {
			m.token(in, old)
		}
		if m.pin(in) {
			e.inner = append(e.inner, in)
		}
	}
}
