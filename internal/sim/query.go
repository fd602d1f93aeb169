package sim

import (
	"fmt"
	"strings"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// locate asks the owner machine where an object is.
func (n *node) locate(o id.Object) (own.Return, bool) {
	k := n.own.Known(o)
	if k.Is != own.Available {
		return own.Return{}, false
	}
	r := own.Return{Object: o, Where: k.Where, Size: k.Size}
	if k.Where != own.AtNode {
		return r, true
	}
	n.c.places = n.own.Locations(o, n.c.places[:0])
	for i, at := range n.c.places {
		if i == 0 || at == n.id {
			r.Node = at
		}
	}
	return r, true
}

func (n *node) free() resource.Vector { return n.dispatch.Free() }

func (n *node) queuedTasks() int { return n.dispatch.Queued() }

// quiet reports whether nothing has changed for a while.
func (c *Cluster) quiet() bool { return c.now-c.changed >= settle || len(c.events) == 0 }

// why says what a task without an outcome waits for.
func (c *Cluster) why(n *node, w *work) string {
	if w.spec.Kind == spec.KindMethod {
		why, _ := n.actor.Waiting(w.task)
		return why
	}
	for _, x := range c.nodes {
		if r, ok := x.dispatch.Waiting(w.task); ok && !x.down {
			return fmt.Sprintf("at %s: %v", x, r)
		}
	}
	if why, ok := n.place.Waiting(w.task); ok {
		return "at its placer: " + why
	}
	info, _ := n.own.Task(w.task)
	var s strings.Builder
	fmt.Fprintf(&s, "no dispatcher has it; its owner: %+v", info)
	for _, a := range n.own.Waits(w.task) {
		fmt.Fprintf(&s, "; waits for %s %+v", c.objectName(a), n.own.Known(a))
	}
	for _, x := range c.nodes {
		for _, e := range x.running() {
			if e.task == w.task {
				fmt.Fprintf(&s, "; at %s attempt %d in phase %d, %d missing", x, e.attempt, e.phase, e.missing)
			}
		}
	}
	return s.String()
}

// restless says what keeps a cluster from resting.
func (c *Cluster) restless() string {
	if c.work == 0 {
		return fmt.Sprintf("something changed at %v", c.changed)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%d events are under way", c.work)
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if l := a.links[b.index]; l != nil && len(l.waiting()) > 0 {
				fmt.Fprintf(&s, "; %s -> %s: %d messages (%s)", a, b, len(l.waiting()), l.waiting()[0].kind)
			}
		}
	}
	for i := range min(len(c.events), 3) {
		e := &c.events[i]
		fmt.Fprintf(&s, "; at %v link=%v run=%v", e.at, e.link != nil, e.run != nil)
	}
	return s.String()
}

// Story returns what every node's machines remember of a task, node by node.
func (c *Cluster) Story(t id.Task) []string {
	var out []string
	add := func(n *node, machine string, lines []string) {
		for _, l := range lines {
			out = append(out, fmt.Sprintf("%s %s: %s", n, machine, l))
		}
	}
	for _, n := range c.nodes {
		for _, e := range n.own.Story(t) {
			add(n, "own", []string{fmt.Sprint(e)})
		}
		add(n, "place", n.place.Story(t))
		add(n, "dispatch", n.dispatch.Story(t))
		add(n, "actor", n.actor.Story(t))
	}
	return out
}
