package client

import (
	"context"
	"sync"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// remoteActor is an actor that lives in this worker. Its queues are under the
// role's lock.
type remoteActor struct {
	incarnation uint32
	main        queue
	groups      map[string]*queue

	mu   sync.RWMutex
	self any
}

// newRemoteActor makes the actor that j will construct. The constructor is the
// first in its queue, and calls wait until it is there.
func newRemoteActor(j *job) *remoteActor {
	a := &remoteActor{incarnation: j.Running.Incarnation, groups: map[string]*queue{}}
	desc := j.tmpl.spec.Actor
	a.main.limit = max(desc.Concurrency, 1)
	for name, n := range desc.Groups {
		a.groups[name] = &queue{limit: max(n, 1)}
	}
	return a
}

// queue is where the calls of a concurrency group wait.
func (a *remoteActor) queue(group string) *queue {
	if q := a.groups[group]; q != nil {
		return q
	}
	return &a.main
}

// clear forgets the calls that have not begun.
func (a *remoteActor) clear() {
	a.main.jobs = nil
	for _, q := range a.groups {
		q.jobs = nil
	}
}

func (a *remoteActor) instance() any {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.self
}

func (a *remoteActor) created(self any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.self = self
}

// stopActor drops an actor and cancels its running calls. Those that have not
// begun are the node's to fail.
func (w *workerRole) stopActor(m *sessionv1.StopActor) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	w.mu.Lock()
	actor := w.actors[a]
	if actor == nil || actor.incarnation != m.Incarnation {
		w.stopped.add(runID{a, m.Incarnation})
		w.mu.Unlock()
		return nil
	}
	delete(w.actors, a)
	calls := w.find(func(j *job) bool { return j.actor == actor })
	w.mu.Unlock()
	cancelAll(calls, wire.ActorDied)
	return nil
}

// credit is how far a stream's producer may run ahead, in items and bytes.
type credit struct {
	mu    sync.Mutex
	items int
	bytes int64
	more  chan struct{}
}

func newCredit(s *spec.Task) *credit {
	return &credit{items: s.WindowItems, bytes: s.WindowBytes, more: make(chan struct{}, 1)}
}

func (c *credit) room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.items > 0 && c.bytes > 0
}

func (c *credit) add(items int, bytes int64) {
	c.mu.Lock()
	c.items += items
	c.bytes += bytes
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// wait returns when an item may be made, or ctx's error.
func (c *credit) wait(ctx context.Context, r *Remote) error {
	if c.room() {
		return nil
	}
	defer r.Blocked(ctx)()
	for !c.room() {
		select {
		case <-c.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (w *workerRole) giveCredit(m *sessionv1.Credit) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	w.mu.Lock()
	j := w.streams[t]
	w.mu.Unlock()
	if j != nil {
		j.credit.add(int(m.N), int64(m.Bytes))
	}
	return nil
}

// stream runs a generator and sends its items as they are made.
func (d *runner) stream(fn *Function, self any, in []any) error {
	j, m := d.job, &d.result
	var failed error
	yield := func(v any) bool {
		if failed == nil {
			failed = j.credit.wait(&j.TaskContext, d.w.r)
		}
		if failed != nil {
			return false
		}
		var size int64
		if size, failed = d.sendItem(fn, v, m.Items); failed != nil {
			return false
		}
		m.Items++
		j.credit.add(-1, -size)
		return true
	}
	if err := RunStream(&j.TaskContext, fn, self, in, yield); err != nil {
		return err
	}
	return failed
}

func (d *runner) sendItem(fn *Function, v any, index uint32) (size int64, err error) {
	j, p := d.job, &sessionv1.Value{}
	res, err := d.w.r.encodeResult(&j.TaskContext, p, fn.Rets[0], v, d.w.r.inlineLimit)
	if err != nil {
		return 0, err
	}
	d.w.r.out.add(sessionv1.Kind_KIND_ITEM, &sessionv1.Item{Task: j.Running.Task[:], Attempt: j.Running.Attempt, Index: index,
		Value: p, Reservation: res})
	return int64(p.Size), nil
}
