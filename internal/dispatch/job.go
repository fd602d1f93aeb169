package dispatch

import (
	"time"

	"github.com/weftrun/weft/internal/id"
)

// job is the tasks of one driver. jobs with waiting queues are in a heap by
// virtual time.
type job struct {
	id     id.Job
	order  int // of making; breaks ties
	weight int64
	// given is the job's virtual time: nanoseconds times share of the node,
	// divided by its weight.
	given   int64
	ranks   []*rank // queues that want leases, by shape
	waiting int     // their number
	hpos    int     // in Machine.jobs, -1 if it has none
	queues  int     // that exist
	queued  int     // entries
	leases  int
	classes int
	ended   bool
}

// rank is a heap of a job's waiting queues of one shape, the one to serve
// first on top. A queue's place is by its head when it was put there; heads
// only get later, so the top is corrected when it is looked at.
type rank struct {
	shape *shape
	heap  []*queue
}

func (m *Machine) jobOf(j id.Job) *job {
	if jb := m.byJob[j]; jb != nil {
		return jb
	}
	m.order++
	jb := &job{id: j, order: m.order, weight: 1, hpos: -1}
	m.byJob[j] = jb
	return jb
}

// charge moves a job's virtual time on, or back with a negative cost.
func (m *Machine) charge(j *job, s *shape, ns int64) {
	j.given += ns * s.share / j.weight
	if j.hpos >= 0 && len(m.jobs) > 1 {
		m.fixJob(j.hpos)
	}
}

// enlist puts q among the waiting, or takes it out, as it wants leases or not.
func (m *Machine) enlist(now time.Duration, q *queue) {
	if wants := q.wants() > 0; wants == q.waiting() {
		return
	} else if !wants {
		m.delist(q)
		return
	}
	j := q.job
	q.since = now
	q.hprio, q.hseq = q.turn()
	r := j.rankOf(q.shape)
	q.hpos = len(r.heap)
	r.heap = append(r.heap, q)
	r.up(q.hpos)
	q.shape.waiting++
	m.waiting++
	j.waiting++
	if j.waiting == 1 {
		j.given = max(j.given, m.virtual)
		j.hpos = len(m.jobs)
		m.jobs = append(m.jobs, j)
		m.fixJob(j.hpos)
	}
}

func (m *Machine) delist(q *queue) {
	j := q.job
	r := j.rankOf(q.shape)
	last := len(r.heap) - 1
	i := q.hpos
	r.swap(i, last)
	r.heap[last] = nil
	r.heap = r.heap[:last]
	q.hpos = -1
	if i < last {
		r.fix(i)
	}
	q.shape.waiting--
	m.waiting--
	j.waiting--
	if j.waiting == 0 {
		m.dropJob(j)
	}
}

func (j *job) rankOf(s *shape) *rank {
	for _, r := range j.ranks {
		if r.shape == s {
			return r
		}
	}
	r := &rank{shape: s}
	j.ranks = append(j.ranks, r)
	return r
}

// forgetRank drops the rank of a shape that is going.
func (j *job) forgetRank(s *shape) {
	for i, r := range j.ranks {
		if r.shape == s && len(r.heap) == 0 {
			j.ranks = append(j.ranks[:i], j.ranks[i+1:]...)
			return
		}
	}
}

// first returns the queue of j to serve next, whether or not there is room.
func (m *Machine) first(j *job) *queue {
	var best *queue
	for _, r := range j.ranks {
		if q := m.top(r); q != nil && (best == nil || q.before(best)) {
			best = q
		}
	}
	return best
}

// top returns the first queue of r after correcting its place.
func (m *Machine) top(r *rank) *queue {
	for len(r.heap) > 0 {
		q := r.heap[0]
		prio, seq := q.turn()
		if prio == q.hprio && seq == q.hseq {
			return q
		}
		q.hprio, q.hseq = prio, seq
		r.fix(0)
	}
	return nil
}

// before reports whether q's head goes before o's, both of one job.
func (q *queue) before(o *queue) bool {
	if q.hprio != o.hprio {
		return q.hprio > o.hprio
	}
	return q.hseq < o.hseq
}

func (r *rank) fix(i int) {
	if !r.down(i) {
		r.up(i)
	}
}

func (r *rank) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !r.heap[i].before(r.heap[parent]) {
			return
		}
		r.swap(i, parent)
		i = parent
	}
}

func (r *rank) down(i int) bool {
	start := i
	for {
		c := 2*i + 1
		if c >= len(r.heap) {
			break
		}
		if c+1 < len(r.heap) && r.heap[c+1].before(r.heap[c]) {
			c++
		}
		if !r.heap[c].before(r.heap[i]) {
			break
		}
		r.swap(i, c)
		i = c
	}
	return i > start
}

func (r *rank) swap(i, k int) {
	r.heap[i], r.heap[k] = r.heap[k], r.heap[i]
	r.heap[i].hpos, r.heap[k].hpos = i, k
}

func (j *job) before(o *job) bool {
	if j.given != o.given {
		return j.given < o.given
	}
	return j.order < o.order
}

func (m *Machine) dropJob(j *job) {
	last := len(m.jobs) - 1
	i := j.hpos
	m.swapJobs(i, last)
	m.jobs[last] = nil
	m.jobs = m.jobs[:last]
	j.hpos = -1
	if i < last {
		m.fixJob(i)
	}
}

func (m *Machine) fixJob(i int) {
	start := i
	for {
		c := 2*i + 1
		if c >= len(m.jobs) {
			break
		}
		if c+1 < len(m.jobs) && m.jobs[c+1].before(m.jobs[c]) {
			c++
		}
		if !m.jobs[c].before(m.jobs[i]) {
			break
		}
		m.swapJobs(i, c)
		i = c
	}
	for i == start && i > 0 && m.jobs[i].before(m.jobs[(i-1)/2]) {
		m.swapJobs(i, (i-1)/2)
		i = (i - 1) / 2
		start = i
	}
}

func (m *Machine) swapJobs(i, k int) {
	m.jobs[i], m.jobs[k] = m.jobs[k], m.jobs[i]
	m.jobs[i].hpos, m.jobs[k].hpos = i, k
}
