package place

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// Options are a placer's settings; zero fields mean their defaults.
type Options struct {
	// Fixed: the cluster cannot grow, so what no node can run never will be.
	Fixed bool
	// Sample is how many nodes are compared when this one is half full. 4.
	Sample int
	// LocalBytes of arguments more on another node than here draw a task
	// there. 1 MiB.
	LocalBytes int64
	// Batch bounds the leases asked for at a site at a time. 32.
	Batch int
	// MaxDepth bounds the tasks pushed through a lease behind a running one,
	// Ahead their expected work. 64 and 1 ms.
	MaxDepth int
	Ahead    time.Duration
	// StoryLen is how many recent events Story looks through. 1024.
	StoryLen int
}

func (o Options) withDefaults() Options {
	o.Sample = cmp.Or(o.Sample, 4)
	o.LocalBytes = cmp.Or(o.LocalBytes, 1<<20)
	o.Batch = cmp.Or(o.Batch, 32)
	o.MaxDepth = cmp.Or(o.MaxDepth, 64)
	o.Ahead = cmp.Or(o.Ahead, time.Millisecond)
	o.StoryLen = cmp.Or(o.StoryLen, 1024)
	return o
}

// node is what is known of a node.
type node struct {
	id       id.Node
	known    bool // figures came
	draining bool
	total    resource.Vector
	free     resource.Vector
	labels   resource.Labels
	queued   int

	// What was placed there since the figures came. It counts for a while
	// only, since no figures come of a node that stays as it was.
	spent   resource.Vector
	spentAt time.Duration
}

// Machine finds places for its owner's tasks.
type Machine struct {
	o    Options
	self *node

	nodes   []*node // by id
	byID    map[id.Node]*node
	version int // of what decides where a task may run at all
	groups  map[id.Group][]id.Node
	gone    ring[id.Node]  // nodes that will not come back
	removed ring[id.Group] // groups likewise

	lastSpec *spec.Task
	lastWork *work
	works    map[spec.Key]*work
	parked   []*work // those with parked tasks
	local    []*work // those with tasks that may wait at this node
	sites    []*site
	leases   map[heldName]*held
	idle     []*held // that run nothing, the longest idle first
	spare    []*held

	queued  int // tasks in sites and parked
	cursor  int // into sites: whom to relieve next
	tombs   map[id.Task]uint32
	counter uint64 // stands in for a random source
	wake    time.Duration
	story   story
}

// New returns a placer that knows only its own node.
func New(self id.Node, o Options) *Machine {
	o = o.withDefaults()
	m := &Machine{
		o:      o,
		self:   &node{id: self},
		byID:   map[id.Node]*node{},
		groups: map[id.Group][]id.Node{},
		works:  map[spec.Key]*work{},
		leases: map[heldName]*held{},
		tombs:  map[id.Task]uint32{},
		wake:   math.MaxInt64,
		story:  story{ring: make([]record, o.StoryLen)},
	}
	m.version = 1
	m.nodes = []*node{m.self}
	m.byID[self] = m.self
	return m
}

// Step handles ev at now and appends what the shell must do to fx.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect {
	m.story.happened(now, ev)
	if ev.Kind == Runnable {
		return m.runnable(now, ev, fx)
	}
	switch ev.Kind {
	case View:
		fx = m.view(now, ev, fx)
	case NodeGone:
		fx = m.nodeGone(now, ev, fx)
	case Draining:
		fx = m.drain(now, ev, fx)
	case Granted:
		fx = m.granted(now, ev, fx)
	case Refused:
		fx = m.refused(now, ev, fx)
	case Revoked:
		fx = m.revoked(now, ev, fx)
	case Ended:
		fx = m.ended(now, ev, fx)
	case Unqueue:
		m.unqueue(ev)
	case GroupAt:
		fx = m.groupAt(now, ev, fx)
	case Recalled:
		fx = m.recalled(now, ev, fx)
	case Tick:
		fx = m.tick(now, fx)
	}
	return fx
}

// runnable places a task, at once on this node if no other comes into question.
func (m *Machine) runnable(now time.Duration, ev *Event, fx []Effect) []Effect {
	w := m.lastWork
	if ev.Spec != m.lastSpec {
		w = m.workOf(ev.Spec)
	}
	fx = m.renew(now, w, fx)
	if w.onlyHere {
		m.isLocal(w)
		fx = append(fx, Effect{})
		x := &fx[len(fx)-1]
		x.Kind, x.Task, x.Attempt = Here, ev.Task, ev.Attempt
		return fx
	}
	return m.place(now, w, entry{task: ev.Task, attempt: ev.Attempt}, ev.Local, fx)
}

// place sends a task to the node chosen for it or parks it.
func (m *Machine) place(now time.Duration, w *work, e entry, local []NodeBytes, fx []Effect) []Effect {
	fx = m.renew(now, w, fx)
	switch {
	case w.never:
		return append(fx, Effect{Kind: Infeasible, Task: e.task, Attempt: e.attempt, Why: w.why, Removed: w.removed})
	case len(w.nodes) == 0:
		m.park(w, e)
		return append(fx, Effect{Kind: Waiting, Task: e.task, Attempt: e.attempt, Why: w.why})
	}
	n := m.choose(now, w, &e, local)
	m.spend(now, n, &w.spec.Resources)
	return m.send(w, n, e, fx)
}

// send hands a task to this node's dispatcher or queues it for n.
func (m *Machine) send(w *work, n *node, e entry, fx []Effect) []Effect {
	if n == m.self {
		m.isLocal(w)
		return append(fx, Effect{Kind: Here, Task: e.task, Attempt: e.attempt})
	}
	s := m.siteOf(w, n)
	s.fresh.push(e)
	m.queued++
	w.queued++
	return m.pump(s, fx)
}

// view takes a node's figures.
func (m *Machine) view(now time.Duration, ev *Event, fx []Effect) []Effect {
	n := m.byID[ev.Node]
	if n == nil {
		n = &node{id: ev.Node}
		m.byID[n.id] = n
		i, _ := slices.BinarySearchFunc(m.nodes, n, func(a, b *node) int { return bytesCompare(a.id, b.id) })
		m.nodes = slices.Insert(m.nodes, i, n)
	}
	if !n.known || !n.total.Equal(&ev.Total) || !sameLabels(n.labels, ev.Labels) {
		n.known, n.total, n.labels = true, ev.Total.Clone(), ev.Labels
		m.version++
		fx = m.unpark(now, n, fx)
	}
	n.free, n.queued = ev.Free.Clone(), ev.Queued
	n.spent, n.spentAt = resource.Vector{}, now
	return m.recall(now, n, m.relieve(now, n, fx))
}

func sameLabels(a, b resource.Labels) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// nodeGone forgets a node. What was pushed there is its owner's to run
// again; what was not is placed anew.
func (m *Machine) nodeGone(now time.Duration, ev *Event, fx []Effect) []Effect {
	n := m.byID[ev.Node]
	if n == nil || n == m.self {
		return fx
	}
	delete(m.byID, n.id)
	m.nodes = slices.DeleteFunc(m.nodes, func(o *node) bool { return o == n })
	m.gone.add(n.id)
	m.version++
	for _, s := range slices.Clone(m.sites) {
		if s.n != n {
			continue
		}
		for len(s.leases) > 0 {
			m.forgetLease(s.leases[len(s.leases)-1])
		}
		s.asked, s.wanted = 0, 0
		fx = m.scatter(now, s, fx)
	}
	return m.unpark(now, nil, fx)
}

// drain stops giving a node anything new.
func (m *Machine) drain(now time.Duration, ev *Event, fx []Effect) []Effect {
	n := m.byID[ev.Node]
	if n == nil || n.draining {
		return fx
	}
	n.draining = true
	m.version++
	for _, s := range slices.Clone(m.sites) {
		if s.n != n {
			continue
		}
		for i := len(s.leases) - 1; i >= 0; i-- {
			h := s.leases[i]
			if h.over = true; h.n == 0 {
				fx = m.giveBack(h, fx)
			}
		}
		fx = m.scatter(now, s, fx)
	}
	return fx
}

// groupAt learns where a placement group lies, or that it is gone.
func (m *Machine) groupAt(now time.Duration, ev *Event, fx []Effect) []Effect {
	if ev.Nodes == nil {
		delete(m.groups, ev.Group)
		m.removed.add(ev.Group)
	} else {
		m.groups[ev.Group] = slices.Clone(ev.Nodes)
	}
	m.version++
	for _, s := range slices.Clone(m.sites) {
		if s.w.spec.Strategy.In(ev.Group) {
			fx = m.scatter(now, s, fx)
		}
	}
	return m.unpark(now, nil, fx)
}

func (m *Machine) wakeAt(t time.Duration) { m.wake = min(m.wake, t) }

// Deadline returns when Tick is next needed, and whether it is at all.
func (m *Machine) Deadline() (time.Duration, bool) { return m.wake, m.wake != math.MaxInt64 }

func (m *Machine) tick(now time.Duration, fx []Effect) []Effect {
	m.wake = math.MaxInt64
	for len(m.idle) > 0 {
		h := m.idle[0]
		if due := h.since + spec.LeaseIdle; now < due {
			m.wakeAt(due)
			break
		}
		fx = m.giveBack(h, fx)
	}
	return fx
}

// ring remembers the last few of something, so that it stays bounded.
type ring[T comparable] struct {
	at   []T
	next int
}

const ringLen = 1024

func (r *ring[T]) add(v T) {
	if len(r.at) < ringLen {
		r.at = append(r.at, v)
		return
	}
	r.at[r.next] = v
	r.next = (r.next + 1) % ringLen
}

func (r *ring[T]) has(v T) bool { return slices.Contains(r.at, v) }

func bytesCompare(a, b id.Node) int { return slices.Compare(a[:], b[:]) }
