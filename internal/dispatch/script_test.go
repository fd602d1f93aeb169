package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// TestScripts runs testdata/*.txt. Each line of a command's input is an
// event; the output is its effects.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{m: New(Options{}), specs: map[string]*spec.Task{}, leases: map[id.Task]Lease{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "run" {
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				s.line(t, strings.Fields(line), &out)
				if err := s.m.Check(); err != nil {
					t.Fatalf("%s: %s: %v", d.Pos, line, err)
				}
			}
			if out.Len() == 0 {
				return "nothing\n"
			}
			return out.String()
		})
	})
}

type script struct {
	m      *Machine
	now    time.Duration
	specs  map[string]*spec.Task
	leases map[id.Task]Lease // where a task was started last
}

// args are the words of a line: name=value after the first.
type args map[string]string

func parse(words []string) args {
	a := args{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		a[k] = v
	}
	return a
}

func (a args) int(name string, or int) int {
	if v, ok := a[name]; ok {
		fmt.Sscan(v, &or)
	}
	return or
}

func (a args) amount(name string) resource.Amount {
	var f float64
	fmt.Sscan(a[name], &f)
	return resource.Amount(f * float64(resource.Unit))
}

func (a args) vector() resource.Vector {
	v := resource.Vector{CPU: a.amount("cpu"), GPU: a.amount("gpu")}
	v.Set("disk", a.amount("disk"))
	return v
}

func (a args) class() Class {
	_, iso := a["isolated"]
	return Class{Job: id.Job{byte(a.int("job", 1))}, Isolated: iso}
}

func (a args) dur(name string) time.Duration {
	d, _ := time.ParseDuration(a[name])
	return d
}

func node(n int) id.Node { return id.Node{0xa0 + byte(n)} }

var eventKinds = map[string]EventKind{}

func init() {
	for k, name := range eventNames {
		eventKinds[name] = EventKind(k)
	}
}

func (s *script) line(t *testing.T, w []string, out *strings.Builder) {
	a := parse(w[1:])
	switch w[0] {
	case "spec":
		s.spec(t, w[1], a)
		return
	case "wait":
		s.now += a.dur("for")
		s.step(Event{Kind: Tick}, out)
		return
	case "why":
		r, ok := s.m.Waiting(taskID(a.int("task", 0)))
		fmt.Fprintf(out, "%v %v\n", ok, r)
		return
	case "story":
		fmt.Fprintln(out, strings.Join(s.m.Story(taskID(a.int("task", 0))), "\n"))
		return
	case "free":
		fmt.Fprintln(out, s.m.Free())
		return
	case "stats":
		fmt.Fprintf(out, "%+v\n", s.m.Stats())
		return
	}
	kind, ok := eventKinds[w[0]]
	if !ok {
		t.Fatalf("unknown event %q", w[0])
	}
	ev := Event{Kind: kind, Task: taskID(a.int("task", 0)), Attempt: uint32(a.int("attempt", 0)), Worker: id.Worker(a.int("worker", 0)),
		Class: a.class(), Group: taskID(900 + a.int("group", 0)), Bundle: a.int("bundle", 0), N: a.int("n", 0), Ran: int64(a.dur("ran")),
		Spec: s.specs[a["spec"]], Total: a.vector(), Node: node(a.int("node", 0))}
	_, ev.NoWait = a["nowait"]
	if n, ok := a["lease"]; ok {
		ev.Lease = s.lease(n)
	}
	if kind == Finished {
		ev.Lease = s.leases[ev.Task]
	}
	for f := range strings.SplitSeq(a["tasks"], ",") {
		var n int
		if _, err := fmt.Sscan(f, &n); err == nil {
			ev.Tasks = append(ev.Tasks, taskID(n))
		}
	}
	s.step(ev, out)
	if kind == Enqueue { // several in a row: n more
		for i := 1; i < a.int("count", 1); i++ {
			ev.Task = taskID(a.int("task", 0) + i)
			s.step(ev, out)
		}
	}
}

// lease finds a lease by its running number.
func (s *script) lease(n string) (l Lease) {
	var seq uint64
	fmt.Sscan(n, &seq)
	for _, o := range s.m.leases.at {
		if uint64(o.id)>>slotBits == seq {
			return o.id
		}
	}
	return Lease(seq << slotBits)
}

func (s *script) spec(t *testing.T, name string, a args) {
	_, iso := a["isolated"]
	sp := &spec.Task{Job: id.Job{byte(a.int("job", 1))}, Function: name, Resources: a.vector(), Priority: a.int("priority", 0), Isolated: iso}
	if _, ok := a["actor"]; ok {
		sp.Kind = spec.KindCreate
	}
	if g, ok := a["group"]; ok && g != "" {
		sp.Strategy = spec.Strategy{Kind: spec.InGroup, Group: taskID(900 + a.int("group", 0)), Bundle: a.int("bundle", -1)}
	}
	if err := sp.Seal(); err != nil {
		t.Fatal(err)
	}
	s.specs[name] = sp
}

func (s *script) step(ev Event, out *strings.Builder) {
	for _, x := range s.m.Step(s.now, &ev, nil) {
		fmt.Fprintf(out, "%v", x.Kind)
		if !x.Task.IsZero() {
			fmt.Fprintf(out, " task=%d", x.Task.Seq())
		}
		if x.Attempt > 0 {
			fmt.Fprintf(out, " attempt=%d", x.Attempt)
		}
		if x.Lease != 0 {
			fmt.Fprintf(out, " lease=%d", x.Lease>>slotBits)
		}
		if x.Worker != 0 {
			fmt.Fprintf(out, " worker=%d", x.Worker)
		}
		switch x.Kind {
		case Start:
			s.leases[x.Task] = x.Lease
			if x.N > 0 {
				fmt.Fprintf(out, " behind=%d", x.N)
			}
		case Spawn, SetupFailed:
			fmt.Fprintf(out, " job=%d isolated=%v", x.Class.Job[0], x.Class.Isolated)
		case Infeasible, Unreservable:
			fmt.Fprintf(out, " %s: asked %v, have %v", x.Resource, x.Asked, x.Have)
		case Reserved:
			fmt.Fprintf(out, " group=%d bundle=%d", x.Group.Seq()-900, x.Bundle)
		case Grant, End:
			fmt.Fprintf(out, " node=%d", x.Node[0]-0xa0)
		case Refuse:
			fmt.Fprintf(out, " node=%d n=%d %s", x.Node[0]-0xa0, x.N, x.Resource)
		}
		out.WriteByte('\n')
	}
}
