package own

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// current returns the record of an execution's report, or nil if the report
// is about an attempt that is over.
func (m *Machine) current(ev *Event) *task {
	t := m.task(ev.Task)
	if t == nil || t.state == done {
		return nil
	}
	if t.attempt != ev.Attempt && (!t.creates() || ev.Attempt < t.attempt) {
		return nil
	}
	if t.creates() {
		t.attempt = ev.Attempt // an actor's restarts are the actor machine's
	}
	return t
}

func (m *Machine) started(ev *Event) {
	if t := m.current(ev); t != nil && t.state != Waiting {
		m.setState(t, Running)
		t.node = ev.Node
	}
}

func (m *Machine) finished(ev *Event) {
	t := m.current(ev)
	if t == nil {
		m.discard(ev)
		return
	}
	if t.state == Waiting {
		m.unexpected(t.id, id.Object{}, "a result of a task that waits for its arguments")
		return
	}
	if t.node.IsZero() {
		t.node = ev.Node
	}
	if s := t.stream(); s != nil {
		m.streamDone(t, s, ev)
		return
	}
	if len(ev.Returns) < t.spec.Returns {
		m.failed(t, ShortResult, id.Object{})
		return
	}
	m.leave(t)
	m.setState(t, done)
	m.part(t)
	for k := range t.count() {
		_, o := t.slot(k)
		m.accept(t, t.id.Return(uint32(k)), o, &ev.Returns[k])
	}
	m.settle(t)
}

// accept takes a return's value unless one is there already or none is needed.
func (m *Machine) accept(t *task, oid id.Object, o *object, r *Return) {
	if o.state != objPending {
		m.discardCopy(oid, t.attempt, o, r)
		return
	}
	m.fill(oid, o, r)
	m.announce(oid, o)
}

// fill gives o its value.
func (m *Machine) fill(oid id.Object, o *object, r *Return) {
	o.state, o.gone = objAvailable, Present
	o.where, o.size, o.node = r.Where, r.Size, id.Node{}
	if r.Where == AtNode {
		o.node = r.Node
		if o.node.IsZero() {
			o.node = m.self
		}
	}
	if o.flags&objLocal == 0 {
		m.contain(oid, o, r.Inner)
	}
}

// contain holds the references inside o's value. Those in a value that is not
// counted are held by the process where it lives.
func (m *Machine) contain(oid id.Object, o *object, inner []id.Object) {
	for _, in := range inner {
		if in == oid {
			continue // it would keep itself for ever
		}
		if m.pin(in) {
			e := o.more(&m.pools)
			e.inner = append(e.inner, in)
		} else {
			m.unexpected(id.Task{}, oid, "its value contains a reference to "+in.String()+", which has been freed")
		}
	}
}

// announce tells everybody that o is available.
func (m *Machine) announce(oid id.Object, o *object) {
	m.emit(Effect{Kind: Ready, Object: oid})
	if o.ext == nil {
		return
	}
	m.wake(o)
	m.notify(oid, o)
}

// notify tells the subscribers where o is, or that it is gone.
func (m *Machine) notify(oid id.Object, o *object) {
	for _, h := range o.ext.holders {
		if h.subscribed {
			m.tell(oid, o, h.node)
		}
	}
}

// tell answers a subscriber. Who passes on a value passes on the references in
// it, and registers the receiver for them.
func (m *Machine) tell(oid id.Object, o *object, to id.Node) {
	msg := Msg{Kind: Resolved, Object: oid, Node: m.self, Gone: o.gone}
	if o.state == objAvailable {
		msg.Return = Return{Object: oid, Where: o.where, Node: o.node, Size: o.size}
		if o.ext != nil && len(o.ext.inner) > 0 {
			msg.Return.Inner = slices.Clone(o.ext.inner)
			for _, in := range msg.Return.Inner {
				m.sendRef(in, to)
			}
		}
	}
	m.send(to, msg)
}

// settle ends t's run: it drops or keeps what the run needed and what it made.
func (m *Machine) settle(t *task) {
	if t.is(unshared) {
		m.unpinDeps(t)
		if !t.mayRestart() {
			m.forget(t)
		}
		m.reap(t)
		return
	}
	if t.rebuildableKind() && t.hasCopies() {
		m.keep(t)
	}
	m.unpinDeps(t)
	if !t.is(kept) && !t.mayRestart() {
		m.forget(t)
	}
	for k := range t.count() {
		index, o := t.slot(k)
		if !o.needed() {
			m.later(opRelease, t.id.Return(index))
		}
	}
	if t.count() == 0 {
		m.reap(t)
	}
}

// unpinDeps lets go of what t's run needed. An actor's constructor may run
// again until the actor is retired.
func (m *Machine) unpinDeps(t *task) {
	if t.deps == nil || t.mayRestart() {
		return
	}
	for _, o := range t.deps.objs {
		m.unpin(o)
	}
	if !t.is(kept) {
		m.pools.putDeps(t.deps)
		t.deps = nil
	}
}

// retire lets go of a constructor's arguments.
func (m *Machine) retire(tid id.Task) {
	t := m.task(tid)
	if t == nil || !t.creates() || t.is(retired) {
		return
	}
	t.flags |= retired
	if t.state != done {
		m.emit(Effect{Kind: Unqueue, Task: t.id, Attempt: t.attempt})
		m.fail(t, ActorDead, id.Object{})
		return
	}
	m.unpinDeps(t)
	m.forget(t)
	m.reap(t)
}

// discard handles the values of an attempt that is over.
func (m *Machine) discard(ev *Event) {
	if ev.Task.Owner() != m.self && !m.mine(ev.Task.Owner()) {
		m.unexpected(ev.Task, id.Object{}, "a result of a task that another node owns")
		return
	}
	for i := range ev.Returns {
		r := &ev.Returns[i]
		oid := r.Object
		if oid.Task() != ev.Task {
			oid = ev.Task.Return(uint32(i))
		}
		m.discardCopy(oid, ev.Attempt, m.find(oid), r)
	}
}

// discardCopy frees a copy that came too late, unless its node has one that
// counts: the ids are the same.
func (m *Machine) discardCopy(oid id.Object, attempt uint32, o *object, r *Return) {
	if r.Where != AtNode || o != nil && o.isAt(r.Node) {
		return
	}
	m.freeCopy(oid, attempt, r.Node)
}

func (o *object) isAt(n id.Node) bool {
	if o.state != objAvailable || o.where != AtNode {
		return false
	}
	return o.node == n || o.ext != nil && slices.Contains(o.ext.copies, n)
}

func (m *Machine) failedEvent(ev *Event) {
	t := m.current(ev)
	if t == nil {
		return
	}
	if t.node.IsZero() {
		t.node = ev.Node
	}
	fault := t.blame(ev)
	if fault == ArgLost && m.moved(ev.Object, ev.To) {
		fault = ArgMoved
	}
	m.failed(t, fault, ev.Object)
}

// moved reports whether o is at places, but not where it was looked for. Each time
// that can be said once: the next attempt is told of the places that there are.
func (m *Machine) moved(oid id.Object, looked id.Node) bool {
	o := m.find(oid)
	return !looked.IsZero() && o != nil && o.state == objAvailable && o.where == AtNode && !o.isAt(looked)
}

// blame decides what a report about a shared process means for t. Which of the
// tasks in it ended it is not known, and one that does so time and again must not
// cost the others their attempts. So whoever may have done it runs apart from
// then on, and the next time there is no doubt. Who waited is believed once.
func (t *task) blame(ev *Event) Fault {
	switch {
	case ev.N == 0 || ev.Fault != Bystander && ev.Fault != WorkerDied:
		return ev.Fault
	case ev.Fault == Bystander && !t.is(spared):
		t.flags |= spared
		return Bystander
	case t.is(apart):
		return WorkerDied
	}
	t.flags |= apart
	return Suspect
}

// failed ends an attempt: another follows or the task has failed.
func (m *Machine) failed(t *task, fault Fault, lost id.Object) {
	m.leave(t)
	switch {
	case t.is(cancelled):
		if t.is(cascade) {
			m.orphan(t, t.attempt)
		}
		m.fail(t, Cancelled, id.Object{})
	case t.creates() && fault.system():
		// The actor machine decides whether the constructor runs again, and
		// retires the task if not.
		m.orphan(t, t.attempt)
		m.setState(t, Queued)
		t.node = id.Node{}
	case m.mayRetry(t, fault):
		m.orphan(t, t.attempt)
		t.attempt++
		m.emit(Effect{Kind: Retry, Task: t.id, Attempt: t.attempt, Fault: fault, Object: lost})
		m.await(t)
	default:
		if fault != User && fault != Final {
			m.orphan(t, t.attempt)
		}
		m.fail(t, fault, lost)
	}
}

// system reports whether f says nothing about the program itself.
func (f Fault) system() bool {
	switch f {
	case WorkerDied, NodeDied, OutOfMemory, TooLarge, Bystander, Suspect, ShortResult:
		return true
	default:
		return false
	}
}

// mayRetry decides whether t runs again after fault, and counts it.
func (m *Machine) mayRetry(t *task, fault Fault) bool {
	limit := t.spec.MaxRetries
	if t.creates() && fault != ArgLost && fault != ArgMoved {
		return false
	}
	switch fault {
	case ArgMoved, Declined: // it has not run
		return true
	case User:
		return t.spec.RetryErrors && charge(&t.userUsed, limit)
	case WorkerDied, NodeDied, ShortResult, ActorMaybe:
		return charge(&t.systemUsed, limit)
	case ArgLost:
		// It has not run. Waiting for a rebuild is free; a fetch that fails
		// though the argument is there is not, lest it go on for ever.
		return !m.argsThere(t) || charge(&t.systemUsed, limit)
	case OutOfMemory:
		return limit != 0 && m.chargeMemory(t, m.opts.OOMRetries)
	case TooLarge:
		if limit == spec.Unlimited {
			limit = tooLargeRetries
		}
		return m.chargeMemory(t, min(limit, tooLargeRetries))
	case Bystander, Suspect:
		return limit != 0
	default:
		return false
	}
}

// tooLargeRetries is how often what is too large for the node runs again at most:
// more runs would end as the first did, unless others leave the node more memory.
const tooLargeRetries = 2

// chargeMemory counts a run of t that the memory guard ended. At most further more
// may follow.
func (m *Machine) chargeMemory(t *task, further int) bool {
	left := min(m.opts.OOMRetries-int(t.oomUsed), further)
	if left <= 0 {
		return false
	}
	t.oomUsed = uint8(m.opts.OOMRetries - left + 1)
	return true
}

func charge(used *uint16, limit int) bool {
	if limit == spec.Unlimited {
		return true
	}
	if int(*used) >= limit || *used == 1<<16-1 {
		return false
	}
	*used++
	return true
}

func (m *Machine) argsThere(t *task) bool {
	if t.deps == nil {
		return true
	}
	for _, a := range t.deps.objs[:t.deps.nargs] {
		if o := m.find(a); o == nil || o.state != objAvailable {
			return false
		}
	}
	return true
}

// fail ends t for good: an error becomes the value of what it has not made.
func (m *Machine) fail(t *task, fault Fault, lost id.Object) {
	m.leave(t)
	m.setState(t, done)
	t.flags |= failed
	m.part(t)
	m.emit(Effect{Kind: FailTask, Task: t.id, Attempt: t.attempt, Fault: fault, Object: lost, Gone: m.goneOf(lost)})
	if s := t.stream(); s != nil {
		m.endStream(t, s, fault)
	}
	for k := range t.count() {
		index, o := t.slot(k)
		if o.state != objPending {
			continue
		}
		o.state, o.where, o.size = objAvailable, ByError, 0
		m.announce(t.id.Return(index), o)
	}
	m.settle(t)
}

func (m *Machine) goneOf(o id.Object) Gone {
	if o.IsZero() {
		return Present
	}
	obj := m.find(o)
	if obj == nil {
		return Freed
	}
	return obj.gone
}
