package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a program's end of a lane: a stream socket whose reader may look
// for the next message, and then wait a moment with its thread, before it parks. One goroutine at a time reads and any
// number write; Close ends both.
type Socket struct {
	fd       int
	parking  *Parking
	patience Patience
	look     func() bool
	into     []byte // of the Read that is looking
	got      int
	gotErr   error

	open   sync.RWMutex // held for reading while fd is used
	closed bool
	down   sync.Once
}

// NewSocket takes over the descriptor of a connected stream socket. pollFor is
// how long Read may look before it sleeps: PollFor, or 0.
func NewSocket(fd int, pollFor time.Duration) (*Socket, error) {
	parking, err := NewParking(fd)
	if err != nil {
		return nil, err
	}
	s := &Socket{fd: fd, parking: parking, patience: Patience{Limit: pollFor}}
	s.look = s.receive
	return s, nil
}

// DialSocket connects to a node's Unix socket.
func DialSocket(path string, pollFor time.Duration) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "connect", Path: path, Err: err}
	}
	s, err := NewSocket(fd, pollFor)
	if err != nil {
		_ = unix.Close(fd)
	}
	return s, err
}

// SetPatience changes how long Read may look before it sleeps. For the
// goroutine that reads.
func (s *Socket) SetPatience(pollFor time.Duration) { s.patience = Patience{Limit: pollFor} }

// FD is the descriptor, for what a Socket does not do. It is open until Close.
func (s *Socket) FD() int { return s.fd }

// receive tries to read without waiting.
func (s *Socket) receive() bool {
	n, err := Receive(s.fd, s.into)
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	s.got, s.gotErr = n, err
	return true
}

// Read waits for bytes. It returns io.EOF after the peer or Close ended the
// connection.
func (s *Socket) Read(b []byte) (int, error) {
	s.open.RLock()
	defer s.open.RUnlock()
	if s.closed {
		return 0, io.EOF
	}
	s.into = b
	if s.receive() || s.patience.Look(s.look) {
		return s.result()
	}
	start := time.Now()
	if s.patience.Doze(s.fd) && s.receive() {
		s.patience.Slept(time.Since(start))
		return s.result()
	}
	for {
		if err := s.parking.Wait(); err != nil {
			if errors.Is(err, os.ErrClosed) {
				err = io.EOF
			}
			return 0, err
		}
		if s.receive() {
			s.patience.Slept(time.Since(start))
			return s.result()
		}
	}
}

func (s *Socket) result() (int, error) {
	s.into = nil
	switch {
	case errors.Is(s.gotErr, unix.ECONNRESET), s.got == 0 && s.gotErr == nil:
		return 0, io.EOF
	case s.gotErr != nil:
		return 0, os.NewSyscallError("recv", s.gotErr)
	}
	return s.got, nil
}

// Write writes all of b. Calls may be concurrent, but their bytes mix: callers
// hold a lock of their own around the frames that belong together.
func (s *Socket) Write(b []byte) (n int, err error) {
	s.open.RLock()
	defer s.open.RUnlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	for n < len(b) {
		m, err := Send(s.fd, b[n:])
		if errors.Is(err, unix.EAGAIN) {
			// The node always reads, so this is short; a thread may wait.
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, -1)
			if errors.Is(err, unix.EINTR) {
				err = nil
			}
		}
		if err != nil {
			return n, fmt.Errorf("wire: send: %w", err)
		}
		n += m
	}
	return n, nil
}

// Shutdown ends the connection: Read and Write return, and so will the peer's.
func (s *Socket) Shutdown() {
	s.down.Do(func() { _ = unix.Shutdown(s.fd, unix.SHUT_RDWR) })
}

// Close ends the connection and gives the descriptor back once Read and Write
// have returned.
func (s *Socket) Close() error {
	s.Shutdown()
	s.open.Lock()
	defer s.open.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.parking.Close(), unix.Close(s.fd))
}
