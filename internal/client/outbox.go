package client

import (
	"sync"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// flushAt is how many unwritten bytes make whoever adds more write them.
const flushAt = 16 << 10

// maxUnwritten is how many bytes may wait before senders do.
const maxUnwritten = 8 << 20

// outbox is a lane's way out. Messages of all goroutines are appended to one
// buffer; one goroutine at a time writes it, and what is added meanwhile goes
// out with the next write.
type outbox struct {
	sock *wire.Socket

	mu      sync.Mutex
	room    sync.Cond // waits for less than maxUnwritten
	buf     []byte
	spare   []byte
	writing bool
	err     error

	poke chan struct{} // wakes the flusher; nil: every message is written at once
	due  bool          // it has been poked
}

func newOutbox(sock *wire.Socket, lazy bool) *outbox {
	o := &outbox{sock: sock}
	o.room.L = &o.mu
	if lazy {
		o.poke = make(chan struct{}, 1)
	}
	return o
}

// add queues a message. The flusher writes it soon, flush at once.
func (o *outbox) add(kind sessionv1.Kind, msg wire.Message) {
	o.mu.Lock()
	for len(o.buf) > maxUnwritten && o.err == nil {
		o.room.Wait()
	}
	if o.err == nil {
		o.buf = wire.AppendFrame(o.buf, kind, msg)
	}
	if len(o.buf) < flushAt && o.poke != nil {
		if !o.due {
			o.due = true
			o.poke <- struct{}{}
		}
		o.mu.Unlock()
		return
	}
	o.writeLocked()
	o.mu.Unlock()
}

// flush writes what is queued, unless another goroutine is about to.
func (o *outbox) flush() {
	o.mu.Lock()
	o.writeLocked()
	o.mu.Unlock()
}

func (o *outbox) writeLocked() {
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
		if cap(batch) <= 1<<20 {
			o.spare = batch[:0]
		}
		if err != nil {
			o.err = err
		}
		o.room.Broadcast()
	}
	o.writing = false
}

// flusher writes what others have added, until the poke channel is closed.
func (o *outbox) flusher() {
	for range o.poke {
		o.mu.Lock()
		o.due = false
		o.writeLocked()
		o.mu.Unlock()
	}
}

// close fails further messages and ends the flusher.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.room.Broadcast()
	if o.poke != nil && !o.due {
		o.due = true // nobody sends on it any more
	}
}
