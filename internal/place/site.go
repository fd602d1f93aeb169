package place

import (
	"fmt"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// site is work that waits for leases of one node.
type site struct {
	w       *work
	n       *node
	fresh   entries // may still be sent elsewhere if refused
	settled entries // wait here for good
	asked   int     // leases asked for that the node may refuse
	wanted  int     // leases asked for that it is to let wait
	leases  []*held
}

// held is a lease that a node granted.
type held struct {
	site  *site
	lease uint64
	n     int           // tasks pushed that are not over
	over  bool          // no more tasks
	since time.Duration // idle
	at    int           // in site.leases
}

type heldName struct {
	node  id.Node
	lease uint64
}

// entries is a queue in a slice.
type entries struct {
	at   []entry
	head int
}

func (q *entries) len() int { return len(q.at) - q.head }

func (q *entries) push(e entry) {
	if q.head > 0 && q.head == len(q.at) {
		q.at, q.head = q.at[:0], 0
	} else if q.head > 32 && q.head > len(q.at)/2 && len(q.at) == cap(q.at) {
		n := copy(q.at, q.at[q.head:])
		q.at, q.head = q.at[:n], 0
	}
	q.at = append(q.at, e)
}

func (q *entries) pop() entry {
	e := q.at[q.head]
	q.head++
	if q.head == len(q.at) {
		if q.at, q.head = q.at[:0], 0; cap(q.at) > 64 {
			q.at = nil
		}
	}
	return e
}

func (s *site) queued() int { return s.fresh.len() + s.settled.len() }

func (s *site) unused() bool {
	return s.queued() == 0 && s.asked == 0 && s.wanted == 0 && len(s.leases) == 0
}

func (m *Machine) siteOf(w *work, n *node) *site {
	for _, s := range w.sites {
		if s.n == n {
			return s
		}
	}
	s := &site{w: w, n: n}
	w.sites = append(w.sites, s)
	m.sites = append(m.sites, s)
	return s
}

// close forgets s if nothing is left of it.
func (m *Machine) close(s *site) {
	if s.unused() {
		is := func(o *site) bool { return o == s }
		s.w.sites = slices.DeleteFunc(s.w.sites, is)
		m.sites = slices.DeleteFunc(m.sites, is)
	}
}

// take returns the task of s to push next, skipping those taken out.
func (m *Machine) take(s *site) (entry, bool) {
	for s.queued() > 0 {
		q := &s.fresh
		if s.settled.len() > 0 {
			q = &s.settled
		}
		e := q.pop()
		m.queued--
		s.w.queued--
		if !m.buried(&e) {
			return e, true
		}
	}
	return entry{}, false
}

// pump uses s's leases for its tasks and asks for those it lacks. Where tasks
// settled others wait with them, since asking was in vain.
func (m *Machine) pump(s *site, fx []Effect) []Effect {
	for i := 0; i < len(s.leases) && s.queued() > 0; i++ {
		fx = m.fill(s.leases[i], fx)
	}
	if n := min(s.settled.len(), m.o.Batch) - s.wanted; n > 0 {
		s.wanted += n
		fx = s.ask(n, false, fx)
	}
	if n := min(s.fresh.len(), m.o.Batch) - s.asked; n > 0 && s.wanted == 0 {
		s.asked += n
		fx = s.ask(n, true, fx)
	}
	return fx
}

func (s *site) ask(n int, noWait bool, fx []Effect) []Effect {
	return append(fx, Effect{Kind: Ask, Node: s.n.id, Key: s.w.spec.Key(), N: n, NoWait: noWait, Spec: s.w.spec})
}

// depth is how many tasks may be out through one lease: more than one if
// they are known to be so short that the way there would cost more.
func (m *Machine) depth(w *work) int {
	if w.mean == 0 || w.spec.Kind == spec.KindCreate {
		return 1
	}
	return 1 + min(m.o.MaxDepth, int(int64(m.o.Ahead)/w.mean))
}

// fill pushes tasks through h: those of its own site, then of the other
// sites of its work, the longest queue first.
func (m *Machine) fill(h *held, fx []Effect) []Effect {
	if h.over {
		return fx
	}
	s := h.site
	for h.n < m.depth(s.w) && s.w.queued > 0 {
		e, ok := m.take(s)
		if !ok && h.n == 0 {
			e, ok = m.steal(s.w)
		}
		if !ok {
			return fx
		}
		if h.n == 0 {
			m.busy(h)
		}
		h.n++
		h.over = s.w.spec.Kind == spec.KindCreate // an actor keeps its lease
		fx = append(fx, Effect{Kind: Push, Task: e.task, Attempt: e.attempt, Node: s.n.id, Lease: h.lease})
		if h.over {
			return fx
		}
	}
	return fx
}

// steal takes a task that waits at the site of w with the longest queue.
func (m *Machine) steal(w *work) (entry, bool) {
	var from *site
	for _, s := range w.sites {
		if s.queued() > 0 && (from == nil || s.queued() > from.queued()) {
			from = s
		}
	}
	if from == nil {
		return entry{}, false
	}
	return m.take(from)
}

func (m *Machine) busy(h *held) {
	if i := slices.Index(m.idle, h); i >= 0 {
		m.idle = slices.Delete(m.idle, i, i+1)
	}
}

func (m *Machine) rest(now time.Duration, h *held) {
	h.since = now
	m.idle = append(m.idle, h)
	m.wakeAt(now + spec.LeaseIdle)
}

func (m *Machine) find(node id.Node, key spec.Key) *site {
	w := m.works[key]
	if w == nil {
		return nil
	}
	for _, s := range w.sites {
		if s.n.id == node {
			return s
		}
	}
	return nil
}

// granted takes a lease into use.
func (m *Machine) granted(now time.Duration, ev *Event, fx []Effect) []Effect {
	s := m.find(ev.Node, ev.Key)
	if s == nil || s.asked+s.wanted == 0 {
		return append(fx, Effect{Kind: GiveBack, Node: ev.Node, Lease: ev.Lease})
	}
	s.answered(1)
	h := m.newLease()
	*h = held{site: s, lease: ev.Lease, at: len(s.leases)}
	s.leases = append(s.leases, h)
	m.leases[heldName{ev.Node, ev.Lease}] = h
	if s.n.draining {
		return m.giveBack(h, fx)
	}
	m.rest(now, h)
	fx = m.fill(h, fx)
	return m.pump(s, fx)
}

// answered counts n answers: those to asks that may be refused come sooner.
func (s *site) answered(n int) (settled int) {
	k := min(n, s.asked)
	s.asked -= k
	settled = min(n-k, s.wanted)
	s.wanted -= settled
	return settled
}

func (m *Machine) newLease() *held {
	if n := len(m.spare); n > 0 {
		h := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return h
	}
	return &held{}
}

// refused sends as many tasks elsewhere as there are leases fewer to come.
// What was to wait at the node and cannot is pushed there without a lease,
// so that the node itself says what is wrong.
func (m *Machine) refused(now time.Duration, ev *Event, fx []Effect) []Effect {
	s := m.find(ev.Node, ev.Key)
	if s == nil {
		return fx
	}
	settled := s.answered(ev.N)
	if ev.Never {
		w := s.w
		if w.nodes = slices.DeleteFunc(w.nodes, func(n *node) bool { return n == s.n }); len(w.nodes) == 0 {
			w.never = m.o.Fixed
			w.why = fmt.Sprintf("node %s, the last that could have, says it can never run it", s.n.id)
		}
		fx = m.scatter(now, s, fx)
		return fx
	}
	for range min(ev.N-settled, s.fresh.len()) {
		e := s.fresh.pop()
		m.queued--
		s.w.queued--
		if m.buried(&e) {
			continue
		}
		e.refusals++
		fx = m.redirect(now, s, e, ev.Better, fx)
	}
	for range min(settled, s.settled.len()) {
		e := s.settled.pop()
		m.queued--
		s.w.queued--
		if !m.buried(&e) {
			fx = append(fx, Effect{Kind: Push, Task: e.task, Attempt: e.attempt, Node: s.n.id})
		}
	}
	fx = m.pump(s, fx)
	m.close(s)
	return fx
}

// redirect tries another node for a refused task, or lets it wait here.
func (m *Machine) redirect(now time.Duration, s *site, e entry, better id.Node, fx []Effect) []Effect {
	if e.refusals > maxRefusals || len(s.w.nodes) <= 1 {
		e.refusals = maxRefusals + 1
		s.settled.push(e)
		m.queued++
		s.w.queued++
		return fx
	}
	e.avoid = s.n.id
	if n := m.byID[better]; n != nil && n != s.n && s.w.version == m.version && s.w.has(n) {
		return m.send(s.w, n, e, fx)
	}
	return m.place(now, s.w, e, nil, fx)
}

// relieve moves tasks that wait for a lease elsewhere to n, which now has room, or
// with this node's own figures, which come again and again, to any that has. It
// looks at few sites at a time; the next figures find the others. A lease that was
// asked for and has no task any more still counts as wanted: others wait with it.
func (m *Machine) relieve(now time.Duration, n *node, fx []Effect) []Effect {
	const looks = 8
	if n.draining {
		return fx
	}
	for i := 0; i < min(looks, len(m.sites)) && m.queued > 0; i++ {
		m.cursor++
		s := m.sites[m.cursor%len(m.sites)]
		if s.wanted == 0 || s.queued() == 0 {
			continue
		}
		fx = m.renew(now, s.w, fx)
		n := n
		if n == m.self && m.load(now, n, &s.w.spec.Resources) >= fullLoad {
			n = m.roomFor(now, s.w)
		}
		if n == s.n || !s.w.has(n) {
			continue
		}
		for k := 0; k < m.o.Batch && m.load(now, n, &s.w.spec.Resources) < fullLoad; k++ {
			e, ok := m.take(s)
			if !ok {
				break
			}
			e.refusals, e.avoid = maxRefusals, s.n.id
			m.spend(now, n, &s.w.spec.Resources)
			fx = m.send(s.w, n, e, fx)
		}
	}
	return fx
}

// scatter places all tasks that wait at s anew.
func (m *Machine) scatter(now time.Duration, s *site, fx []Effect) []Effect {
	for n := s.queued(); n > 0; n-- {
		e, ok := m.take(s)
		if !ok {
			break
		}
		e.refusals, e.avoid = 0, s.n.id
		fx = m.place(now, s.w, e, nil, fx)
	}
	m.close(s)
	return fx
}

// revoked ends a lease at the next task boundary.
func (m *Machine) revoked(_ time.Duration, ev *Event, fx []Effect) []Effect {
	h := m.leases[heldName{ev.Node, ev.Lease}]
	if h == nil {
		return fx
	}
	s := h.site
	if h.over = true; h.n == 0 {
		m.forgetLease(h)
	}
	fx = m.pump(s, fx)
	m.close(s)
	return fx
}

// ended goes on with the next task of a lease.
func (m *Machine) ended(now time.Duration, ev *Event, fx []Effect) []Effect {
	h := m.leases[heldName{ev.Node, ev.Lease}]
	if h == nil || h.n == 0 {
		return fx
	}
	h.n--
	s := h.site
	if s.w.spec.Kind != spec.KindCreate {
		s.n.credit(&s.w.spec.Resources)
	}
	if ev.Ran > 0 {
		s.w.measure(ev.Ran)
	}
	if fx = m.fill(h, fx); h.n > 0 {
		return fx
	}
	switch {
	case s.w.spec.Kind == spec.KindCreate:
		m.forgetLease(h)
		fx = m.pump(s, fx)
		m.close(s)
	case h.over:
		fx = m.giveBack(h, fx)
		fx = m.pump(s, fx)
		m.close(s)
	default:
		m.rest(now, h)
	}
	return fx
}

func (w *work) measure(ran int64) {
	switch {
	case w.mean == 0:
		w.mean = ran
	case ran > w.mean:
		w.mean += (ran - w.mean + 1) / 2
	default:
		w.mean = max(1, w.mean-(w.mean-ran)/8)
	}
}

// giveBack returns a lease that runs nothing.
func (m *Machine) giveBack(h *held, fx []Effect) []Effect {
	s := h.site
	fx = append(fx, Effect{Kind: GiveBack, Node: s.n.id, Lease: h.lease})
	m.forgetLease(h)
	m.close(s)
	return fx
}

func (m *Machine) forgetLease(h *held) {
	m.busy(h)
	s := h.site
	last := len(s.leases) - 1
	s.leases[h.at] = s.leases[last]
	s.leases[h.at].at = h.at
	s.leases[last] = nil
	s.leases = s.leases[:last]
	delete(m.leases, heldName{s.n.id, h.lease})
	h.site = nil
	if len(m.spare) < 256 {
		m.spare = append(m.spare, h)
	}
}

// unqueue takes a task out that was not pushed; see buried.
func (m *Machine) unqueue(ev *Event) {
	if m.queued == 0 {
		return
	}
	m.tombs[ev.Task] = max(ev.Attempt, m.tombs[ev.Task])
	if len(m.tombs) > 64+m.queued/4 {
		m.sweep()
	}
}

// buried reports whether e was taken out, and forgets that.
func (m *Machine) buried(e *entry) bool {
	if len(m.tombs) == 0 {
		return false
	}
	attempt, ok := m.tombs[e.task]
	if !ok || e.attempt > attempt {
		return false
	}
	delete(m.tombs, e.task)
	return true
}

// sweep removes all tasks that were taken out, before marks become many.
func (m *Machine) sweep() {
	for _, s := range m.sites {
		s.w.queued -= m.weed(&s.settled) + m.weed(&s.fresh)
	}
	for _, w := range m.parked {
		m.weed(&w.parked)
	}
	m.parked = slices.DeleteFunc(m.parked, func(w *work) bool { return w.parked.len() == 0 })
	clear(m.tombs)
}

func (m *Machine) weed(q *entries) int {
	before := q.len()
	q.at = slices.DeleteFunc(q.at[q.head:], func(e entry) bool { return m.buried(&e) })
	q.head = 0
	n := before - q.len()
	m.queued -= n
	return n
}
