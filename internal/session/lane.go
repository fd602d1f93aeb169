package session

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// maxGreeting bounds a frame of somebody who has not said Hello.
const maxGreeting = 64 << 10

// A lane is one socket.
type lane struct {
	fd   int
	kind laneKind
	conn *Conn // nil before Hello or Attach
	peer Peer
	part []byte // the beginning of a frame whose rest has not come
	need int    // that frame's size; 0 if unknown
}

// receive reads once. The bytes begin with a frame and are valid until the
// next receive of any lane; there may be none although there was no error.
func (l *lane) receive(shared []byte) ([]byte, error) {
	if l.need > len(shared) {
		return l.receiveLarge()
	}
	had := copy(shared, l.part)
	n, err := wire.Receive(l.fd, shared[had:])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	l.part, l.need = l.part[:0], 0
	return shared[:had+n], nil
}

// receiveLarge reads into the frame's own memory, which grows as it comes and
// not because a header promises much.
func (l *lane) receiveLarge() ([]byte, error) {
	if len(l.part) == cap(l.part) {
		bigger := make([]byte, len(l.part), min(2*cap(l.part), l.need))
		copy(bigger, l.part)
		l.part = bigger
	}
	n, err := wire.Receive(l.fd, l.part[len(l.part):cap(l.part)])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	l.part = l.part[:len(l.part)+n]
	if len(l.part) < l.need {
		return nil, nil
	}
	whole := l.part
	l.part, l.need = nil, 0
	return whole, nil
}

// keep saves the beginning of a frame of size bytes.
func (l *lane) keep(b []byte, size, shared int) {
	l.need = size
	if size > shared {
		l.part = append(make([]byte, 0, min(size, max(2*len(b), shared))), b...)
		return
	}
	if len(b) == 0 && cap(l.part) > keepPart {
		l.part = nil
	}
	l.part = append(l.part[:0], b...)
}

// keepPart is the largest memory that a lane keeps for a frame's beginning.
const keepPart = 4 << 10

// read reads once and handles what came. It reports whether there may be more.
func (lp *loop) read(l *lane) bool {
	b, err := l.receive(lp.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false
	case err != nil:
		lp.ended(l, err)
		return false
	case b == nil: // a large frame is not complete
		return true
	}
	need := 0 // bytes of the frame that is not complete
	for len(b) > 0 {
		kind, body, size, err := wire.Cut(b)
		if err == nil && l.conn == nil && size > maxGreeting {
			err = fmt.Errorf("a first frame of %d bytes, at most %d are expected", size, maxGreeting)
		}
		if err != nil {
			lp.refuse(l, protocolError(fmt.Sprintf("%s: %v", l.kind, err)))
			return false
		}
		if size == 0 || size > len(b) {
			need = size
			break
		}
		b = b[size:]
		if !lp.frame(l, kind, body) {
			return false
		}
	}
	l.keep(b, need, len(lp.buf))
	return true
}

// ended says that nothing more comes on l.
func (lp *loop) ended(l *lane, err error) {
	switch {
	case errors.Is(err, unix.ECONNRESET):
		err = io.EOF
	case !errors.Is(err, io.EOF):
		err = os.NewSyscallError("recv", err)
	}
	if errors.Is(err, io.EOF) && len(l.part) > 0 {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case l.conn == nil:
		lp.dismiss(l, nil)
	case l.kind == sideLane:
		lp.drainAndDrop(l.conn, lost(fmt.Errorf("%s: %w", l.kind, err)))
	default:
		lp.drop(l.conn, lost(fmt.Errorf("%s: %w", l.kind, err)), false)
	}
}

// refuse ends the connection of a lane on which something wrong came.
func (lp *loop) refuse(l *lane, err error) {
	if l.conn == nil {
		lp.dismiss(l, err)
	} else {
		lp.drop(l.conn, err, true)
	}
}

// frame handles a frame. It reports whether to go on with the lane.
func (lp *loop) frame(l *lane, kind sessionv1.Kind, body []byte) bool {
	c := l.conn
	switch {
	case c == nil:
		return lp.greet(l, kind, body)
	case kind == sessionv1.Kind_KIND_GOODBYE:
		lp.drop(c, goodbyeError(body), false)
		return false
	case c.handler == nil:
		if l.kind != callLane || kind != sessionv1.Kind_KIND_HELLO {
			lp.refuse(l, protocolError(fmt.Sprintf("%s: the first frame is %s, want Hello", l.kind, kind)))
			return false
		}
		return lp.welcome(c, body)
	}
	if err := lp.check(l, kind); err != nil {
		lp.refuse(l, err)
		return false
	}
	lp.touch(c)
	if err := lp.table[byte(kind)].call(c.handler, body); err != nil {
		lp.refuse(l, wire.AsError(err, wire.Protocol))
	}
	if lp.frames >= maxBatch {
		lp.endBatch()
	}
	return !c.dropped
}

// check returns an error if such a frame does not belong on this lane.
func (lp *loop) check(l *lane, kind sessionv1.Kind) error {
	e := &lp.table[byte(kind)]
	switch {
	case e.call == nil:
		return protocolError(fmt.Sprintf("%s: a node is not sent %s", l.kind, kind))
	case e.lane != l.kind:
		return protocolError(fmt.Sprintf("%s on the %s, it belongs on the %s", kind, l.kind, e.lane))
	case e.worker && !l.conn.worker:
		return protocolError(fmt.Sprintf("%s from a driver, only workers send it", kind))
	}
	return nil
}

// goodbyeFrame is what a closing node says, as arguments of outbox.append.
func goodbyeFrame(err error) (sessionv1.Kind, wire.Message, int) {
	return sessionv1.Kind_KIND_GOODBYE, &sessionv1.Goodbye{Error: wire.ErrorToPB(wire.AsError(err, wire.Internal))}, -1
}

// goodbyeError is what a closing peer said.
func goodbyeError(body []byte) error {
	var g sessionv1.Goodbye
	if err := g.UnmarshalVT(body); err != nil {
		return protocolError(fmt.Sprintf("a goodbye cannot be decoded: %v", err))
	}
	if g.Error == nil {
		return nil
	}
	return wire.ErrorFromPB(g.Error)
}
