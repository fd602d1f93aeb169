package client

import (
	"context"
	"sync"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// flushAt is how many unwritten bytes make whoever adds more write them.
	flushAt = 16 << 10
	// maxUnwritten is how many bytes may wait before submitters do. What
	// releases something is always let through.
	maxUnwritten = 8 << 20
	// keepOutbox is the largest buffer that is kept when it is empty.
	keepOutbox = 1 << 20
)

// outbox is a lane's way out. Messages of all goroutines are appended to one
// buffer. One goroutine at a time writes it, and what is added meanwhile goes
// out with its next write: whoever waits for an answer writes at once (flush),
// for the others a goroutine does soon, or who adds the flushAt-th byte.
type outbox struct {
	sock *wire.Socket

	mu      sync.Mutex
	written sync.Cond // a write has ended, or there is more credit
	buf     []byte
	spare   []byte
	writing bool
	err     error
	bounds  bounds

	poke chan struct{} // wakes the flusher; nil: every message is written at once
	due  bool          // it has been poked
}

func newOutbox(sock *wire.Socket, lazy bool) *outbox {
	o := &outbox{sock: sock}
	o.written.L = &o.mu
	if lazy {
		o.poke = make(chan struct{}, 1)
	}
	return o
}

// bounds are what the node's Welcome says about asking for something.
type bounds struct {
	overhead      int64 // of a message that costs credit, in bytes; 0: nothing does
	submits, puts int64 // credit
}

// purse is the credit that messages of a kind cost, or nil.
func (b *bounds) purse(kind sessionv1.Kind) *int64 {
	switch {
	case b.overhead == 0:
	case kind == sessionv1.Kind_KIND_SUBMIT, kind == sessionv1.Kind_KIND_CREATE:
		return &b.submits
	case kind == sessionv1.Kind_KIND_PUT:
		return &b.puts
	}
	return nil
}

// grant adds credit that the node has granted.
func (o *outbox) grant(submits, puts int64) {
	o.mu.Lock()
	o.bounds.submits += submits
	o.bounds.puts += puts
	o.written.Broadcast()
	o.mu.Unlock()
}

// post queues a message that asks for something, if there is credit for it and
// not too much is unwritten. With now it is written at once, like send.
func (o *outbox) post(kind sessionv1.Kind, msg wire.Message, now bool) (done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	purse := o.bounds.purse(kind)
	if o.err != nil || len(o.buf) > maxUnwritten || purse != nil && *purse <= 0 {
		return false, o.err
	}
	had := len(o.buf)
	o.append(kind, msg)
	if purse != nil {
		*purse -= o.bounds.overhead + int64(len(o.buf)-had-wire.FrameOverhead)
	}
	if now {
		o.write()
	} else {
		o.added()
	}
	return true, nil
}

// admit waits while post would not take a message of this kind.
func (o *outbox) admit(ctx context.Context, kind sessionv1.Kind) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	purse := o.bounds.purse(kind)
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		o.written.Broadcast()
		o.mu.Unlock()
	})
	defer stop()
	for (len(o.buf) > maxUnwritten || purse != nil && *purse <= 0) && o.err == nil && ctx.Err() == nil {
		o.written.Wait()
	}
	if o.err == nil && ctx.Err() != nil {
		return wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
	return o.err
}

// add queues a message. The flusher writes it soon.
func (o *outbox) add(kind sessionv1.Kind, msg wire.Message) {
	o.mu.Lock()
	o.append(kind, msg)
	o.added()
	o.mu.Unlock()
}

// added has what was added written, soon or, if it is much, now.
func (o *outbox) added() {
	switch {
	case o.poke == nil || len(o.buf) >= flushAt:
		o.write()
	case !o.due && !o.writing:
		o.due = true
		o.poke <- struct{}{}
	}
}

// send writes a message at once, unless another goroutine is about to.
func (o *outbox) send(kind sessionv1.Kind, msg wire.Message) {
	o.mu.Lock()
	o.append(kind, msg)
	o.write()
	o.mu.Unlock()
}

// queue adds a message that the caller's next flush writes.
func (o *outbox) queue(kind sessionv1.Kind, msg wire.Message) {
	o.mu.Lock()
	o.append(kind, msg)
	o.mu.Unlock()
}

func (o *outbox) append(kind sessionv1.Kind, msg wire.Message) {
	if o.err == nil {
		o.buf = wire.AppendFrame(o.buf, kind, msg)
	}
}

// flush writes what is queued, unless another goroutine is about to.
func (o *outbox) flush() {
	o.mu.Lock()
	o.write()
	o.mu.Unlock()
}

// finish writes what is queued, and returns when it is written.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write()
	for o.writing {
		o.written.Wait()
	}
}

// write writes until nothing is queued, giving up the lock meanwhile.
func (o *outbox) write() {
	if o.writing {
		return
	}
	o.writing = true
	for len(o.buf) > 0 && o.err == nil {
		batch := o.buf
		o.buf, o.spare = o.spare[:0], nil
		o.mu.Unlock()
		_, err := o.sock.Write(batch)
		o.mu.Lock()
		if cap(batch) <= keepOutbox {
			o.spare = batch[:0]
		}
		if err != nil && o.err == nil {
			o.err = &wire.Error{Code: wire.Closed, Message: "the node is gone", Err: err}
		}
		o.written.Broadcast()
	}
	o.writing = false
	o.written.Broadcast()
}

// flusher writes what others have added whenever it is poked, until close.
func (o *outbox) flusher(poke <-chan struct{}) {
	for range poke {
		o.mu.Lock()
		o.due = false
		o.write()
		o.mu.Unlock()
	}
}

// close fails further messages and ends the flusher.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	o.buf = nil
	o.written.Broadcast()
	if o.poke != nil {
		close(o.poke)
		o.poke = nil
	}
}
