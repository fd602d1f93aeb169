package own

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// lineage lists the finished tasks that can run again, oldest first.
type lineage struct {
	head, tail *task
	n          int
	bytes      int64 // of entries and of values that are kept for them
}

// Estimated bytes of a lineage entry besides its payload.
const (
	entryBytes = 256
	depBytes   = 20
)

func (t *task) cost() int64 {
	return entryBytes + int64(len(t.deps.objs))*depBytes + t.deps.bytes
}

// rebuildableKind reports whether t may run again once it has succeeded.
func (t *task) rebuildableKind() bool {
	return t.spec != nil && !t.is(unshared|failed) && t.spec.Kind != spec.KindCreate && t.spec.MaxRetries != 0
}

// hasCopies reports whether a value of t lies in a store, where it can be lost.
func (t *task) hasCopies() bool {
	for k := range t.count() {
		if _, o := t.slot(k); o.where == AtNode && o.state == objAvailable {
			return true
		}
	}
	return false
}

// canRebuild reports whether a value of t that is dropped can be had again.
func (t *task) canRebuild() bool { return t.is(kept) || t.state != done }

// keep enters t into the lineage.
func (m *Machine) keep(t *task) {
	if int(t.rebuilds) >= m.opts.MaxRebuilds {
		return
	}
	if t.deps == nil {
		t.deps = m.pools.deps()
	}
	l := &m.lineage
	t.deps.linPrev = l.tail
	if l.tail != nil {
		l.tail.deps.linNext = t
	} else {
		l.head = t
	}
	l.tail = t
	l.n++
	l.bytes += t.cost()
	t.flags |= kept
	for _, o := range t.deps.objs {
		if obj := m.find(o); obj != nil {
			obj.lin++
		}
	}
	m.fitLineage()
}

// leaveLineage takes t out of the list; its arguments may go.
func (m *Machine) leaveLineage(t *task) {
	l, d := &m.lineage, t.deps
	if d.linPrev != nil {
		d.linPrev.deps.linNext = d.linNext
	} else {
		l.head = d.linNext
	}
	if d.linNext != nil {
		d.linNext.deps.linPrev = d.linPrev
	} else {
		l.tail = d.linPrev
	}
	d.linNext, d.linPrev = nil, nil
	l.n--
	l.bytes -= t.cost()
	t.flags &^= kept
	for _, o := range d.objs {
		if obj := m.find(o); obj != nil {
			if obj.lin--; obj.lin == 0 {
				m.later(opRelease, o)
			}
		}
	}
}

// giveUp removes t's lineage for good.
func (m *Machine) giveUp(t *task) {
	m.leaveLineage(t)
	m.pools.putDeps(t.deps)
	t.deps = nil
	m.forget(t)
}

func (m *Machine) fitLineage() {
	if m.lineage.bytes > m.opts.LineageBytes && m.lineage.head != nil {
		m.later(opEvict, id.Object{})
	}
}

// evict gives up the oldest lineage entry if there is too much. What that
// frees is freed before the next one is looked at.
func (m *Machine) evict() {
	t := m.lineage.head
	if t == nil || m.lineage.bytes <= m.opts.LineageBytes {
		return
	}
	m.giveUp(t)
	t.flags |= evicted
	for k := range t.count() {
		index, _ := t.slot(k)
		m.later(opRelease, t.id.Return(index))
	}
	m.later(opEvict, id.Object{})
}

// revive has a dropped value made again, if that is possible.
func (m *Machine) revive(oid id.Object, o *object) bool {
	t := m.task(oid.Task())
	if t == nil || !t.canRebuild() {
		o.state, o.gone = objGone, Lost
		return false
	}
	o.state = objPending
	m.later(opRebuild, oid)
	return true
}

// rebuild runs a finished task again for those of its values that are pending.
func (m *Machine) rebuild(tid id.Task) {
	t := m.task(tid)
	if t == nil || t.state != done {
		return // on its way already
	}
	if !t.is(kept) {
		m.abandon(t)
		return
	}
	m.pinAgain(t)
	t.rebuilds++
	t.attempt++
	t.systemUsed, t.userUsed, t.oomUsed = 0, 0, 0
	m.emit(Effect{Kind: Retry, Task: t.id, Attempt: t.attempt})
	m.await(t)
}

// pinAgain turns what t's lineage holds into needs of a pending task. A lost
// argument fails the run; of references that it is only given, those that have
// gone are left out.
func (m *Machine) pinAgain(t *task) {
	d := t.deps
	before := d.objs
	for _, o := range before {
		if obj := m.find(o); obj != nil {
			m.using(obj)
			obj.pins++
		}
	}
	m.leaveLineage(t)
	d.objs = d.objs[:d.nargs]
	for _, o := range before[d.nargs:] {
		if m.find(o) != nil {
			d.objs = append(d.objs, o)
		}
	}
}

// abandon gives up what t was to make again.
func (m *Machine) abandon(t *task) {
	for k := range t.count() {
		if index, o := t.slot(k); o.state == objPending {
			m.vanish(t.id.Return(index), o, Lost)
		}
	}
}

// vanish says that o will never be available.
func (m *Machine) vanish(oid id.Object, o *object, why Gone) {
	m.clearValue(o)
	o.state, o.gone = objGone, why
	m.emit(Effect{Kind: Ready, Object: oid, Gone: why, Why: m.whyGone(oid, o)})
	if o.ext != nil {
		m.notify(oid, o)
		m.later(opGone, oid)
	}
	if !o.needed() {
		m.later(opRelease, oid)
	}
}

// failWaiters fails the tasks that wait for what will never come.
func (m *Machine) failWaiters(oid id.Object) {
	o := m.find(oid)
	if o == nil || o.state != objGone || o.ext == nil {
		return
	}
	ws := o.ext.waiters
	o.ext.waiters, o.ext.stale = nil, 0
	for _, w := range ws {
		if w.valid() {
			m.fail(w.task, ArgLost, oid)
		}
	}
}

func (m *Machine) copyAdded(oid id.Object, at id.Node) {
	if at.IsZero() {
		at = m.self
	}
	if !m.mine(oid.Owner()) {
		m.send(m.Home(oid.Owner()), Msg{Kind: CopyMade, Object: oid, Node: at})
		return
	}
	o := m.find(oid)
	if o == nil || o.state != objAvailable || o.where == ByError { // a copy of what was lost since, and could not be made again
		m.freeCopy(oid, 0, at)
		return
	}
	if o.isAt(at) || m.dead[at] {
		return
	}
	if o.where != AtNode {
		if at != m.self {
			o.more(&m.pools).copies = append(o.more(&m.pools).copies, at)
		}
		return
	}
	e := o.more(&m.pools)
	e.copies = append(e.copies, at)
}

func (m *Machine) copyLost(oid id.Object, at id.Node) {
	if !m.mine(oid.Owner()) {
		m.send(m.Home(oid.Owner()), Msg{Kind: CopyGone, Object: oid, Node: at})
		if b := m.borrowed[oid]; b != nil {
			m.unresolve(oid, b, at)
		}
		return
	}
	if t, o := m.task(oid.Task()), m.find(oid); t != nil && o != nil {
		m.loseCopy(t, oid, o, at)
	}
}

// unresolve forgets where b is if that was at node; the owner will tell anew.
func (m *Machine) unresolve(oid id.Object, b *borrow, at id.Node) {
	if b.state == objAvailable && b.where == AtNode && b.node == at {
		b.state = objPending
		b.subscribed = false // ask again: the owner answers at once if it knows another place
		m.subscribe(oid, b)
	}
}

// loseCopy removes a copy of o; with the last one the value is lost.
func (m *Machine) loseCopy(t *task, oid id.Object, o *object, at id.Node) {
	if o.ext != nil {
		if i := slices.Index(o.ext.copies, at); i >= 0 {
			o.ext.copies = slices.Delete(o.ext.copies, i, i+1)
			return
		}
	}
	if !o.isAt(at) {
		return
	}
	if o.ext != nil && len(o.ext.copies) > 0 {
		o.node = o.ext.copies[0]
		o.ext.copies = slices.Delete(o.ext.copies, 0, 1)
		m.notify(oid, o)
		return
	}
	m.using(o)
	m.clearValue(o)
	switch {
	case o.needed() && t.canRebuild():
		o.state = objPending
		m.later(opRebuild, oid)
	case o.needed() || !t.canRebuild():
		m.vanish(oid, o, Lost)
	default:
		o.state = objNone
		m.later(opRelease, oid)
	}
}

const whyFreed = "every reference to it had gone"

// whyGone says in words why o is gone.
func (m *Machine) whyGone(oid id.Object, o *object) string {
	switch o.gone {
	case Freed:
		return whyFreed
	case OwnerDied:
		return "its owner's node " + oid.Owner().String() + " died and left no heir"
	case Unknown:
		return "its session ended without making it"
	case Lost:
		return "every copy is lost, and " + m.whyNotRebuilt(oid)
	default:
		return ""
	}
}

func (m *Machine) whyNotRebuilt(oid id.Object) string {
	t := m.task(oid.Task())
	switch {
	case t == nil:
		return "its owner cannot make it again"
	case t.spec == nil:
		return "a put cannot be made again"
	case t.is(evicted):
		return "its lineage was evicted: there was more than Options.LineageBytes of it"
	case t.spec.Kind == spec.KindMethod && t.spec.MaxRetries == 0:
		return "an actor's results are made again only if the method may be retried"
	case t.spec.MaxRetries == 0:
		return "its task may not run twice (MaxRetries is 0)"
	case int(t.rebuilds) >= m.opts.MaxRebuilds:
		return "it has been rebuilt too often"
	default:
		return "something it is made of is lost too"
	}
}
