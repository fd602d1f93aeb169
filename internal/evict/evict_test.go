package evict

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// hand drives a machine by hand and keeps what it asked for.
type hand struct {
	t   *testing.T
	m   *Machine
	now time.Duration
}

func newHand(t *testing.T, limit int64) *hand {
	return &hand{t: t, m: New(Config{Limit: limit, Batch: limit / 2})}
}

func obj(n int) (o id.Object) {
	binary.BigEndian.PutUint32(o[12:], uint32(n))
	return o
}

func jobID(n int) id.Job { return id.Job{byte(n)} }

// step feeds an event and compares the effects, printed as "kind number".
func (h *hand) step(ev Event, want ...string) {
	h.t.Helper()
	var got []string
	for _, f := range h.m.Step(h.now, ev, nil) {
		n := uint64(f.Res)
		if f.Object != (id.Object{}) {
			n = uint64(binary.BigEndian.Uint32(f.Object[12:]))
		}
		got = append(got, strings.TrimPrefix(fmt.Sprintf("%v %d", f.Kind, n), "-> "))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%v: effects %v, want %v\n%s", ev.Kind, got, want, h.m.Story(ev.Object))
	}
	if err := h.m.Check(); err != nil {
		h.t.Fatal(err)
	}
}

// put makes object n of the given bytes, which must fit.
func (h *hand) put(n int, bytes int64) {
	h.t.Helper()
	h.step(Event{Kind: Reserve, Res: Res(n), Bytes: bytes}, fmt.Sprint("grant ", n))
	h.step(Event{Kind: Seal, Res: Res(n), Object: obj(n), Bytes: bytes})
}

func TestFreedObjectGoesWithItsLastPin(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 60)
	h.step(Event{Kind: Pin, Object: obj(1)})
	h.step(Event{Kind: Pin, Object: obj(1)})
	h.step(Event{Kind: Free, Object: obj(1)})
	h.step(Event{Kind: Unpin, Object: obj(1)})
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 50})
	h.step(Event{Kind: Unpin, Object: obj(1)}, "release 1", "grant 2")
}

func TestSecondaryCopiesAreDroppedFirst(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 50)
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 50, Secondary: true}, "grant 2")
	h.step(Event{Kind: Seal, Res: 2, Object: obj(2), Bytes: 50})
	h.step(Event{Kind: Reserve, Res: 3, Bytes: 40}, "drop 2", "grant 3")
}

func TestPromotedCopyIsSpilled(t *testing.T) {
	h := newHand(t, 100)
	h.step(Event{Kind: Reserve, Res: 1, Bytes: 80, Secondary: true}, "grant 1")
	h.step(Event{Kind: Seal, Res: 1, Object: obj(1), Bytes: 80})
	h.step(Event{Kind: Promote, Object: obj(1)})
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 40}, "spill 1")
	h.step(Event{Kind: SpillDone, Object: obj(1)}, "evict 1", "grant 2")
}

func TestLeastRecentlyUsedIsSpilledFirst(t *testing.T) {
	h := newHand(t, 100)
	h.m.cfg.Batch = 1
	for n := range 4 {
		h.put(n+1, 25)
	}
	h.step(Event{Kind: Pin, Object: obj(1)})
	h.step(Event{Kind: Unpin, Object: obj(1)}) // now the most recent
	h.step(Event{Kind: Demote, Object: obj(4)})
	h.step(Event{Kind: Reserve, Res: 5, Bytes: 20}, "spill 4")
	h.step(Event{Kind: SpillDone, Object: obj(4)}, "evict 4", "grant 5")
}

func TestPinnedWhileSpillingStays(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 100)
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 10}, "spill 1")
	h.step(Event{Kind: Pin, Object: obj(1)})
	h.step(Event{Kind: SpillDone, Object: obj(1)})
	h.step(Event{Kind: Unpin, Object: obj(1)}, "evict 1", "grant 2")
}

func TestFreedWhileSpillingIsReleasedAfter(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 100)
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 10}, "spill 1")
	h.step(Event{Kind: Free, Object: obj(1)})
	h.step(Event{Kind: SpillDone, Object: obj(1)}, "release 1", "grant 2")
}

func TestReaderOfSpilledObject(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 60)
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 60}, "spill 1")
	h.step(Event{Kind: SpillDone, Object: obj(1)}, "evict 1", "grant 2")
	h.step(Event{Kind: Pin, Object: obj(1)}, "map-file 1") // no room: read where it is
	h.step(Event{Kind: Unpin, Object: obj(1)})
	h.step(Event{Kind: Abort, Res: 2})
	h.step(Event{Kind: Pin, Object: obj(1)}, "restore 1")
	h.step(Event{Kind: RestoreNoMemory, Object: obj(1)}, "map-file 1")
	h.step(Event{Kind: Unpin, Object: obj(1)})
	h.step(Event{Kind: Pin, Object: obj(1)}, "restore 1")
	h.step(Event{Kind: Restored, Object: obj(1)})
	h.step(Event{Kind: Unpin, Object: obj(1)})
	h.step(Event{Kind: Reserve, Res: 3, Bytes: 60}, "evict 1", "grant 3") // on disk already
}

// back has object n, which is on disk, brought back: by a reader or ahead of one.
func (h *hand) back(k Kind, n int, want ...string) {
	h.t.Helper()
	h.step(Event{Kind: k, Object: obj(n)}, append(want, fmt.Sprint("restore ", n))...)
	h.step(Event{Kind: Pin, Object: obj(n)}) // of who restores it
	h.step(Event{Kind: Restored, Object: obj(n)})
	h.step(Event{Kind: Unpin, Object: obj(n)})
}

// onDisk makes n objects of 20 bytes which are on disk only.
func (h *hand) onDisk(n int) {
	h.t.Helper()
	for i := range n {
		h.put(i+1, 20)
	}
	h.m.Step(h.now, Event{Kind: Reserve, Res: 100, Bytes: 100}, nil)
	for i := range n {
		h.m.Step(h.now, Event{Kind: SpillDone, Object: obj(i + 1)}, nil)
	}
	h.step(Event{Kind: Abort, Res: 100})
	h.now += time.Hour // nobody waited lately
}

func TestReadAhead(t *testing.T) {
	h := &hand{t: t, m: New(Config{Limit: 100, Batch: 20})}
	h.onDisk(5)
	h.put(6, 40)
	h.back(Prefetch, 1)
	h.back(Prefetch, 2)
	h.back(Prefetch, 3)
	h.step(Event{Kind: Prefetch, Object: obj(4)}) // nothing that is awaited goes for it
	h.step(Event{Kind: Pin, Object: obj(1)})
	h.step(Event{Kind: Unpin, Object: obj(1)}) // it was read
	h.back(Prefetch, 4, "evict 1")
	h.back(Pin, 5, "evict 2") // for a reader it does
}

func TestWhatWasReadOnceGoesFirst(t *testing.T) {
	h := newHand(t, 100)
	h.onDisk(5)
	h.put(6, 40)
	for i := range 3 {
		h.back(Pin, i+1)
		h.step(Event{Kind: Unpin, Object: obj(i + 1)})
	}
	h.step(Event{Kind: Pin, Object: obj(3)}) // again
	h.step(Event{Kind: Unpin, Object: obj(3)})
	h.back(Pin, 4, "evict 2")
	h.step(Event{Kind: Unpin, Object: obj(4)})
	h.back(Pin, 5, "evict 4")
}

func TestReadingWritesNothing(t *testing.T) {
	h := newHand(t, 100)
	h.onDisk(3)
	h.m.Step(h.now, Event{Kind: Free, Object: obj(3)}, nil)
	h.put(4, 60)
	h.back(Pin, 1)
	h.step(Event{Kind: Pin, Object: obj(2)}, "restore 2") // no "spill 4", though the pins leave no room
}

func TestRestoreTakesNothingFromProducers(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 60)
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 60}, "spill 1")
	h.step(Event{Kind: SpillDone, Object: obj(1)}, "evict 1", "grant 2")
	h.step(Event{Kind: Reserve, Res: 3, Bytes: 100})
	h.step(Event{Kind: Pin, Object: obj(1)}, "map-file 1")
}

func TestWhenNothingMoves(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 80)
	h.step(Event{Kind: Pin, Object: obj(1)})
	h.now = 5 * time.Second
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 40})
	if at, ok := h.m.Deadline(); !ok || at != 6*time.Second {
		t.Errorf("deadline %v, %v; want 6s", at, ok)
	}
	h.now = 6*time.Second - 1
	h.step(Event{Kind: Tick})
	h.now = 6 * time.Second
	h.step(Event{Kind: Tick}, "fallback 2")
	h.step(Event{Kind: Reserve, Res: 3, Bytes: 40}, "fallback 3") // no second of its own
	h.step(Event{Kind: Reserve, Res: 4, Bytes: 20}, "grant 4")
	h.step(Event{Kind: FallbackDone, Res: 2})
	h.step(Event{Kind: FallbackFailed, Res: 3}, "fail 3")
	h.step(Event{Kind: Seal, Res: 2, Object: obj(2), Bytes: 30})
	h.step(Event{Kind: Pin, Object: obj(2)})
	h.step(Event{Kind: Free, Object: obj(2)})
	h.step(Event{Kind: Unpin, Object: obj(2)}, "release 2")
	h.step(Event{Kind: Reserve, Res: 5, Bytes: 40})       // that was room on disk, but something moved
	h.step(Event{Kind: Unpin, Object: obj(1)}, "spill 1") // movement
	h.step(Event{Kind: SpillFailed, Object: obj(1)})      // the disk is full
	h.step(Event{Kind: Reserve, Res: 6, Bytes: 1})        // behind 5
	h.now = 7 * time.Second                               // patience is over, as is the pause before another try
	h.step(Event{Kind: Tick}, "spill 1")                  // tried again
	h.step(Event{Kind: SpillFailed, Object: obj(1)}, "fallback 5", "fallback 6")
}

func TestTooLargeForTheStore(t *testing.T) {
	h := newHand(t, 100)
	h.step(Event{Kind: Reserve, Res: 1, Bytes: 101}, "fallback 1")
}

func TestNoMemoryFallsBack(t *testing.T) {
	h := newHand(t, 100)
	h.step(Event{Kind: Reserve, Res: 1, Bytes: 50}, "grant 1")
	h.step(Event{Kind: NoMemory, Res: 1}, "fallback 1")
	h.step(Event{Kind: Abort, Res: 1})
}

func TestJobsShareByBytes(t *testing.T) {
	h := newHand(t, 100)
	h.step(Event{Kind: Reserve, Res: 1, Job: jobID(1), Bytes: 100}, "grant 1")
	for n := range 3 {
		h.step(Event{Kind: Reserve, Res: Res(10 + n), Job: jobID(1), Bytes: 40})
	}
	for n := range 3 {
		h.step(Event{Kind: Reserve, Res: Res(20 + n), Job: jobID(2), Bytes: 20})
	}
	h.step(Event{Kind: Abort, Res: 1}, "grant 20", "grant 21", "grant 22", "grant 10")
}

func TestLargeReservationIsNotOvertaken(t *testing.T) {
	h := newHand(t, 100)
	h.step(Event{Kind: Reserve, Res: 1, Bytes: 50}, "grant 1")
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 90})
	h.step(Event{Kind: Reserve, Res: 3, Bytes: 10})
	h.step(Event{Kind: Abort, Res: 1}, "grant 2", "grant 3")
}

func TestTargetLowersAdmission(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 60)
	h.step(Event{Kind: Target, Bytes: 50}, "spill 1")
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 10})
	h.step(Event{Kind: SpillDone, Object: obj(1)}, "evict 1", "grant 2")
	h.step(Event{Kind: Reserve, Res: 3, Bytes: 45})
	h.step(Event{Kind: Target, Bytes: 100}, "grant 3")
}

func TestBadEventsChangeNothing(t *testing.T) {
	h := newHand(t, 100)
	h.put(1, 10)
	h.step(Event{Kind: Reserve, Res: 2, Bytes: 10}, "grant 2")
	for _, ev := range []Event{
		{Kind: Seal, Res: 2, Object: obj(1), Bytes: 10}, // there already
		{Kind: Seal, Res: 2, Object: obj(2), Bytes: 11}, // more than reserved
		{Kind: Seal, Res: 9, Object: obj(2)},
		{Kind: Reserve, Res: 2, Bytes: 1},
		{Kind: Reserve, Res: 3, Bytes: -1},
		{Kind: Unpin, Object: obj(1)},
		{Kind: Pin, Object: obj(7)},
		{Kind: SpillDone, Object: obj(1)},
		{Kind: Restored, Object: obj(1)},
		{Kind: FallbackDone, Res: 2},
	} {
		before := h.m.Stats()
		h.step(ev)
		if after := h.m.Stats(); after != before {
			t.Errorf("%+v changed %+v to %+v", ev, before, after)
		}
	}
	if story := h.m.Story(obj(7)); !strings.Contains(story, "pin 0 bytes (ignored)") {
		t.Errorf("story of an unknown object: %q", story)
	}
}

// BenchmarkStep is the life of an object that has room, and of one that makes
// room by spilling another.
func BenchmarkStep(b *testing.B) {
	b.Run("roomy", func(b *testing.B) { benchmarkStep(b, 1<<30) })
	b.Run("spilling", func(b *testing.B) { benchmarkStep(b, 1000) })
}

func benchmarkStep(b *testing.B, limit int64) {
	const window = 2000
	m := New(Config{Limit: limit, Batch: 16})
	var effects []Effect
	steps, pending := 0, []id.Object{}
	step := func(ev Event) {
		effects = m.Step(time.Duration(steps), ev, effects[:0])
		steps++
		for _, f := range effects {
			if f.Kind == Spill {
				pending = append(pending, f.Object)
			}
		}
	}
	round := func(n int) {
		o := obj(n)
		step(Event{Kind: Reserve, Res: Res(n), Bytes: 1})
		for k := 0; k < len(pending); k++ {
			step(Event{Kind: SpillDone, Object: pending[k]})
		}
		pending = pending[:0]
		step(Event{Kind: Seal, Res: Res(n), Object: o, Bytes: 1})
		step(Event{Kind: Pin, Object: o})
		step(Event{Kind: Unpin, Object: o})
		if n > window {
			step(Event{Kind: Free, Object: obj(n - window)})
		}
	}
	n := 0
	for ; n < 3*window; n++ {
		round(n + 1)
	}
	steps = 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		round(n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/step")
}
