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

// slabs are the shared memory files that the node has announced, mapped. The
// memory of a file that is in use outlives the session.
type slabs struct {
	mu     sync.Mutex
	come   sync.Cond // a file has been announced
	files  map[uint32]*slabFile
	closed bool
}

type slabFile struct {
	read, write *slab.Mapping
	refused     error
	users       int
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
	if s.closed {
		if err == nil {
			_ = mapping.Close()
		}
		return
	}
	f := s.files[m.Slab]
	if f == nil {
		f = &slabFile{}
		s.files[m.Slab] = f
	}
	have := &f.read
	if m.Writable {
		have = &f.write
	}
	switch {
	case err != nil:
		f.refused = err
	case *have != nil: // it is mapped already
		_ = mapping.Close()
	default:
		*have = mapping
	}
	s.come.Broadcast()
}

// lend returns the memory of a location, which stays until it is given back.
// The announcement of its file comes on another lane than the location, so it
// may have to be waited for.
func (s *slabs) lend(at *sessionv1.Location, write bool) ([]byte, *slabFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		f := s.files[at.Slab]
		if f == nil {
			s.come.Wait()
			continue
		}
		m := f.write
		if !write && f.read != nil {
			m = f.read
		}
		if m != nil {
			b, err := m.Bytes(int64(at.Offset), int64(at.Size))
			if err == nil {
				f.users++
			}
			return b, f, err
		}
		if f.refused != nil {
			return nil, nil, f.refused
		}
		s.come.Wait()
	}
	return nil, nil, errors.New("the session is closed")
}

// giveBack ends a use of lend.
func (s *slabs) giveBack(f *slabFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.users--; f.users == 0 && s.closed {
		f.unmap()
	}
}

// close ends those who wait for announcements, and unmaps what is not in use.
func (s *slabs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.come.Broadcast()
	for _, f := range s.files {
		if f.users == 0 {
			f.unmap()
		}
	}
	s.files = nil
}

func (f *slabFile) unmap() {
	for _, m := range []*slab.Mapping{f.read, f.write} {
		if m != nil {
			_ = m.Close()
		}
	}
	f.read, f.write = nil, nil
}
