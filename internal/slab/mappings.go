package slab

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// Mappings are the shared memory files that a node has announced to a program,
// mapped. The memory of a file that is in use outlives Close.
type Mappings struct {
	mu     sync.Mutex
	come   sync.Cond // a file has been announced
	files  map[uint32]*Mapped
	closed bool
}

// Mapped is a file of Mappings.
type Mapped struct {
	read, write *Mapping
	refused     error
	users       int
}

// NewMappings has none.
func NewMappings() *Mappings {
	s := &Mappings{files: map[uint32]*Mapped{}}
	s.come.L = &s.mu
	return s
}

// Announce maps the first size bytes of a file that the node has sent, and closes
// its descriptor. A file may be announced twice: to be read, and to be written.
func (s *Mappings) Announce(file uint32, size int64, writable bool, fd int) {
	mapping, err := Map(fd, size, writable)
	_ = unix.Close(fd)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		if err == nil {
			_ = mapping.Close()
		}
		return
	}
	f := s.files[file]
	if f == nil {
		f = &Mapped{}
		s.files[file] = f
	}
	have := &f.read
	if writable {
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

// Lend returns n bytes of a file, which stay until it is given back. The
// announcement of the file comes on another lane than what names it, so it may
// have to be waited for.
func (s *Mappings) Lend(file uint32, off, n int64, write bool) ([]byte, *Mapped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		f := s.files[file]
		if f == nil {
			s.come.Wait()
			continue
		}
		m := f.write
		if !write && f.read != nil {
			m = f.read
		}
		if m != nil {
			b, err := m.Bytes(off, n)
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

// GiveBack ends a use of Lend.
func (s *Mappings) GiveBack(f *Mapped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.users--; f.users == 0 && s.closed {
		f.unmap()
	}
}

// Close ends those who wait for announcements, and unmaps what is not in use.
func (s *Mappings) Close() {
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

func (f *Mapped) unmap() {
	for _, m := range []*Mapping{f.read, f.write} {
		if m != nil {
			_ = m.Close()
		}
	}
	f.read, f.write = nil, nil
}
