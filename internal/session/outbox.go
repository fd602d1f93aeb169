package session

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// keepBuffer is the largest buffer that an outbox keeps when it is empty.
const keepBuffer = 256 << 10

// An outbox is what one lane has to write. Frames are appended to queue; who
// flushes takes the whole queue and writes it without holding the lock, so
// appending never waits for a system call. What the socket does not take is
// left to the loop, which is told by epoll when there is room.
type outbox struct {
	mu       sync.Mutex
	fd       int // -1 before the lane is there
	queue    []byte
	flying   []byte // taken from queue by who flushes
	flown    int    // how much of it is written
	flushing bool
	full     bool  // the loop goes on when the socket has room
	shut     bool  // nothing is queued or written any more
	release  bool  // who flushes closes fd
	queued   int64 // bytes, ever; positions of passes
	sent     int64
	passes   []pass

	watch  func(fd int, writable bool) // epoll
	limit  int                         // of unsent bytes
	drain  func()
	atMost int // when to call drain
}

// A pass is a descriptor that goes with the byte at a position.
type pass struct {
	at int64
	fd int
}

// append queues a frame, with a descriptor if fd is one. It fails when the peer
// leaves too much unread.
func (o *outbox) append(kind sessionv1.Kind, msg wire.Message, fd int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return nil
	}
	if fd >= 0 {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("session: sending a descriptor: %w", os.NewSyscallError("dup", err))
		}
		o.passes = append(o.passes, pass{o.queued, dup})
	}
	had := len(o.queue)
	o.queue = wire.AppendFrame(o.queue, kind, msg)
	o.queued += int64(len(o.queue) - had)
	if o.size() > o.limit {
		return &wire.Error{Code: wire.Closed, Op: "session",
			Message: fmt.Sprintf("the peer leaves %d bytes unread, the limit is %d", o.size(), o.limit),
			Hint:    "a program must keep reading both lanes of its session"}
	}
	return nil
}

// size is the number of unsent bytes.
func (o *outbox) size() int { return int(o.queued - o.sent) }

func (o *outbox) buffered() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size()
}

// flush writes what the socket takes. resumed is for the loop, when there is
// room again. It returns what to call now that the box has drained, if asked.
func (o *outbox) flush(resumed bool) (drained func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flushing || o.shut || o.fd < 0 || o.full && !resumed {
		return nil, nil
	}
	o.flushing = true
	err = o.write()
	o.flushing = false
	switch {
	case o.shut:
		o.discard()
		return nil, nil
	case errors.Is(err, unix.EAGAIN):
		err = nil
		if !o.full {
			o.full = true
			o.watch(o.fd, true)
		}
	case err != nil:
		o.shut = true
		o.discard()
		err = fmt.Errorf("session: %w", os.NewSyscallError("send", err))
	case o.full:
		o.full = false
		o.watch(o.fd, false)
	}
	if o.drain != nil && o.size() <= o.atMost {
		drained, o.drain = o.drain, nil
	}
	return drained, err
}

// write writes until nothing is left or the socket is full (EAGAIN). It gives
// up the lock for each system call.
func (o *outbox) write() error {
	for !o.shut {
		if o.flown == len(o.flying) {
			if len(o.queue) == 0 {
				o.trim()
				return nil
			}
			o.flying, o.queue, o.flown = o.queue, o.flying[:0], 0
		}
		chunk, with := o.next()
		o.mu.Unlock()
		n, err := transmit(o.fd, chunk, with)
		o.mu.Lock()
		if err != nil {
			return err
		}
		o.flown += n
		o.sent += int64(n)
		if with >= 0 && len(o.passes) > 0 {
			_ = unix.Close(with)
			o.passes = o.passes[1:]
		}
	}
	return nil
}

// next returns the bytes for the next system call and the descriptor that goes
// with them: at most one, at their beginning.
func (o *outbox) next() (chunk []byte, with int) {
	chunk, with = o.flying[o.flown:], -1
	passes := o.passes
	if len(passes) > 0 && passes[0].at == o.sent {
		with, passes = passes[0].fd, passes[1:]
	}
	if len(passes) > 0 {
		chunk = chunk[:min(int64(len(chunk)), passes[0].at-o.sent)]
	}
	return chunk, with
}

func transmit(fd int, chunk []byte, with int) (int, error) {
	if with < 0 {
		return wire.Send(fd, chunk)
	}
	return unix.SendmsgN(fd, chunk, unix.UnixRights(with), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// trim gives large buffers back.
func (o *outbox) trim() {
	if cap(o.queue) > keepBuffer {
		o.queue = nil
	}
	if cap(o.flying) > keepBuffer {
		o.flying, o.flown = nil, 0
	}
}

// attach gives the box its socket.
func (o *outbox) attach(fd int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fd = fd
}

// close drops what is unsent and closes the socket; if somebody is just
// writing to it, they do.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut, o.release = true, true
	if !o.flushing {
		o.discard()
	}
}

// discard lets go of everything.
func (o *outbox) discard() {
	o.queue, o.flying, o.flown, o.queued = nil, nil, 0, o.sent
	for _, p := range o.passes {
		_ = unix.Close(p.fd)
	}
	o.passes, o.drain = nil, nil
	if o.release && o.fd >= 0 {
		_ = unix.Close(o.fd)
		o.fd = -1
	}
}

// onDrain arranges for flush to return fn when at most limit bytes are unsent;
// false if that is so already.
func (o *outbox) onDrain(limit int, fn func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut || o.size() <= limit {
		return false
	}
	o.drain, o.atMost = fn, limit
	return true
}
