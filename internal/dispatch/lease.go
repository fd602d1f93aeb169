package dispatch

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// item is a task that was sent to a worker.
type item struct {
	entry
	prio     int
	cost     int64 // what its run was expected to take when it was sent, ns
	unwanted bool  // taken out; not to be queued again
}

// lease is a reservation of resources on a worker. Its tasks are items in a
// ring: the first runs, the others were sent behind it.
type lease struct {
	id   Lease
	q    *queue
	pool *pool
	w    *worker // nil while the lease waits for one

	ring    []item
	head, n int
	tail    int64         // cost of all but the first
	since   time.Duration // the first has been first; or the lease was opened
	served  int64         // ns of work since the lease was opened

	actor    bool    // its constructor ended; it stays until Release
	owner    id.Task // the actor
	parts    []Part  // of accelerators, that it holds
	blocked  bool    // the first lent its CPU
	waits    int     // methods of the actor that wait
	revoking bool    // the worker was asked for what it has not begun
	stolen   bool    // and will not get more behind its present task
	ending   bool    // no more tasks; closes when empty

	resting    bool // in the list of leases whose resources may be had
	prev, more *lease
	expires    time.Duration // of a remote one that is not used

	at, idleAt, workerAt int // in q.leases, q.idle, w.leases; -1 if not
}

// A Lease is a running number above the index of its slot.
const slotBits = 24

// leaseTable holds the leases by the lower bits of their numbers.
type leaseTable struct {
	at   []*lease
	free []uint32
	seq  uint64
}

func (s *leaseTable) get(n Lease) *lease {
	i := uint64(n) & (1<<slotBits - 1)
	if n == 0 || i >= uint64(len(s.at)) || s.at[i].id != n { // a free place has number 0
		return nil
	}
	return s.at[i]
}

func (s *leaseTable) make() *lease {
	s.seq++
	var i uint32
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		i = uint32(len(s.at))
		s.at = append(s.at, &lease{ring: make([]item, 2)})
	}
	l := s.at[i]
	*l = lease{id: Lease(s.seq<<slotBits | uint64(i)), ring: l.ring, parts: l.parts[:0], at: -1, idleAt: -1, workerAt: -1}
	return l
}

func (s *leaseTable) drop(l *lease) {
	i := uint32(l.id & (1<<slotBits - 1))
	if len(l.ring) > 8 {
		l.ring = l.ring[:2]
		l.ring = slices.Clone(l.ring)
	}
	l.id, l.q, l.pool, l.w, l.prev, l.more = 0, nil, nil, nil, nil, nil
	s.free = append(s.free, i)
}

func (l *lease) item(i int) *item { return &l.ring[(l.head+i)&(len(l.ring)-1)] }

// put adds a task behind the others.
func (l *lease) put() *item {
	if l.n == len(l.ring) {
		bigger := make([]item, 2*len(l.ring))
		for i := range l.n {
			bigger[i] = *l.item(i)
		}
		l.ring, l.head = bigger, 0
	}
	l.n++
	return l.item(l.n - 1)
}

// remove takes the i-th task out and returns it.
func (l *lease) remove(i int) item {
	it := *l.item(i)
	if i > 0 {
		l.tail -= it.cost
		for ; i < l.n-1; i++ {
			*l.item(i) = *l.item(i + 1)
		}
		l.n--
		return it
	}
	l.head = (l.head + 1) & (len(l.ring) - 1)
	l.n--
	if l.n > 0 {
		l.tail -= l.item(0).cost
	}
	return it
}

// index finds a task among l's.
func (l *lease) index(t id.Task) int {
	for i := range l.n {
		if l.item(i).task == t {
			return i
		}
	}
	return -1
}

// find searches all leases for a task that was sent to a worker.
func (m *Machine) find(t id.Task) (*lease, int) {
	if l := m.actors[t]; l != nil {
		return l, max(0, l.index(t))
	}
	for _, l := range m.leases.at {
		if l.id != 0 && l.n > 0 {
			if i := l.index(t); i >= 0 {
				return l, i
			}
		}
	}
	return nil, -1
}

// home is the pool that l's resources go back to.
func (m *Machine) home(l *lease) *pool {
	if l.pool.gone {
		return &m.node
	}
	return l.pool
}

// running reports whether a task of l computes: it holds a place among what
// the node admitted and will end or block by itself.
func (l *lease) running() bool { return l.n > 0 && !l.blocked }

// grant opens a lease for q in p, or starts to if it has no worker yet.
func (m *Machine) grant(now time.Duration, q *queue, p *pool, fx []Effect) []Effect {
	l := m.leases.make()
	m.take(p, q.shape, l)
	l.q, l.pool, l.since = q, p, now
	l.at = len(q.leases)
	q.leases = append(q.leases, l)
	q.job.leases++
	q.since = now
	if q.create {
		p.stuck.Add(&q.shape.need)
	}
	if w := q.class.free(); w != nil {
		return m.open(now, l, w, fx)
	}
	q.starting++
	m.starting++
	q.class.starting = append(q.class.starting, l)
	if q.hpos >= 0 && q.wants() <= 0 {
		m.delist(q)
	}
	return q.class.spawn(fx)
}

// open gives l its worker and its first task.
func (m *Machine) open(now time.Duration, l *lease, w *worker, fx []Effect) []Effect {
	l.w, l.workerAt, l.since = w, len(w.leases), now
	w.leases = append(w.leases, l)
	if w.class.name.Isolated {
		w.busy()
	}
	if l.q.remote() {
		return m.lend(now, l, fx)
	}
	e, prio, ok := m.pop(now, l.q)
	if !ok {
		return m.rest(now, l, fx)
	}
	return m.start(now, l, &e, prio, fx)
}

// start sends a task to l's worker.
func (m *Machine) start(now time.Duration, l *lease, e *entry, prio int, fx []Effect) []Effect {
	fn := &m.functions.at[e.fn]
	it := l.put()
	it.entry, it.prio, it.cost, it.unwanted = *e, prio, fn.cost(), false
	if l.n == 1 {
		l.since = now
		m.running++
	} else {
		l.tail += it.cost
		m.wakeAt(l.since + spec.StealAfter)
	}
	if l.q.create {
		l.owner = e.task
		m.actors[e.task] = l
	}
	l.w.called(fn)
	m.virtual = max(m.virtual, l.q.job.given)
	m.charge(l.q.job, l.q.shape, it.cost)
	fx = append(fx, Effect{Kind: Start})
	x := &fx[len(fx)-1]
	x.Task, x.Attempt, x.Worker, x.Lease, x.N = e.task, e.attempt, l.w.id, l.id, l.n-1
	m.story.started(now, x)
	return fx
}

// room reports whether one more task of fn may be sent through l. Behind a
// running task only if both are known to be short: the worker then has its
// next task before it can ask, and nobody waits long behind a slow one.
func (m *Machine) room(now time.Duration, l *lease, fn uint32) bool {
	if l.n == 0 {
		return true
	}
	if l.stolen || l.revoking || l.blocked || l.ending || l.w.leaving || l.q.create || now-l.since >= spec.StealAfter {
		return false
	}
	depth := m.o.MaxDepth
	if l.w.id == embedded {
		depth = m.o.EmbeddedDepth
	}
	first, mean := m.functions.at[l.item(0).fn].mean, m.functions.at[fn].mean
	if l.n > depth || first == 0 || mean == 0 {
		return false
	}
	if l.tail+mean <= int64(m.o.Ahead) {
		return true
	}
	// One of up to half the stealing time is worth it if others have work too.
	return l.n == 1 && max(first, mean) <= int64(spec.StealAfter/2) && l.q.n >= len(l.q.leases)
}

// rest makes l idle: kept for a moment for the next task of its key, unless
// somebody else could use what it holds.
func (m *Machine) rest(now time.Duration, l *lease, fx []Effect) []Effect {
	if l.q.remote() {
		l.expires = now + spec.LeaseTerm
		m.wakeAt(l.expires)
	} else {
		m.wakeAt(now + spec.LeaseIdle)
	}
	l.since = now
	q := l.q
	if !q.remote() {
		l.idleAt = len(q.idle)
		q.idle = append(q.idle, l)
	}
	m.restList.add(l)
	m.freed = m.freed || m.waiting > 0 || len(m.bundles) > 0
	m.home(l).idle.Add(&q.shape.need)
	m.home(l).rested(l.parts, 1)
	if q.shape.zero {
		m.zeroIdle++
	}
	return fx
}

// unrest makes l busy again.
func (m *Machine) unrest(l *lease) {
	if !l.resting {
		return
	}
	q := l.q
	if i := l.idleAt; i >= 0 {
		last := len(q.idle) - 1
		q.idle[i] = q.idle[last]
		q.idle[i].idleAt = i
		q.idle[last] = nil
		q.idle = q.idle[:last]
		l.idleAt = -1
	}
	m.restList.remove(l)
	m.home(l).idle.Sub(&q.shape.need)
	m.home(l).rested(l.parts, -1)
	if q.shape.zero {
		m.zeroIdle--
	}
}

// finish ends a lease that runs nothing and tells its worker or its holder.
func (m *Machine) finish(now time.Duration, l *lease, fx []Effect) []Effect {
	switch {
	case l.q.remote() && l.w != nil:
		fx = append(fx, Effect{Kind: End, Node: l.q.name.node, Lease: l.id})
	case l.w != nil:
		fx = append(fx, Effect{Kind: Close, Worker: l.w.id, Lease: l.id})
	}
	w := l.w
	m.release(now, l)
	if w != nil && w.leaving && len(w.leases) == 0 {
		fx = m.retire(w, fx)
	}
	return fx
}

// release gives everything back that l holds. It has no tasks any more.
func (m *Machine) release(now time.Duration, l *lease) {
	m.unrest(l)
	m.unblock(l)
	q, p := l.q, m.home(l)
	m.give(p, q.shape, l)
	if q.create {
		p.stuck.Sub(&q.shape.need)
		if m.actors[l.owner] == l {
			delete(m.actors, l.owner)
		}
	}
	if w := l.w; w != nil {
		w.leases = cut(w.leases, l.workerAt, func(l *lease, i int) { l.workerAt = i })
		if len(w.leases) == 0 && m.workers[w.id] == w {
			m.rested(now, w)
		}
	}
	q.leases = cut(q.leases, l.at, func(l *lease, i int) { l.at = i })
	q.job.leases--
	m.leases.drop(l)
	m.freed = true
	m.reapable = m.reapable || q.job.ended
	m.vacate(now, q)
}

// cut removes the i-th lease of s; moved is told of the one that takes its place.
func cut(s []*lease, i int, moved func(*lease, int)) []*lease {
	last := len(s) - 1
	s[i] = s[last]
	moved(s[i], i)
	s[last] = nil
	return s[:last]
}

// abandon forgets l's tasks, as when its worker died.
func (m *Machine) abandon(l *lease) {
	if l.running() {
		m.running--
	}
	for l.n > 0 {
		it := l.remove(0)
		m.functions.at[it.fn].refs--
	}
}

// unspawn drops leases of q that wait for a worker and that it has no tasks
// for any more.
func (m *Machine) unspawn(now time.Duration, q *queue) {
	c := q.class
	for i := len(c.starting) - 1; i >= 0 && q.starting > q.n; i-- {
		if l := c.starting[i]; l.q == q {
			c.starting = slices.Delete(c.starting, i, i+1)
			q.starting--
			m.starting--
			m.release(now, l)
		}
	}
}
