package slab

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Mapping is a slab, or another file of objects, in a process that was sent its
// descriptor. Its methods may be called concurrently, Close only once and after
// the last use of its bytes.
type Mapping struct {
	mem      []byte
	writable bool
}

// Map maps the first size bytes of fd. The descriptor remains the caller's and
// may be closed at once. A writable mapping needs the writer's descriptor; the
// kernel refuses it for a reader's.
func Map(fd int, size int64, writable bool) (*Mapping, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	if size <= 0 || size != int64(int(size)) {
		return nil, fmt.Errorf("slab: map %d bytes: not a size of a slab", size)
	}
	mem, err := unix.Mmap(fd, 0, int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("slab: map %d bytes (writable: %t): %w", size, writable, err)
	}
	return &Mapping{mem: mem, writable: writable}, nil
}

// Bytes returns n bytes at off. They are valid until Close, and in a read-only
// mapping a write to them faults.
func (m *Mapping) Bytes(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(m.mem))-n {
		return nil, fmt.Errorf("slab: bytes %d+%d are outside a mapping of %d", off, n, len(m.mem))
	}
	return m.mem[off : off+n : off+n], nil
}

// Prepare makes this process's page table ready for n bytes at off, so that
// the first copy into a reserved extent does not fault on each page. The pages
// are the node's to populate: it is a hint, and its failure costs only time.
func (m *Mapping) Prepare(off, n int64) {
	mem, err := m.Bytes(off&^(PageSize-1), n+off&(PageSize-1))
	if err != nil || len(mem) == 0 {
		return
	}
	advice := unix.MADV_POPULATE_READ
	if m.writable {
		advice = unix.MADV_POPULATE_WRITE
	}
	_ = unix.Madvise(mem, advice) // absent before Linux 5.14: the copy faults instead
}

// Size returns the mapped bytes.
func (m *Mapping) Size() int64 { return int64(len(m.mem)) }

// Close unmaps.
func (m *Mapping) Close() error {
	mem := m.mem
	m.mem = nil
	if mem == nil {
		return nil
	}
	return unix.Munmap(mem)
}
