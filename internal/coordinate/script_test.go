package coordinate

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftrun/weft/internal/spec"
)

// TestScripts runs the scripts in testdata. A command is an event, or one of
// world's; what it prints is effects.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(Options{})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.out.Reset()
			w.command(d)
			if err := w.m.Check(); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			if w.out.Len() == 0 {
				return "ok"
			}
			return w.out.String()
		})
	})
}

var kinds = map[string]EventKind{}

func init() {
	for k, n := range eventNames {
		kinds[n] = EventKind(k)
	}
}

func (w *world) command(d *datadriven.TestData) {
	switch d.Cmd {
	case "cluster": // of nodes with 4 CPUs each, all heard of and durable
		*w = *newWorld(Options{Fixed: has(d, "fixed"), Sample: number(d, "sample", 0)})
		w.elect()
		for _, n := range vals(d, "nodes") {
			w.step(&Event{Kind: Joined, Node: node(n), Figures: figures(4, 4)})
		}
		w.written(len(w.disk.queue))
		w.step(&Event{Kind: Tick})
		w.out.Reset()
	case "elect":
		w.elect()
	case "written":
		w.written(number(d, "n", len(w.disk.queue)))
	case "wait": // and hear of some nodes all the while
		end := w.now + duration(d)
		for w.now < end {
			w.now = min(end, w.now+attention)
			for _, n := range vals(d, "hear") {
				w.step(&Event{Kind: Heard, Node: node(n)})
			}
			w.step(&Event{Kind: Tick})
		}
	case "jump": // nobody steps the machine all the while
		w.now += duration(d)
	case "story":
		for _, line := range w.m.Story(task(arg(d, "of")), node(arg(d, "node"))) {
			fmt.Fprintln(&w.out, line)
		}
	case "show":
		w.show()
	default:
		w.step(w.event(d))
	}
}

func (w *world) show() {
	for _, n := range w.m.Nodes() {
		r, _ := w.m.Node(n)
		fmt.Fprintf(&w.out, "%s %s free=%v\n", nodeName(n), w.m.State(n), r.Figures.Free.Get("CPU"))
	}
	for _, g := range w.m.groupsIf(func(*group) bool { return true }) {
		r, why, _ := w.m.Group(g.Group)
		fmt.Fprintf(&w.out, "%s", taskName(r.Group))
		for _, at := range r.At {
			fmt.Fprintf(&w.out, " %q", nodeName(at))
		}
		fmt.Fprintf(&w.out, " why=%q\n", why)
	}
	for _, a := range w.m.actorsIf(func(*ActorRecord) bool { return true }) {
		fmt.Fprintf(&w.out, "%s/%d owner=%s host=%q\n", taskName(a.Actor), a.Incarnation, nodeName(a.Owner), nodeName(a.Host))
	}
}

func (w *world) event(d *datadriven.TestData) *Event {
	kind, ok := kinds[d.Cmd]
	if !ok {
		panic(d.Pos + ": unknown command " + d.Cmd)
	}
	ev := &Event{Kind: kind, Node: node(arg(d, "node")), Other: node(arg(d, "other")), Heir: node(arg(d, "heir")), Job: job(arg(d, "job")),
		Group: task(arg(d, "group")), Request: uint64(number(d, "request", 0)), Attempt: uint32(number(d, "attempt", 0)),
		Again: has(d, "again"), Get: has(d, "get"), OK: has(d, "ok"), Name: arg(d, "name")}
	if kind == Joined || has(d, "free") {
		ev.Figures = figures(float64(number(d, "total", 4)), float64(number(d, "free", 4)))
	}
	if has(d, "need") {
		need := cpus(float64(number(d, "need", 0)))
		ev.Need = &need
	}
	if has(d, "actor") {
		ev.Actor = &ActorRecord{Actor: task(arg(d, "actor")), Name: arg(d, "name"), Detached: has(d, "detached"), Owner: ev.Node,
			Incarnation: uint32(number(d, "incarnation", 0)), Host: node(arg(d, "host"))}
	}
	if has(d, "bundles") {
		layout := map[string]spec.PackKind{"": spec.Pack, "spread": spec.SpreadOut, "strict-pack": spec.StrictPack, "strict-spread": spec.StrictSpread}
		ev.Spec = groupOf(arg(d, "job"), layout[arg(d, "layout")], floats(vals(d, "bundles"))...)
	}
	for _, v := range vals(d, "holds") {
		g, b, _ := strings.Cut(v, "/")
		n, _ := strconv.Atoi(b)
		ev.Holds = append(ev.Holds, Held{task(g), n})
	}
	return ev
}

func vals(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

func has(d *datadriven.TestData, key string) bool { return d.HasArg(key) }

func arg(d *datadriven.TestData, key string) string {
	if v := vals(d, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func number(d *datadriven.TestData, key string, def int) int {
	if n, err := strconv.Atoi(arg(d, key)); err == nil {
		return n
	}
	return def
}

func floats(words []string) (out []float64) {
	for _, s := range words {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic(err)
		}
		out = append(out, f)
	}
	return out
}

func duration(d *datadriven.TestData) time.Duration {
	t, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		panic(err)
	}
	return t
}
