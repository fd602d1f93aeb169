package peer

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	peerv1 "github.com/weftrun/weft/internal/gen/peer/v1"
	"github.com/weftrun/weft/internal/id"
)

const (
	batchBytes = 256 << 10             // of messages in a Batch, unless one is larger
	ackBytes   = 256 << 10             // that may come before they are acknowledged at once
	ackDelay   = 10 * time.Millisecond // until what came is acknowledged anyway
	firstPause = 20 * time.Millisecond // between two attempts to connect, doubled each time
	lastPause  = time.Second           // and no longer than that
)

var (
	errIdle     = errors.New("the stream was closed, for nothing had passed")
	errReplaced = errors.New("another stream of the link is open")
)

// stream is either side of a gRPC call.
type stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// link is the shell of an end: it sends and receives, and opens streams.
type link struct {
	p         *Peers
	peer      id.Node
	receiving sync.Mutex // around Receive
	telling   sync.Mutex // around Event; has outage
	outage    outage

	mu      sync.Mutex
	changed *sync.Cond // for the writer of the stream
	end     end
	stop    context.CancelCauseFunc // of the stream that counts
	opening bool                    // a goroutine is in open
	check   bool                    // a stream broke: see whether the peer is there
	dropped bool
	ackDue  bool
	ack     *time.Timer
	ackSet  bool
	used    bool          // something passed since the idle timer fired
	idle    bool          // the stream is to be closed
	wake    chan struct{} // ends a pause
}

func newLink(p *Peers, peer id.Node) *link {
	l := &link{p: p, peer: peer, end: newEnd(p.cfg.Self, peer), wake: make(chan struct{}, 1)}
	l.changed = sync.NewCond(&l.mu)
	l.ack = time.AfterFunc(time.Hour, l.acknowledge)
	l.ack.Stop()
	return l
}

// send queues a message, and has a stream opened if there is none.
func (l *link) send(message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped {
		return
	}
	l.end.push(message)
	l.used = true
	l.changed.Signal()
	l.ensure()
}

// needed reports whether a stream must be opened.
func (l *link) needed() bool {
	return !l.dropped && l.end.phase != open && (l.check || len(l.end.queue) > 0)
}

// ensure has a stream opened if one is needed. It is called with mu held.
func (l *link) ensure() {
	if l.needed() && !l.opening {
		l.opening = true
		l.p.wg.Go(l.open)
	}
}

// drop ends the link for good.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = true
	l.end.queue, l.end.bytes = nil, 0
	l.end.cut(l.end.stream)
	l.ack.Stop()
	l.replace(nil)
	l.changed.Broadcast()
}

// replace ends the stream that counted in favour of another.
func (l *link) replace(stop context.CancelCauseFunc) {
	if l.stop != nil {
		l.stop(errReplaced)
	}
	l.stop = stop
}

// open calls the peer until no stream is needed. It carries what it opens.
func (l *link) open() {
	pause := firstPause
	for {
		ctx, cancel := context.WithCancelCause(l.p.ctx)
		n, hello := l.propose(cancel)
		if hello == nil {
			cancel(nil)
			return
		}
		wasUp, err := l.call(ctx, cancel, n, hello)
		cancel(nil)
		if wasUp {
			pause = firstPause
		} else {
			l.failed(err)
		}
		if !l.rest(pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// propose begins a stream if one is needed, and returns its number and first
// Batch.
func (l *link) propose(cancel context.CancelCauseFunc) (uint64, *peerv1.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.needed() {
		l.opening = false
		return 0, nil
	}
	l.replace(cancel)
	n := l.end.propose()
	return n, l.hello(n)
}

// hello is the first Batch of a stream.
func (l *link) hello(n uint64) *peerv1.Batch {
	self, peer := l.p.cfg.Self, l.peer
	return &peerv1.Batch{Next: l.end.next, Hello: &peerv1.Hello{From: self[:], To: peer[:], Stream: n}}
}

// rest waits before the next attempt, if there will be one.
func (l *link) rest(pause time.Duration) bool {
	t := time.NewTimer(pause/2 + rand.N(pause/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.wake:
		return true
	case <-l.p.ctx.Done():
		return false
	}
}

// begun notes that a stream is open. It is called with mu held.
func (l *link) begun() {
	l.check, l.idle, l.used, l.ackDue = false, false, true, false
	l.changed.Broadcast() // the writer of the stream before
}

// carry sends and receives over stream n, which is open and counts, until it
// ends, and returns why.
func (l *link) carry(ctx context.Context, cancel context.CancelCauseFunc, s stream, n uint64) error {
	l.report(Event{Kind: Up})
	l.p.wg.Go(func() { cancel(l.read(s, n)) })
	l.p.wg.Go(func() {
		if err := l.write(s, n); err != nil && !errors.Is(err, io.EOF) { // EOF: the reader knows why
			cancel(err)
		}
	})
	<-ctx.Done()
	err := context.Cause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end.carries(n) {
		l.check = !errors.Is(err, errIdle)
		l.end.cut(n)
		l.stop = nil
		l.ensure()
	}
	l.changed.Broadcast()
	return err
}

// write sends what is due on stream n until it does not count any more.
func (l *link) write(s stream, n uint64) error {
	var out peerv1.Batch
	for {
		b, ok := l.due(n, out.Messages)
		if !ok {
			break
		}
		out.First, out.Next, out.Messages = b.first, b.next, b.messages
		if err := s.SendMsg(&out); err != nil {
			return err
		}
	}
	if c, ok := s.(interface{ CloseSend() error }); ok {
		return c.CloseSend()
	}
	return nil
}

// due waits for something to send on stream n. It reports false when the stream
// is to be closed or does not count any more. The batch uses into's memory.
func (l *link) due(n uint64, into [][]byte) (batch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.end.carries(n) && !l.idle {
		if l.end.unsent() || l.ackDue {
			l.ackDue = false
			return l.end.take(batchBytes, into), true
		}
		l.changed.Wait()
	}
	return batch{}, false
}

// read takes in what comes on stream n until it ends.
func (l *link) read(s stream, n uint64) error {
	var in peerv1.Batch
	for {
		in.Reset()
		if err := s.RecvMsg(&in); errors.Is(err, io.EOF) {
			return errIdle
		} else if err != nil {
			return err
		}
		if err := l.receive(n, batch{first: in.First, next: in.Next, messages: in.Messages}); err != nil {
			return err
		}
	}
}

// receive hands on what is new in a batch that came on stream n.
func (l *link) receive(n uint64, b batch) error {
	l.receiving.Lock()
	defer l.receiving.Unlock()
	fresh, err := l.received(n, b)
	if errors.Is(err, errReplaced) {
		return err
	} else if err != nil {
		l.report(Event{Kind: Broken, Err: err})
		return err
	}
	for _, m := range fresh {
		if err := l.p.cfg.Receive(l.peer, m); err != nil {
			l.report(Event{Kind: Broken, Err: err})
		}
	}
	return nil
}

func (l *link) received(n uint64, b batch) (fresh [][]byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.end.carries(n) {
		return nil, errReplaced
	}
	if fresh, err = l.end.received(b); err != nil || l.end.owed == 0 {
		return nil, err
	}
	l.used = true
	switch {
	case l.end.owed >= ackBytes:
		l.ackDue = true
		l.changed.Signal()
	case !l.ackSet:
		l.ackSet = true
		l.ack.Reset(ackDelay)
	}
	return fresh, nil
}

// acknowledge has an acknowledgement sent if one is owed by now.
func (l *link) acknowledge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ackSet = false
	if l.end.owed > 0 {
		l.ackDue = true
		l.changed.Signal()
	}
}

// hurry ends the pause between two attempts to connect, if there is one.
func (l *link) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// closeIfIdle closes the stream if nothing has passed since it was last called.
func (l *link) closeIfIdle(again *time.Timer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used || len(l.end.queue) > 0 {
		l.used = false
		again.Reset(l.p.cfg.Idle)
		return
	}
	l.idle = true
	l.changed.Signal()
}
