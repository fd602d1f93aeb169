package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weftrun/weft/internal/control"
)

// watchQueue bounds the events that a watcher holds for its reader; a revision
// is not split.
const watchQueue = 256

// streamPause is between two streams of a watcher that fail.
const streamPause = 100 * time.Millisecond

// record makes a Record of etcd's.
func (s *Store) record(kv *mvccpb.KeyValue) control.Record {
	return control.Record{
		Key: string(kv.Key[len(s.root):]), Value: kv.Value, Lease: control.LeaseID(kv.Lease),
		Created: control.Revision(kv.CreateRevision), Modified: control.Revision(kv.ModRevision),
	}
}

// watcher is a place in the store's history, and for as long as its reader
// keeps up a stream of what comes.
type watcher struct {
	store  *Store
	prefix string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu        sync.Mutex
	after     control.Revision // delivered or queued
	queue     []control.Event
	err       error // for every Next from now on
	streaming bool
	changed   chan struct{} // closed at the next change of the above
}

// Watch implements control.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after control.Revision) (control.Watcher, error) {
	_, done, err := s.begin(ctx, "watch", prefix)
	if err != nil {
		return nil, err
	}
	done()
	w := &watcher{store: s, prefix: prefix, after: after, changed: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(s.ctx)
	return w, nil
}

// Next implements control.Watcher.
func (w *watcher) Next(ctx context.Context) ([]control.Event, error) {
	for {
		events, changed, err := w.take()
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
		case <-ctx.Done():
			return nil, fmt.Errorf("control: watch %q: %w", w.prefix, ctx.Err())
		}
	}
}

// take returns what has come, and a channel that is closed when more has. It
// sees to it that there is a stream.
func (w *watcher) take() ([]control.Event, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ctx.Err() != nil:
		return nil, nil, fmt.Errorf("control: watch %q: %w", w.prefix, control.ErrClosed)
	case len(w.queue) > 0:
		events := w.queue
		w.queue = nil
		return events, nil, nil
	case w.err != nil:
		return nil, nil, w.err
	case !w.streaming:
		w.streaming = true
		w.store.open.Go(func() { w.stream(w.after) })
	}
	return nil, w.changed, nil
}

// stream queues what comes until the queue is full or the stream fails.
func (w *watcher) stream(after control.Revision) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(w.ctx))
	defer cancel()
	s := w.store
	for resp := range s.client.Watch(ctx, s.root+w.prefix, clientv3.WithPrefix(), clientv3.WithRev(int64(after)+1)) {
		if err := resp.Err(); err != nil {
			w.failed(err)
			return
		}
		if !w.add(resp.Events) {
			break
		}
	}
	w.update(func() { w.streaming = false })
}

// failed ends the stream: for good if what it wants is gone, or else until
// the next one, a little later.
func (w *watcher) failed(err error) {
	if err = w.store.failed(w.ctx, "watch", w.prefix, err); !errors.Is(err, control.ErrCompacted) {
		select {
		case <-time.After(streamPause):
		case <-w.ctx.Done():
		}
		err = nil
	}
	w.update(func() { w.err, w.streaming = err, false })
}

// add queues events and reports whether there is room for more.
func (w *watcher) add(events []*clientv3.Event) (room bool) {
	if len(events) == 0 {
		return true
	}
	w.update(func() {
		for _, e := range events {
			x := control.Event{Record: w.store.record(e.Kv), Deleted: e.Type == mvccpb.Event_DELETE}
			w.queue = append(w.queue, x)
			w.after = x.Modified
		}
		room = len(w.queue) < watchQueue
	})
	return room
}

// update changes w and wakes its reader.
func (w *watcher) update(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Close implements control.Watcher. It wakes a Next that waits.
func (w *watcher) Close() { w.cancel() }
