package dispatch

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// request notes that another node wants leases, as a queue that waits with
// those of local tasks.
func (m *Machine) request(now time.Duration, ev *Event, fx []Effect) []Effect {
	q := m.queueOf(now, ev.Spec, ev.Node)
	if q.denied {
		return append(fx, Effect{Kind: Refuse, Node: ev.Node, Key: q.name.key, N: max(0, ev.N),
			Resource: q.lack.name, Asked: q.lack.asked, Have: q.lack.have})
	}
	if q.n == 0 {
		m.seq++
		q.hprio, q.hseq = ev.Spec.Priority, m.seq
	}
	q.n = max(0, q.n+ev.N)
	m.popped(now, q)
	m.enlist(now, q)
	fx = m.schedule(now, fx)
	if n := q.wants(); ev.NoWait && n > 0 {
		q.n = q.starting
		m.popped(now, q)
		fx = append(fx, Effect{Kind: Refuse, Node: ev.Node, Key: q.name.key, N: n})
	}
	m.vacate(now, q)
	return fx
}

// lend gives a lease to the node that asked for it.
func (m *Machine) lend(now time.Duration, l *lease, fx []Effect) []Effect {
	q := l.q
	if q.n == 0 { // it does not want it any more
		m.release(now, l)
		return fx
	}
	q.n--
	m.seq++
	q.hseq = m.seq // its next lease waits its turn
	m.popped(now, q)
	q.rerank()
	m.virtual = max(m.virtual, q.job.given)
	m.charge(q.job, q.shape, int64(m.o.Quantum))
	m.wakeAt(now + spec.LeaseIdle)
	return append(fx, Effect{Kind: Grant, Node: q.name.node, Lease: l.id, Worker: l.w.id, Key: q.name.key})
}

// unused puts a granted lease among the idle ones if its holder is slow to
// use it, so that others can have it.
func (m *Machine) unused(now time.Duration, l *lease) {
	if due := l.since + spec.LeaseIdle; now < due {
		m.wakeAt(due)
		return
	}
	m.rest(now, l, nil)
	m.freed = true
}

// takesPush reports whether a task that came for l can go through it.
// Otherwise it queues as if it had been submitted here.
func (m *Machine) takesPush(now time.Duration, l *lease) bool {
	if !l.q.remote() || l.w == nil || l.ending || l.w.leaving || l.n > m.o.MaxDepth || m.pressure {
		return false
	}
	if l.n > 0 && (l.blocked || l.revoking || l.stolen || now-l.since >= spec.StealAfter) {
		return false // it would wait for long
	}
	return !l.q.create || (l.n == 0 && !l.actor)
}

// local returns the queue of this node's own tasks with q's key.
func (m *Machine) local(now time.Duration, q *queue) *queue {
	if q.remote() {
		return m.queueOf(now, q.spec, id.Node{})
	}
	return q
}

func (m *Machine) extend(now time.Duration, ev *Event) {
	if l := m.leases.get(ev.Lease); l != nil && l.q.remote() {
		l.expires = now + spec.LeaseTerm
		m.wakeAt(l.expires)
	}
}

// giveBack ends a lease that its holder has no more work for.
func (m *Machine) giveBack(now time.Duration, ev *Event, fx []Effect) []Effect {
	l := m.leases.get(ev.Lease)
	if l == nil || !l.q.remote() || l.actor {
		return fx
	}
	if l.ending = true; l.n == 0 {
		m.release(now, l)
	}
	return fx
}

// holderGone ends the leases of a node that is gone. What runs in them is
// stopped by its owner's tombstones, not here.
func (m *Machine) holderGone(now time.Duration, ev *Event, fx []Effect) []Effect {
	for _, q := range m.inOrder {
		if !q.remote() || q.name.node != ev.Node {
			continue
		}
		m.drop(now, q, nil)
		for i := len(q.leases) - 1; i >= 0; i-- {
			l := q.leases[i]
			if l.actor {
				continue // it outlives whoever created it; Release ends it
			}
			if l.ending = true; l.n == 0 {
				m.release(now, l)
			}
		}
	}
	return fx
}

// bundle is a wish to set resources aside.
type bundle struct {
	group  id.Group
	number int
	need   resource.Vector
}

// reserve sets a bundle's resources aside, now or as soon as there are any.
// Bundles get them strictly in order, so that two groups cannot each hold
// half of what both need.
func (m *Machine) reserve(ev *Event, fx []Effect) []Effect {
	if g := m.groups[ev.Group]; g != nil {
		if _, ok := g.find(ev.Bundle); ok {
			return append(fx, Effect{Kind: Reserved, Group: ev.Group, Bundle: ev.Bundle})
		}
	}
	refusal := Effect{Kind: Unreservable, Group: ev.Group, Bundle: ev.Bundle}
	lack := func(have *resource.Vector) (missing bool) {
		refusal.Resource, refusal.Asked, refusal.Have, missing = have.Missing(&ev.Total)
		return missing
	}
	if lack(&m.node.total) {
		return append(fx, refusal)
	}
	if ev.NoWait && (len(m.bundles) > 0 || !m.node.has(shapeOf(&ev.Total))) {
		lack(&m.node.free)
		return append(fx, refusal)
	}
	m.bundles = append(m.bundles, bundle{ev.Group, ev.Bundle, ev.Total.Clone()})
	m.welcome(ev.Group)
	m.freed = true
	return fx
}

// carve turns wishes into bundles while there are resources for the first.
func (m *Machine) carve(now time.Duration, fx []Effect) []Effect {
	for len(m.bundles) > 0 {
		b := m.bundles[0]
		s := shapeOf(&b.need)
		if !m.node.has(s) {
			return fx
		}
		fx = m.makeRoom(now, &m.node, s, fx)
		m.bundles = slices.Delete(m.bundles, 0, 1)
		g := m.groups[b.group]
		if g == nil {
			g = &group{}
			m.groups[b.group] = g
		}
		i, _ := g.find(b.number)
		g.bundles = slices.Insert(g.bundles, i, &pool{total: b.need, free: b.need.Clone(), devices: m.node.carved(&b.need), group: b.group, bundle: b.number})
		m.node.free.Sub(&b.need)
		m.node.stuck.Add(&b.need)
		fx = append(fx, Effect{Kind: Reserved, Group: b.group, Bundle: b.number})
	}
	return fx
}

// welcome judges the queues of a group that grew.
func (m *Machine) welcome(g id.Group) {
	for _, q := range m.inOrder {
		if q.shape.grouped && q.shape.group == g {
			m.judge(q)
		}
	}
}

// unreserve gives a bundle's resources back to the node: what is free now,
// what leases hold when they end. Tasks that only it could run are turned
// away.
func (m *Machine) unreserve(now time.Duration, ev *Event, fx []Effect) []Effect {
	m.bundles = slices.DeleteFunc(m.bundles, func(b bundle) bool {
		return b.group == ev.Group && (ev.Bundle < 0 || b.number == ev.Bundle)
	})
	m.freed = true
	g := m.groups[ev.Group]
	if g == nil {
		return m.rejudge(now, fx)
	}
	g.bundles = slices.DeleteFunc(g.bundles, func(p *pool) bool {
		if ev.Bundle >= 0 && p.bundle != ev.Bundle {
			return false
		}
		p.gone = true
		m.node.free.Add(&p.free)
		m.node.idle.Add(&p.idle)
		m.node.returned(p)
		m.node.stuck.Sub(&p.total)
		m.node.stuck.Add(&p.stuck)
		return true
	})
	if len(g.bundles) == 0 {
		delete(m.groups, ev.Group)
	}
	return m.rejudge(now, fx)
}

// restList is the leases that run nothing, the longest idle first.
type restList struct{ first, last *lease }

func (r *restList) add(l *lease) {
	l.resting, l.prev, l.more = true, r.last, nil
	if r.last == nil {
		r.first = l
	} else {
		r.last.more = l
	}
	r.last = l
}

func (r *restList) remove(l *lease) {
	if l.prev == nil {
		r.first = l.more
	} else {
		l.prev.more = l.more
	}
	if l.more == nil {
		r.last = l.prev
	} else {
		l.more.prev = l.prev
	}
	l.resting, l.prev, l.more = false, nil, nil
}
