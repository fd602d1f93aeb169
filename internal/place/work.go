package place

import (
	"fmt"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// work is the owner's tasks of one lease key.
type work struct {
	spec    *spec.Task // of its first task
	version int        // of the cluster when what follows was found out
	nodes   []*node    // on which its tasks can run
	// onlyHere: nodes is this node alone. never: it is empty and stays so.
	onlyHere, never bool
	removed         bool   // so was the group that they are to run in; then never
	here            bool   // nodes contains this node
	why             string // nodes is empty

	local bool // in Machine.local

	parked entries
	sites  []*site
	queued int   // at sites
	mean   int64 // ns a task runs, exponentially weighted
	turn   int   // next in nodes to get a task that is to be spread
}

// entry is a task that waits.
type entry struct {
	task     id.Task
	attempt  uint32
	refusals uint8   // by nodes that had no lease for it
	avoid    id.Node // the last of them
}

const (
	maxWorks    = 4096
	maxRefusals = 2
)

func (m *Machine) workOf(t *spec.Task) *work {
	w := m.works[t.Key()]
	if w == nil {
		if len(m.works) >= maxWorks {
			m.forgetWorks()
		}
		w = &work{spec: t}
		m.works[t.Key()] = w
	}
	m.lastSpec, m.lastWork = t, w
	return w
}

// forgetWorks drops those without tasks and leases; they are only a cache.
func (m *Machine) forgetWorks() {
	for k, w := range m.works {
		if w.parked.len() == 0 && len(w.sites) == 0 {
			delete(m.works, k)
		}
	}
	for _, w := range m.local {
		w.local = false
	}
	m.local = nil
	m.lastSpec, m.lastWork = nil, nil
}

// judge finds the nodes that can run w's tasks, and if there is none says why.
func (m *Machine) judge(w *work) {
	w.version = m.version
	w.nodes, w.never, w.removed, w.why = w.nodes[:0], false, false, ""
	t := w.spec
	switch t.Strategy.Kind {
	case spec.InGroup:
		m.judgeGroup(w)
	case spec.NodeAffinity:
		m.judgeAffinity(w)
	default:
		m.judgeAll(w)
	}
	w.here = w.has(m.self)
	w.onlyHere = len(w.nodes) == 1 && w.nodes[0] == m.self && len(m.nodes) == 1
}

func (m *Machine) judgeAffinity(w *work) {
	s := w.spec.Strategy
	n := m.byID[s.Node]
	if n != nil && !n.draining && n.can(w.spec) {
		w.nodes = append(w.nodes, n)
		return
	}
	if s.Soft {
		m.judgeAll(w)
		return
	}
	switch {
	case n == nil && m.gone.has(s.Node):
		w.never = true
		w.why = fmt.Sprintf("node %s, to which the task is bound, is gone", s.Node)
	case n == nil:
		w.never = m.o.Fixed
		w.why = fmt.Sprintf("node %s, to which the task is bound, is not known", s.Node)
	case n.draining:
		w.never = m.o.Fixed
		w.why = fmt.Sprintf("node %s, to which the task is bound, takes nothing new", s.Node)
	default:
		w.never = true
		w.why = fmt.Sprintf("node %s, to which the task is bound, %s", s.Node, n.cannot(w.spec))
	}
}

func (m *Machine) judgeGroup(w *work) {
	s := w.spec.Strategy
	at, ok := m.groups[s.Group]
	switch {
	case !ok && m.removed.has(s.Group):
		w.never, w.removed = true, true
		w.why = fmt.Sprintf("placement group %s was removed", s.Group)
		return
	case !ok:
		w.why = fmt.Sprintf("placement group %s has no place yet", s.Group)
		return
	case s.Bundle >= len(at):
		w.never = true
		w.why = fmt.Sprintf("placement group %s has bundles 0 to %d, not %d", s.Group, len(at)-1, s.Bundle)
		return
	}
	for i, name := range at {
		n := m.byID[name]
		if n != nil && !n.draining && (s.Bundle < 0 || s.Bundle == i) && !slices.Contains(w.nodes, n) {
			w.nodes = append(w.nodes, n)
		}
	}
	if len(w.nodes) == 0 {
		w.why = fmt.Sprintf("the nodes of placement group %s are gone or takes nothing new", s.Group)
	}
}

// judgeAll looks through all nodes.
func (m *Machine) judgeAll(w *work) {
	for _, n := range m.nodes {
		if !n.draining && n.can(w.spec) {
			w.nodes = append(w.nodes, n)
		}
	}
	if len(w.nodes) == 0 {
		w.never = m.o.Fixed
		w.why = m.nobody(w.spec)
	}
}

// can reports whether an empty n could run t. Of a node without figures that
// is assumed.
func (n *node) can(t *spec.Task) bool {
	return !n.known || (t.Selector.Match(n.labels) && n.total.Fits(&t.Resources))
}

// cannot says what n lacks.
func (n *node) cannot(t *spec.Task) string {
	if !t.Selector.Match(n.labels) {
		return fmt.Sprintf("does not match the labels %s", t.Selector)
	}
	name, asked, have, _ := n.total.Missing(&t.Resources)
	return fmt.Sprintf("has %s %s; the task asks for %s", have, name, asked)
}

// nobody says why no node can run t: the labels, or the resource that comes
// nearest to sufficing nowhere.
func (m *Machine) nobody(t *spec.Task) string {
	matching, draining := 0, 0
	var most resource.Vector
	for _, n := range m.nodes {
		switch {
		case n.draining:
			draining++
		case t.Selector.Match(n.labels):
			matching++
			for name := range t.Resources.All {
				most.Set(name, max(most.Get(name), n.total.Get(name)))
			}
		}
	}
	nodes := fmt.Sprintf("%d nodes", len(m.nodes))
	if len(m.nodes) == 1 {
		nodes = "the only node"
	}
	switch name, asked, have, missing := most.Missing(&t.Resources); {
	case draining == len(m.nodes):
		return nodes + ": none takes anything new"
	case matching == 0:
		return fmt.Sprintf("%s: none matches the labels %s", nodes, t.Selector)
	case missing:
		return fmt.Sprintf("%s: the task asks for %s %s, the most that one has is %s", nodes, asked, name, have)
	}
	return fmt.Sprintf("%s: none has all of %s at once", nodes, t.Resources)
}

// park keeps a task until a node comes that can run it.
func (m *Machine) park(w *work, e entry) {
	if w.parked.len() == 0 {
		m.parked = append(m.parked, w)
	}
	e.refusals = 0
	w.parked.push(e)
	m.queued++
}

// unpark places parked tasks again that a change of n, or of the cluster if
// n is nil, gives a place or turns away.
func (m *Machine) unpark(now time.Duration, n *node, fx []Effect) []Effect {
	for _, w := range slices.Clone(m.parked) {
		if n == nil || w.spec.Strategy.Kind == spec.InGroup || n.can(w.spec) {
			m.judge(w)
			fx = m.replace(now, w, fx)
		}
	}
	return fx
}

// renew finds w's nodes anew if what decides on them has changed.
func (m *Machine) renew(now time.Duration, w *work, fx []Effect) []Effect {
	if w.version == m.version {
		return fx
	}
	m.judge(w)
	return m.replace(now, w, fx)
}

// replace places w's parked tasks if they have a place now, or never will.
func (m *Machine) replace(now time.Duration, w *work, fx []Effect) []Effect {
	if w.parked.len() == 0 || (len(w.nodes) == 0 && !w.never) {
		return fx
	}
	m.parked = slices.DeleteFunc(m.parked, func(o *work) bool { return o == w })
	tasks := w.parked
	w.parked = entries{}
	m.queued -= tasks.len()
	for tasks.len() > 0 {
		if e := tasks.pop(); !m.buried(&e) {
			fx = m.place(now, w, e, nil, fx)
		}
	}
	return fx
}
