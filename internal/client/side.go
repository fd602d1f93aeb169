package client

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/slab"
	"github.com/weftrun/weft/internal/wire"
)

// fdReader reads a side lane: its bytes, and the descriptors that come along.
type fdReader struct {
	sock *wire.Socket
	park *wire.Parking
	oob  []byte
	fds  []int // received and not yet claimed, oldest first
}

func newFDReader(sock *wire.Socket) (*fdReader, error) {
	park, err := wire.NewParking(sock.FD())
	if err != nil {
		return nil, err
	}
	return &fdReader{sock: sock, park: park, oob: make([]byte, unix.CmsgSpace(16*4))}, nil
}

// Read implements io.Reader.
func (r *fdReader) Read(b []byte) (int, error) {
	for {
		n, oobn, _, _, err := unix.Recvmsg(r.sock.FD(), b, r.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := r.park.Wait(); err != nil {
				return 0, io.EOF
			}
		case err != nil:
			return 0, os.NewSyscallError("recvmsg", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, r.collect(r.oob[:oobn])
		}
	}
}

func (r *fdReader) collect(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			r.fds = append(r.fds, fds...)
		}
	}
	return nil
}

// claim takes the oldest descriptor.
func (r *fdReader) claim() (int, error) {
	if len(r.fds) == 0 {
		return -1, &wire.Error{Code: wire.Protocol, Message: "a slab was announced without its descriptor"}
	}
	fd := r.fds[0]
	r.fds = r.fds[1:]
	return fd, nil
}

func (r *fdReader) close() {
	_ = r.park.Close()
	for _, fd := range r.fds {
		_ = unix.Close(fd)
	}
}

// slabs are the shared memory files that the node has announced, mapped.
type slabs struct {
	mu     sync.Mutex
	come   sync.Cond
	files  map[uint32]*slabFile
	closed bool
}

type slabFile struct {
	read, write *slab.Mapping
	refused     error
}

func newSlabs() *slabs {
	s := &slabs{files: map[uint32]*slabFile{}}
	s.come.L = &s.mu
	return s
}

// announce maps a file that the node has sent. A file may be announced twice:
// to be read, and to be written.
func (s *slabs) announce(m *sessionv1.Slab, fd int) {
	mapping, err := slab.Map(fd, int64(m.Size), m.Writable)
	_ = unix.Close(fd)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[m.Slab]
	if f == nil {
		f = &slabFile{}
		s.files[m.Slab] = f
	}
	switch {
	case err != nil:
		f.refused = err
	case m.Writable:
		f.write = mapping
	default:
		f.read = mapping
	}
	s.come.Broadcast()
}

// bytes returns the memory of a location. The announcement comes on another
// lane than the location, so it may have to be waited for.
func (s *slabs) bytes(at *sessionv1.Location, write bool) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if f := s.files[at.Slab]; f != nil {
			m := f.write
			if !write && f.read != nil {
				m = f.read
			}
			if m != nil {
				return m.Bytes(int64(at.Offset), int64(at.Size))
			}
			if f.refused != nil {
				return nil, f.refused
			}
		}
		s.come.Wait()
	}
	return nil, errors.New("the session is closed")
}

// close unmaps everything.
func (s *slabs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.come.Broadcast()
	for _, f := range s.files {
		for _, m := range []*slab.Mapping{f.read, f.write} {
			if m != nil {
				_ = m.Close()
			}
		}
	}
	s.files = nil
}

// stop ends those who wait for announcements; the memory stays.
func (s *slabs) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.come.Broadcast()
}
