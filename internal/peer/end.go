package peer

import (
	"bytes"
	"fmt"

	"github.com/weftrun/weft/internal/id"
)

// phase is what an end has of a stream.
type phase uint8

const (
	closed  phase = iota
	calling       // it has proposed a stream and has no answer
	open
)

// end is one node's end of a link: numbers, what is not acknowledged, and which
// stream counts. It is pure: no goroutine, lock, clock or I/O.
type end struct {
	self, peer id.Node
	phase      phase
	stream     uint64 // the highest number of a stream known, its own proposals included

	// What goes out: queue[i] has the number first+i.
	first uint64
	queue [][]byte
	sent  int   // of queue, on the current stream
	bytes int64 // of queue

	// What comes in.
	next uint64 // the number expected
	owed int    // bytes that came and are not acknowledged; each message counts one more
}

// batch is some messages, numbered from first, and the number that its sender
// expects next.
type batch struct {
	first, next uint64
	messages    [][]byte
}

// newEnd is the end of a link that has carried nothing.
func newEnd(self, peer id.Node) end { return end{self: self, peer: peer, first: 1, next: 1} }

// push queues a message, which must not change afterwards.
func (e *end) push(message []byte) {
	e.queue = append(e.queue, message)
	e.bytes += int64(len(message))
}

// propose begins a stream and returns its number, the lowest that is higher
// than all known. One node's are even and the other's are odd, so no two
// streams have the same.
func (e *end) propose() uint64 {
	e.phase, e.sent = calling, 0
	e.stream++
	if odd := bytes.Compare(e.self[:], e.peer[:]) > 0; odd != (e.stream%2 == 1) {
		e.stream++
	}
	return e.stream
}

// offered decides about a stream that the peer proposes: the highest number
// replaces what there is.
func (e *end) offered(stream, next uint64) (accepted bool, err error) {
	if stream <= e.stream {
		return false, nil
	}
	e.stream = stream
	return true, e.resume(next)
}

// answered opens the stream that this end has proposed, if it still counts.
func (e *end) answered(stream, next uint64) (accepted bool, err error) {
	if stream != e.stream || e.phase != calling {
		return false, nil
	}
	return true, e.resume(next)
}

// refused gives up the stream that was proposed; highest is the number that the
// peer knows of.
func (e *end) refused(stream, highest uint64) {
	e.cut(stream)
	e.stream = max(e.stream, highest)
}

// resume opens the stream that counts with the message that the peer expects.
func (e *end) resume(next uint64) error {
	e.phase, e.sent, e.owed = closed, 0, 0
	if err := e.acknowledged(next); err != nil {
		return err
	}
	e.phase = open
	return nil
}

// cut notes that a stream is over. What is not acknowledged is sent again.
func (e *end) cut(stream uint64) {
	if stream == e.stream {
		e.phase, e.sent = closed, 0
	}
}

// carries reports whether a stream is the one that counts.
func (e *end) carries(stream uint64) bool { return e.phase == open && stream == e.stream }

// unsent reports whether there is something to send.
func (e *end) unsent() bool { return e.sent < len(e.queue) }

// take returns what is to be sent next: an acknowledgement, and messages of up
// to limit bytes, or one. The list of them is into's memory, for the queue changes
// while they are encoded.
func (e *end) take(limit int, into [][]byte) batch {
	b := batch{first: e.first + uint64(e.sent), next: e.next}
	from, size := e.sent, 0
	for e.sent < len(e.queue) && (e.sent == from || size+len(e.queue[e.sent]) <= limit) {
		size += len(e.queue[e.sent])
		e.sent++
	}
	b.messages = into[:0]
	b.messages = append(b.messages, e.queue[from:e.sent]...)
	e.owed = 0
	return b
}

// received returns the messages of a batch that are new.
func (e *end) received(b batch) (fresh [][]byte, err error) {
	if err := e.acknowledged(b.next); err != nil {
		return nil, err
	}
	if len(b.messages) == 0 {
		return nil, nil
	}
	if b.first > e.next {
		return nil, fmt.Errorf("message %d came where %d is due", b.first, e.next)
	}
	known := min(e.next-b.first, uint64(len(b.messages)))
	fresh = b.messages[known:]
	e.next += uint64(len(fresh))
	for _, m := range b.messages { // those that came again are acknowledged again
		e.owed += len(m) + 1
	}
	return fresh, nil
}

// acknowledged forgets messages before the number next.
func (e *end) acknowledged(next uint64) error {
	if next < e.first || next > e.first+uint64(len(e.queue)) {
		return fmt.Errorf("message %d is said to be due, of %d to %d", next, e.first, e.first+uint64(len(e.queue)))
	}
	n := int(next - e.first)
	for i, m := range e.queue[:n] {
		e.bytes -= int64(len(m))
		e.queue[i] = nil
	}
	e.queue, e.first, e.sent = e.queue[n:], next, max(e.sent-n, 0)
	if len(e.queue) == 0 {
		e.queue = nil
	}
	return nil
}
