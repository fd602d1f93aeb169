package dispatch

import (
	"fmt"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// record is one event, or one Start, of a story.
type record struct {
	at      time.Duration
	task    id.Task
	lease   Lease
	worker  id.Worker
	attempt uint32
	n       int32
	kind    EventKind
	start   bool
}

// story is a ring of what happened last.
type story struct {
	ring []record
	next int
}

func (s *story) slot() *record {
	r := &s.ring[s.next]
	if s.next++; s.next == len(s.ring) {
		s.next = 0
	}
	return r
}

func (s *story) happened(now time.Duration, ev *Event) {
	r := s.slot()
	r.at, r.task, r.lease, r.worker, r.attempt, r.n, r.kind, r.start = now, ev.Task, ev.Lease, ev.Worker, ev.Attempt, int32(ev.N), ev.Kind, false
}

func (s *story) started(now time.Duration, x *Effect) {
	r := s.slot()
	r.at, r.task, r.lease, r.worker, r.attempt, r.n, r.start = now, x.Task, x.Lease, x.Worker, x.Attempt, int32(x.N), true
}

// Story returns what recently happened to a task, oldest first, including
// what happened to the leases and workers it was sent to.
func (m *Machine) Story(t id.Task) []string {
	leases := map[Lease]bool{}
	workers := map[id.Worker]bool{}
	var out []string
	for i := range m.story.ring {
		r := &m.story.ring[(m.story.next+i)%len(m.story.ring)]
		switch {
		case r.kind == 0 && !r.start:
			continue
		case r.task == t:
			if r.start {
				leases[r.lease], workers[r.worker] = true, true
			}
		case r.task.IsZero() && (leases[r.lease] || workers[r.worker]):
		default:
			continue
		}
		out = append(out, r.String())
	}
	return out
}

func (r *record) String() string {
	var b strings.Builder
	name := eventNames[r.kind]
	if r.start {
		name = "start"
	}
	fmt.Fprintf(&b, "%v %s", r.at, name)
	if !r.task.IsZero() {
		fmt.Fprintf(&b, " attempt=%d", r.attempt)
	}
	if r.lease != 0 {
		fmt.Fprintf(&b, " lease=%d", r.lease)
	}
	if r.worker != 0 {
		fmt.Fprintf(&b, " worker=%d", r.worker)
	}
	if r.n != 0 {
		fmt.Fprintf(&b, " n=%d", r.n)
	}
	return b.String()
}

var eventNames = [...]string{
	Enqueue: "enqueue", Finished: "finished", Begun: "begun", Blocked: "blocked", Unblocked: "unblocked",
	Unqueue: "unqueue", TakenBack: "taken-back", WorkerUp: "worker-up", WorkerGone: "worker-gone",
	SpawnFailed: "spawn-failed", Capacity: "capacity", Pressure: "pressure", Share: "share", JobEnd: "job-end",
	Reserve: "reserve", Unreserve: "unreserve", Request: "request", Extend: "extend", Return: "return",
	HolderGone: "holder-gone", Release: "release", Recall: "recall", Tick: "tick",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

var effectNames = [...]string{
	Start: "start", Spawn: "spawn", Retire: "retire", Revoke: "revoke", Infeasible: "infeasible",
	SetupFailed: "setup-failed", Reserved: "reserved", Unreservable: "unreservable", Grant: "grant",
	Refuse: "refuse", End: "end", Close: "close", Recalled: "recalled",
}

func (k EffectKind) String() string {
	if int(k) < len(effectNames) && effectNames[k] != "" {
		return effectNames[k]
	}
	return fmt.Sprintf("effect(%d)", uint8(k))
}
