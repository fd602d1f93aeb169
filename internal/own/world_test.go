package own

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// world is a few owners and the ordered links between them.
type world struct {
	t     reporter
	nodes map[id.Node]*Machine
	links map[[2]id.Node][]Msg
	opts  Options
	out   strings.Builder
	trace bool                       // print events too
	seen  func(n id.Node, f *Effect) // called for each effect
}

func newWorld(t reporter, opts Options, names ...string) *world {
	w := &world{t: t, nodes: map[id.Node]*Machine{}, links: map[[2]id.Node][]Msg{}, opts: opts}
	for _, n := range names {
		w.nodes[node(n)] = New(node(n), opts)
	}
	return w
}

// reporter is what tests and properties have in common.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func node(name string) (n id.Node) { copy(n[:], name); return n }

func nodeName(n id.Node) string {
	if n.IsZero() {
		return "-"
	}
	return strings.TrimRight(string(n[:]), "\x00")
}

func taskName(t id.Task) string {
	if t.IsZero() {
		return "-"
	}
	s, n := id.SplitSeq(t.Seq())
	return fmt.Sprintf("%s%d.%d", nodeName(t.Owner()), s, n)
}

func objectName(o id.Object) string { return fmt.Sprintf("%s/%d", taskName(o.Task()), o.Index()) }

// parseTask reads "A1.5": node A, session 1, number 5.
func parseTask(s string) id.Task {
	s, _, _ = strings.Cut(s, "/")
	dot := strings.IndexByte(s, '.')
	ses, err1 := strconv.Atoi(s[1:dot])
	n, err2 := strconv.Atoi(s[dot+1:])
	if err1 != nil || err2 != nil {
		panic("not a task: " + s)
	}
	return id.NewTask(node(s[:1]), id.Seq(id.Session(ses), uint64(n)))
}

// parseObject reads "A1.5/0", or "A1.5" for its return 0.
func parseObject(s string) id.Object {
	t, idx, _ := strings.Cut(s, "/")
	i, _ := strconv.Atoi(idx)
	return parseTask(t).Return(uint32(i))
}

func (w *world) step(n id.Node, ev *Event) {
	w.t.Helper()
	if w.trace {
		fmt.Fprintf(&w.out, "%s\n", describeEvent(n, ev))
	}
	w.run(n, w.nodes[n].Step(0, ev, nil))
}

// run carries out effects: messages go on their links.
func (w *world) run(n id.Node, fx []Effect) {
	w.t.Helper()
	for i := range fx {
		f := &fx[i]
		if f.Kind == Send {
			l := [2]id.Node{n, f.Node}
			w.links[l] = append(w.links[l], *f.Msg)
		}
		fmt.Fprintf(&w.out, "%s\n", describe(n, f))
		if w.seen != nil {
			w.seen(n, f)
		}
	}
	if err := w.nodes[n].Check(); err != nil {
		w.t.Fatalf("node %s: %v\n%s", nodeName(n), err, w.out.String())
	}
}

// deliver hands over the first message of the link, if there is one.
func (w *world) deliver(from, to id.Node) bool {
	w.t.Helper()
	l := [2]id.Node{from, to}
	if len(w.links[l]) == 0 {
		return false
	}
	msg := w.links[l][0]
	w.links[l] = w.links[l][1:]
	if w.nodes[to] != nil {
		fmt.Fprintf(&w.out, "%s->%s %s\n", nodeName(from), nodeName(to), describeMsg(&msg))
		w.step(to, &Event{Kind: Peer, Node: from, Msg: &msg})
	}
	return true
}

func (w *world) names() []id.Node {
	var ns []id.Node
	for n := range w.nodes {
		ns = append(ns, n)
	}
	sort.Slice(ns, func(i, j int) bool { return string(ns[i][:]) < string(ns[j][:]) })
	return ns
}

// deliverAll delivers until no message is on its way.
func (w *world) deliverAll() {
	w.t.Helper()
	for again := true; again; {
		again = false
		for _, a := range w.names() {
			for _, b := range w.names() {
				again = w.deliver(a, b) || again
			}
		}
	}
}

func describeEvent(n id.Node, ev *Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s %v %s %s node=%s session=%d attempt=%d", nodeName(n), ev.Kind, taskName(ev.Task), objectName(ev.Object), nodeName(ev.Node), ev.Session, ev.Attempt)
	for _, o := range ev.Args {
		fmt.Fprintf(&b, " arg=%s", objectName(o))
	}
	for _, o := range append(ev.Inner, ev.Return.Inner...) {
		fmt.Fprintf(&b, " inner=%s", objectName(o))
	}
	for _, r := range ev.Returns {
		fmt.Fprintf(&b, " return=%s", describeWhere(r.Where, r.Node))
		for _, o := range r.Inner {
			fmt.Fprintf(&b, " inner=%s", objectName(o))
		}
	}
	return b.String()
}

func describe(n id.Node, f *Effect) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", nodeName(n), f.Kind)
	if f.Kind == Send {
		fmt.Fprintf(&b, " %s %s", nodeName(f.Node), describeMsg(f.Msg))
		return b.String()
	}
	if !f.Task.IsZero() {
		fmt.Fprintf(&b, " %s", taskName(f.Task))
	}
	if !f.Object.IsZero() {
		fmt.Fprintf(&b, " %s", objectName(f.Object))
	}
	if f.Attempt != 0 {
		fmt.Fprintf(&b, " attempt=%d", f.Attempt)
	}
	if f.N != 0 || f.Kind == StreamEnd {
		fmt.Fprintf(&b, " n=%d", f.N)
	}
	if f.Bytes != 0 {
		fmt.Fprintf(&b, " bytes=%d", f.Bytes)
	}
	if f.Fault != 0 {
		fmt.Fprintf(&b, " (%v)", f.Fault)
	}
	if f.Gone != 0 {
		fmt.Fprintf(&b, " gone=%v", f.Gone)
	}
	if f.Force {
		b.WriteString(" force")
	}
	if f.Why != "" {
		fmt.Fprintf(&b, ": %s", f.Why)
	}
	return b.String()
}

func describeMsg(m *Msg) string {
	if m == nil {
		return "none"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v", m.Kind)
	if !m.Task.IsZero() {
		fmt.Fprintf(&b, " %s", taskName(m.Task))
	}
	if !m.Object.IsZero() {
		fmt.Fprintf(&b, " %s", objectName(m.Object))
	}
	if m.Kind == RefAdd || m.Kind == RefDrop || m.Kind == Audit || m.Kind == RefHeld {
		fmt.Fprintf(&b, " of=%s via=%s n=%d", nodeName(m.Node), nodeName(m.Via), m.N)
	}
	if m.Gone != 0 {
		fmt.Fprintf(&b, " gone=%v", m.Gone)
	}
	if m.Kind == Resolved && m.Gone == 0 {
		fmt.Fprintf(&b, " %s", describeWhere(m.Return.Where, m.Return.Node))
	}
	for _, in := range m.Return.Inner {
		fmt.Fprintf(&b, " inner=%s", objectName(in))
	}
	if m.Attempt != 0 {
		fmt.Fprintf(&b, " attempt=%d", m.Attempt)
	}
	if m.Force {
		b.WriteString(" force")
	}
	if m.Recursive {
		b.WriteString(" recursive")
	}
	return b.String()
}

func describeWhere(w Where, n id.Node) string {
	switch w {
	case Inline:
		return "inline"
	case AtNode:
		return "at " + nodeName(n)
	default:
		return "error"
	}
}
