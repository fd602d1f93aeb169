package session

import (
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// AcceptFunc decides about a connection that said Hello, which is valid until
// it returns. It returns who handles the connection and the answer, whose
// version and attach secret are filled in; or an error, which is the answer.
// It is called like a Handler, and sends nothing on the call lane, where the
// answer comes first; the Handler's first BatchEnd follows that.
type AcceptFunc func(c *Conn, hello *sessionv1.Hello) (Handler, *sessionv1.Welcome, error)

// Config says how a Server serves. Zero fields have the defaults given.
type Config struct {
	// Accept decides about drivers.
	Accept AcceptFunc
	// HandshakeTimeout is how long a driver may take from connecting until
	// both its lanes are there: 10 s.
	HandshakeTimeout time.Duration
	// MaxHandshakes bounds the drivers that have not come that far: 64. More
	// wait in the system's queue.
	MaxHandshakes int
	// MaxConns bounds the sockets of all connections: 16,384. More are refused.
	MaxConns int
	// MaxUnread bounds the bytes that a peer may leave unread in a lane before
	// it is disconnected: 128 MiB.
	MaxUnread int
	// PollFor is how long to look for the next message before sleeping:
	// wire.PollFor. Negative is never.
	PollFor time.Duration
}

func (c Config) withDefaults() Config {
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = 10 * time.Second
	}
	if c.MaxHandshakes == 0 {
		c.MaxHandshakes = 64
	}
	if c.MaxConns == 0 {
		c.MaxConns = 16 << 10
	}
	if c.MaxUnread == 0 {
		c.MaxUnread = 2 * wire.MaxFrame
	}
	if c.PollFor == 0 {
		c.PollFor = wire.PollFor
	}
	return c
}

// Server serves connections with one goroutine. Its methods may be used
// concurrently; none may be called by a Handler, which would wait for itself.
type Server struct {
	cfg  Config
	loop *loop

	mu     sync.Mutex
	posted []func() // for the loop to run
	kicked bool     // wake has been written since the loop looked
	over   bool     // the loop takes no more
	wake   int      // eventfd
	done   chan struct{}
}

// NewServer starts a server without connections.
func NewServer(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg.withDefaults(), done: make(chan struct{})}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("session: %w", os.NewSyscallError("eventfd", err))
	}
	s.wake = wake
	if s.loop, err = newLoop(s); err != nil {
		_ = unix.Close(wake)
		return nil, fmt.Errorf("session: %w", err)
	}
	go s.loop.run()
	return s, nil
}

// Listen accepts drivers at a Unix socket that only this user may connect to.
func (s *Server) Listen(path string) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
	if err := s.call(func() error { return s.loop.listen(l) }); err != nil {
		l.close()
		return err
	}
	return nil
}

// Adopt serves a worker, whose lanes are the given sockets; they are the
// Server's from now on, even if it fails. There is no deadline for its Hello:
// who started the worker has one.
func (s *Server) Adopt(call, side int, accept AcceptFunc) (*Conn, error) {
	c := s.newConn(Peer{PID: os.Getpid(), UID: os.Geteuid()}, accept)
	c.worker = true
	c.boxes[callLane].attach(call)
	c.boxes[sideLane].attach(side)
	if err := s.call(func() error { return s.loop.adopt(c, call, side) }); err != nil {
		c.boxes[callLane].close()
		c.boxes[sideLane].close()
		return nil, err
	}
	return c, nil
}

func (s *Server) newConn(peer Peer, accept AcceptFunc) *Conn {
	c := &Conn{server: s, peer: peer, accept: accept, done: make(chan struct{}), attach: rand.Text()}
	for i := range c.boxes {
		c.boxes[i].fd = -1
		c.boxes[i].limit = s.cfg.MaxUnread
		c.boxes[i].watch = s.loop.watch
	}
	return c
}

// Close says Goodbye to all connections, closes them and the socket, and waits
// until every Closed has returned.
func (s *Server) Close() {
	s.post(func() { s.loop.stop = true })
	<-s.done
}

// errClosed is what a closed server answers.
var errClosed = &wire.Error{Code: wire.Closed, Op: "session", Message: "the node shuts down"}

// post has fn run by the loop soon. It returns false if the loop is over.
func (s *Server) post(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.posted = append(s.posted, fn)
	if !s.kicked {
		s.kicked = true
		_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	return true
}

// call has fn run by the loop and returns its result.
func (s *Server) call(fn func() error) error {
	result := make(chan error, 1)
	if !s.post(func() { result <- fn() }) {
		return errClosed
	}
	return <-result
}

// takePosted returns what was posted; nothing can be posted after the last.
func (s *Server) takePosted(last bool) []func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fns := s.posted
	s.posted, s.kicked, s.over = nil, false, last && len(fns) == 0
	return fns
}
