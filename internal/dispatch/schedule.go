package dispatch

import (
	"time"

	"github.com/weftrun/weft/internal/resource"
)

// schedule opens leases for what waits, first things first, until nothing
// that waits fits or may run.
func (m *Machine) schedule(now time.Duration, fx []Effect) []Effect {
	m.withheld = false
	fx = m.carve(now, fx)
	for m.waiting > 0 && m.admits() {
		q, p := m.pick(now)
		if q == nil {
			break
		}
		if len(q.idle) > 0 {
			fx = m.feed(now, q, fx)
			continue
		}
		fx = m.makeRoom(now, p, q.shape, fx)
		fx = m.grant(now, q, p, fx)
	}
	m.freed = false
	return fx
}

// admits reports whether anything new may run at all. Under memory pressure
// that is one task, and only when nothing else can make progress.
func (m *Machine) admits() bool {
	return !m.pressure || (m.running == 0 && m.starting == 0)
}

// pick returns the queue to serve next and the pool that has room for it.
func (m *Machine) pick(now time.Duration) (*queue, *pool) {
	if !m.anyFits() {
		return nil, nil
	}
	first := m.first(m.jobs[0])
	if p := m.fit(first.shape); p != nil && !m.reserves(first) {
		return first, p
	}
	return m.pickOther(now, first)
}

// anyFits reports whether there is room for any waiting queue: a short cut,
// since there are few shapes.
func (m *Machine) anyFits() bool {
	for _, s := range m.shapes {
		if s.waiting > 0 && m.fit(s) != nil {
			return true
		}
	}
	return false
}

// pickOther looks past first, which does not fit.
func (m *Machine) pickOther(now time.Duration, first *queue) (*queue, *pool) {
	guard := m.guards(now, first)
	var best *queue
	var room *pool
	for _, j := range m.jobs {
		if best != nil && best.job.before(j) {
			continue
		}
		for _, r := range j.ranks {
			q := m.top(r)
			if q == nil || (best != nil && best.job == j && best.before(q)) {
				continue
			}
			p := m.fit(r.shape)
			if p == nil {
				continue
			}
			if m.reserves(q) || (guard && p == &m.node && p.rivals(&first.shape.need, &r.shape.need)) {
				m.withheld = true
				continue
			}
			best, room = q, p
		}
	}
	return best, room
}

// guards reports whether first has waited so long for more than there is at
// once that smaller tasks must not keep taking what it needs. It does so only
// if the tasks that run can give it enough by ending.
func (m *Machine) guards(now time.Duration, first *queue) bool {
	return !first.shape.grouped && now-first.since >= m.o.StarveAfter && m.node.attainable(&first.shape.need)
}

// reserves reports whether q must leave the node's resources to a bundle that
// waits for them.
func (m *Machine) reserves(q *queue) bool {
	if len(m.bundles) == 0 || q.shape.grouped {
		return false
	}
	b := &m.bundles[0]
	return m.node.attainable(&b.need) && m.node.rivals(&b.need, &q.shape.need)
}

// makeRoom ends idle leases in p, the longest idle first, until s fits.
func (m *Machine) makeRoom(now time.Duration, p *pool, s *shape, fx []Effect) []Effect {
	for l := m.restList.first; l != nil && !m.fitsNow(p, s); {
		next := l.more
		if m.home(l) == p && (l.q.shape.zero == s.zero) {
			fx = m.finish(now, l, fx)
		}
		l = next
	}
	return fx
}

// cover ends idle leases to make up for CPU of p, or leases without
// resources, that are in use twice.
func (m *Machine) cover(now time.Duration, p *pool, fx []Effect) []Effect {
	for l := m.restList.first; l != nil && (p.free.CPU < 0 || m.zeroFree < 0); {
		next, s := l.more, l.q.shape
		if (p.free.CPU < 0 && m.home(l) == p && s.need.CPU > 0) || (m.zeroFree < 0 && s.zero) {
			fx = m.finish(now, l, fx)
		}
		l = next
	}
	return fx
}

func (m *Machine) fitsNow(p *pool, s *shape) bool {
	return p.free.Fits(&s.need) && (!s.devices || p.hasDevices(&s.need, false, nil)) && (!s.zero || m.zeroFree > 0)
}

// calm reports whether a lease of q in p may go on to its next task without
// asking whose turn it is: nobody else waits and nothing is overdrawn.
func (m *Machine) calm(q *queue, p *pool) bool {
	others := m.waiting
	if q.hpos >= 0 {
		others--
	}
	return others == 0 && !m.pressure && p.free.CPU >= 0 && len(m.bundles) == 0 && !p.gone && m.zeroFree >= 0
}

// yields reports whether l must not take the next task of its queue.
func (m *Machine) yields(now time.Duration, l *lease) bool {
	q, p := l.q, m.home(l)
	need := &q.shape.need
	switch {
	case m.pressure && m.running > 0:
		return true
	case p.free.CPU < 0 && need.CPU > 0, q.shape.zero && m.zeroFree < 0, l.pool.gone:
		return true
	case len(m.bundles) > 0 && p == &m.node && m.yieldsTo(&m.bundles[0].need, need):
		return true
	case len(m.jobs) == 0:
		return false
	}
	first := m.first(m.jobs[0])
	if first == q {
		return false
	}
	after := m.after(l, first)
	if m.usable(first.shape, l) {
		return after // whoever comes later than first has less of a claim
	}
	if after && p == &m.node && m.guards(now, first) && p.rivals(&first.shape.need, need) {
		return true
	}
	return m.yieldsToOther(l)
}

// yieldsTo reports whether a bundle that waits can use what l holds.
func (m *Machine) yieldsTo(bundle, need *resource.Vector) bool {
	return m.node.attainable(bundle) && m.node.rivals(bundle, need)
}

// yieldsToOther looks past the first waiting queue.
func (m *Machine) yieldsToOther(l *lease) bool {
	for _, j := range m.jobs {
		for _, r := range j.ranks {
			if q := m.top(r); q != nil && q != l.q && m.after(l, q) && m.usable(r.shape, l) {
				return true
			}
		}
	}
	return false
}

// usable reports whether s fits once l is closed.
func (m *Machine) usable(s *shape, l *lease) bool {
	if s.zero || l.q.shape.zero {
		return s.zero == l.q.shape.zero
	}
	p := m.home(l)
	if s.grouped != (p != &m.node) || (s.grouped && (s.group != p.group || (s.bundle >= 0 && s.bundle != p.bundle))) {
		return false
	}
	return p.covers(&s.need, &l.q.shape.need) && (!s.devices || p.hasDevices(&s.need, true, l.parts))
}

// after reports whether it is o's turn rather than that of l's own queue. A
// lease that just began is left a moment, so that short tasks do not spend
// their time on opening and closing leases.
func (m *Machine) after(l *lease, o *queue) bool {
	q := l.q
	quantum := int64(m.o.Quantum)
	switch {
	case q.n == 0 && !q.remote():
		return true
	case q.job != o.job:
		return q.job.given > o.job.given+quantum*q.shape.share/q.job.weight
	case q.remote():
		return l.served >= quantum
	}
	prio, seq := q.turn()
	oprio, oseq := o.turn()
	if prio != oprio {
		return prio < oprio
	}
	return oseq < seq && l.served >= quantum
}
