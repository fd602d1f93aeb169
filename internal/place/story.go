package place

import (
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// record is one event of a story.
type record struct {
	at    time.Duration
	task  id.Task
	node  id.Node
	lease uint64
	n     int32
	kind  EventKind
}

// story is a ring of what happened last.
type story struct {
	ring []record
	next int
}

func (s *story) happened(now time.Duration, ev *Event) {
	r := &s.ring[s.next]
	if s.next++; s.next == len(s.ring) {
		s.next = 0
	}
	r.at, r.task, r.node, r.lease, r.n, r.kind = now, ev.Task, ev.Node, ev.Lease, int32(ev.N), ev.Kind
}

// Story returns what recently happened to a task, oldest first.
func (m *Machine) Story(t id.Task) []string {
	var out []string
	for i := range m.story.ring {
		r := &m.story.ring[(m.story.next+i)%len(m.story.ring)]
		if r.kind == 0 || r.task != t {
			continue
		}
		s := fmt.Sprintf("%v %s", r.at, r.kind)
		if !r.node.IsZero() {
			s += fmt.Sprintf(" node=%s", r.node)
		}
		if r.lease != 0 {
			s += fmt.Sprintf(" lease=%d", r.lease)
		}
		out = append(out, s)
	}
	return out
}

var eventNames = [...]string{
	View: "view", NodeGone: "node-gone", Draining: "draining", Runnable: "runnable", Granted: "granted",
	Refused: "refused", Revoked: "revoked", Ended: "ended", Unqueue: "unqueue", GroupAt: "group-at", Recalled: "recalled", Tick: "tick",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

var effectNames = [...]string{
	Here: "here", Ask: "ask", Push: "push", GiveBack: "give-back", Infeasible: "infeasible", Waiting: "waiting", Recall: "recall",
}

func (k EffectKind) String() string {
	if int(k) < len(effectNames) && effectNames[k] != "" {
		return effectNames[k]
	}
	return fmt.Sprintf("effect(%d)", uint8(k))
}
