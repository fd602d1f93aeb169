package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is where spill and fallback files are made. Implementations may be
// called concurrently; tests decorate one to inject faults.
type Disk interface {
	// Create makes an empty file that reads as zeros up to size, and that is gone
	// when it is closed. Label names it in errors.
	Create(label string, size int64) (File, error)
	// Path says where, for errors.
	Path() string
}

// File is a spill or fallback file. WriteVec and ReadAt are given page-aligned
// memory, lengths and offsets.
type File interface {
	// WriteVec writes bufs one after the other from off.
	WriteVec(bufs [][]byte, off int64) error
	// ReadAt fills p from off.
	ReadAt(p []byte, off int64) error
	// Allocate makes room for the first n bytes, so that a mapping of them never
	// lacks any.
	Allocate(n int64) error
	// Punch gives the range's space back.
	Punch(off, n int64) error
	// Map maps a range; Unmap undoes it.
	Map(off, n int64, writable bool) ([]byte, error)
	Unmap(p []byte) error
	// Dup returns a descriptor for another process, which the caller closes.
	Dup(writable bool) (*os.File, error)
	Name() string
	Close() error
}

// Dir is a Disk in a directory of a file system. Its files have no names there,
// so that nothing is left behind however the node ends.
type Dir struct{ path string }

// NewDir makes the directory if need be.
func NewDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("store: make the spill directory: %w", err)
	}
	return &Dir{path: path}, nil
}

// Path returns the directory.
func (d *Dir) Path() string { return d.path }

// Create implements Disk.
func (d *Dir) Create(label string, size int64) (File, error) {
	fd, err := openUnnamed(d.path)
	if err != nil {
		return nil, fmt.Errorf("store: create a file in %s: %w", d.path, err)
	}
	f := &dirFile{name: filepath.Join(d.path, label), fd: fd, ro: -1, direct: -1}
	if err := f.open(size); err != nil {
		return nil, errors.Join(fmt.Errorf("store: create %s: %w", f.name, err), f.Close())
	}
	return f, nil
}

func openUnnamed(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return fd, nil
	}
	// Not every file system has unnamed files.
	f, err := os.CreateTemp(dir, "weft-*")
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return -1, err
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// dirFile has up to three descriptors of one unnamed file: buffered, read-only
// for other processes, and direct, past the page cache, if it can be had.
type dirFile struct {
	name           string
	fd, ro, direct int
}

func (f *dirFile) open(size int64) (err error) {
	if err := unix.Ftruncate(f.fd, size); err != nil {
		return err
	}
	self := fmt.Sprintf("/proc/self/fd/%d", f.fd)
	if f.ro, err = unix.Open(self, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if f.direct, err = unix.Open(self, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0); err != nil {
		f.direct = -1 // memory file systems have no direct I/O
	}
	return nil
}

func (f *dirFile) io() int {
	if f.direct >= 0 {
		return f.direct
	}
	return f.fd
}

const maxVec = 1024 // IOV_MAX

func (f *dirFile) WriteVec(bufs [][]byte, off int64) error {
	bufs = append([][]byte(nil), bufs...)
	for len(bufs) > 0 {
		n, err := unix.Pwritev(f.io(), bufs[:min(len(bufs), maxVec)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &os.PathError{Op: "write", Path: f.name, Err: err}
		}
		off += int64(n)
		bufs = skip(bufs, n)
	}
	return nil
}

// skip returns what of bufs is left after n bytes.
func skip(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

func (f *dirFile) ReadAt(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pread(f.io(), p, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return &os.PathError{Op: "read", Path: f.name, Err: err}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (f *dirFile) Allocate(n int64) error {
	return f.fallocate("allocate", 0, 0, n)
}

func (f *dirFile) Punch(off, n int64) error {
	return f.fallocate("punch", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func (f *dirFile) fallocate(op string, mode uint32, off, n int64) error {
	for {
		err := unix.Fallocate(f.fd, mode, off, n)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: op, Path: f.name, Err: err}
		}
	}
}

func (f *dirFile) Map(off, n int64, writable bool) ([]byte, error) {
	fd, prot := f.ro, unix.PROT_READ
	if writable {
		fd, prot = f.fd, unix.PROT_READ|unix.PROT_WRITE
	}
	mem, err := unix.Mmap(fd, off, int(n), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.name, Err: err}
	}
	return mem, nil
}

func (f *dirFile) Unmap(p []byte) error { return unix.Munmap(p) }

func (f *dirFile) Dup(writable bool) (*os.File, error) {
	fd := f.ro
	if writable {
		fd = f.fd
	}
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "duplicate", Path: f.name, Err: err}
	}
	return os.NewFile(uintptr(n), f.name), nil
}

func (f *dirFile) Name() string { return f.name }

func (f *dirFile) Close() error {
	var errs []error
	for _, fd := range []*int{&f.fd, &f.ro, &f.direct} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}
