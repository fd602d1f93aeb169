package own

import (
	"fmt"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

func (m *Machine) submit(ev *Event) {
	if ev.Spec == nil {
		m.unexpected(ev.Task, id.Object{}, "a submit without a description")
		return
	}
	ses := m.admit(ev.Task, ev.Session)
	if ses == nil {
		return
	}
	t := m.insert(ev.Task, ses)
	t.spec = ev.Spec
	t.attempt = 1
	m.slots(t, ev.Unshared)
	if ev.Unshared {
		t.flags |= unshared
	}
	t.flags |= payload
	lost, ok := m.depend(t, ev)
	dead := m.join(t, ev.Parent, ev.ParentAttempt)
	switch {
	case !ok:
		m.fail(t, ArgLost, lost)
	case dead:
		m.fail(t, Cancelled, id.Object{})
	default:
		m.await(t)
	}
}

func (m *Machine) put(ev *Event) {
	if ev.Object.Index() != 0 {
		m.unexpected(id.Task{}, ev.Object, "a put with an index")
		return
	}
	ses := m.admit(ev.Object.Task(), ev.Session)
	if ses == nil {
		return
	}
	t := m.insert(ev.Object.Task(), ses)
	m.setState(t, done)
	t.ret.state = objPending
	t.ret.own = 1
	m.claim(ev.Object, &t.ret)
	m.fill(ev.Object, &t.ret, &ev.Return)
	m.announce(ev.Object, &t.ret)
}

// admit checks that session may make t and returns the session, or nil.
// Submits of one session may overtake each other.
func (m *Machine) admit(t id.Task, session id.Session) *session {
	s, n := id.SplitSeq(t.Seq())
	if t.Owner() != m.self || s != session {
		m.unexpected(t, id.Object{}, fmt.Sprintf("session %d used an id outside its range", session))
		return nil
	}
	if m.drained {
		m.unexpected(t, id.Object{}, "submitted to a node that has been drained")
		return nil
	}
	ses := m.session(s)
	if n <= ses.high && m.tasks[t.Seq()] != nil {
		m.unexpected(t, id.Object{}, "an id used twice")
		return nil
	}
	ses.high = max(ses.high, n)
	m.last = ses
	return ses
}

func (m *Machine) insert(t id.Task, ses *session) *task {
	r := m.pools.task()
	r.id, r.ses = t, ses.id
	ses.link(r)
	m.tasks[t.Seq()] = r
	m.peak = max(m.peak, len(m.tasks))
	m.states[Waiting]++
	return r
}

// slots prepares t's objects. Each starts with one hold of its session.
func (m *Machine) slots(t *task, local bool) {
	if t.spec.Stream {
		t.flags |= sparse
		t.wide = &wide{stream: &stream{}}
		return
	}
	if t.spec.Returns > 1 {
		t.wide = &wide{rets: make([]object, t.spec.Returns-1)}
	}
	for k := range t.spec.Returns {
		_, o := t.slot(k)
		o.state = objPending
		if local {
			o.flags = objLocal
		} else {
			o.own = 1
		}
		if len(m.early) > 0 {
			m.claim(t.id.Return(uint32(k)), o)
		}
	}
}

// depend records what t needs. It returns false and the object if an argument
// has been freed. To an unshared task a value that is not counted is a value
// in its own process.
func (m *Machine) depend(t *task, ev *Event) (id.Object, bool) {
	if len(ev.Args)+len(ev.Inner) == 0 && (ev.Bytes == 0 || ev.Unshared) {
		return id.Object{}, true
	}
	d := m.pools.deps()
	t.deps = d
	d.bytes = ev.Bytes
	var lost id.Object
	ok := true
	for _, a := range ev.Args {
		if m.pin(a) {
			d.objs = append(d.objs, a)
		} else if !ev.Unshared && ok {
			lost, ok = a, false
		}
	}
	d.nargs = len(d.objs)
	for _, o := range ev.Inner {
		if m.pin(o) {
			d.objs = append(d.objs, o)
		}
	}
	return lost, ok
}

// await waits for t's arguments, or makes it runnable if they are there.
func (m *Machine) await(t *task) {
	m.setState(t, Waiting)
	t.node = id.Node{}
	d := t.deps
	if d == nil || d.nargs == 0 {
		m.runnable(t)
		return
	}
	m.waits++
	d.wait, d.missing = m.waits, 0
	for _, a := range d.objs[:d.nargs] {
		obj := m.find(a)
		if obj == nil || !m.require(a, obj) {
			m.leave(t)
			m.fail(t, ArgLost, a)
			return
		}
		if obj.state == objPending {
			e := obj.more(&m.pools)
			e.waiters = append(e.waiters, waiter{t, d.wait})
			d.missing++
		}
	}
	if d.missing == 0 {
		m.runnable(t)
	}
}

// leave ends t's wait. What is left in its arguments' lists of waiters is
// stale, and swept when it is the greater part.
func (m *Machine) leave(t *task) {
	d := t.deps
	if d == nil || d.wait == 0 {
		return
	}
	d.wait = 0
	for _, a := range d.objs[:d.nargs] {
		obj := m.find(a)
		if obj == nil || obj.ext == nil || len(obj.ext.waiters) == 0 {
			continue
		}
		obj.ext.stale++
		if e := obj.ext; e.stale > 32 && 2*e.stale > len(e.waiters) {
			e.sweep()
		}
	}
}

func (e *ext) sweep() {
	live := e.waiters[:0]
	for _, w := range e.waiters {
		if w.valid() {
			live = append(live, w)
		}
	}
	clear(e.waiters[len(live):])
	e.waiters, e.stale = live, 0
}

func (m *Machine) runnable(t *task) {
	if t.deps != nil {
		t.deps.wait = 0
	}
	m.setState(t, Queued)
	m.emit(Effect{Kind: Runnable, Task: t.id, Attempt: t.attempt, N: t.delivered()})
}

func (m *Machine) setState(t *task, s State) {
	m.states[t.state]--
	m.states[s]++
	t.state = s
}

// wake tells those that wait for o's value that it is there.
func (m *Machine) wake(o *object) {
	if o.ext == nil || len(o.ext.waiters) == 0 {
		return
	}
	ws := o.ext.waiters
	o.ext.waiters, o.ext.stale = nil, 0
	for _, w := range ws {
		if !w.valid() {
			continue
		}
		if w.task.deps.missing--; w.task.deps.missing == 0 {
			m.complete(w.task)
		}
	}
	// The list may be used again, unless something began to wait meanwhile.
	if o.ext != nil && o.ext.waiters == nil && cap(ws) <= keepSlice {
		clear(ws)
		o.ext.waiters = ws[:0]
	}
}

// complete is called when the last argument that t registered for has come.
// Others may have been lost meanwhile.
func (m *Machine) complete(t *task) {
	if t.deps.nargs == 1 || m.argsThere(t) {
		m.runnable(t)
		return
	}
	m.later(opAwait, t.id.Return(0))
}

// awaitAgain looks once more at the arguments of a task, some of which were
// lost while it waited for others.
func (m *Machine) awaitAgain(tid id.Task) {
	if t := m.task(tid); t != nil && t.state == Waiting && t.deps.missing == 0 {
		m.await(t)
	}
}

// forget lets the shell drop t's payload.
func (m *Machine) forget(t *task) {
	if t.is(payload) {
		t.flags &^= payload
		m.emit(Effect{Kind: Forget, Task: t.id})
	}
}

// reap removes t if nothing can ask about it any more.
func (m *Machine) reap(t *task) {
	if t.state != done || t.mayRestart() {
		return
	}
	if s := t.stream(); s != nil && !s.dropped && !(s.ended && s.consumed == s.made) {
		return
	}
	for k := range t.count() {
		_, o := t.slot(k)
		if o.needed() || o.lin > 0 && !t.is(evicted) || o.state == objAvailable && o.flags&objLocal == 0 || o.state == objPending {
			return
		}
	}
	m.remove(t)
}

// creates reports whether t runs an actor's constructor.
func (t *task) creates() bool { return t.spec != nil && t.spec.Kind == spec.KindCreate }

// mayRestart reports whether t's constructor may have to run again.
func (t *task) mayRestart() bool { return t.creates() && !t.is(retired) }

func (m *Machine) remove(t *task) {
	if t.is(kept) {
		m.giveUp(t)
	}
	m.forget(t)
	m.part(t)
	var ses *session
	if t.ses != 0 || len(m.sessions) > 0 {
		if m.last != nil && m.last.id == t.ses {
			ses = m.last
		} else {
			ses = m.sessions[t.ses]
		}
	}
	ses.unlink(t)
	m.states[t.state]--
	if t.id.Owner() == m.self {
		delete(m.tasks, t.id.Seq())
		m.shrink()
	} else {
		delete(m.adopted, t.id)
	}
	for k := range t.count() {
		if _, o := t.slot(k); o.ext != nil {
			m.pools.putExt(o.ext)
		}
	}
	if t.deps != nil {
		m.pools.putDeps(t.deps)
	}
	m.pools.putTask(t)
}

// shrink gives back the memory of a table that once was large.
func (m *Machine) shrink() {
	if len(m.tasks) == 0 && m.peak > 1<<16 {
		m.tasks = map[uint64]*task{}
		m.peak = 0
	}
}
