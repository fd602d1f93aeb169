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

// Conn is a connection to a driver or worker. All methods may be used
// concurrently and none but Wait waits.
type Conn struct {
	server  *Server
	peer    Peer
	accept  AcceptFunc
	boxes   [2]outbox // by laneKind
	exe     *os.File
	exeErr  error
	done    chan struct{} // closed after Closed has returned
	closing sync.Once

	// The rest is the loop's.
	handler Handler // nil before Hello
	worker  bool
	lanes   [2]*lane // nil if not there
	attach  string   // secret by which a driver's side lane is found
	touched bool     // BatchEnd is due
	dropped bool
}

// Peer is who is at the other end, as the kernel says.
type Peer struct {
	PID, UID int // of a driver; a worker's are the node's own
}

// Peer returns who connected.
func (c *Conn) Peer() Peer { return c.peer }

// Executable opens the program that a driver runs. It was found when the driver
// said Hello, so it is the right one even if its file has been replaced.
func (c *Conn) Executable() (*os.File, error) {
	if c.exe == nil {
		return nil, fmt.Errorf("session: the executable of process %d: %w", c.peer.PID, errors.Join(c.exeErr, os.ErrNotExist))
	}
	raw, err := c.exe.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("session: the executable of process %d: %w", c.peer.PID, err)
	}
	// Opened anew, not shared: the file goes when the connection does.
	var file *os.File
	gone := raw.Control(func(fd uintptr) { file, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)) })
	return file, errors.Join(gone, err)
}

// Send queues a frame on the call lane; Flush writes it.
func (c *Conn) Send(kind sessionv1.Kind, msg wire.Message) { c.send(callLane, kind, msg, -1) }

// SendSide queues a frame on the side lane and writes it if there is room.
func (c *Conn) SendSide(kind sessionv1.Kind, msg wire.Message) {
	c.send(sideLane, kind, msg, -1)
	c.flush(sideLane, false)
}

// SendSlab announces shared memory and passes its descriptor, which stays the
// caller's. It goes on the side lane: descriptors arrive in the order of their
// Slab frames, each with its frame's first byte or before.
func (c *Conn) SendSlab(slab uint32, size uint64, writable bool, fd int) {
	c.send(sideLane, sessionv1.Kind_KIND_SLAB, &sessionv1.Slab{Slab: slab, Size: size, Writable: writable}, fd)
	c.flush(sideLane, false)
}

func (c *Conn) send(k laneKind, kind sessionv1.Kind, msg wire.Message, fd int) {
	if err := c.boxes[k].append(kind, msg, fd); err != nil {
		c.Close(err)
	}
}

// Flush writes what is queued on the call lane, as much as the socket takes;
// the rest goes when there is room, whoever sends next or not.
func (c *Conn) Flush() { c.flush(callLane, false) }

func (c *Conn) flush(k laneKind, resumed bool) {
	drained, err := c.boxes[k].flush(resumed)
	switch {
	case err != nil:
		// Reading goes on: what the peer said before it left still counts.
		c.server.post(func() { c.server.loop.drainAndDrop(c, lost(err)) })
	case drained != nil:
		c.server.post(drained)
	}
}

// Buffered is the number of bytes queued on the call lane and not yet taken by
// the socket.
func (c *Conn) Buffered() int { return c.boxes[callLane].buffered() }

// OnDrain has fn called once, when at most limit bytes are Buffered: by the
// goroutine that calls the Handlers, between two of their calls. A later call
// replaces an earlier one. It returns false, and fn is not called, if so few
// are buffered now or the connection is closed; closing forgets fn.
func (c *Conn) OnDrain(limit int, fn func()) bool { return c.boxes[callLane].onDrain(limit, fn) }

// Close ends the connection: its peer is told err in a Goodbye, if its socket
// has room for that, and Closed(err) follows, unless the connection has ended
// already.
func (c *Conn) Close(err error) {
	c.closing.Do(func() {
		if !c.server.post(func() { c.server.loop.drop(c, err, true) }) {
			return // the loop is over, and closed everything
		}
	})
}

// Wait returns after the Handler's Closed has returned. Not for Handlers.
func (c *Conn) Wait() { <-c.done }

// Done is closed after the Handler's Closed has returned.
func (c *Conn) Done() <-chan struct{} { return c.done }

// lost is the error of a connection that ended without a Goodbye.
func lost(err error) error {
	return &wire.Error{Code: wire.Closed, Op: "session", Message: "the peer is gone without a goodbye", Err: err}
}

// openExecutable opens the program of a process. A process that is replaced by
// exec keeps the file that it said Hello with.
func (c *Conn) openExecutable() {
	c.exe, c.exeErr = os.Open(fmt.Sprintf("/proc/%d/exe", c.peer.PID))
}

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("session: who connects: %w", err)
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid)}, nil
}
