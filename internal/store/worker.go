package store

import "sync"

// workers runs jobs on a bounded number of goroutines, which exist only while
// there is something to do. The queue is bounded by what is queued: reservations
// and pins, each of which has at most one job, and spill batches, of which the
// machine has two at a time.
type workers struct {
	limit int

	mu      sync.Mutex
	queue   []func()
	running int
	done    sync.WaitGroup
}

func (w *workers) submit(job func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, job)
	if w.running < w.limit {
		w.running++
		w.done.Go(w.work)
	}
}

func (w *workers) work() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.running--
			w.queue = nil
			w.mu.Unlock()
			return
		}
		job := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		job()
	}
}

// close waits until the queue is empty; nothing is submitted from outside any
// more, though the jobs may submit others.
func (w *workers) close() { w.done.Wait() }
