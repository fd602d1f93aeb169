package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// queueName identifies a queue. node is set for another node's wanted leases.
type queueName struct {
	job  id.Job
	key  spec.Key
	node id.Node
}

// queue is the waiting tasks of one key and the leases that serve it.
type queue struct {
	name   queueName
	job    *job
	class  *class
	shape  *shape
	spec   *spec.Task // of its first task: what all its tasks share
	create bool       // actors' constructors: their leases stay
	denied bool       // lack says what this node can never satisfy
	lack   shortage

	lanes    []lane // by priority, highest first; the last is kept when empty
	n        int    // entries in them, or leases wanted by name.node
	starting int    // leases that wait for their worker

	leases []*lease // open ones
	idle   []*lease // those of them that run nothing
	next   int      // into leases: whom to look at first when pipelining

	hpos   int           // in its rank, -1 if it does not wait
	hprio  int           // priority and sequence number it is ranked by
	hseq   uint64        //
	since  time.Duration // it waits, or last got a lease
	vacant bool          // in Machine.vacants
	empty  time.Duration // since when there is nothing in it and no lease
}

// lane is the entries of one priority.
type lane struct {
	prio int
	fifo fifo
}

// template is what Enqueue needs of a spec.
type template struct {
	q  *queue
	fn uint32
}

const (
	maxTemplates = 8192
	vacantAfter  = time.Second // an unused queue is dropped
	maxVacant    = 8192
)

func (q *queue) remote() bool  { return !q.name.node.IsZero() }
func (q *queue) waiting() bool { return q.hpos >= 0 }
func (q *queue) wants() int    { return q.n - q.starting }

// turn returns the priority and sequence number of q's head.
func (q *queue) turn() (prio int, seq uint64) {
	if !q.remote() { // a remote one's are set by request
		for i := range q.lanes {
			if l := &q.lanes[i]; l.fifo.n > 0 {
				return l.prio, l.fifo.peek().seq
			}
		}
	}
	return q.hprio, q.hseq
}

// rerank corrects q's place after its head changed to an earlier one.
func (q *queue) rerank() {
	if q.hpos >= 0 {
		q.hprio, q.hseq = q.turn()
		q.job.rankOf(q.shape).fix(q.hpos)
	}
}

// template returns the queue and figures for tasks of t.
func (m *Machine) template(now time.Duration, t *spec.Task) template {
	if t == m.lastSpec {
		return m.lastTemplate
	}
	tp, ok := m.templates[t]
	if !ok {
		if len(m.templates) >= maxTemplates {
			m.forgetTemplates()
		}
		if m.functions.full() {
			m.forgetTemplates()
			m.functions.forget(id.Job{})
		}
		tp = template{q: m.queueOf(now, t, id.Node{}), fn: m.functions.lookup(fnName{t.Job, t.Function, t.MaxCalls})}
		m.templates[t] = tp
	}
	m.lastSpec, m.lastTemplate = t, tp
	return tp
}

// forgetTemplates is called whenever a queue or a function's figures may go.
func (m *Machine) forgetTemplates() {
	clear(m.templates)
	m.lastSpec, m.lastTemplate = nil, template{}
}

func (m *Machine) queueOf(now time.Duration, t *spec.Task, node id.Node) *queue {
	name := queueName{t.Job, t.Key(), node}
	if q := m.queues[name]; q != nil {
		return q
	}
	q := &queue{name: name, spec: t, job: m.jobOf(t.Job), create: t.Kind == spec.KindCreate, hpos: -1}
	q.class = m.classOf(Class{Job: t.Job, Env: t.Env, Isolated: t.Isolated, Language: t.Language})
	q.class.refs++
	q.shape = m.shapeOf(t)
	q.shape.refs++
	q.job.queues++
	m.queues[name] = q
	m.order++
	m.inOrder = append(m.inOrder, q)
	m.judge(q)
	m.vacate(now, q)
	return q
}

// judge finds out whether this node can ever run q's tasks.
func (m *Machine) judge(q *queue) {
	q.lack, q.denied = m.never(q.shape)
	if !q.denied && m.sized && !q.spec.Selector.Match(m.labels) {
		q.lack, q.denied = shortage{name: "label " + q.spec.Selector.String()}, true
	}
}

func (m *Machine) shapeOf(t *spec.Task) *shape {
	s := shape{need: t.Resources, devices: needsDevices(&t.Resources)}
	if t.Strategy.Kind == spec.InGroup {
		s.grouped, s.group, s.bundle = true, t.Strategy.Group, t.Strategy.Bundle
	}
	s.zero = t.Resources.IsZero() && t.Kind != spec.KindCreate
	s.name = fmt.Sprint(s.need, s.grouped, s.group, s.bundle, s.zero)
	if have := m.shapeByName[s.name]; have != nil {
		return have
	}
	m.order++
	s.id = m.order
	s.share = m.shareOf(&s.need)
	m.shapeByName[s.name] = &s
	m.shapes = append(m.shapes, &s)
	return &s
}

// push appends e to q's lane of the given priority.
func (m *Machine) push(q *queue, prio int, e entry) {
	l := q.lane(prio)
	l.fifo.push(&m.spares, e)
	m.counted(q, 1)
}

func (m *Machine) counted(q *queue, by int) {
	q.n += by
	q.job.queued += by
	m.queued += by
}

// lane returns q's lane for prio, making it if needed.
func (q *queue) lane(prio int) *lane {
	if len(q.lanes) > 0 && q.lanes[0].prio == prio {
		return &q.lanes[0]
	}
	i, ok := slices.BinarySearchFunc(q.lanes, prio, func(l lane, p int) int { return cmp.Compare(p, l.prio) })
	if !ok {
		q.lanes = slices.Insert(q.lanes, i, lane{prio: prio})
	}
	return &q.lanes[i]
}

// head returns the next entry of a local queue, nil if there is none.
func (q *queue) head() *entry {
	for i := range q.lanes {
		if f := &q.lanes[i].fifo; f.n > 0 {
			return f.peek()
		}
	}
	return nil
}

// pop takes the next entry that nobody took back, and its priority.
func (m *Machine) pop(now time.Duration, q *queue) (entry, int, bool) {
	for q.n > 0 {
		i := 0
		for q.lanes[i].fifo.n == 0 {
			i++
		}
		prio := q.lanes[i].prio
		e := q.lanes[i].fifo.pop(&m.spares)
		if q.lanes[i].fifo.n == 0 && len(q.lanes) > 1 {
			q.lanes = slices.Delete(q.lanes, i, i+1)
		}
		m.counted(q, -1)
		if len(m.tombs) > 0 && m.buried(&e) {
			continue
		}
		m.popped(now, q)
		return e, prio, true
	}
	m.popped(now, q)
	return entry{}, 0, false
}

// popped keeps q's place among the waiting right after entries left it.
func (m *Machine) popped(now time.Duration, q *queue) {
	if q.starting > q.n {
		m.unspawn(now, q)
	}
	if q.hpos >= 0 && q.wants() <= 0 {
		m.delist(q)
	}
}

// requeue puts a task that was started but never began back where it was.
func (m *Machine) requeue(now time.Duration, q *queue, prio int, e entry) {
	q.lane(prio).fifo.pushFront(&m.spares, e)
	m.counted(q, 1)
	m.enlist(now, q)
	q.rerank()
}

// buried reports whether e was taken out by Unqueue, and forgets that.
func (m *Machine) buried(e *entry) bool {
	attempt, ok := m.tombs[e.task]
	if !ok || e.attempt > attempt {
		return false
	}
	delete(m.tombs, e.task)
	m.functions.at[e.fn].refs--
	return true
}

// unqueue takes a task out that has not begun. Where in its queue it is
// nobody knows: it is skipped when its turn comes, and before such marks
// become many all queues are swept of them at once.
func (m *Machine) unqueue(now time.Duration, ev *Event, fx []Effect) []Effect {
	if l, i := m.find(ev.Task); l != nil {
		return m.recall(l, i, ev.Attempt, fx)
	}
	if m.queued == 0 {
		return fx
	}
	m.tombs[ev.Task] = max(ev.Attempt, m.tombs[ev.Task])
	if len(m.tombs) > 64+m.queued/4 {
		fx = m.sweep(now, fx)
	}
	return fx
}

// sweep removes every entry that was taken out.
func (m *Machine) sweep(now time.Duration, fx []Effect) []Effect {
	for _, q := range m.inOrder {
		if q.remote() {
			continue
		}
		before := q.n
		for i := range q.lanes {
			f := &q.lanes[i].fifo
			n := f.n
			f.filter(&m.spares, func(e *entry) bool { return !m.buried(e) })
			m.counted(q, f.n-n)
		}
		if q.n != before {
			m.popped(now, q)
			m.vacate(now, q)
		}
	}
	clear(m.tombs)
	return fx
}

// drop empties q, telling tell of each task.
func (m *Machine) drop(now time.Duration, q *queue, tell func(*entry)) {
	for q.n > 0 && !q.remote() {
		e, _, ok := m.pop(now, q)
		if ok {
			m.functions.at[e.fn].refs--
			tell(&e)
		}
	}
	if q.remote() {
		q.n = 0
		m.popped(now, q)
	}
	m.vacate(now, q)
}

// giveUp gives back tasks that wait, the oldest first. Those for which a worker
// starts are not among them.
func (m *Machine) giveUp(now time.Duration, ev *Event, fx []Effect) []Effect {
	q := m.queues[queueName{job: ev.Spec.Job, key: ev.Spec.Key()}]
	if q == nil {
		return fx
	}
	for n := min(ev.N, q.wants()); n > 0; n-- {
		e, _, ok := m.pop(now, q)
		if !ok {
			break
		}
		m.functions.at[e.fn].refs--
		fx = append(fx, Effect{Kind: Recalled, Task: e.task, Attempt: e.attempt, Node: ev.Node})
	}
	m.vacate(now, q)
	return fx
}

// vacate puts q on the way out if it holds nothing.
func (m *Machine) vacate(now time.Duration, q *queue) {
	if q.n > 0 || q.starting > 0 || len(q.leases) > 0 {
		return
	}
	q.empty = now
	if !q.vacant {
		q.vacant = true
		m.vacants = append(m.vacants, q)
		m.wakeAt(now + vacantAfter)
	}
}

// clearVacant forgets queues that have held nothing for a while.
func (m *Machine) clearVacant(now time.Duration) {
	kept := m.vacants[:0]
	gone := 0
	for i, q := range m.vacants {
		switch {
		case q.n > 0 || q.starting > 0 || len(q.leases) > 0:
			q.vacant = false
		case now-q.empty < vacantAfter && len(m.vacants)-i <= maxVacant:
			kept = append(kept, q)
			m.wakeAt(q.empty + vacantAfter)
		default:
			m.forgetQueue(q)
			gone++
		}
	}
	clear(m.vacants[len(kept):])
	m.vacants = kept
	if gone > 0 {
		m.forgetTemplates()
		m.inOrder = slices.DeleteFunc(m.inOrder, func(q *queue) bool { return m.queues[q.name] != q })
		m.forgetShapes()
	}
	if gone > 0 || m.untidy {
		m.untidy = false
		m.forgetClasses()
		m.forgetJobs()
	}
}

func (m *Machine) forgetQueue(q *queue) {
	for i := range q.lanes {
		q.lanes[i].fifo.free(&m.spares)
	}
	delete(m.queues, q.name)
	q.job.queues--
	q.class.refs--
	q.shape.refs--
}

func (m *Machine) forgetShapes() {
	m.shapes = slices.DeleteFunc(m.shapes, func(s *shape) bool {
		if s.refs > 0 {
			return false
		}
		delete(m.shapeByName, s.name)
		for _, j := range m.byJob {
			j.forgetRank(s)
		}
		return true
	})
}

// forgetJobs drops jobs that ended and left nothing.
func (m *Machine) forgetJobs() {
	for name, j := range m.byJob {
		if j.ended && j.queues == 0 && j.leases == 0 && j.classes == 0 {
			delete(m.byJob, name)
		}
	}
}
