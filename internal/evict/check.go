package evict

import (
	"fmt"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// Used returns the bytes of memory that are granted.
func (m *Machine) Used() int64 { return m.used }

// Stats is a moment of a machine. Sizes are bytes.
type Stats struct {
	Limit, Target      int64
	Used               int64 // granted: held, resident, being spilled or restored
	Waiting            int64 // asked for and not granted
	Spilling           int64
	Secondary          int64 // could be dropped at once
	Clean              int64 // could leave memory at once
	Dirty              int64 // could be spilled
	Objects, Producers int   // entries sealed; reservations waiting or held
	Stuck              bool  // nothing moves: new objects go to fallback files
}

// Stats returns the machine's figures.
func (m *Machine) Stats() Stats {
	return Stats{Limit: m.cfg.Limit, Target: m.target, Used: m.used, Waiting: m.waitingBytes, Spilling: m.spillingBytes,
		Secondary: m.lists[secondary].bytes, Clean: m.lists[clean].bytes + m.lists[awaited].bytes, Dirty: m.lists[dirty].bytes,
		Objects: len(m.objects), Producers: len(m.byRes), Stuck: m.stuck}
}

// Object is what the machine knows of an object.
type Object struct {
	State     State
	Bytes     int64
	Pins      int
	Secondary bool
	OnDisk    bool
	Freed     bool // nothing refers to it; it goes with its last pin
}

// Object returns what the machine knows of an object.
func (m *Machine) Object(o id.Object) (Object, bool) {
	i := m.objects[o]
	if i == 0 {
		return Object{}, false
	}
	e := &m.entries[i]
	return Object{State: e.state, Bytes: e.bytes, Pins: int(e.pins), Secondary: e.secondary, OnDisk: e.disk, Freed: e.doomed}, true
}

// Reservation returns where a reservation is in its life.
func (m *Machine) Reservation(r Res) State { return m.entries[m.byRes[r]].state }

// Check reports a broken invariant.
func (m *Machine) Check() error {
	var used, spilling, waiting, copied int64
	var inList [listCount]int64
	for i := range m.entries {
		e := &m.entries[i]
		if err := m.checkEntry(int32(i)); err != nil {
			return err
		}
		if e.state.inMemory() {
			used += e.bytes
			if e.disk {
				copied += e.bytes
			}
		}
		if e.state == Spilling {
			spilling += e.bytes
		}
		if e.state == Waiting {
			waiting += e.bytes
		}
		inList[e.list] += e.bytes
	}
	if used != m.used || spilling != m.spillingBytes || waiting != m.waitingBytes {
		return fmt.Errorf("evict: used %d, spilling %d, waiting %d; entries sum to %d, %d, %d",
			m.used, m.spillingBytes, m.waitingBytes, used, spilling, waiting)
	}
	if copied != m.copied {
		return fmt.Errorf("evict: %d bytes are on disk too; entries sum to %d", m.copied, copied)
	}
	if m.used > m.cfg.Limit {
		return fmt.Errorf("evict: used %d over the limit %d", m.used, m.cfg.Limit)
	}
	for l := secondary; l < listCount; l++ {
		if m.lists[l].bytes != inList[l] {
			return fmt.Errorf("evict: list %d has %d bytes, its entries %d", l, m.lists[l].bytes, inList[l])
		}
	}
	if i := m.first(); i != 0 && m.used+m.entries[i].bytes <= m.target {
		return fmt.Errorf("evict: reservation %d waits for %d bytes that are free", m.entries[i].res, m.entries[i].bytes)
	}
	return nil
}

func (m *Machine) checkEntry(i int32) error {
	e := &m.entries[i]
	switch {
	case e.state == Absent:
		return nil
	case e.pins < 0 || e.bytes < 0:
		return fmt.Errorf("evict: object %v has %d pins, %d bytes", e.object, e.pins, e.bytes)
	case e.list != m.listOf(e):
		return fmt.Errorf("evict: object %v, %v with %d pins, is in list %d", e.object, e.state, e.pins, e.list)
	case e.res != 0 && m.byRes[e.res] != i, e.res == 0 && m.objects[e.object] != i:
		return fmt.Errorf("evict: entry %d (%v) is not found by its name", i, e.state)
	case (e.state == Spilled || e.state == Mapped || e.state == Restoring) && !e.disk:
		return fmt.Errorf("evict: object %v is %v without a file", e.object, e.state)
	case e.doomed && e.pins == 0 && e.state != Spilling && e.state != Restoring:
		return fmt.Errorf("evict: object %v is freed and idle, but still %v", e.object, e.state)
	}
	return nil
}

// record is one line of the story.
type record struct {
	at      time.Duration
	kind    Kind
	ignored bool
	res     Res
	object  id.Object
	bytes   int64
}

// story is the last events and effects of the machine.
type story struct {
	ring [1024]record
	n    int
}

func (s *story) add(at time.Duration, r record) {
	r.at = at
	s.ring[s.n%len(s.ring)] = r
	s.n++
}

var kindNames = map[Kind]string{
	Reserve: "reserve", NoMemory: "no-memory", FallbackDone: "fallback-done", FallbackFailed: "fallback-failed",
	Abort: "abort", Seal: "seal", Pin: "pin", Unpin: "unpin", Free: "free", Promote: "promote", Demote: "demote", Prefetch: "prefetch",
	SpillDone: "spill-done", SpillFailed: "spill-failed", Restored: "restored", RestoreNoMemory: "restore-no-memory",
	RestoreFailed: "restore-failed", Target: "target", Tick: "tick",
	Grant: "-> grant", Fallback: "-> fallback", Fail: "-> fail", Release: "-> release", Drop: "-> drop",
	Evict: "-> evict", Spill: "-> spill", Restore: "-> restore", MapFile: "-> map-file",
}

func (k Kind) String() string { return kindNames[k] }

// Story returns the recent events and effects of an object, oldest first, as
// far as they are remembered.
func (m *Machine) Story(o id.Object) string {
	return m.story.print(func(r *record) bool { return r.object == o })
}

// StoryOf is Story for a reservation, until it is sealed.
func (m *Machine) StoryOf(r Res) string {
	return m.story.print(func(x *record) bool { return x.res == r })
}

func (s *story) print(wanted func(*record) bool) string {
	var b strings.Builder
	for k := max(0, s.n-len(s.ring)); k < s.n; k++ {
		r := &s.ring[k%len(s.ring)]
		if !wanted(r) {
			continue
		}
		fmt.Fprintf(&b, "%v %v %d bytes", r.at, r.kind, r.bytes)
		if r.ignored {
			b.WriteString(" (ignored)")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
