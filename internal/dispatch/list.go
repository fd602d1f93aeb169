package dispatch

import (
	"container/heap"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// Stats are a dispatcher's figures.
type Stats struct {
	Queued   int // tasks that wait for a lease
	Sent     int // tasks at workers: running, blocked or pipelined
	Running  int // leases that compute
	Blocked  int // leases that lent their CPU
	Idle     int // leases kept for a moment
	Leases   int
	Starting int // leases that wait for their worker to start
	Actors   int // of the leases, those of living or starting actors
	Workers  int
	Wanted   int // leases that other nodes wait for
	Queues   int
	Pressure bool
}

// Stats returns m's figures.
func (m *Machine) Stats() Stats {
	s := Stats{Queued: m.queued, Running: m.running, Blocked: m.blocked, Starting: m.starting,
		Actors: len(m.actors), Workers: len(m.workers), Queues: len(m.queues), Pressure: m.pressure}
	for _, l := range m.leases.at {
		if l.id == 0 {
			continue
		}
		s.Leases++
		s.Sent += l.n
		s.Idle += b2i(l.resting)
	}
	for _, q := range m.inOrder {
		if q.remote() {
			s.Wanted += q.n
		}
	}
	return s
}

// Running returns how many leases compute: have a task that does not wait.
func (m *Machine) Running() int { return m.running }

// Next appends the first n tasks, at most, that wait for their turn on leases such
// as l.
func (m *Machine) Next(l Lease, n int, tasks []id.Task) []id.Task {
	lease := m.leases.get(l)
	if lease == nil {
		return tasks
	}
	for i := range lease.q.lanes {
		for c := lease.q.lanes[i].fifo.first; c != nil; c = c.next {
			for _, e := range c.at[c.head:c.tail] {
				if n--; n < 0 {
					return tasks
				}
				tasks = append(tasks, e.task)
			}
		}
	}
	return tasks
}

// Queued returns how many tasks wait for a lease.
func (m *Machine) Queued() int { return m.queued }

// Free returns what is not reserved, idle leases counted as free. A negative
// CPU means that tasks which lent theirs went on.
func (m *Machine) Free() resource.Vector {
	v := m.node.free.Clone()
	v.Add(&m.node.idle)
	return v
}

// Total returns what the node has, bundles included.
func (m *Machine) Total() resource.Vector { return m.node.total.Clone() }

// Task is one task of a list.
type Task struct {
	Task    id.Task
	Attempt uint32
	Phase   Phase
	Name    string // of its function
	Job     id.Job
	Worker  id.Worker
	Lease   Lease
}

// List returns up to limit tasks with ids greater than after, in order of
// their ids. It looks at all of them, and keeps only the page.
func (m *Machine) List(after id.Task, limit int) []Task {
	p := page{limit: limit}
	for _, l := range m.leases.at {
		if l.id == 0 || l.w == nil {
			continue
		}
		for i := range l.n {
			it := l.item(i)
			m.offer(&p, after, &it.entry, Task{Phase: l.phase(i), Worker: l.w.id, Lease: l.id})
		}
		if l.actor {
			p.offer(after, Task{Task: l.owner, Phase: l.phase(0), Name: l.q.spec.Function, Job: l.q.name.job, Worker: l.w.id, Lease: l.id})
		}
	}
	for _, q := range m.inOrder {
		for i := range q.lanes {
			for e := range q.lanes[i].fifo.all {
				if !m.dead(e) {
					m.offer(&p, after, e, Task{Phase: Queued})
				}
			}
		}
	}
	out := make([]Task, len(p.top))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = heap.Pop(&p).(Task)
	}
	return out
}

func (m *Machine) offer(p *page, after id.Task, e *entry, t Task) {
	fn := &m.functions.at[e.fn]
	t.Task, t.Attempt, t.Name, t.Job = e.task, e.attempt, fn.name.name, fn.name.job
	p.offer(after, t)
}

// page keeps the first limit tasks that it is offered, the last of them on
// top of a heap.
type page struct {
	limit int
	top   []Task
}

func (p *page) offer(after id.Task, t Task) {
	if bytesCompare(t.Task, after) <= 0 {
		return
	}
	if len(p.top) < p.limit {
		heap.Push(p, t)
	} else if p.limit > 0 && bytesCompare(t.Task, p.top[0].Task) < 0 {
		p.top[0] = t
		heap.Fix(p, 0)
	}
}

func (p *page) Len() int           { return len(p.top) }
func (p *page) Less(i, k int) bool { return bytesCompare(p.top[i].Task, p.top[k].Task) > 0 }
func (p *page) Swap(i, k int)      { p.top[i], p.top[k] = p.top[k], p.top[i] }

// Push implements heap.Interface.
func (p *page) Push(x any) { p.top = append(p.top, x.(Task)) }

// Pop implements heap.Interface.
func (p *page) Pop() any {
	t := p.top[len(p.top)-1]
	p.top = p.top[:len(p.top)-1]
	return t
}
