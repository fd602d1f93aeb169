package wire

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Parking lets a goroutine wait for a descriptor without holding a thread.
//
// The runtime's poller could do that alone, but it would then be woken for
// every message, also while the goroutine looks itself: a Parking is armed only
// while somebody waits in it. For use by one goroutine, but for Wake and Close.
type Parking struct {
	fd    int
	epoll int // between the runtime's poller and fd
	file  *os.File
	raw   syscall.RawConn
	added bool
	look  func(epoll uintptr) bool
	event [1]unix.EpollEvent
}

// NewParking returns a Parking for fd, which stays the caller's.
func NewParking(fd int) (*Parking, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wire: epoll: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // so that os.NewFile hands it to the poller
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("wire: epoll: %w", err)
	}
	p := &Parking{fd: fd, epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails if it is not with the poller
	}
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("wire: epoll: %w", err)
	}
	p.look = func(epoll uintptr) bool {
		n, err := unix.EpollWait(int(epoll), p.event[:], 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	}
	return p, nil
}

// Wait returns when fd is readable or hung up, at the deadline
// (os.ErrDeadlineExceeded) or after Close (os.ErrClosed). It may return early.
func (p *Parking) Wait() error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT}
	op := unix.EPOLL_CTL_MOD
	if !p.added {
		op = unix.EPOLL_CTL_ADD
	}
	if err := unix.EpollCtl(p.epoll, op, p.fd, &ev); err != nil {
		return fmt.Errorf("wire: epoll: %w", err)
	}
	p.added = true
	return p.raw.Read(p.look)
}

// SetDeadline makes Wait return at t; the zero time is never.
func (p *Parking) SetDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// Close ends Wait. The caller closes fd after Wait has returned.
func (p *Parking) Close() error { return p.file.Close() }
