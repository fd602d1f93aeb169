package store

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
)

func TestProducerDiesBeforeSealing(t *testing.T) {
	s, _ := open(t, nil)
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 7, Size: 12 * mib})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 2)
	s.Reserve(Request{Job: jobA, Session: 7, Size: 10 * mib}, func(_ Reservation, err error) { got <- err })
	s.Reserve(Request{Job: jobA, Session: 8, Size: 10 * mib}, func(_ Reservation, err error) { got <- err })
	s.EndSession(7)
	if err := <-got; !errors.Is(err, ErrEnded) {
		t.Errorf("the dead session's reservation: %v", err)
	}
	if err := <-got; err != nil {
		t.Errorf("the one behind it: %v", err)
	}
	if err := s.Seal(7, r.ID, oid(1), 1); err == nil {
		t.Error("a dead session sealed")
	}
	s.EndSession(8)
	s.workers.done.Wait()
	empty(t, s)
	if st := s.Stats().Slab; st.Slabs != 0 || st.Populated != 0 {
		t.Errorf("slabs of dead sessions: %v", st)
	}
}

func TestSealedObjectOutlivesItsProducer(t *testing.T) {
	s, _ := open(t, nil)
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 7, Size: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	want := content(1, 100_000)
	copy(r.At.Bytes, want)
	if err := s.Seal(7, r.ID, oid(1), 100_000); err != nil {
		t.Fatal(err)
	}
	s.EndSession(7)
	check(t, s, 1, want)
	empty(t, s, 1)
	if st := s.Stats().Slab; st.Slabs != 0 || st.Populated != 0 {
		t.Errorf("slabs of dead sessions: %v", st)
	}
}

func TestReaderDiesWithPins(t *testing.T) {
	s, _ := open(t, nil)
	put(t, s, 1, mib)
	for range 3 {
		pin(t, s, 9, 1)
	}
	s.Free(oid(1))
	if st := s.Stats(); st.Objects != 1 || st.Pins != 3 {
		t.Errorf("a pinned object was freed:\n%v", st)
	}
	s.EndSession(9)
	empty(t, s)
}

// TestEverythingPinned follows design §5, "Full", to its end.
func TestEverythingPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, func(c *Config) { c.DiskLimit = 10 * mib })
		task := id.NewTask(id.Node{0xaa}, 5)
		put(t, s, 1, 9*mib)
		put(t, s, 2, 3*mib)
		pin(t, s, 21, 1)
		pin(t, s, 22, 2)
		start := time.Now()
		want := put(t, s, 3, 8*mib)
		if waited := time.Since(start); waited < time.Second || waited > 2*time.Second {
			t.Errorf("waited %v before the fallback file", waited)
		}
		if at := check(t, s, 3, want); at.Kind != InFile || !at.File.OnDisk() {
			t.Errorf("object 3 is at %+v", at)
		}
		_, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Task: task, Size: 8 * mib, Local: true})
		full := &FullError{}
		if !errors.As(err, &full) {
			t.Fatalf("not a FullError: %v", err)
		}
		wantHolders := []Holder{{Session: 21, Object: oid(1), Bytes: 9 * mib}, {Session: 22, Object: oid(2), Bytes: 3 * mib}}
		if full.Asked != 8*mib || full.Limit != limit || full.Task != task || len(full.Holders) != 2 ||
			full.Holders[0] != wantHolders[0] || full.Holders[1] != wantHolders[1] {
			t.Errorf("%+v", full)
		}
		for _, part := range []string{task.String(), "aa00000000000000", s.cfg.Disk.Path(), "session 21", oid(2).String()} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not name %q: %v", part, err)
			}
		}
		s.Free(oid(3))
		s.EndSession(21)
		put(t, s, 4, 8*mib) // something moved: in memory again
		s.EndSession(22)
		empty(t, s, 1, 2, 3, 4)
	})
}

// TestFallbackForAnotherProcess checks the location it is sent.
func TestFallbackForAnotherProcess(t *testing.T) {
	s, _ := open(t, nil)
	r, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 7, Size: 20 * mib}) // larger than the store
	if err != nil {
		t.Fatal(err)
	}
	f, size, err := s.File(r.At.File, true)
	if err != nil {
		t.Fatal(err)
	}
	want := content(1, 20*mib)
	if _, err := f.WriteAt(want, r.At.Offset); err != nil || size < r.At.Offset+r.At.Size {
		t.Error(size, err)
	}
	f.Close()
	if err := s.Seal(7, r.ID, oid(1), 20*mib); err != nil {
		t.Fatal(err)
	}
	s.EndSession(7)
	check(t, s, 1, want)
	empty(t, s, 1)
}

func TestDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disk := open(t, nil)
		disk.set(func(d *faults) { d.noSpace = true })
		want := put(t, s, 1, 12*mib)
		_, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: 8 * mib, Local: true})
		full := &FullError{}
		if !errors.As(err, &full) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("not a FullError of ENOSPC: %v", err)
		}
		check(t, s, 1, want)
		disk.set(func(d *faults) { d.noSpace = false })
		time.Sleep(time.Second) // of the bubble: the disk is not asked more often
		put(t, s, 2, 8*mib)
		check(t, s, 1, want)
		empty(t, s, 1, 2)
	})
}

// TestSlowDisk has producers wait for as long as the disk moves something.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disk := open(t, nil)
		disk.set(func(d *faults) { d.before = func() { time.Sleep(10 * time.Second) } })
		want := put(t, s, 1, 12*mib)
		start := time.Now()
		put(t, s, 2, 8*mib)
		if st := s.Stats(); time.Since(start) != 10*time.Second || st.Fallback != 0 {
			t.Errorf("waited %v\n%v", time.Since(start), st)
		}
		check(t, s, 1, want)
		empty(t, s, 1, 2)
	})
}

func TestNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, func(c *Config) { c.Disk = nil })
		put(t, s, 1, 12*mib)
		_, err := s.ReserveWait(t.Context(), Request{Job: jobA, Session: 1, Size: 8 * mib, Local: true})
		if !errors.Is(err, errNoDisk) {
			t.Errorf("%v", err)
		}
		empty(t, s, 1)
	})
}

// spilled puts object 1 and makes the store spill it.
func spilled(t *testing.T, s *Store) []byte {
	t.Helper()
	want := put(t, s, 1, 6*mib)
	put(t, s, 2, 12*mib)
	if i, ok := s.Lookup(oid(1)); !ok || i.Policy.State != evict.Spilled || i.Where != InFile {
		t.Fatalf("object 1: %+v\n%s", i, s.Story(oid(1)))
	}
	return want
}

func TestCorruptSpillFile(t *testing.T) {
	for name, restore := range map[string]bool{"restored": true, "mapped": false} {
		t.Run(name, func(t *testing.T) {
			s, disk := open(t, nil)
			want := spilled(t, s)
			if restore {
				s.Free(oid(2))
			}
			disk.set(func(d *faults) { d.flip = true })
			_, err := s.PinWait(t.Context(), 2, oid(1))
			corrupt := &CorruptError{}
			if !errors.As(err, &corrupt) || corrupt.Object != oid(1) || !strings.Contains(corrupt.File, "spill-1") {
				t.Fatalf("not a CorruptError: %v", err)
			}
			disk.set(func(d *faults) { d.flip = false })
			check(t, s, 1, want)
			empty(t, s, 1, 2)
		})
	}
}

func TestUnreadableSpillFile(t *testing.T) {
	for name, restore := range map[string]bool{"restored": true, "mapped": false} {
		t.Run(name, func(t *testing.T) {
			s, disk := open(t, nil)
			spilled(t, s)
			if restore {
				s.Free(oid(2))
			}
			disk.set(func(d *faults) { d.readErr = syscall.EIO })
			_, err := s.PinWait(t.Context(), 2, oid(1))
			bad := &ReadError{}
			if !errors.As(err, &bad) || bad.Object != oid(1) || !errors.Is(err, syscall.EIO) {
				t.Errorf("not a ReadError: %v", err)
			}
			empty(t, s, 1, 2)
		})
	}
}

func TestReadersShareOneRestore(t *testing.T) {
	s, _ := open(t, nil)
	want := spilled(t, s)
	s.Free(oid(2))
	got := make(chan Location, 5)
	for n := range 5 {
		s.Pin(id.Session(30+n), oid(1), func(at Location, err error) {
			if err != nil && (n != 4 || !errors.Is(err, ErrEnded)) {
				t.Errorf("reader %d: %v", n, err)
			}
			got <- at
		})
	}
	s.EndSession(34) // its pin goes; its answer is an error or came before
	for range 5 {
		if at := <-got; at.Kind == InSlab && !bytes.Equal(at.Bytes, want) {
			t.Error("not what was put")
		}
	}
	if st := s.Stats(); st.Restored > 6*mib {
		t.Errorf("restored more than once:\n%v", st)
	}
	for n := range 4 {
		s.EndSession(id.Session(30 + n))
	}
	s.workers.done.Wait()
	empty(t, s, 1)
}

func TestPrefetch(t *testing.T) {
	moves := make(chan Move, 100)
	s, _ := open(t, func(c *Config) { c.Moved = func(m Move) { moves <- m } })
	want := spilled(t, s)
	s.Free(oid(2))
	s.Prefetch(oid(1), oid(2), oid(7)) // one that is on disk, one that is gone, one that never was
	s.workers.done.Wait()
	for _, back := range []bool{false, true} {
		if m := <-moves; m.Object != oid(1) || m.Job != jobA || m.Bytes != int64(len(want)) || m.Back != back {
			t.Errorf("told of %+v, want the way back to be %v", m, back)
		}
	}
	at, ok, err := s.TryPin(1, oid(1))
	if err != nil || !ok || at.Kind != InSlab || !bytes.Equal(at.Bytes, want) {
		t.Errorf("after a prefetch: %v in memory, %v, kind %v", ok, err, at.Kind)
	}
	s.EndSession(1)
	empty(t, s, 1)
}
