package event

import (
	"fmt"
	"strings"
	"time"
)

// View is an Entry for people and programs: its fields by name and its time on
// the wall. It is what logs print and what the API and segments return.
type View struct {
	Time     time.Time     `json:"time"`
	Event    string        `json:"event"`           // the kind, such as task_done
	Count    int           `json:"count,omitempty"` // how many events it stands for, if more than itself
	ID       string        `json:"id,omitempty"`
	Name     string        `json:"name,omitempty"`
	Job      string        `json:"job,omitempty"`
	Worker   int           `json:"worker,omitempty"`
	Number   int           `json:"number,omitempty"`
	NumberIs string        `json:"number_is,omitempty"` // what Number is, such as attempt
	Cause    string        `json:"cause,omitempty"`
	Queued   time.Duration `json:"queued_ns,omitempty"` // from submission to start
	Ran      time.Duration `json:"ran_ns,omitempty"`
	Bytes    int64         `json:"bytes,omitempty"`
	Text     string        `json:"text,omitempty"`
}

// View returns e as people see it; its log began at start.
func (e *Entry) View(start time.Time) View {
	v := View{
		Time:   start.Add(e.At),
		Event:  e.Kind.bare().String(),
		ID:     e.ID.text(e.Kind.subject()),
		Name:   e.Label,
		Worker: int(e.Worker),
		Number: int(e.N),
		Cause:  e.Cause.String(),
		Queued: time.Duration(e.Queued) * time.Microsecond,
		Ran:    e.Ran,
		Bytes:  e.Bytes,
		Text:   e.Text,
	}
	if !e.Job.IsZero() {
		v.Job = e.Job.String()
	}
	if e.Kind&Counted != 0 {
		v.Count, v.Number = int(e.N), 0
	} else {
		v.NumberIs = e.Kind.numberIs()
	}
	return v
}

// numberIs says what a kind's N is; "" if it means nothing.
func (k Kind) numberIs() string {
	switch k {
	case TaskDone, TaskWaited, TaskMoved, TaskCancelled, TaskRetried, TaskFailed:
		return "attempt"
	case ActorAlive, ActorRestarting, ActorDead:
		return "incarnation"
	case WorkerStarted:
		return "pid"
	case WorkerExited:
		return "status"
	case SessionOpened, SessionClosed, Misbehaved:
		return "session"
	case NodePressure:
		return "level"
	case Gap:
		return "records"
	default:
		return ""
	}
}

// String is one line: time, event, what it is about, and the rest as key=value.
func (v View) String() string {
	var b strings.Builder
	b.WriteString(v.Time.Local().Format("2006-01-02 15:04:05.000000"))
	fmt.Fprintf(&b, "  %-16s", v.Event)
	for _, word := range v.words() {
		b.WriteString("  " + word)
	}
	if v.Text != "" {
		b.WriteString("  " + strings.ReplaceAll(strings.TrimSpace(v.Text), "\n", "\n    "))
	}
	return b.String()
}

func (v *View) words() []string {
	var words []string
	add := func(present bool, format string, args ...any) {
		if present {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(v.Count > 0, "%d×", v.Count)
	add(v.Name != "", "%s", v.Name)
	add(v.ID != "", "%s", v.ID)
	add(v.NumberIs == "attempt" && v.Number > 1 || v.NumberIs != "" && v.NumberIs != "attempt", "%s=%d", v.NumberIs, v.Number)
	add(v.Cause != "", "cause=%s", v.Cause)
	add(v.Worker != 0, "worker=%d", v.Worker)
	add(v.Job != "", "job=%s", v.Job)
	add(v.Queued != 0, "queued=%v", v.Queued)
	add(v.Ran != 0, "ran=%v", v.Ran)
	add(v.Bytes != 0, "bytes=%d", v.Bytes)
	return words
}
