package guard

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftrun/weft/internal/id"
)

func taskID(n int) (t id.Task) {
	binary.BigEndian.PutUint32(t[12:], uint32(n))
	return t
}

func number(t id.Task) int { return int(binary.BigEndian.Uint32(t[12:])) }

// hand drives a machine from scripts. The limit is 1000 bytes, so that a
// permille is a byte.
type hand struct {
	m   *Machine
	now time.Duration
	fx  []Effect
}

// TestScripts runs the scripts in testdata.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		h := &hand{m: New(Options{})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := h.command(t, d)
			if err := h.m.Check(); err != nil {
				t.Errorf("%s: %v", d.Pos, err)
			}
			if out == "" {
				return "nothing\n"
			}
			return out
		})
	})
}

func (h *hand) command(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "guard":
		*h = hand{m: New(Options{MaxEnds: num(d, "max-ends", 0), MaxFunctions: num(d, "max-functions", 0)})}
		return "ok\n"
	case "wait":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		h.now += dur
		return fmt.Sprintf("%v\n", h.now)
	case "start", "end":
		h.step(h.taskEvent(d))
	case "sample":
		h.now += 250 * time.Millisecond
		h.step(&Event{Kind: Sampled, Sample: parseSample(t, d)})
	case "admit":
		v := h.m.Admit(h.now, parseFunction(d), int64(num(d, "declared", 0)))
		return fmt.Sprintf("%t: %v\n", v.OK, v)
	case "explain":
		return h.m.Explain() + "\n"
	case "stats":
		return fmt.Sprintf("%+v\n", h.m.Stats())
	case "story":
		return strings.Join(h.m.Story(taskID(num(d, "task", 0))), "\n") + "\n"
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	return h.print()
}

func (h *hand) step(ev *Event) { h.fx = h.m.Step(h.now, ev, h.fx[:0]) }

func (h *hand) print() string {
	var b strings.Builder
	for i := range h.fx {
		switch e := &h.fx[i]; e.Kind {
		case Pressure:
			fmt.Fprintf(&b, "level %v, %d of %d\n", e.Level, e.Used, e.Limit)
		case Target:
			fmt.Fprintf(&b, "store target %d\n", e.Bytes)
		case End:
			how := "end"
			if e.TooLarge {
				how = "end too large"
			}
			fmt.Fprintf(&b, "%s task %d.%d on worker %d\n  %s\n", how, number(e.Task), e.Attempt, e.Worker, e.Text)
		}
	}
	return b.String()
}

// taskEvent reads "start task=1 worker=2 f=name job=1 retriable=no shared declared=3 attempt=1".
func (h *hand) taskEvent(d *datadriven.TestData) *Event {
	ev := &Event{Kind: TaskStarted, Task: taskID(num(d, "task", 0)), Attempt: uint32(num(d, "attempt", 1)),
		Worker: id.Worker(num(d, "worker", 0)), Function: parseFunction(d), Retriable: !d.HasArg("once"),
		Shared: d.HasArg("shared"), Declared: int64(num(d, "declared", 0)), Bytes: int64(num(d, "peak", 0))}
	if d.Cmd == "end" {
		ev.Kind = TaskEnded
	}
	return ev
}

func parseFunction(d *datadriven.TestData) Function {
	return Function{Job: id.Job{byte(num(d, "job", 1))}, Name: str(d, "f", "f")}
}

// parseSample reads "sample store=1 node=2 available=3" and, line by line,
// "worker job bytes [name]".
func parseSample(t *testing.T, d *datadriven.TestData) Sample {
	s := Sample{Limit: int64(num(d, "limit", 1000)), Store: int64(num(d, "store", 0)), StoreLimit: 500,
		Node: int64(num(d, "node", 0)), Available: int64(num(d, "available", -1))}
	for line := range strings.Lines(d.Input) {
		var w Worker
		var job byte
		if n, err := fmt.Sscan(line, &w.ID, &job, &w.Bytes, &w.Name); n < 3 {
			t.Fatal(d.Pos, line, err)
		}
		w.Job = id.Job{job}
		s.Workers = append(s.Workers, w)
	}
	return s
}

func str(d *datadriven.TestData, key, def string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return def
}

func num(d *datadriven.TestData, key string, def int) int {
	n, err := strconv.Atoi(str(d, key, ""))
	if err != nil {
		return def
	}
	return n
}

func TestPeakRisesAtOnceAndSinksSlowly(t *testing.T) {
	fn := Function{Name: "f"}
	for _, tt := range []struct {
		name string
		runs []int64
		want int64
	}{
		{"unknown", nil, 0},
		{"first", []int64{160}, 160},
		{"rises at once", []int64{160, 320}, 320},
		{"sinks by a sixteenth", []int64{320, 160}, 310},
		{"one high run in ten keeps it up", []int64{320, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 180},
	} {
		m := New(Options{})
		for i, n := range tt.runs {
			m.Step(0, &Event{Kind: TaskStarted, Task: taskID(i), Attempt: 1, Function: fn}, nil)
			m.Step(0, &Event{Kind: TaskEnded, Task: taskID(i), Attempt: 1, Bytes: max(n, 1)}, nil)
		}
		got, runs := m.Peak(fn)
		if got < tt.want-5 || got > tt.want+5 || runs != uint64(len(tt.runs)) {
			t.Errorf("%s: %d after %d runs, want %d", tt.name, got, runs, tt.want)
		}
	}
}

func TestPeaksAreBounded(t *testing.T) {
	m := New(Options{MaxFunctions: 3})
	for i := range 10 {
		fn := Function{Name: strconv.Itoa(i)}
		m.peaks.learn(fn, 7)
		m.peaks.learn(Function{Name: "0"}, 9)
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{"0": 9, "9": 7, "8": 7, "7": 0} {
		if got, _ := m.Peak(Function{Name: name}); got != want {
			t.Errorf("peak of %s is %d, want %d", name, got, want)
		}
	}
}

func TestEndsAreBounded(t *testing.T) {
	e := ends{max: 2, count: map[id.Task]int{}}
	for i, want := range []int{1, 1, 2, 1, 1} {
		if got := e.add(taskID([]int{1, 2, 1, 3, 1}[i])); got != want {
			t.Errorf("step %d: %d, want %d", i, got, want)
		}
	}
	if len(e.count) != 2 || len(e.order) != 2 {
		t.Error(e)
	}
}

func TestNames(t *testing.T) {
	got := fmt.Sprintln(None, StopAdmitting, SpillObjects, EndTasks, Sampled, TaskStarted, TaskEnded, EventKind(9),
		Pressure, Target, End, EffectKind(9), Size(12), Size(2048), Size(3<<20), Size(5<<29))
	want := "none stop admitting spill objects end tasks sampled task-started task-ended event(9)" +
		" pressure target end effect(9) 12 bytes 2.0 KiB 3.0 MiB 2.5 GiB"
	if strings.TrimSpace(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
