package session

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// acceptPause is how long the loop does without new connections when the
// process has no descriptors left for them.
const acceptPause = 100 * time.Millisecond

// An entrance is the part of a loop where drivers come in.
type entrance struct {
	listener *listener
	closed   bool             // the listener is not watched for the moment
	resume   time.Time        // when to try again, if it is for lack of descriptors
	guests   []*guest         // in the order in which they came
	secrets  map[string]*Conn // that wait for their side lane
	deadline time.Time        // for which the parking is set
}

// A guest is a driver on its way in: a lane that has not said anything, or a
// connection that has no side lane.
type guest struct {
	lane     *lane // nil once it has a conn
	conn     *Conn
	deadline time.Time
}

func (lp *loop) listen(l *listener) error {
	switch {
	case lp.stop:
		return errClosed
	case lp.listener != nil:
		return &wire.Error{Code: wire.Invalid, Op: "listen", Message: "the node listens at " + lp.listener.path + " already"}
	}
	if err := lp.add(l.fd); err != nil {
		return err
	}
	lp.listener = l
	return nil
}

// openEntrance watches the listener, or stops watching it.
func (lp *loop) openEntrance(open bool) {
	if lp.listener == nil || open == !lp.closed {
		return
	}
	lp.closed = !open
	ev := unix.EpollEvent{Fd: int32(lp.listener.fd)}
	if open {
		ev.Events = unix.EPOLLIN
	}
	_ = unix.EpollCtl(lp.epoll, unix.EPOLL_CTL_MOD, lp.listener.fd, &ev)
}

func (lp *loop) acceptAll() {
	for len(lp.guests) < lp.cfg.MaxHandshakes {
		fd, _, err := unix.Accept4(lp.listener.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch err {
		case nil:
			lp.enter(fd)
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return
		default: // no descriptors, no memory
			lp.openEntrance(false)
			lp.resume = time.Now().Add(acceptPause)
			return
		}
	}
	lp.openEntrance(false) // leave opens it
}

// enter lets a new connection say what it is.
func (lp *loop) enter(fd int) {
	l := &lane{fd: fd}
	var err error
	if l.peer, err = peerOf(fd); err == nil {
		err = lp.admit(l.peer)
	}
	if err == nil {
		err = lp.add(fd)
	}
	if err != nil {
		sayGoodbye(fd, err)
		_ = unix.Close(fd)
		return
	}
	lp.lanes[fd] = l
	lp.guests = append(lp.guests, &guest{lane: l, deadline: time.Now().Add(lp.cfg.HandshakeTimeout)})
}

func (lp *loop) admit(p Peer) error {
	switch {
	case p.UID != os.Geteuid():
		return &wire.Error{Code: wire.Unauthenticated, Op: "connect",
			Message: fmt.Sprintf("user %d may not use a node of user %d", p.UID, os.Geteuid()), Hint: "start a node of your own"}
	case len(lp.lanes) >= lp.cfg.MaxConns:
		return &wire.Error{Code: wire.Closed, Op: "connect",
			Message: fmt.Sprintf("the node has %d connections, which is its limit", len(lp.lanes)), Hint: "close sessions that are not used"}
	}
	return nil
}

// greet handles the first frame of a connection. It reports whether to go on.
func (lp *loop) greet(l *lane, kind sessionv1.Kind, body []byte) bool {
	switch kind {
	case sessionv1.Kind_KIND_HELLO:
		c := lp.server.newConn(l.peer, lp.cfg.Accept)
		c.boxes[callLane].attach(l.fd)
		c.lanes[callLane], l.conn = l, c
		lp.conns[c] = struct{}{}
		for _, g := range lp.guests {
			if g.lane == l {
				g.lane, g.conn = nil, c
			}
		}
		c.openExecutable()
		return lp.welcome(c, body)
	case sessionv1.Kind_KIND_ATTACH:
		return lp.join(l, body)
	default:
		lp.dismiss(l, protocolError(fmt.Sprintf("the first frame is %s, want Hello or Attach", kind)))
		return false
	}
}

// welcome answers Hello.
func (lp *loop) welcome(c *Conn, body []byte) bool {
	handler, answer, err := lp.decide(c, body)
	if err != nil {
		lp.drop(c, err, true)
		return false
	}
	c.handler = handler
	if !c.worker {
		answer.Attach = []byte(c.attach)
		lp.secrets[c.attach] = c
	}
	c.Send(sessionv1.Kind_KIND_WELCOME, answer)
	c.Flush()
	lp.touch(c) // whoever waited to send has a BatchEnd to do it in
	return true
}

func (lp *loop) decide(c *Conn, body []byte) (Handler, *sessionv1.Welcome, error) {
	hello := new(sessionv1.Hello)
	if err := hello.UnmarshalVT(body); err != nil {
		return nil, nil, protocolError(fmt.Sprintf("Hello cannot be decoded: %v", err))
	}
	version, err := wire.Negotiate(hello.Version)
	if err != nil {
		return nil, nil, err
	}
	role := wire.RoleDriver
	if c.worker {
		role = wire.RoleWorker
	}
	if hello.Role != role {
		return nil, nil, protocolError(fmt.Sprintf("the role is %q, it must be %q here", hello.Role, role))
	}
	handler, answer, err := c.accept(c, hello)
	if err != nil {
		return nil, nil, err
	}
	answer.Version = version
	return handler, answer, nil
}

// join makes l the side lane of the connection whose secret it has.
func (lp *loop) join(l *lane, body []byte) bool {
	var a sessionv1.Attach
	err := a.UnmarshalVT(body)
	c := lp.secrets[string(a.Attach)]
	if err != nil || c == nil {
		lp.dismiss(l, &wire.Error{Code: wire.Unauthenticated, Op: "attach", Message: "no session waits for this side lane",
			Hint: "attach once, with the secret of Welcome, and in time"})
		return false
	}
	delete(lp.secrets, c.attach)
	lp.guests = slices.DeleteFunc(lp.guests, func(g *guest) bool { return g.conn == c || g.lane == l })
	lp.openEntrance(true)
	l.kind, l.conn = sideLane, c
	c.lanes[sideLane] = l
	c.boxes[sideLane].attach(l.fd)
	c.flush(sideLane, false)
	return true
}

// dismiss ends a connection that has not become one of a Conn.
func (lp *loop) dismiss(l *lane, err error) {
	if err != nil {
		sayGoodbye(l.fd, err)
	}
	_ = unix.EpollCtl(lp.epoll, unix.EPOLL_CTL_DEL, l.fd, nil)
	delete(lp.lanes, l.fd)
	_ = unix.Close(l.fd)
	lp.guests = slices.DeleteFunc(lp.guests, func(g *guest) bool { return g.lane == l })
	lp.openEntrance(true)
}

// leave forgets what the entrance knows of c.
func (lp *loop) leave(c *Conn) {
	delete(lp.secrets, c.attach)
	lp.guests = slices.DeleteFunc(lp.guests, func(g *guest) bool { return g.conn == c })
	lp.openEntrance(lp.resume.IsZero())
}

// expire ends the visits that took too long.
func (lp *loop) expire(now time.Time) {
	if !lp.resume.IsZero() && now.After(lp.resume) {
		lp.resume = time.Time{}
		lp.openEntrance(true)
	}
	for len(lp.guests) > 0 && !now.Before(lp.guests[0].deadline) {
		g := lp.guests[0]
		late := &wire.Error{Code: wire.Timeout, Op: "connect",
			Message: fmt.Sprintf("both lanes must be there within %s", lp.cfg.HandshakeTimeout)}
		if g.conn != nil {
			lp.drop(g.conn, late, true)
		} else {
			lp.dismiss(g.lane, late)
		}
	}
}

func (lp *loop) closeEntrance() {
	for len(lp.guests) > 0 && lp.guests[0].conn == nil {
		lp.dismiss(lp.guests[0].lane, errClosed)
	}
	for fd, l := range lp.lanes {
		if l.conn == nil {
			lp.dismiss(lp.lanes[fd], errClosed)
		}
	}
	if lp.listener != nil {
		lp.listener.close()
		lp.listener = nil
	}
}

// sayGoodbye tells a peer that has no Conn what is wrong.
func sayGoodbye(fd int, err error) {
	kind, msg, _ := goodbyeFrame(err)
	_, _ = wire.Send(fd, wire.AppendFrame(nil, kind, msg))
}
