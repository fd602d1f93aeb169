package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/weftrun/weft"
)

const million = 1_000_000

var queuedTasks = &topic{
	name: "queue",
	rows: []row{
		{name: "queue/bytes", what: "1,000,000 tasks queued, embedded: heap a task, the program's share included", asked: "≤ 700 bytes",
			unit: sizeInBytes, reached: atMost(700)},
		{name: "queue/submit", what: "… submitted at", unit: rate},
		{name: "queue/drain", what: "… drained at", asked: "≥ 500,000/s",
			limit: "the same from a channel, by two goroutines", unit: rate, reached: atLeast(500_000)},
	},
	measure: func(ctx context.Context, m *meter) error {
		n := m.pick(million, million/20)
		return withEmbedded(ctx, func() error {
			return m.alternate(
				func() error { return m.queue(ctx, n) },
				func() error { return m.drainChannel(n) },
			)
		})
	},
}

// queue keeps the node busy, queues n tasks behind that, and lets them go.
func (m *meter) queue(ctx context.Context, n int) error {
	holds := held.Load()
	release := hold.Remote(ctx, weft.CPU(nodeCPUs))
	for held.Load() == holds {
		time.Sleep(time.Millisecond)
	}
	left.Store(int64(n))
	drained = make(chan struct{})
	before := liveHeap()
	ns, _ := took(func() error {
		for range n {
			tick.Remote(ctx, 7)
		}
		return nil
	})
	m.subject("queue/submit", perSecond(n, ns))
	m.subject("queue/bytes", (liveHeap()-before)/float64(n))
	weft.Cancel(release)
	ns, _ = took(func() error { <-drained; return nil })
	m.subject("queue/drain", perSecond(n, ns))
	return nil
}

// drainChannel is the limit of queue's drain.
func (m *meter) drainChannel(n int) error {
	jobs, done := make(chan func(), n), make(chan struct{})
	left := n / nodeCPUs * nodeCPUs
	for range left {
		jobs <- func() {}
	}
	ns, _ := took(func() error {
		for range nodeCPUs {
			go func() {
				for range left / nodeCPUs {
					(<-jobs)()
				}
				done <- struct{}{}
			}()
		}
		for range nodeCPUs {
			<-done
		}
		return nil
	})
	m.limit("queue/drain", perSecond(left, ns))
	return nil
}

func liveHeap() float64 {
	runtime.GC()
	runtime.GC() // what the first one's cleanups let go
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}

var queuedRemote = &topic{
	name: "queue-remote", rounds: 3,
	rows: []row{
		{name: "queue-remote/bytes", what: "1,000,000 tasks queued from another process: the node's heap a task", asked: "≤ 700 bytes",
			unit: sizeInBytes, reached: atMost(700)},
		{name: "queue-remote/resident", what: "… the node's resident memory a task", unit: sizeInBytes},
		{name: "queue-remote/submit", what: "… submitted at", limit: "frames to a process and back, streamed", unit: rate},
	},
	measure: func(ctx context.Context, m *meter) error {
		peer, err := startEcho(ctx)
		if err != nil {
			return err
		}
		defer peer.stop()
		n := m.pick(million, million/20)
		return m.cold(
			func() error {
				return m.withNode(ctx, func(node *node) error { return m.queueRemote(ctx, node, n) })
			},
			func() error {
				ns, err := took(func() error { return peer.stream(n) })
				m.limit("queue-remote/submit", perSecond(n, ns))
				return err
			},
		)
	},
}

func (m *meter) queueRemote(ctx context.Context, node *node, n int) error {
	release := hold.Remote(ctx, weft.CPU(nodeCPUs))
	defer weft.Cancel(release)
	if err := settled(ctx); err != nil {
		return err
	}
	heap, resident, err := node.memory(ctx)
	if err != nil {
		return err
	}
	refs := make([]weft.Ref[int], n)
	ns, err := took(func() error {
		for i := range refs {
			refs[i] = square.Remote(ctx, 7)
		}
		return settled(ctx)
	})
	if err != nil {
		return err
	}
	m.subject("queue-remote/submit", perSecond(n, ns))
	heap2, resident2, err := node.memory(ctx)
	if err != nil {
		return err
	}
	m.subject("queue-remote/bytes", (heap2-heap)/float64(n))
	m.subject("queue-remote/resident", (resident2-resident)/float64(n))
	runtime.KeepAlive(refs)
	return nil
}

// memory is what the node takes: its live heap, and what is resident.
func (n *node) memory(ctx context.Context) (heap, resident float64, err error) {
	r, err := n.resident()
	if err != nil {
		return 0, 0, err
	}
	h, err := n.heap(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("the node's heap: %w", err)
	}
	return float64(h), float64(r), nil
}

// settled returns when the node has taken everything that was submitted: its
// answer to a question comes after what was sent before.
func settled(ctx context.Context) error {
	_, err := weft.Lookup(ctx, counters, "nobody")
	if errors.Is(err, weft.NotFound) {
		return nil
	}
	return fmt.Errorf("lookup of nobody: %w", err)
}
