package client

import (
	"context"
	"runtime"
	"sync"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// streamAhead is how many items of a stream a consumer asks for in advance.
const streamAhead = 64

// remoteStream is the consumer's end of a stream. Items are pushed by the node
// as long as they have been asked for.
type remoteStream struct {
	r *Remote
	t id.Task

	mu     sync.Mutex
	items  []*Future
	next   int   // index of the first of items
	asked  int   // items asked for and not yet received
	ahead  int   // how many are to be on their way, at most
	room   int64 // bytes of items that may be read before the node is told
	read   int64 // bytes of those that were
	ended  bool
	err    error
	closed bool
	wake   chan struct{}

	unbind func() bool // from the context that cancels it
}

// SubmitStream implements Session.
func (r *Remote) SubmitStream(ctx context.Context, c *Call) Stream {
	ahead := min(streamAhead, c.Spec.WindowItems)
	s := &remoteStream{r: r, t: c.Task, wake: make(chan struct{}, 1), asked: ahead, ahead: ahead, room: c.Spec.WindowBytes / 2}
	r.mu.Lock()
	if r.err == nil {
		r.streams[c.Task] = s
	}
	r.mu.Unlock()
	if err := r.submit(ctx, c, sessionv1.Kind_KIND_SUBMIT, 0); err != nil {
		r.forgetStream(c.Task)
		s.end(err)
		return s
	}
	r.out.send(sessionv1.Kind_KIND_CONSUME, &sessionv1.Consume{Task: s.t[:], N: uint32(ahead)})
	if stop := r.cancelWith(ctx, c); stop != nil {
		s.mu.Lock()
		s.unbind = stop
		over := s.ended
		s.mu.Unlock()
		if over {
			stop()
		}
	}
	return s
}

func (r *Remote) forgetStream(t id.Task) *remoteStream {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[t]
	delete(r.streams, t)
	return s
}

// gotItem adds an item to its stream.
func (r *Remote) gotItem(m *sessionv1.Item) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	f := &Future{ID: t.Return(m.Index), Sess: r}
	f.Shared.Store(true)
	runtime.AddCleanup(f, r.dropped, f.ID)
	res, pin := r.result(f.ID, m.Value)
	pin.hold(r, f)
	f.Complete(res)
	r.mu.Lock()
	s := r.streams[t]
	r.mu.Unlock()
	if s != nil {
		s.add(f)
	}
	return nil
}

func (r *Remote) gotStreamEnd(m *sessionv1.StreamEnd) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	if s := r.forgetStream(t); s != nil {
		if m.Error != nil {
			s.end(wire.ErrorFromPB(m.Error))
		} else {
			s.end(nil)
		}
	}
	return nil
}

func (s *remoteStream) add(f *Future) {
	s.mu.Lock()
	s.asked--
	s.items = append(s.items, f)
	s.mu.Unlock()
	s.signal()
}

func (s *remoteStream) end(err error) {
	s.mu.Lock()
	s.ended, s.err = true, err
	unbind := s.unbind
	s.mu.Unlock()
	if unbind != nil {
		unbind()
	}
	s.signal()
}

func (s *remoteStream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// poll returns the next item or the end, if either is there.
func (s *remoteStream) poll() (item Item, ok bool, ask int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) == 0 {
		return Item{End: true, Index: s.next, Err: s.err}, s.ended, 0
	}
	item = Item{Future: s.items[0], Index: s.next}
	s.items[0] = nil
	s.items = s.items[1:]
	s.next++
	if enc := item.Future.Result().Enc; enc != nil {
		s.read += int64(len(enc.Data))
	}
	// At half of either window, so that the producer always has some of it.
	if low := s.asked + len(s.items); (low <= s.ahead/2 || s.read > s.room) && !s.ended {
		ask = s.ahead - low
		s.asked += ask
		s.read = 0
	}
	return item, true, ask
}

// Next implements Stream.
func (s *remoteStream) Next(ctx context.Context) (Item, error) {
	for {
		item, ok, ask := s.poll()
		if ask > 0 {
			s.r.out.add(sessionv1.Kind_KIND_CONSUME, &sessionv1.Consume{Task: s.t[:], N: uint32(ask)})
		}
		if ok {
			return item, nil
		}
		if err := s.await(ctx); err != nil {
			return Item{}, err
		}
	}
}

func (s *remoteStream) await(ctx context.Context) error {
	defer s.r.Blocked(ctx)()
	s.r.out.flush()
	select {
	case <-s.wake:
		return nil
	case <-ctx.Done():
		return wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}

// Close implements Stream.
func (s *remoteStream) Close() {
	s.mu.Lock()
	done := s.closed || s.ended && len(s.items) == 0
	s.closed, s.items = true, nil
	s.mu.Unlock()
	if done {
		return
	}
	s.r.forgetStream(s.t)
	s.end(nil)
	s.r.out.send(sessionv1.Kind_KIND_DROP_STREAM, &sessionv1.TaskRef{Task: s.t[:]})
}
