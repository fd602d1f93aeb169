package session

import (
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/wire"
)

const (
	// readSize is the most that one system call reads: what an untuned Unix
	// socket holds, about. Larger frames have room made for them.
	readSize = 128 << 10
	// maxBatch is the number of frames after which BatchEnd comes at the
	// latest: enough to spread the cost of a write, and so few that who waits
	// for it gets to work while the rest is handled.
	maxBatch = 256
	// maxTurn is how long the loop runs without asking the scheduler whether
	// other goroutines wait for its processor.
	maxTurn = time.Millisecond
	// drainReads bounds the reads from a peer that has left already.
	drainReads = 256
)

// A loop is the goroutine of a Server. But for watch, nothing here is called
// from elsewhere.
type loop struct {
	server *Server
	cfg    Config
	table  *[256]entry

	epoll    int
	parking  *wire.Parking
	patience wire.Patience
	look     func() bool
	events   [64]unix.EpollEvent
	n        int       // of events that are there
	turn     time.Time // when the scheduler was last asked

	lanes   map[int]*lane // by descriptor
	conns   map[*Conn]struct{}
	buf     []byte // all lanes are read into it
	touched []*Conn
	frames  int // since BatchEnd
	stop    bool

	entrance
}

func newLoop(s *Server) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	lp := &loop{server: s, cfg: s.cfg, table: newTable(), epoll: epoll, lanes: map[int]*lane{}, conns: map[*Conn]struct{}{},
		buf: make([]byte, readSize), patience: wire.Patience{Limit: s.cfg.PollFor}, entrance: entrance{secrets: map[string]*Conn{}}}
	lp.look = lp.poll
	if err = lp.add(s.wake); err == nil {
		lp.parking, err = wire.NewParking(epoll)
	}
	if err != nil {
		_ = unix.Close(epoll)
		return nil, err
	}
	return lp, nil
}

func (lp *loop) add(fd int) error {
	err := unix.EpollCtl(lp.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

// watch says whether the loop is to be told when fd has room. It is called by
// whoever flushes.
func (lp *loop) watch(fd int, writable bool) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if writable {
		ev.Events |= unix.EPOLLOUT
	}
	// It fails only if the loop has let go of fd, and then room is no matter.
	_ = unix.EpollCtl(lp.epoll, unix.EPOLL_CTL_MOD, fd, &ev)
}

// poll looks for events without waiting.
func (lp *loop) poll() bool {
	n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(lp.epoll), uintptr(unsafe.Pointer(&lp.events[0])),
		uintptr(len(lp.events)), 0, 0, 0)
	lp.n = 0
	if err == 0 {
		lp.n = int(n)
	}
	return lp.n > 0
}

func (lp *loop) run() {
	for !lp.stop {
		lp.wait()
		for i := range lp.n {
			lp.event(int(lp.events[i].Fd), lp.events[i].Events)
		}
		lp.endBatch()
		lp.tend()
	}
	lp.shutDown()
}

// wait returns when there are events or a deadline has passed.
func (lp *loop) wait() {
	start := time.Now()
	if start.Sub(lp.turn) > maxTurn {
		runtime.Gosched()
		lp.turn = start
	}
	if lp.poll() || lp.patience.Look(lp.look) {
		return
	}
	if !lp.patience.Doze(lp.epoll) {
		_ = lp.parking.Wait() // an error is a deadline: tend sees to it
	}
	lp.poll()
	lp.turn = time.Now()
	lp.patience.Slept(lp.turn.Sub(start))
}

func (lp *loop) event(fd int, what uint32) {
	switch l := lp.lanes[fd]; {
	case fd == lp.server.wake:
		var counter [8]byte
		_, _ = unix.Read(fd, counter[:])
		for _, fn := range lp.server.takePosted(false) {
			fn()
		}
	case lp.listener != nil && fd == lp.listener.fd:
		lp.acceptAll()
	case l != nil:
		if what&unix.EPOLLOUT != 0 && l.conn != nil {
			l.conn.flush(l.kind, true)
		}
		if what&^unix.EPOLLOUT != 0 {
			lp.read(l)
		}
	}
}

// touch notes that c is owed a BatchEnd.
func (lp *loop) touch(c *Conn) {
	lp.frames++
	if !c.touched {
		c.touched = true
		lp.touched = append(lp.touched, c)
	}
}

func (lp *loop) endBatch() {
	lp.frames = 0
	for _, c := range lp.touched {
		lp.endBatchOf(c)
	}
	clear(lp.touched)
	lp.touched = lp.touched[:0]
}

func (lp *loop) endBatchOf(c *Conn) {
	if c.touched {
		c.touched = false
		c.handler.BatchEnd()
	}
}

// adopt starts to serve a worker.
func (lp *loop) adopt(c *Conn, call, side int) error {
	if lp.stop {
		return errClosed
	}
	for k, fd := range []int{call, side} {
		l := &lane{fd: fd, kind: laneKind(k), conn: c}
		if err := lp.add(fd); err != nil {
			lp.forget(c)
			return err
		}
		c.lanes[k], lp.lanes[fd] = l, l
	}
	lp.conns[c] = struct{}{}
	return nil
}

// forget takes c's lanes out of the loop.
func (lp *loop) forget(c *Conn) {
	for k, l := range c.lanes {
		if l != nil {
			_ = unix.EpollCtl(lp.epoll, unix.EPOLL_CTL_DEL, l.fd, nil)
			delete(lp.lanes, l.fd)
			c.lanes[k] = nil
		}
	}
	delete(lp.conns, c)
	lp.leave(c)
}

// drop ends c, with a Goodbye of what the call lane has room for.
func (lp *loop) drop(c *Conn, err error, goodbye bool) {
	if c.dropped {
		return
	}
	c.dropped = true
	c.closing.Do(func() {}) // Close does nothing any more
	if c.handler != nil {
		lp.endBatchOf(c)
	}
	if goodbye {
		_ = c.boxes[callLane].append(goodbyeFrame(err))
		_, _ = c.boxes[callLane].flush(false)
	}
	lp.forget(c)
	for k := range c.boxes {
		c.boxes[k].close()
	}
	if c.exe != nil {
		_ = c.exe.Close()
	}
	if c.handler != nil {
		c.handler.Closed(err)
	}
	close(c.done)
}

// drainAndDrop ends c, whose peer is gone, after reading what it had said.
func (lp *loop) drainAndDrop(c *Conn, err error) {
	for range drainReads {
		if c.dropped || c.lanes[callLane] == nil || !lp.read(c.lanes[callLane]) {
			break
		}
	}
	lp.drop(c, err, false)
}

func (lp *loop) shutDown() {
	lp.closeEntrance()
	for len(lp.conns) > 0 {
		for c := range lp.conns {
			lp.drop(c, errClosed, true)
		}
	}
	for fns := lp.server.takePosted(true); len(fns) > 0; fns = lp.server.takePosted(true) {
		for _, fn := range fns {
			fn()
		}
	}
	_ = lp.parking.Close()
	_ = unix.Close(lp.epoll)
	_ = unix.Close(lp.server.wake)
	close(lp.server.done)
}

// tend sees to what is due by time.
func (lp *loop) tend() {
	if len(lp.guests) == 0 && lp.resume.IsZero() && lp.deadline.IsZero() {
		return
	}
	now := time.Now()
	lp.expire(now)
	next := lp.resume
	if len(lp.guests) > 0 && (next.IsZero() || lp.guests[0].deadline.Before(next)) {
		next = lp.guests[0].deadline
	}
	if !next.Equal(lp.deadline) {
		lp.deadline = next
		_ = lp.parking.SetDeadline(next)
	}
}
