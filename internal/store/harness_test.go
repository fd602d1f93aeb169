package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/weftrun/weft/internal/id"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mib   = 1 << 20
	limit = 16 * mib
)

var (
	jobA = id.Job{1}
	jobB = id.Job{2}
)

func oid(n int) (o id.Object) {
	o[0] = 0xaa
	binary.BigEndian.PutUint64(o[8:], uint64(n))
	return o
}

// content is an object's bytes, different for each object.
func content(n int, size int) []byte {
	b := make([]byte, size)
	r := rand.NewPCG(uint64(n), uint64(size))
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// faults is a Disk whose files can be made to fail.
type faults struct {
	Disk
	mu      sync.Mutex
	noSpace bool
	flip    bool // one bit of what is read is wrong
	readErr error
	before  func() // each write
}

func (d *faults) set(f func(d *faults)) { d.mu.Lock(); f(d); d.mu.Unlock() }

func (d *faults) state() (noSpace, flip bool, readErr error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.noSpace, d.flip, d.readErr
}

func (d *faults) Create(label string, size int64) (File, error) {
	f, err := d.Disk.Create(label, size)
	return &faultFile{File: f, d: d, copies: map[*byte]bool{}}, err
}

type faultFile struct {
	File
	d      *faults
	mu     sync.Mutex
	copies map[*byte]bool // "mappings" that are corrupt copies
}

func (f *faultFile) full(op string) error {
	if full, _, _ := f.d.state(); full {
		return &os.PathError{Op: op, Path: f.Name(), Err: syscall.ENOSPC}
	}
	return nil
}

func (f *faultFile) WriteVec(bufs [][]byte, off int64) error {
	if err := f.full("write"); err != nil {
		return err
	}
	f.d.mu.Lock()
	before := f.d.before
	f.d.mu.Unlock()
	if before != nil {
		before()
	}
	return f.File.WriteVec(bufs, off)
}

func (f *faultFile) Allocate(n int64) error {
	if err := f.full("allocate"); err != nil {
		return err
	}
	return f.File.Allocate(n)
}

func (f *faultFile) ReadAt(p []byte, off int64) error {
	_, flip, err := f.d.state()
	if err == nil {
		err = f.File.ReadAt(p, off)
	}
	if flip {
		p[len(p)/2] ^= 1
	}
	return err
}

func (f *faultFile) Map(off, n int64, writable bool) ([]byte, error) {
	_, flip, err := f.d.state()
	if err != nil {
		return nil, err
	}
	mem, err := f.File.Map(off, n, writable)
	if err != nil || !flip {
		return mem, err
	}
	bad := bytes.Clone(mem)
	bad[n/2] ^= 1
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copies[&bad[0]] = true
	return bad, f.File.Unmap(mem)
}

func (f *faultFile) Unmap(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.copies[&p[0]] {
		return nil
	}
	return f.File.Unmap(p)
}

// descriptors counts this process's open descriptors of memfds and files.
func descriptors(t testing.TB) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to[0] == '/' && to[1] != 'd' && to[1] != 'p' {
			n++
		}
	}
	return n
}

// open makes a store whose every trace must be gone when the test ends.
func open(t testing.TB, change func(*Config)) (*Store, *faults) {
	t.Helper()
	before := descriptors(t)
	dir, err := NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	disk := &faults{Disk: dir}
	cfg := Config{Node: id.Node{0xaa}, Limit: limit, Disk: disk}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Check(), s.Close()); err != nil {
			t.Error(err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
	return s, disk
}

// put seals an object with content of its own and returns that.
func put(t testing.TB, s *Store, n, size int) []byte {
	t.Helper()
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: int64(size), Local: true})
	if err != nil {
		t.Fatal(err)
	}
	data := content(n, size)
	copy(r.At.Bytes, data)
	if err := s.Seal(1, r.ID, oid(n), int64(size)); err != nil {
		t.Fatal(err)
	}
	return data
}

// check reads an object and compares it.
func check(t testing.TB, s *Store, n int, want []byte) (at Location) {
	t.Helper()
	at, err := s.PinWait(t.Context(), 2, oid(n))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(at.Bytes, want) {
		t.Errorf("object %d (%v at %d of file %d) is not what was put", n, at.Kind, at.Offset, at.File)
	}
	s.Unpin(2, oid(n), 1)
	return at
}

// empty frees objects and expects nothing to be left.
func empty(t testing.TB, s *Store, objects ...int) {
	t.Helper()
	for _, n := range objects {
		s.Free(oid(n))
	}
	s.EndSession(1)
	s.EndSession(2)
	s.workers.done.Wait()
	st := s.Stats()
	if st.Used != 0 || st.Objects != 0 || st.Pins != 0 || st.DiskUsed != 0 || len(st.Sessions) != 0 || st.Slab.Live != 0 {
		t.Errorf("left over:\n%v\n%+v", st, s.Objects())
	}
}

func pin(t testing.TB, s *Store, owner id.Session, n int) Location {
	t.Helper()
	at, err := s.PinWait(t.Context(), owner, oid(n))
	if err != nil {
		t.Fatal(err)
	}
	return at
}
