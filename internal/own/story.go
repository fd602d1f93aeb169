package own

import (
	"fmt"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// Entry is one line of a Story: an event (Effect is 0) or an effect.
type Entry struct {
	At      time.Duration
	Event   EventKind
	Effect  EffectKind
	Msg     MsgKind
	Fault   Fault
	Task    id.Task
	Index   uint32 // of the object, if it is about one
	Attempt uint32
	Node    id.Node
	N       int32
}

func (m *Machine) noteEvent(ev *Event) {
	if ev.Kind == Tick {
		return
	}
	e := m.entry()
	*e = Entry{At: m.now, Event: ev.Kind, Task: ev.Task, Attempt: ev.Attempt, Node: ev.Node, N: int32(ev.N)}
	switch {
	case ev.Kind == Failed:
		e.Fault = ev.Fault
	case ev.Kind == Peer:
		e.Msg, e.Attempt, e.N = ev.Msg.Kind, ev.Msg.Attempt, int32(ev.Msg.N)
		e.about(ev.Msg.Task, ev.Msg.Object)
	case ev.Kind == Item:
		e.Index = ev.Return.Object.Index()
	case ev.Task.IsZero():
		e.about(ev.Task, ev.Object)
	}
}

// noteEffect records the effects that a reader could not derive from events.
func (m *Machine) noteEffect(f *Effect) {
	switch f.Kind {
	case Runnable, Ready, ItemReady, Forget, Credit:
		if f.Gone == Present {
			return
		}
	default:
	}
	e := m.entry()
	*e = Entry{At: m.now, Effect: f.Kind, Attempt: f.Attempt, Node: f.Node, N: int32(f.N), Fault: f.Fault}
	if f.Msg != nil {
		e.Msg = f.Msg.Kind
	}
	e.about(f.Task, f.Object)
}

// entry makes room for the next entry.
func (m *Machine) entry() *Entry {
	r := &m.story
	if len(r.buf) < r.limit {
		r.buf = append(r.buf, Entry{})
		return &r.buf[len(r.buf)-1]
	}
	e := &r.buf[r.next]
	if r.next++; r.next == r.limit {
		r.next = 0
	}
	return e
}

func (e *Entry) about(t id.Task, o id.Object) {
	if e.Task = t; t.IsZero() {
		e.Task, e.Index = o.Task(), o.Index()
	}
}

// Story returns recent events and effects about t and its objects, oldest first.
func (m *Machine) Story(t id.Task) []Entry {
	var out []Entry
	for i := range m.story.buf {
		if e := m.story.at(i); e.Task == t {
			out = append(out, *e)
		}
	}
	return out
}

func (e Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v ", e.At)
	if e.Effect != 0 {
		fmt.Fprintf(&b, "-> %v", e.Effect)
	} else {
		fmt.Fprintf(&b, "%v", e.Event)
	}
	if e.Msg != 0 {
		fmt.Fprintf(&b, " %v", e.Msg)
	}
	if e.Index != 0 {
		fmt.Fprintf(&b, " [%d]", e.Index)
	}
	if e.Attempt != 0 {
		fmt.Fprintf(&b, " attempt %d", e.Attempt)
	}
	if e.Fault != 0 {
		fmt.Fprintf(&b, " %v", e.Fault)
	}
	if e.N != 0 {
		fmt.Fprintf(&b, " n=%d", e.N)
	}
	if !e.Node.IsZero() {
		fmt.Fprintf(&b, " node %v", e.Node)
	}
	return b.String()
}
