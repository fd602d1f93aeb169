package dispatch

import (
	"math"
	"time"

	"github.com/weftrun/weft/internal/spec"
)

// enqueue accepts a task and starts it if it can.
func (m *Machine) enqueue(now time.Duration, ev *Event, fx []Effect) []Effect {
	t := m.template(now, ev.Spec)
	q := t.q
	if q.denied {
		return append(fx, q.infeasible(ev.Task, ev.Attempt))
	}
	m.seq++
	m.functions.at[t.fn].refs++
	e := entry{task: ev.Task, seq: m.seq, attempt: ev.Attempt, fn: t.fn}
	if ev.Lease != 0 {
		if l := m.leases.get(ev.Lease); l != nil && m.takesPush(now, l) {
			m.unrest(l)
			return m.start(now, l, &e, ev.Spec.Priority, fx)
		}
	}
	if n := len(q.idle); n > 0 && q.n == 0 && !m.pressure {
		l := q.idle[n-1]
		m.unrest(l)
		return m.start(now, l, &e, ev.Spec.Priority, fx)
	}
	m.push(q, ev.Spec.Priority, e)
	if q.hpos >= 0 {
		if ev.Spec.Priority > q.hprio {
			q.rerank()
		}
		return fx
	}
	if m.enlist(now, q); q.hpos < 0 {
		return fx // workers for all its tasks are starting
	}
	if fx = m.schedule(now, fx); q.n > 0 {
		fx = m.pipeline(now, q, fx)
	}
	return fx
}

// pipeline sends q's next task behind a running one if that is soon over.
// It looks at few leases; the others are filled as their tasks finish.
func (m *Machine) pipeline(now time.Duration, q *queue, fx []Effect) []Effect {
	const looks = 4
	for range min(looks, len(q.leases)) {
		q.next++
		if q.next >= len(q.leases) {
			q.next = 0
		}
		l := q.leases[q.next]
		if l.w == nil || l.n == 0 || !m.calm(q, m.home(l)) {
			continue
		}
		h := q.head()
		if h == nil || !m.room(now, l, h.fn) {
			continue
		}
		if e, prio, ok := m.pop(now, q); ok {
			fx = m.start(now, l, &e, prio, fx)
		}
		return fx
	}
	return fx
}

// finished takes the end of a lease's task into account and goes on with the
// next one.
func (m *Machine) finished(now time.Duration, ev *Event, fx []Effect) []Effect {
	l := m.leases.get(ev.Lease)
	if l == nil {
		return fx
	}
	i := l.index(ev.Task)
	if i < 0 || l.item(i).attempt != ev.Attempt {
		return fx
	}
	if len(m.tombs) > 0 {
		delete(m.tombs, ev.Task)
	}
	if i == 0 {
		m.unblock(l)
	}
	it := l.remove(i)
	fn := &m.functions.at[it.fn]
	fn.refs--
	fn.measure(ev.Ran)
	if ev.Ran > 0 {
		l.served += ev.Ran
		m.charge(l.q.job, l.q.shape, ev.Ran-it.cost)
	}
	if i == 0 {
		l.since, l.stolen = now, false
	}
	if l.n == 0 {
		m.running--
	}
	return m.proceed(now, l, fx)
}

// proceed decides what a lease does after a task of it ended.
func (m *Machine) proceed(now time.Duration, l *lease, fx []Effect) []Effect {
	q := l.q
	calm := m.calm(q, m.home(l))
	switch {
	case q.create:
		l.actor = l.n == 0
		return fx
	case !l.ending && !l.w.leaving && calm:
	case l.ending || l.w.leaving || (!calm && m.yields(now, l)):
		l.ending = true
		if l.n == 0 {
			fx = m.finish(now, l, fx)
		}
		return fx
	}
	for q.n > 0 && !q.remote() && m.room(now, l, q.head().fn) {
		e, prio, ok := m.pop(now, q)
		if !ok {
			break
		}
		fx = m.start(now, l, &e, prio, fx)
	}
	switch {
	case l.n > 0:
	case q.job.ended:
		fx = m.finish(now, l, fx)
	case q.remote() && (!calm || q.n > 0): // its holder's next task is on its way
		m.wakeAt(now + spec.LeaseIdle)
	default:
		fx = m.rest(now, l, fx)
	}
	return fx
}

// leaseOf returns the lease that an event is about, by its number or task.
func (m *Machine) leaseOf(ev *Event) *lease {
	if l := m.leases.get(ev.Lease); ev.Lease != 0 {
		return l
	}
	l, _ := m.find(ev.Task)
	return l
}

// begun notes that a worker went on to a task whose predecessor's end is
// still on its way here.
func (m *Machine) begun(now time.Duration, ev *Event) {
	if l := m.leases.get(ev.Lease); l != nil && l.index(ev.Task) > 0 {
		l.since = now
	}
}

// block lends a waiting task's CPU, and sends what was queued behind it
// elsewhere.
func (m *Machine) block(ev *Event, fx []Effect) []Effect {
	l := m.leaseOf(ev)
	if l != nil && l.actor {
		l.waits++
	}
	if l == nil || l.blocked || (l.n == 0 && !l.actor) {
		return fx
	}
	if l.n > 0 {
		m.running--
	}
	l.blocked = true
	m.blocked++
	s, p := l.q.shape, m.home(l)
	if !l.q.create {
		p.stuck.Add(&s.need)
	}
	p.stuck.CPU -= s.need.CPU
	p.free.CPU += s.need.CPU
	if s.zero {
		m.zeroFree++
	}
	m.freed = true
	if l.n > 1 {
		fx = m.revoke(l, fx)
	}
	return fx
}

// unblocked ends block. Of an actor's methods the last one that waits does.
func (m *Machine) unblocked(now time.Duration, ev *Event, fx []Effect) []Effect {
	l := m.leaseOf(ev)
	if l == nil {
		return fx
	}
	if l.waits = max(0, l.waits-1); l.waits > 0 {
		return fx
	}
	m.unblock(l)
	return m.cover(now, m.home(l), fx)
}

// unblock takes back what block lent.
func (m *Machine) unblock(l *lease) {
	if !l.blocked {
		return
	}
	l.blocked = false
	m.blocked--
	if l.n > 0 {
		m.running++
	}
	s, p := l.q.shape, m.home(l)
	if !l.q.create {
		p.stuck.Sub(&s.need)
	}
	p.stuck.CPU += s.need.CPU
	p.free.CPU -= s.need.CPU
	if s.zero {
		m.zeroFree--
	}
}

// revoke asks l's worker for the tasks it has not begun.
func (m *Machine) revoke(l *lease, fx []Effect) []Effect {
	l.stolen = true
	if l.revoking {
		return fx
	}
	l.revoking = true
	return append(fx, Effect{Kind: Revoke, Worker: l.w.id, Lease: l.id})
}

// recall takes the i-th task of l out if its worker has not begun it.
func (m *Machine) recall(l *lease, i int, attempt uint32, fx []Effect) []Effect {
	if i == 0 || i >= l.n || l.item(i).attempt > attempt {
		return fx
	}
	l.item(i).unwanted = true
	return m.revoke(l, fx)
}

// takenBack queues the tasks again, in front, that a worker gave back. Those it
// did not give back have begun, or had not reached it when it was asked: if the
// first one waits that is so of all behind it, and it is asked again.
func (m *Machine) takenBack(now time.Duration, ev *Event, fx []Effect) []Effect {
	l := m.leases.get(ev.Lease)
	if l == nil {
		return fx
	}
	l.revoking = false
	if l.n == 0 { // everything ended before the worker heard: l rests already
		return fx
	}
	q := m.local(now, l.q)
	for k := len(ev.Tasks) - 1; k >= 0; k-- {
		i := l.index(ev.Tasks[k])
		if i < 0 {
			continue
		}
		if i == 0 {
			m.unblock(l)
		}
		it := l.remove(i)
		if l.n == 0 {
			m.running--
		}
		m.charge(l.q.job, l.q.shape, -it.cost)
		if it.unwanted {
			m.functions.at[it.fn].refs--
			continue
		}
		m.requeue(now, q, it.prio, it.entry)
	}
	if l.n > 1 && l.blocked {
		l.stolen = false
		m.wakeAt(now + spec.StealAfter)
	}
	switch {
	case l.n == 0 && l.q.create: // its constructor will run through another lease
		fx = m.finish(now, l, fx)
	case l.n == 0:
		fx = m.proceed(now, l, fx)
	}
	m.freed = true
	if q.denied { // its bundle was removed meanwhile
		fx = m.turnAway(now, q, fx)
	}
	return fx
}

// feed gives q's next task to one of its own idle leases.
func (m *Machine) feed(now time.Duration, q *queue, fx []Effect) []Effect {
	e, prio, ok := m.pop(now, q)
	if !ok {
		return fx
	}
	l := q.idle[len(q.idle)-1]
	m.unrest(l)
	return m.start(now, l, &e, prio, fx)
}

// actorGone gives back what a living actor held. A worker of its own went
// with it.
func (m *Machine) actorGone(now time.Duration, ev *Event, fx []Effect) []Effect {
	l := m.actors[ev.Task]
	if l == nil {
		return fx
	}
	w := l.w
	m.abandon(l)
	fx = m.finish(now, l, fx)
	if w != nil && w.class.name.Isolated && m.workers[w.id] == w {
		fx = m.retire(w, fx)
	}
	return fx
}

// tick does what is due.
func (m *Machine) tick(now time.Duration, fx []Effect) []Effect {
	m.wake = math.MaxInt64
	for _, l := range m.leases.at {
		if l.id == 0 || l.w == nil {
			continue
		}
		switch due := l.since + spec.StealAfter; {
		case l.n > 1 && !l.stolen && now >= due:
			fx = m.revoke(l, fx)
		case l.n > 1 && !l.stolen:
			m.wakeAt(due)
		case l.n == 0 && l.q.remote() && !l.resting && !l.actor:
			m.unused(now, l)
		}
	}
	for l := m.restList.first; l != nil; {
		next := l.more
		due := l.since + spec.LeaseIdle
		if l.q.remote() {
			due = l.expires
		}
		if now >= due {
			fx = m.finish(now, l, fx)
		} else {
			m.wakeAt(due)
		}
		l = next
	}
	m.clearVacant(now)
	return m.retireIdle(now, fx)
}
