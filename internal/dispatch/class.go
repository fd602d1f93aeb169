package dispatch

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// class is the workers of one kind.
type class struct {
	name    Class
	job     *job
	refs    int       // queues that need it
	workers []*worker // by time of arrival
	idle    []*worker // isolated ones without a lease, the longest idle first
	// starting are the leases that hold resources and wait for a worker.
	starting []*lease
	pending  int // workers asked for
	failed   int // in a row
}

// worker is a process, or a node's own.
type worker struct {
	id     id.Worker
	class  *class
	leases []*lease
	since  time.Duration // idle

	calls   map[fnName]int // of functions that may only be called so often
	leaving bool           // one of them has been: it gets nothing more
}

// called counts a call of fn, and has w leave if it was the last that w may make.
func (w *worker) called(fn *function) {
	if fn.name.most == 0 || !w.class.name.Isolated {
		return
	}
	if w.calls == nil {
		w.calls = map[fnName]int{}
	}
	w.calls[fn.name]++
	w.leaving = w.leaving || w.calls[fn.name] >= fn.name.most
}

func (m *Machine) classOf(name Class) *class {
	c := m.classes[name]
	if c == nil {
		c = &class{name: name, job: m.jobOf(name.Job)}
		c.job.classes++
		m.classes[name] = c
		m.classList = append(m.classList, c)
	}
	return c
}

// free returns a worker that can take a lease now, or nil.
func (c *class) free() *worker {
	if c.name.Isolated {
		if n := len(c.idle); n > 0 {
			return c.idle[n-1]
		}
		return nil
	}
	var best *worker
	for _, w := range c.workers {
		if best == nil || len(w.leases) < len(best.leases) {
			best = w
		}
	}
	return best
}

// spawn asks for the workers that c's starting leases still lack: one for
// all of them if they can share it.
func (c *class) spawn(fx []Effect) []Effect {
	need := len(c.starting)
	if !c.name.Isolated {
		need = min(need, 1)
	}
	for c.pending < need {
		c.pending++
		fx = append(fx, Effect{Kind: Spawn, Class: c.name})
	}
	return fx
}

func (m *Machine) workerUp(now time.Duration, ev *Event, fx []Effect) []Effect {
	if m.workers[ev.Worker] != nil {
		return fx
	}
	c := m.classOf(ev.Class)
	w := &worker{id: ev.Worker, class: c}
	m.workers[w.id] = w
	c.workers = append(c.workers, w)
	c.pending = max(0, c.pending-1)
	c.failed = 0
	m.reapable = m.reapable || c.job.ended
	m.rested(now, w)
	for len(c.starting) > 0 {
		w := c.free()
		if w == nil {
			break
		}
		l := c.starting[0]
		c.starting = slices.Delete(c.starting, 0, 1)
		l.q.starting--
		m.starting--
		fx = m.open(now, l, w, fx)
	}
	return fx
}

// rested notes that w has no lease (any more).
func (m *Machine) rested(now time.Duration, w *worker) {
	w.since = now
	if w.class.name.Isolated && !w.leaving {
		w.class.idle = append(w.class.idle, w)
		m.wakeAt(now + m.o.WorkerIdle)
	}
}

// busy takes w out of its class's idle ones.
func (w *worker) busy() {
	if i := slices.Index(w.class.idle, w); i >= 0 {
		w.class.idle = slices.Delete(w.class.idle, i, i+1)
	}
}

func (m *Machine) forgetWorker(w *worker) {
	w.busy()
	c := w.class
	c.workers = slices.DeleteFunc(c.workers, func(o *worker) bool { return o == w })
	delete(m.workers, w.id)
	m.untidy = true
}

// workerGone ends everything that w had. The tasks are their owners' to
// enqueue again.
func (m *Machine) workerGone(now time.Duration, ev *Event, fx []Effect) []Effect {
	w := m.workers[ev.Worker]
	if w == nil {
		return fx
	}
	m.forgetWorker(w)
	leases := slices.Clone(w.leases)
	for _, l := range leases {
		m.abandon(l)
		if l.q.remote() {
			fx = append(fx, Effect{Kind: End, Node: l.q.name.node, Lease: l.id})
		}
		m.release(now, l)
	}
	fx = w.class.spawn(fx)
	return fx
}

func (m *Machine) spawnFailed(now time.Duration, ev *Event, fx []Effect) []Effect {
	c := m.classes[ev.Class]
	if c == nil || c.pending == 0 {
		return fx
	}
	c.pending--
	c.failed++
	if c.failed < m.o.SpawnTries {
		return c.spawn(fx)
	}
	c.failed = 0
	for _, q := range m.inOrder {
		if q.class != c {
			continue
		}
		if q.remote() && q.n > 0 {
			fx = append(fx, Effect{Kind: Refuse, Node: q.name.node, Key: q.name.key, N: q.n})
		}
		m.drop(now, q, func(e *entry) {
			fx = append(fx, Effect{Kind: SetupFailed, Task: e.task, Attempt: e.attempt, Class: c.name})
		})
	}
	return fx
}

// retireIdle lets isolated workers go that have been idle too long, except
// the warm ones.
func (m *Machine) retireIdle(now time.Duration, fx []Effect) []Effect {
	for _, c := range m.classList {
		for len(c.idle) > m.o.WarmWorkers {
			w := c.idle[0]
			if at := w.since + m.o.WorkerIdle; now < at {
				m.wakeAt(at)
				break
			}
			fx = m.retire(w, fx)
		}
	}
	return fx
}

func (m *Machine) retire(w *worker, fx []Effect) []Effect {
	m.forgetWorker(w)
	return append(fx, Effect{Kind: Retire, Worker: w.id, Class: w.class.name})
}

// reapAll lets the workers of jobs go that have ended and use none of them.
func (m *Machine) reapAll(fx []Effect) []Effect {
	m.reapable = false
	for _, c := range m.classList {
		if j := c.job; !j.ended || j.queued > 0 || j.leases > 0 {
			continue
		}
		for i := len(c.workers) - 1; i >= 0; i-- {
			if w := c.workers[i]; w.id != embedded {
				fx = m.retire(w, fx)
			}
		}
	}
	return fx
}

// forgetClasses drops classes that have neither workers nor a use for any.
func (m *Machine) forgetClasses() {
	m.classList = slices.DeleteFunc(m.classList, func(c *class) bool {
		if c.refs > 0 || c.pending > 0 || len(c.workers) > 0 {
			return false
		}
		c.job.classes--
		delete(m.classes, c.name)
		return true
	})
}

func (m *Machine) jobEnd(now time.Duration, ev *Event, fx []Effect) []Effect {
	j := m.byJob[ev.Class.Job]
	if j == nil {
		return fx
	}
	j.ended, m.untidy, m.reapable = true, true, true
	m.wakeAt(now + vacantAfter)
	for _, q := range m.inOrder {
		if q.job != j {
			continue
		}
		if q.remote() && q.n > 0 {
			fx = append(fx, Effect{Kind: Refuse, Node: q.name.node, Key: q.name.key, N: q.n})
		}
		m.drop(now, q, func(*entry) {})
		for len(q.idle) > 0 {
			fx = m.finish(now, q.idle[0], fx)
		}
	}
	m.functions.forget(j.id)
	m.forgetTemplates()
	return fx
}
