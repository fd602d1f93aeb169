package client

import (
	"context"
	"sync"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// remoteActor is an actor that lives in this worker.
type remoteActor struct {
	incarnation uint32
	self        any
	main        queue
	groups      map[string]*queue
}

// newRemoteActor makes the actor that j will construct. The constructor is the
// first in its queue, so that calls wait for it.
func newRemoteActor(j *job) *remoteActor {
	a := &remoteActor{incarnation: j.c.Running.Incarnation, groups: map[string]*queue{}}
	a.main.limit = max(j.spec.Actor.Concurrency, 1)
	for name, n := range j.spec.Actor.Groups {
		a.groups[name] = &queue{limit: n}
	}
	return a
}

func (a *remoteActor) queue(j *job) *queue {
	if q := a.groups[j.group]; q != nil && j.spec.Kind == spec.KindMethod {
		return q
	}
	return &a.main
}

// stopActor drops an actor: its queued calls are the node's to fail.
func (w *workerRole) stopActor(m *sessionv1.StopActor) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if actor := w.actors[a]; actor != nil && actor.incarnation == m.Incarnation {
		delete(w.actors, a)
		for t, j := range w.running {
			if j.c.Running.Actor == a {
				go j.c.Cancel(wire.ActorDied)
				_ = t
			}
		}
	}
	return nil
}

// credit is how far a stream's producer may run ahead, in items and bytes.
type credit struct {
	mu    sync.Mutex
	items int
	bytes int64
	spec  *spec.Task
	more  chan struct{}
}

func newCredit(s *spec.Task) *credit {
	return &credit{items: s.WindowItems, bytes: s.WindowBytes, spec: s, more: make(chan struct{}, 1)}
}

func (c *credit) room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.spec.WindowItems == 0 || c.items > 0) && (c.spec.WindowBytes == 0 || c.bytes > 0)
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
func (c *credit) wait(ctx context.Context) error {
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
	j := w.running[t]
	w.mu.Unlock()
	if j != nil && j.credit != nil {
		j.credit.add(int(m.N), int64(m.Bytes))
	}
	return nil
}

// stream runs a generator and sends its items as they are made.
func (w *workerRole) stream(fn *Function, j *job, self any, in []any, m *sessionv1.Result) error {
	var failed error
	yield := func(v any) bool {
		if err := j.credit.wait(j.c); err != nil {
			return false
		}
		size, err := w.sendItem(fn, j, v, m.Items)
		if err != nil {
			failed = err
			return false
		}
		m.Items++
		j.credit.add(-1, -size)
		return true
	}
	if err := RunStream(j.c, fn, self, in, yield); err != nil {
		return err
	}
	return failed
}

func (w *workerRole) sendItem(fn *Function, j *job, v any, index uint32) (size int64, err error) {
	p, res, err := w.r.encodeResult(j.c, fn.Rets[0], v)
	if err != nil {
		return 0, err
	}
	t := j.c.Running.Task
	w.r.out.add(sessionv1.Kind_KIND_ITEM, &sessionv1.Item{Task: t[:], Attempt: j.c.Running.Attempt, Index: index, Value: p, Reservation: res})
	return max(int64(len(p.Data)), int64(p.Size)), nil
}
