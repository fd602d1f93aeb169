package actor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// TestScripts runs testdata/scripts/*: each command is an event, its output the
// effects. Actors are a1, a2, …; the call s2.7 is the 7th of session 2.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		e := &script{m: New(self, Options{Window: 4, Batch: 8})}
		datadriven.RunTest(t, path, e.run)
	})
}

type script struct {
	m   *Machine
	now time.Duration
	fx  []Effect
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.now += time.Millisecond
	switch d.Cmd {
	case "state":
		return s.state()
	case "why":
		why, on := s.m.Waiting(s.task(t, d))
		return s.pretty(fmt.Sprintf("%s\non %s\n", why, on))
	case "story":
		return s.pretty(strings.Join(s.m.Story(s.task(t, d)), "\n") + "\n")
	case "find":
		found, ok := s.m.Find("", d.CmdArgs[0].Key)
		return s.pretty(fmt.Sprintf("%v %v\n", found, ok))
	}
	ev := s.event(t, d)
	s.fx = s.m.Step(s.now, ev, s.fx[:0])
	if err := s.m.Check(); err != nil {
		t.Errorf("%s: %v", d.Pos, err)
	}
	return s.effects()
}

var kinds = map[string]EventKind{}

func init() {
	for k := Create; k <= Tick; k++ {
		kinds[k.String()] = k
	}
}

func (s *script) event(t *testing.T, d *datadriven.TestData) *Event {
	ev := &Event{Kind: kinds[d.Cmd], Job: id.Job{1}}
	if ev.Kind == 0 {
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	a := spec.Actor{Class: "Counter"}
	for _, arg := range d.CmdArgs {
		val := ""
		if len(arg.Vals) > 0 {
			val = arg.Vals[0]
		}
		n := 0
		fmt.Sscan(val, &n)
		switch arg.Key {
		case "actor":
			ev.Actor = actorID(val)
		case "task":
			ev.Task, ev.Session = callID(val)
		case "session":
			ev.Session = id.Session(n)
		case "node":
			ev.Node = id.Node{byte(n)}
		case "from":
			ev.From = id.Node{byte(n)}
		case "worker":
			ev.Worker = id.Worker(n)
		case "incarnation":
			ev.Incarnation = uint32(n)
		case "state":
			ev.State = State(n)
		case "n":
			ev.N = n
		case "job":
			ev.Job = id.Job{byte(n)}
		case "cause":
			ev.Cause = map[string]Cause{"worker": WorkerDied, "node": NodeDied, "left": NodeLeft, "unschedulable": Unschedulable}[val]
		case "no-restart":
			ev.NoRestart = true
		case "again":
			ev.Again = true
		case "ready":
			ev.ArgsReady = true
		case "restarts":
			a.MaxRestarts = n
		case "concurrency":
			a.Concurrency = n
		case "name":
			a.Name = val
		case "get":
			a.GetIfExists = true
		case "detached":
			a.Detached = true
		case "out-of-order":
			a.OutOfOrder = true
		case "max-pending":
			a.MaxPending = n
		default:
			d.Fatalf(t, "unknown argument %q", arg.Key)
		}
	}
	if ev.Kind == Create || ev.Kind == Told || ev.Kind == Adopt {
		ev.Spec = actorSpec(a)
	}
	return ev
}

func actorID(s string) id.Actor {
	var n uint64
	fmt.Sscanf(s, "a%d", &n)
	return taskID(9, n)
}

func callID(s string) (id.Task, id.Session) {
	var session id.Session
	var n uint64
	fmt.Sscanf(s, "s%d.%d", &session, &n)
	return taskID(session, n), session
}

func (s *script) task(_ *testing.T, d *datadriven.TestData) id.Task {
	key := d.CmdArgs[0].Key
	if strings.HasPrefix(key, "a") {
		return actorID(key)
	}
	task, _ := callID(key)
	return task
}

func (s *script) effects() string {
	var b strings.Builder
	for i := range s.fx {
		e := &s.fx[i]
		fmt.Fprintf(&b, "%s actor=%s", e.Kind, e.Actor)
		for _, f := range []struct {
			name string
			val  any
			show bool
		}{
			{"existing", e.Existing, !e.Existing.IsZero()}, {"task", e.Task, !e.Task.IsZero()},
			{"to", e.To, !e.To.IsZero()}, {"node", e.Node, !e.Node.IsZero()}, {"worker", e.Worker, e.Worker != 0},
			{"incarnation", e.Incarnation, e.Incarnation != 0}, {"n", e.N, e.N != 0},
			{"state", e.State, e.State != 0}, {"cause", "'" + e.Cause.String() + "'", e.Cause != 0},
			{"maybe-ran", "yes", e.MaybeRan}, {"force", "yes", e.Force},
		} {
			if f.show {
				fmt.Fprintf(&b, " %s=%v", f.name, f.val)
			}
		}
		b.WriteByte('\n')
	}
	if s.m.More() {
		b.WriteString("(more)\n")
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return s.pretty(b.String())
}

func (s *script) state() string {
	var b strings.Builder
	for _, i := range s.m.List(id.Actor{}, 100) {
		fmt.Fprintf(&b, "%s %s incarnation=%d restarts=%d handles=%d queued=%d sent=%d", i.Actor, i.State,
			i.Incarnation, i.Restarts, i.Handles, i.Queued, i.Sent)
		if i.Cause != NotDead {
			fmt.Fprintf(&b, " (%s)", i.Cause)
		}
		b.WriteByte('\n')
	}
	st := s.m.Stats()
	fmt.Fprintf(&b, "calls=%d sent=%d finished=%d\n", st.Calls, st.Sent, st.Finished)
	return s.pretty(b.String())
}

// pretty gives ids the names that scripts use.
func (s *script) pretty(text string) string {
	for n := uint64(1); n < 10; n++ {
		text = strings.ReplaceAll(text, taskID(9, n).String(), fmt.Sprintf("a%d", n))
		for session := id.Session(1); session < 9; session++ {
			text = strings.ReplaceAll(text, taskID(session, n).String(), fmt.Sprintf("s%d.%d", session, n))
		}
	}
	for n := byte(1); n < 10; n++ {
		text = strings.ReplaceAll(text, id.Node{n}.String(), fmt.Sprintf("n%d", n))
	}
	return strings.ReplaceAll(text, id.Task{}.String(), "nothing")
}
