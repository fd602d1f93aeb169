package actor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// stories keeps calls apart from lives, so that a flood of calls does not wash
// away why an actor restarted.
type stories struct{ lives, calls ring }

// ring is the last events of a kind.
type ring struct {
	ring []entry
	n    uint64
}

// entry is one event as far as a story tells it.
type entry struct {
	at          time.Duration
	actor, task id.Task
	node        id.Node
	worker      id.Worker
	session     id.Session
	incarnation uint32
	n           int32
	kind        EventKind
	cause       Cause
	again       bool
}

func newStories(n int) stories {
	return stories{lives: ring{ring: make([]entry, n)}, calls: ring{ring: make([]entry, n)}}
}

func (s *stories) add(now time.Duration, ev *Event) {
	switch ev.Kind {
	case Call, ArgsReady, Finished, CancelCall:
		s.calls.add(now, ev)
	default:
		s.lives.add(now, ev)
	}
}

func (s *ring) add(now time.Duration, ev *Event) {
	e := &s.ring[s.n&uint64(len(s.ring)-1)]
	s.n++
	e.at, e.kind, e.actor, e.task = now, ev.Kind, ev.Actor, ev.Task
	e.node, e.worker, e.session = ev.Node, ev.Worker, ev.Session
	e.incarnation, e.n, e.cause, e.again = ev.Incarnation, int32(ev.N), ev.Cause, ev.Again
}

// Story returns what happened to an actor or a call, oldest first, as far as
// it is remembered.
func (m *Machine) Story(of id.Task) []string {
	found := m.story.calls.of(of, m.story.lives.of(of, nil))
	slices.SortStableFunc(found, func(a, b *entry) int { return cmp.Compare(a.at, b.at) })
	out := make([]string, len(found))
	for i, e := range found {
		out[i] = e.String()
	}
	return out
}

func (s *ring) of(of id.Task, found []*entry) []*entry {
	size := uint64(len(s.ring))
	for i := s.n - min(s.n, size); i < s.n; i++ {
		if e := &s.ring[i%size]; e.actor == of || e.task == of {
			found = append(found, e)
		}
	}
	return found
}

func (e *entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s", e.at, e.kind)
	if !e.task.IsZero() {
		fmt.Fprintf(&b, " task=%s", e.task)
	}
	if e.incarnation != 0 {
		fmt.Fprintf(&b, " incarnation=%d", e.incarnation)
	}
	if !e.node.IsZero() {
		fmt.Fprintf(&b, " node=%s", e.node)
	}
	if e.worker != 0 {
		fmt.Fprintf(&b, " worker=%d", e.worker)
	}
	if e.session != 0 {
		fmt.Fprintf(&b, " session=%d", e.session)
	}
	if e.n != 0 {
		fmt.Fprintf(&b, " n=%+d", e.n)
	}
	if e.cause != NotDead {
		fmt.Fprintf(&b, " cause=%q", e.cause)
	}
	if e.again {
		b.WriteString(" again")
	}
	return b.String()
}
