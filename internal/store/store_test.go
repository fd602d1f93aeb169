package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

func TestPutAndPin(t *testing.T) {
	s, _ := open(t, nil)
	for n, size := range []int{0, 1, slab.PageSize, slab.PageSize + 1, 100_000, 3 * mib} {
		data := put(t, s, n, size)
		if at := check(t, s, n, data); at.Kind != InSlab || at.Offset%64 != 0 {
			t.Errorf("%d bytes at %+v", size, at)
		}
	}
	empty(t, s, 0, 1, 2, 3, 4, 5)
}

func TestSealedMemoryIsReadOnly(t *testing.T) {
	s, _ := open(t, nil)
	put(t, s, 1, 100_000)
	at, ok, err := s.TryPin(2, oid(1))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	reader, _, err := s.File(at.File, false)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if m, err := slab.Map(int(reader.Fd()), at.Offset+at.Size, true); err == nil {
		t.Error("a reader's descriptor could be mapped writable", m.Close())
	}
	m, err := slab.Map(int(reader.Fd()), at.Offset+at.Size, false)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := m.Bytes(at.Offset, at.Size); err != nil || !bytes.Equal(b, at.Bytes) {
		t.Error("another mapping shows other bytes", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	empty(t, s, 1) // ends the sessions, and with them the pin
}

func TestSealShorter(t *testing.T) {
	s, _ := open(t, nil)
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: 4 * mib, Local: true})
	if err != nil {
		t.Fatal(err)
	}
	want := content(1, 5000)
	copy(r.At.Bytes, want)
	if err := s.Seal(1, r.ID, oid(1), 5000); err != nil {
		t.Fatal(err)
	}
	if used := s.Stats().Used; used != 2*slab.PageSize {
		t.Errorf("%d bytes are charged for 5000", used)
	}
	check(t, s, 1, want)
	empty(t, s, 1)
}

func TestGrow(t *testing.T) {
	s, _ := open(t, nil)
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: 100_000, Local: true})
	if err != nil {
		t.Fatal(err)
	}
	want := content(1, 2*mib)
	copy(r.At.Bytes, want)
	for _, size := range []int64{100_001, mib, 2 * mib} {
		got := make(chan error, 1)
		s.Grow(1, r.ID, size, func(n Reservation, err error) { r = n; got <- err })
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if r.At.Size != size || int64(len(r.At.Bytes)) != size || !bytes.Equal(r.At.Bytes[:100_000], want[:100_000]) {
			t.Fatalf("grown to %d: %d bytes at hand", size, len(r.At.Bytes))
		}
	}
	copy(r.At.Bytes, want)
	if err := s.Seal(1, r.ID, oid(1), 2*mib); err != nil {
		t.Fatal(err)
	}
	check(t, s, 1, want)
	got := make(chan error, 1)
	s.Grow(1, r.ID, 3*mib, func(_ Reservation, err error) { got <- err })
	if err := <-got; err == nil {
		t.Error("a sealed reservation grew")
	}
	empty(t, s, 1)
}

func TestWrongUse(t *testing.T) {
	s, _ := open(t, nil)
	put(t, s, 1, 100)
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: 100, Local: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"seal of another session's":  s.Seal(2, r.ID, oid(2), 100),
		"seal of more than reserved": s.Seal(1, r.ID, oid(2), 101),
		"second seal of an object":   s.Seal(1, r.ID, oid(1), 100),
		"abort of another session's": s.Abort(2, r.ID),
		"abort of nothing":           s.Abort(1, 999),
	} {
		if _, ok := errors.AsType[*ReservationError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Abort(1, r.ID); err != nil {
		t.Error(err)
	}
	var missing *NotFoundError
	if _, err := s.PinWait(t.Context(), 1, oid(77)); !errors.As(err, &missing) || missing.Object != oid(77) {
		t.Errorf("pin of an unknown object: %v", err)
	}
	if _, err := s.ReserveWait(t.Context(), Request{Size: -1}); err == nil {
		t.Error("a negative size was reserved")
	}
	empty(t, s, 1)
}

func TestBytesOnTheHeapSpillToo(t *testing.T) {
	s, _ := open(t, nil)
	want := map[int][]byte{}
	for n := range 400 { // 24 MiB of 60 KiB each in a store of 16
		want[n] = content(n, 60<<10)
		got := make(chan error, 1)
		s.PutBytes(Request{Job: jobA, Session: 1}, oid(n), want[n], func(err error) { got <- err })
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Spilled == 0 {
		t.Errorf("nothing was spilled:\n%v", st)
	}
	for n := range want {
		check(t, s, n, want[n])
		s.Free(oid(n))
	}
	empty(t, s)
}

// TestLiveDataThreeTimesTheStore is the row of that name, small.
func TestLiveDataThreeTimesTheStore(t *testing.T) {
	s, _ := open(t, func(c *Config) { c.SpillFile = 8 * mib })
	r := rand.New(rand.NewPCG(1, 2))
	want := map[int][]byte{}
	var objects []int
	for total := 0; total < 3*limit; {
		n, size := len(objects), 1+r.IntN(2*mib)
		want[n] = put(t, s, n, size)
		objects, total = append(objects, n), total+size
		back := r.IntN(len(objects))
		check(t, s, back, want[back])
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		n := r.IntN(len(objects))
		check(t, s, n, want[n])
	}
	st := s.Stats()
	if st.Spilled == 0 || st.Mapped+st.Restored == 0 || st.Fallback != 0 {
		t.Errorf("no use was made of the disk, or too much:\n%v", st)
	}
	r.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	empty(t, s, objects...)
	if _, err := s.PinWait(t.Context(), 1, oid(0)); err == nil {
		t.Error("a freed object could be pinned")
	}
}

func TestDiskSpaceIsGivenBack(t *testing.T) {
	s, _ := open(t, func(c *Config) { c.SpillFile = 64 * mib })
	for n := range 40 {
		put(t, s, n, mib)
	}
	for n := range 39 {
		s.Free(oid(n))
	}
	s.workers.done.Wait() // what punches
	s.mu.Lock()
	blocks := int64(0)
	for _, f := range s.disk.files {
		var st syscall.Stat_t
		if err := syscall.Fstat(f.f.(*faultFile).File.(*dirFile).fd, &st); err != nil {
			t.Error(err)
		}
		blocks += st.Blocks * 512
	}
	used := s.disk.used
	s.mu.Unlock()
	if blocks > used+mib || used > mib {
		t.Errorf("%d bytes of objects take %d on disk", used, blocks)
	}
	empty(t, s, 39)
}

func TestSecondaryCopiesAreDropped(t *testing.T) {
	var mu sync.Mutex
	var dropped []id.Object
	s, _ := open(t, func(c *Config) {
		c.Dropped = func(o id.Object) { mu.Lock(); dropped = append(dropped, o); mu.Unlock() }
	})
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: 10 * mib, Local: true, Secondary: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(1, r.ID, oid(1), 10*mib); err != nil {
		t.Fatal(err)
	}
	put(t, s, 2, 10*mib)
	mu.Lock()
	defer mu.Unlock()
	if len(dropped) != 1 || dropped[0] != oid(1) || s.Stats().Spilled != 0 {
		t.Errorf("dropped %v\n%v", dropped, s.Stats())
	}
	empty(t, s, 2)
}

func TestWarmPagesAreReused(t *testing.T) {
	s, _ := open(t, nil)
	put(t, s, 1, 3*mib)
	at := check(t, s, 1, content(1, 3*mib))
	s.Free(oid(1))
	put(t, s, 2, 3*mib-1000)
	if again := check(t, s, 2, content(2, 3*mib-1000)); again.File != at.File || again.Offset != at.Offset {
		t.Errorf("an object was at %d of slab %d, the next one of its size is at %d of %d", at.Offset, at.File, again.Offset, again.File)
	}
	empty(t, s, 2)
}

func TestTargetFreesMemory(t *testing.T) {
	s, _ := open(t, nil)
	for n := range 8 {
		put(t, s, n, mib)
	}
	s.SetTarget(4 * mib)
	s.workers.done.Wait()
	put(t, s, 8, mib)
	if resident, err := s.pool.Resident(); err != nil || s.Stats().Used > 4*mib {
		t.Errorf("%d bytes resident (%v)\n%v", resident, err, s.Stats())
	}
	s.SetTarget(limit)
	empty(t, s, 0, 1, 2, 3, 4, 5, 6, 7, 8)
}

func TestContextEndsWaiting(t *testing.T) {
	s, _ := open(t, nil)
	put(t, s, 1, 12*mib)
	pin(t, s, 2, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.EOF)
	if _, err := s.ReserveWait(ctx, Request{Job: jobA, Session: 1, Size: 8 * mib, Local: true}); !errors.Is(err, io.EOF) {
		t.Errorf("reserve: %v", err)
	}
	empty(t, s, 1)
}

func TestCloseFailsWhatWaits(t *testing.T) {
	s, _ := open(t, nil)
	put(t, s, 1, 12*mib)
	pin(t, s, 2, 1)
	got := make(chan error, 2)
	for range 2 {
		s.Reserve(Request{Job: jobA, Session: 3, Size: 8 * mib}, func(_ Reservation, err error) { got <- err })
	}
	s.Unpin(2, oid(1), 1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-got; err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := s.PinWait(t.Context(), 2, oid(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("pin after close: %v", err)
	}
}

func TestCloseNamesWhatIsInUse(t *testing.T) {
	dir, err := NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Limit: limit, Disk: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := put(t, s, 1, 100_000)
	at := pin(t, s, 2, 1)
	if err := s.Close(); err == nil {
		t.Error("closed with a pin and no error")
	}
	if !bytes.Equal(at.Bytes, want) {
		t.Error("a view changed when the store was closed")
	}
}

// TestConcurrentUse has producers and readers on a store a third the size of
// what they keep.
func TestConcurrentUse(t *testing.T) {
	s, _ := open(t, func(c *Config) { c.SpillFile = 4 * mib })
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			owner := id.Session(10 + w)
			defer s.EndSession(owner)
			job := []id.Job{jobA, jobB}[w%2]
			if err := churn(t.Context(), s, owner, job, w); err != nil {
				t.Errorf("session %d: %v", owner, err)
			}
		})
	}
	all.Wait()
	empty(t, s)
}

func churn(ctx context.Context, s *Store, owner id.Session, job id.Job, w int) error {
	r := rand.New(rand.NewPCG(uint64(w), 7))
	live := map[int]int{}
	for i := range 60 {
		n, size := w*1000+i, 1+r.IntN(mib)
		res, err := s.ReserveWait(ctx, Request{Job: job, Session: owner, Size: int64(size), Local: true})
		if err != nil {
			return err
		}
		copy(res.At.Bytes, content(n, size))
		if i%10 == 9 {
			if err := s.Abort(owner, res.ID); err != nil {
				return err
			}
			continue
		}
		if err := s.Seal(owner, res.ID, oid(n), int64(size)); err != nil {
			return err
		}
		live[n] = size
		if err := readOne(ctx, s, owner, live, w*1000+r.IntN(i+1)); err != nil {
			return err
		}
		if err := s.Check(); err != nil {
			return err
		}
	}
	for n := range live {
		s.Free(oid(n))
	}
	return nil
}

func readOne(ctx context.Context, s *Store, owner id.Session, live map[int]int, n int) error {
	if live[n] == 0 {
		return nil
	}
	at, err := s.PinWait(ctx, owner, oid(n))
	if err != nil {
		return err
	}
	if !bytes.Equal(at.Bytes, content(n, live[n])) {
		return fmt.Errorf("object %d (%v) is not what was put", n, at.Kind)
	}
	s.Unpin(owner, oid(n), 1)
	return nil
}
