package evict

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

// shell is a model of the store: it runs the effects on plain maps and holds
// them to the rules that the machine promises.
type shell struct {
	t   *rapid.T
	m   *Machine
	now time.Duration

	limit   int64
	memory  map[id.Object]int64 // sealed and in memory
	disk    map[id.Object]bool
	held    map[Res]int64 // granted, in memory
	placed  map[Res]bool  // granted, in a file
	waiting []Res         // of each job in order
	jobOf   map[Res]id.Job
	pins    map[id.Object]int
	freed   map[id.Object]bool
	known   []id.Object
	todo    []Effect // effects to be answered: Spill, Restore, Fallback
	next    int
}

func (s *shell) step(ev Event) {
	for _, f := range s.m.Step(s.now, ev, nil) {
		s.effect(f)
	}
	if err := s.m.Check(); err != nil {
		s.t.Fatalf("%v after %v", err, ev.Kind)
	}
	used := int64(0)
	for _, n := range s.memory {
		used += n
	}
	for _, n := range s.held {
		used += n
	}
	if used > s.limit || used > s.m.Used() {
		s.t.Fatalf("%d bytes in memory, machine says %d, limit %d", used, s.m.Used(), s.limit)
	}
}

func (s *shell) effect(f Effect) {
	switch f.Kind {
	case Grant:
		s.served(f.Res)
		s.held[f.Res] = f.Bytes
	case Fallback:
		s.served(f.Res)
		s.todo = append(s.todo, f)
	case Fail:
	case Drop, Release:
		if s.pins[f.Object] > 0 || (f.Kind == Release && !s.freed[f.Object]) {
			s.t.Fatalf("%v of object %v with %d pins, freed: %v", f.Kind, f.Object, s.pins[f.Object], s.freed[f.Object])
		}
		s.gone(f.Object)
	case Evict:
		if s.pins[f.Object] > 0 || !s.disk[f.Object] {
			s.t.Fatalf("evict of object %v with %d pins, on disk: %v", f.Object, s.pins[f.Object], s.disk[f.Object])
		}
		delete(s.memory, f.Object)
	case Spill, Restore:
		s.todo = append(s.todo, f)
	}
}

// served checks that a job's reservations are served in order.
func (s *shell) served(r Res) {
	for i, w := range s.waiting {
		if w == r {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return
		}
		if s.jobOf[w] == s.jobOf[r] {
			s.t.Fatalf("reservation %d served before %d of the same job", r, w)
		}
	}
}

func (s *shell) gone(o id.Object) {
	delete(s.memory, o)
	delete(s.disk, o)
	delete(s.pins, o)
	for i, k := range s.known {
		if k == o {
			s.known = append(s.known[:i], s.known[i+1:]...)
		}
	}
}

func (s *shell) reserve(t *rapid.T) {
	s.next++
	r := Res(s.next)
	s.jobOf[r] = jobID(rapid.IntRange(1, 3).Draw(t, "job"))
	s.waiting = append(s.waiting, r)
	s.step(Event{Kind: Reserve, Res: r, Job: s.jobOf[r], Bytes: rapid.Int64Range(0, 60).Draw(t, "bytes"),
		Secondary: rapid.Bool().Draw(t, "secondary")})
}

func (s *shell) seal(t *rapid.T) {
	for r := range Res(s.next + 1) {
		n, inMemory := s.held[r]
		if !inMemory && !s.placed[r] {
			continue
		}
		delete(s.held, r)
		delete(s.placed, r)
		if rapid.IntRange(0, 3).Draw(t, "abort") == 0 {
			s.step(Event{Kind: Abort, Res: r})
			return
		}
		o := obj(int(r))
		s.known = append(s.known, o)
		keep := rapid.Int64Range(0, n).Draw(t, "keep")
		if inMemory {
			s.memory[o] = keep
		}
		s.step(Event{Kind: Seal, Res: r, Object: o, Bytes: keep})
		return
	}
}

func (s *shell) abortWaiting(*rapid.T) {
	if len(s.waiting) == 0 {
		return
	}
	r := s.waiting[len(s.waiting)-1]
	s.waiting = s.waiting[:len(s.waiting)-1]
	s.step(Event{Kind: Abort, Res: r})
}

func (s *shell) pin(t *rapid.T) {
	if o, ok := s.any(t); ok && (!s.freed[o] || s.pins[o] > 0) {
		s.pins[o]++
		s.step(Event{Kind: Pin, Object: o})
	}
}

func (s *shell) hint(t *rapid.T) {
	if o, ok := s.any(t); ok {
		s.step(Event{Kind: rapid.SampledFrom([]Kind{Prefetch, Demote}).Draw(t, "hint"), Object: o})
	}
}

func (s *shell) unpin(t *rapid.T) {
	if o, ok := s.any(t); ok && s.pins[o] > 0 {
		s.pins[o]--
		s.step(Event{Kind: Unpin, Object: o})
	}
}

func (s *shell) free(t *rapid.T) {
	if o, ok := s.any(t); ok {
		s.freed[o] = true
		s.step(Event{Kind: Free, Object: o})
	}
}

func (s *shell) any(t *rapid.T) (o id.Object, ok bool) {
	if len(s.known) == 0 {
		return o, false
	}
	return rapid.SampledFrom(s.known).Draw(t, "object"), true
}

// answer completes one of the effects that take time, in any order.
func (s *shell) answer(t *rapid.T) {
	if len(s.todo) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.todo)-1).Draw(t, "which")
	f := s.todo[i]
	s.todo = append(s.todo[:i], s.todo[i+1:]...)
	s.complete(f, rapid.IntRange(0, 3).Draw(t, "failure") > 0)
}

func (s *shell) complete(f Effect, ok bool) {
	switch {
	case f.Kind == Spill && ok:
		s.disk[f.Object] = true
		s.step(Event{Kind: SpillDone, Object: f.Object})
	case f.Kind == Spill:
		s.step(Event{Kind: SpillFailed, Object: f.Object})
	case f.Kind == Restore && ok:
		s.memory[f.Object] = f.Bytes
		s.step(Event{Kind: Restored, Object: f.Object})
	case f.Kind == Restore:
		s.step(Event{Kind: RestoreNoMemory, Object: f.Object})
	case ok:
		s.placed[f.Res] = true
		s.step(Event{Kind: FallbackDone, Res: f.Res})
	default:
		s.step(Event{Kind: FallbackFailed, Res: f.Res})
	}
}

func (s *shell) wait(t *rapid.T) {
	s.now += time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond
	s.step(Event{Kind: Tick})
}

// TestMachineAgainstModel runs random programs and then checks that nobody
// waits for ever and that nothing is left when everything is released.
func TestMachineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &shell{t: t, limit: 100, m: New(Config{Limit: 100, Batch: 20}),
			memory: map[id.Object]int64{}, disk: map[id.Object]bool{}, held: map[Res]int64{}, placed: map[Res]bool{},
			jobOf: map[Res]id.Job{}, pins: map[id.Object]int{}, freed: map[id.Object]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": s.reserve, "seal": s.seal, "abort": s.abortWaiting, "pin": s.pin, "hint": s.hint, "unpin": s.unpin,
			"free": s.free, "answer": s.answer, "wait": s.wait,
		})
		s.finish()
	})
}

// settle answers everything that is under way.
func (s *shell) settle() {
	for len(s.todo) > 0 {
		f := s.todo[0]
		s.todo = s.todo[1:]
		s.complete(f, true)
	}
}

func (s *shell) finish() {
	for s.settle(); len(s.waiting) > 0; s.settle() {
		at, ok := s.m.Deadline()
		if !ok {
			s.t.Fatalf("reservations %v wait and no tick is due", s.waiting)
		}
		s.now = max(s.now, at)
		s.step(Event{Kind: Tick})
	}
	for r := range Res(s.next + 1) {
		delete(s.held, r)
		s.step(Event{Kind: Abort, Res: r})
	}
	s.settle()
	for len(s.known) > 0 {
		o := s.known[0]
		s.freed[o] = true
		for s.pins[o] > 0 {
			s.pins[o]--
			s.step(Event{Kind: Unpin, Object: o})
		}
		s.step(Event{Kind: Free, Object: o})
		s.settle()
	}
	if st := s.m.Stats(); st.Used != 0 || st.Objects != 0 || st.Producers != 0 || len(s.m.byJob) != 0 {
		s.t.Fatalf("left over: %+v, %d jobs", st, len(s.m.byJob))
	}
}
