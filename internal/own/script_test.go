package own

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// TestScripts runs the scripts in testdata. Each command is an event of the
// node that its task or object names, unless on= names another.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t, Options{}, "A", "B", "C")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.t = t
			w.out.Reset()
			w.command(d)
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
	case "world":
		n, _ := strconv.Atoi(arg(d, "lineage", "0"))
		*w = *newWorld(w.t, Options{LineageBytes: int64(n)}, "A", "B", "C")
	case "deliver":
		if len(d.CmdArgs) == 2 {
			w.deliver(node(d.CmdArgs[0].Key), node(d.CmdArgs[1].Key))
			return
		}
		w.deliverAll()
	case "show":
		w.show(d)
	case "story":
		for _, e := range w.nodes[on(d)].Story(parseTask(d.CmdArgs[0].Key)) {
			fmt.Fprintf(&w.out, "%s\n", e)
		}
	case "drain":
		to := node(arg(d, "to", ""))
		recs, fx, err := w.nodes[on(d)].Drain(to, nil)
		if err != nil {
			fmt.Fprintf(&w.out, "error: %v\n", err)
			return
		}
		w.run(on(d), fx)
		w.step(to, &Event{Kind: Adopt, Node: on(d), Records: recs})
	case "kill":
		dead := node(d.CmdArgs[0].Key)
		delete(w.nodes, dead)
		for _, n := range w.names() {
			w.step(n, &Event{Kind: NodeDead, Node: dead})
		}
	case "leave":
		left := node(d.CmdArgs[0].Key)
		delete(w.nodes, left)
		for _, n := range w.names() {
			w.step(n, &Event{Kind: Heir, Node: left, To: node(arg(d, "to", ""))})
		}
	default:
		w.event(d)
	}
}

func arg(d *datadriven.TestData, key, def string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			if len(a.Vals) == 0 {
				return "true"
			}
			return a.Vals[0]
		}
	}
	return def
}

func objects(d *datadriven.TestData, key string) (out []id.Object) {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			for _, v := range a.Vals {
				out = append(out, parseObject(v))
			}
		}
	}
	return out
}

// on returns the node that the command is about.
func on(d *datadriven.TestData) id.Node {
	if n := arg(d, "on", ""); n != "" {
		return node(n)
	}
	return node(d.CmdArgs[0].Key[:1])
}

func number(d *datadriven.TestData, key string, def int) int {
	n, err := strconv.Atoi(arg(d, key, strconv.Itoa(def)))
	if err != nil {
		panic(fmt.Sprintf("%s: %s: %v", d.Pos, key, err))
	}
	return n
}

func (w *world) event(d *datadriven.TestData) {
	kind, ok := kinds[d.Cmd]
	if !ok {
		panic(d.Pos + ": unknown command " + d.Cmd)
	}
	ev := Event{Kind: kind, Attempt: uint32(number(d, "attempt", 1)), N: number(d, "n", 0),
		Force: arg(d, "force", "") != "", Recursive: arg(d, "recursive", "") != "",
		Bytes: int64(number(d, "bytes", 0)), Args: objects(d, "args"), Inner: objects(d, "inner")}
	if name := d.CmdArgs[0].Key; strings.Contains(name, ".") {
		ev.Task, ev.Object = parseTask(name), parseObject(name)
		ev.Session, _ = id.SplitSeq(ev.Task.Seq())
	}
	ev.Session = id.Session(number(d, "session", int(ev.Session)))
	ev.Node = node(arg(d, "node", nodeName(on(d))))
	switch kind {
	case Submit:
		w.fillSubmit(d, &ev)
	case Hold, Drop:
		ev.N = max(ev.N, 1)
	case Put, Share, Item:
		ev.Return = ret(d, ev.Object)
	case Done:
		for i, v := range vals(d, "returns") {
			ev.Returns = append(ev.Returns, parseReturn(ev.Task.Return(uint32(i)), v))
		}
		if in := objects(d, "inner"); len(in) > 0 {
			ev.Returns[0].Inner = in
		}
	case Failed:
		ev.Fault = fault(arg(d, "fault", ""))
		if looked := arg(d, "looked", ""); looked != "" {
			ev.To = node(looked)
		}
		if lost := objects(d, "lost"); len(lost) > 0 {
			ev.Object = lost[0]
		} else {
			ev.Object = id.Object{}
		}
	}
	w.step(on(d), &ev)
}

func (w *world) fillSubmit(d *datadriven.TestData, ev *Event) {
	ev.Unshared = arg(d, "unshared", "") != ""
	if p := arg(d, "parent", ""); p != "" {
		ev.Parent = parseTask(p)
		ev.ParentAttempt = uint32(number(d, "pattempt", 1))
	}
	s := &spec.Task{Function: "f", Returns: number(d, "returns", 1), MaxRetries: number(d, "retries", 3),
		RetryErrors: arg(d, "retry-errors", "") != "", Stream: arg(d, "stream", "") != "",
		WindowItems: number(d, "window", 0)}
	switch arg(d, "kind", "") {
	case "create":
		s.Kind = spec.KindCreate
		s.Actor = &spec.Actor{Detached: arg(d, "detached", "") != ""}
	case "method":
		s.Kind = spec.KindMethod
	}
	if s.Stream {
		s.Returns = 0
	}
	if err := s.Seal(); err != nil {
		panic(err)
	}
	ev.Spec = s
}

func vals(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

// ret makes a Return from at=, size= and inner=.
func ret(d *datadriven.TestData, o id.Object) Return {
	r := parseReturn(o, arg(d, "at", "inline"))
	r.Size = int64(number(d, "size", 10))
	r.Inner = objects(d, "inner")
	return r
}

// parseReturn reads "inline" or a node's name.
func parseReturn(o id.Object, s string) Return {
	if s == "inline" {
		return Return{Object: o, Size: 10}
	}
	return Return{Object: o, Where: AtNode, Node: node(s), Size: 1000}
}

func fault(s string) Fault {
	for i, n := range faultNames {
		if n != "" && strings.ReplaceAll(n, " ", "-") == s {
			return Fault(i)
		}
	}
	panic("unknown fault " + s)
}

// show prints what a node knows: of a task, of an object, or everything.
func (w *world) show(d *datadriven.TestData) {
	m := w.nodes[on(d)]
	name := d.CmdArgs[0].Key
	if strings.Contains(name, "/") {
		o := parseObject(name)
		s := m.Known(o)
		fmt.Fprintf(&w.out, "is=%d gone=%v %s\n", s.Is, s.Gone, s.Why)
		for _, n := range m.Locations(o, nil) {
			fmt.Fprintf(&w.out, "at %s\n", nodeName(n))
		}
		h := m.Refs(o)
		for _, s := range h.Sessions {
			fmt.Fprintf(&w.out, "session %d holds %d\n", s.Session, s.N)
		}
		for _, n := range h.Nodes {
			fmt.Fprintf(&w.out, "node %s holds %d via=%s subscribed=%v\n", nodeName(n.Node), n.N, nodeName(n.Via), n.Subscribed)
		}
		for _, t := range h.Tasks {
			fmt.Fprintf(&w.out, "task %s\n", taskName(t))
		}
		for _, t := range h.Lineage {
			fmt.Fprintf(&w.out, "lineage %s\n", taskName(t))
		}
		for _, t := range h.Outer {
			fmt.Fprintf(&w.out, "outer %s\n", objectName(t))
		}
		return
	}
	fmt.Fprintf(&w.out, "%+v\n", m.Stats())
	for _, t := range m.Tasks(id.Task{}, 100) {
		fmt.Fprintf(&w.out, "%s %v attempt=%d missing=%d failed=%v lineage=%v\n", taskName(t.Task), t.State, t.Attempt, t.Missing, t.Failed, t.Lineage)
	}
	for _, o := range m.Objects(id.Task{}, 100) {
		fmt.Fprintf(&w.out, "%s is=%d refs=%d\n", objectName(o.Object), o.Status.Is, o.Refs)
	}
}
