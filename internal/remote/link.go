package remote

import (
	"fmt"
	"net"
	"sync"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// window bounds the bytes of a lane that have been sent and not handed on.
	window = 16 << 20
	// tellAfter is how many bytes are handed on before the sender is told.
	tellAfter = 256 << 10
	// batch is how many bytes are written at once, if frames are small.
	batch = 64 << 10
	// partTime is how long a connection is kept for last words.
	partTime = 2 * time.Second
)

// laneKind tells the lanes of a session apart.
type laneKind int

const (
	callLane laneKind = iota
	sideLane
)

func laneOf(kind sessionv1.Kind) laneKind {
	if kind >= sessionv1.Kind_KIND_REVOKE && kind <= sessionv1.Kind_KIND_ATTACH {
		return sideLane
	}
	return callLane
}

// link is a session's way to the other side, whatever connection it has.
type link struct {
	mu      sync.Mutex
	unsent  sync.Cond // there is something for the writer, or its connection is over
	room    sync.Cond // frames have been handed on, or written, or the connection has changed
	lanes   [2]lane
	conn    net.Conn // nil: there is none now
	leaving bool     // it has failed
	err     error    // why it is over
}

// lane is one direction each way.
type lane struct {
	// Out: frames that the other side may need again, oldest first.
	out   [][]byte
	first uint64 // how many came before out[0]
	next  int    // of out, to be written
	size  int    // bytes of out

	// In: what has come and is not handed on.
	come   sync.Cond
	in     [][]byte
	taken  int    // bytes of the frame that receive returned last; 0: there is none
	held   int    // bytes of in and taken
	got    uint64 // frames
	done   uint64 // of those, handed on
	untold int    // bytes of them that the other side does not know of
}

func newLink() *link {
	l := &link{}
	l.unsent.L, l.room.L = &l.mu, &l.mu
	for i := range l.lanes {
		l.lanes[i].come.L = &l.mu
	}
	return l
}

// send queues a message on its lane, and waits while too much is on its way.
func (l *link) send(kind sessionv1.Kind, m wire.Message) error {
	return l.sendFrame(wire.AppendFrame(nil, kind, m))
}

// pass queues a frame as it was read, which it copies.
func (l *link) pass(kind sessionv1.Kind, body []byte) error {
	return l.sendFrame(wire.AppendBody(nil, kind, body))
}

func (l *link) sendFrame(frame []byte) error {
	kind := sessionv1.Kind(frame[wire.FrameOverhead-1])
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &l.lanes[laneOf(kind)]
	for l.err == nil && n.size >= window {
		l.room.Wait()
	}
	if l.err != nil {
		return l.err
	}
	n.out, n.size = append(n.out, frame), n.size+len(frame)
	l.unsent.Signal()
	return nil
}

// receive returns the next frame of a lane; the one before has been handed on.
// The link's end comes after all frames.
func (l *link) receive(k laneKind) (sessionv1.Kind, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &l.lanes[k]
	if n.taken > 0 {
		n.held, n.untold, n.taken, n.done = n.held-n.taken, n.untold+n.taken, 0, n.done+1
		if n.untold >= tellAfter {
			l.unsent.Signal()
		}
	}
	for len(n.in) == 0 && l.err == nil {
		n.come.Wait()
	}
	if len(n.in) == 0 {
		return 0, nil, l.err
	}
	frame := n.in[0]
	n.in[0], n.in, n.taken = nil, n.in[1:], len(frame)
	kind, body, _, err := wire.Cut(frame)
	return kind, body, err
}

// take ends the connection that there is and returns how many frames have come
// on each lane: with the next connection the other side goes on from there.
func (l *link) take() (got [2]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.conn != nil {
		_ = l.conn.Close()
		l.room.Wait()
	}
	return [2]uint64{l.lanes[callLane].got, l.lanes[sideLane].got}
}

// attach makes conn the link's connection. theirs is how many frames the other
// side has received. There is none before; carry follows.
func (l *link) attach(conn net.Conn, theirs [2]uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	for i := range l.lanes {
		n := &l.lanes[i]
		if theirs[i] < n.first || theirs[i] > n.first+uint64(len(n.out)) {
			return &wire.Error{Code: wire.Protocol, Op: "resume", Message: fmt.Sprintf("the other side has %d frames of lane %d, those after %d to %d can be sent again",
				theirs[i], i, n.first, n.first+uint64(len(n.out)))}
		}
		n.next = int(theirs[i] - n.first)
		n.untold = max(n.untold, tellAfter) // what was told last may not have come
	}
	l.conn = conn
	return nil
}

// carry uses a connection until it fails.
func (l *link) carry(conn net.Conn, r *wire.Reader) error {
	var writer sync.WaitGroup
	writer.Go(func() { l.write(conn) })
	err := l.read(r)
	_ = conn.Close()
	l.mu.Lock()
	l.leaving = true
	l.unsent.Broadcast()
	l.mu.Unlock()
	writer.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.leaving = nil, false
	l.room.Broadcast()
	return err
}

// read takes what comes over a connection. It never waits for who receives.
func (l *link) read(r *wire.Reader) error {
	for {
		kind, body, err := r.Next()
		if err != nil {
			return err
		}
		if kind == sessionv1.Kind_KIND_DELIVERED {
			var m sessionv1.Delivered
			if err := m.UnmarshalVT(body); err != nil {
				return err
			}
			err = l.delivered([2]uint64{m.Call, m.Side})
		} else {
			err = l.arrived(kind, body)
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) arrived(kind sessionv1.Kind, body []byte) error {
	frame := wire.AppendBody(nil, kind, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &l.lanes[laneOf(kind)]
	if n.held > window {
		return &wire.Error{Code: wire.Protocol, Message: "the other side sends more than it may"}
	}
	n.in, n.held, n.got = append(n.in, frame), n.held+len(frame), n.got+1
	n.come.Signal()
	return nil
}

// delivered forgets frames that will not be asked for again.
func (l *link) delivered(counts [2]uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, count := range counts {
		n := &l.lanes[i]
		if count > n.first+uint64(n.next) {
			return &wire.Error{Code: wire.Protocol, Message: "the other side has handed on more than it was sent"}
		}
		for ; n.first < count; n.first++ {
			n.size -= len(n.out[0])
			n.out[0], n.out, n.next = nil, n.out[1:], n.next-1
		}
	}
	l.room.Broadcast()
	return nil
}

// write writes what is queued until the connection fails.
func (l *link) write(conn net.Conn) {
	var buf []byte
	for {
		l.mu.Lock()
		buf = l.fill(buf[:0])
		for !l.leaving && len(buf) == 0 {
			l.room.Broadcast() // all is written
			l.unsent.Wait()
			buf = l.fill(buf)
		}
		over := l.leaving
		l.mu.Unlock()
		if over {
			return
		}
		if _, err := conn.Write(buf); err != nil {
			_ = conn.Close() // which ends read
			return
		}
		if cap(buf) > 4*batch {
			buf = nil
		}
	}
}

// fill appends what is to be written next: of the side lane first.
func (l *link) fill(buf []byte) []byte {
	call, side := &l.lanes[callLane], &l.lanes[sideLane]
	if call.untold >= tellAfter || side.untold >= tellAfter {
		call.untold, side.untold = 0, 0
		buf = wire.AppendFrame(buf, sessionv1.Kind_KIND_DELIVERED, &sessionv1.Delivered{Call: call.done, Side: side.done})
	}
	for _, n := range []*lane{side, call} {
		for ; n.next < len(n.out) && (len(buf) == 0 || len(buf)+len(n.out[n.next]) <= batch); n.next++ {
			buf = append(buf, n.out[n.next]...)
		}
	}
	return buf
}

// finish ends the link with a goodbye, if there is a connection that takes it in
// time; the other side may then say what it had to say.
func (l *link) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.conn != nil {
		frame := wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, farewell(err))
		n := &l.lanes[callLane]
		n.out, n.size = append(n.out, frame), n.size+len(frame)
		l.partLocked()
	}
	l.endLocked(err)
}

// part ends the link when what was sent has been read, or after a time.
func (l *link) part(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.conn != nil {
		l.partLocked()
	}
	l.endLocked(err)
}

// partLocked writes what is left. A connection that were closed with something
// unread could lose that.
func (l *link) partLocked() {
	_ = l.conn.SetDeadline(time.Now().Add(partTime))
	l.unsent.Signal()
	for l.conn != nil && !l.writtenLocked() {
		l.room.Wait()
	}
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	for l.conn != nil {
		l.room.Wait()
	}
}

func (l *link) writtenLocked() bool {
	return l.lanes[callLane].next == len(l.lanes[callLane].out) && l.lanes[sideLane].next == len(l.lanes[sideLane].out)
}

// end ends the link. What has come can still be received.
func (l *link) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(err)
}

func (l *link) endLocked(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.room.Broadcast()
	l.unsent.Broadcast()
	for i := range l.lanes {
		l.lanes[i].come.Broadcast()
	}
}

func (l *link) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}
