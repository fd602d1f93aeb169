package guard

import (
	"fmt"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// record is one event or effect.
type record struct {
	at      time.Duration
	task    id.Task
	worker  id.Worker
	attempt uint32
	name    string // of its kind
	level   Level
	bytes   int64
	used    int64
	limit   int64
}

// story is a ring of what happened last. Samples are not in it, only what
// followed from them.
type story struct {
	ring []record
	n    int
}

func (s *story) slot() *record {
	r := &s.ring[s.n%len(s.ring)]
	s.n++
	return r
}

func (s *story) event(now time.Duration, ev *Event) {
	*s.slot() = record{at: now, task: ev.Task, attempt: ev.Attempt, worker: ev.Worker, name: ev.Kind.String(), bytes: ev.Bytes}
}

func (s *story) did(now time.Duration, e *Effect) {
	*s.slot() = record{at: now, task: e.Task, attempt: e.Attempt, worker: e.Worker, name: e.Kind.String(),
		level: e.Level, bytes: e.Bytes, used: e.Used, limit: e.Limit}
}

// Story returns what recently happened to a task, or with the zero id to the
// node, oldest first.
func (m *Machine) Story(t id.Task) []string {
	var out []string
	s := &m.story
	for k := max(0, s.n-len(s.ring)); k < s.n; k++ {
		if r := &s.ring[k%len(s.ring)]; r.task == t {
			out = append(out, r.String())
		}
	}
	return out
}

func (r *record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s", r.at, r.name)
	if !r.task.IsZero() {
		fmt.Fprintf(&b, " attempt=%d", r.attempt)
	}
	if r.worker != 0 {
		fmt.Fprintf(&b, " worker=%d", r.worker)
	}
	if r.name == Pressure.String() {
		fmt.Fprintf(&b, " level=%q", r.level)
	} else if r.bytes > 0 || r.name == Target.String() {
		fmt.Fprintf(&b, " bytes=%d", r.bytes)
	}
	if r.limit > 0 {
		fmt.Fprintf(&b, " used=%d limit=%d", r.used, r.limit)
	}
	return b.String()
}
