package sim

import (
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// node is one simulated node: the four machines and the glue between them that
// a real node has too, without its bytes, sockets and processes.
type node struct {
	c     *Cluster
	index int32
	id    id.Node

	own      *own.Machine
	place    *place.Machine
	dispatch *dispatch.Machine
	actor    *actor.Machine

	tasks    map[id.Task]*work         // payloads of tasks owned here, until Forget
	execs    map[attemptKey]*execution // accepted to run here
	workers  map[id.Worker]*worker     // processes
	lanes    map[dispatch.Lease]*lane  // what each lease has been given
	store    map[id.Object]copyOf      // sizes of the objects that lie here
	fetches  map[id.Object]*fetch      // objects under way to here
	waits    map[id.Object][]func()    // who waits for a Ready
	hosts    map[id.Actor]*host        // actors that run here
	sessions map[id.Session]*session   // drivers' and workers' sessions
	links    map[int32]*link           // to the other nodes
	gone     map[int32]bool            // nodes declared dead, as known here
	seen     map[int32]bool            // nodes in the view
	tokens   map[id.Actor]int          // handles on other nodes' actors, as counted there
	said     place.Event               // its figures as last reported
	watchers []*node                   // who has this node in its view
	total    resource.Vector

	alarms     [4]time.Duration // of each machine's next Tick
	gets       int              // of the driver, unanswered
	lastWorker id.Worker
	speed      float64 // of its workers; below 1 is slow
	down       bool    // it does not run any more
	condemned  bool    // declared dead, whether it knows or not
	draining   bool
	handed     bool  // what it owned has been handed over
	heir       *node // it has left, and this one has its things
	reporting  bool
}

func (n *node) String() string { return nodeName(n.index) }

// work is a task as its owner keeps it.
type work struct {
	task    id.Task
	spec    *spec.Task
	program *Program
	args    []id.Object
	actor   id.Actor // of a method call
	session id.Session
	attempt uint32
	ended   bool // its outcome is known
	// Of a stream:
	skip       uint32 // items that a new attempt passes over
	made, read uint32
	dropped    bool
}

// attemptKey names one attempt of a task.
type attemptKey struct {
	task    id.Task
	attempt uint32
}

// session is a driver or a worker: something that holds references.
type session struct {
	id    id.Session
	next  uint64
	holds map[id.Object]int
}

func (n *node) sessionOf(s id.Session) *session {
	x := n.sessions[s]
	if x == nil {
		x = &session{id: s, holds: map[id.Object]int{}}
		n.sessions[s] = x
	}
	return x
}

// machine says whose effect is next in the queue.
type machine uint8

const (
	owner machine = iota
	placer
	dispatcher
	actors
)

// effects is a queue of effects in the order in which machines made them.
// Everything runs in that order: what a later step wants never overtakes what
// an earlier step wanted.
type effects struct {
	order    []pending
	next     int
	own      []own.Effect
	place    []place.Effect
	dispatch []dispatch.Effect
	actor    []actor.Effect
	flushing bool
}

// pending is one effect in the queue.
type pending struct {
	node    *node
	machine machine
	at      int32 // in its machine's slice
}

func (n *node) stepOwn(ev *own.Event) {
	q := &n.c.queue
	before := len(q.own)
	q.own = n.own.Step(n.c.now, ev, q.own)
	n.queued(owner, before, len(q.own), uint64(ev.Kind))
}

func (n *node) stepPlace(ev *place.Event) {
	q := &n.c.queue
	before := len(q.place)
	q.place = n.place.Step(n.c.now, ev, q.place)
	n.queued(placer, before, len(q.place), uint64(ev.Kind))
	at, wanted := n.place.Deadline()
	n.alarm(placer, at, wanted)
}

func (n *node) stepDispatch(ev *dispatch.Event) {
	q := &n.c.queue
	before := len(q.dispatch)
	q.dispatch = n.dispatch.Step(n.c.now, ev, q.dispatch)
	n.queued(dispatcher, before, len(q.dispatch), uint64(ev.Kind))
	at, wanted := n.dispatch.Deadline()
	n.alarm(dispatcher, at, wanted)
	n.report()
}

// alarm sets a clock for the Tick that a machine wants.
func (n *node) alarm(m machine, at time.Duration, wanted bool) {
	if !wanted || n.alarms[m] > n.c.now && n.alarms[m] <= at {
		return
	}
	at = max(at, n.c.now+1)
	n.alarms[m] = at
	n.c.background(at-n.c.now, func() {
		if n.alarms[m] != n.c.now || n.down {
			return
		}
		n.alarms[m] = 0
		switch m {
		case placer:
			n.stepPlace(&place.Event{Kind: place.Tick})
		case dispatcher:
			n.stepDispatch(&dispatch.Event{Kind: dispatch.Tick})
		case actors:
			n.stepActor(&actor.Event{Kind: actor.Tick})
		}
	})
}

func (n *node) stepActor(ev *actor.Event) {
	q := &n.c.queue
	before := len(q.actor)
	q.actor = n.actor.Step(n.c.now, ev, q.actor)
	n.queued(actors, before, len(q.actor), uint64(ev.Kind))
	at, wanted := n.actor.Deadline()
	n.alarm(actors, at, wanted)
}

// queued notes the effects that a step has made.
func (n *node) queued(m machine, from, to int, kind uint64) {
	n.c.decisions++
	n.c.mix(uint64(n.index)<<16 | uint64(m)<<12 | kind<<4 | uint64(to-from)<<40)
	for i := from; i < to; i++ {
		n.c.queue.order = append(n.c.queue.order, pending{n, m, int32(i)})
	}
	if to > from || !ticks(m, kind) {
		n.c.changed = n.c.now
	}
}

func ticks(m machine, kind uint64) bool {
	return kind == [...]uint64{uint64(own.Tick), uint64(place.Tick), uint64(dispatch.Tick), uint64(actor.Tick)}[m]
}

// settle is how long nothing must change for a cluster to be at rest: longer
// than any lease term.
const settle = 500 * time.Millisecond

// flush runs effects until there are none.
func (c *Cluster) flush() {
	q := &c.queue
	if q.flushing {
		return
	}
	q.flushing = true
	for q.next < len(q.order) {
		p := q.order[q.next]
		q.next++
		if p.node.down {
			continue
		}
		switch p.machine {
		case owner:
			e := q.own[p.at]
			p.node.runOwn(&e)
		case placer:
			e := q.place[p.at]
			p.node.runPlace(&e)
		case dispatcher:
			e := q.dispatch[p.at]
			p.node.runDispatch(&e)
		case actors:
			e := q.actor[p.at]
			p.node.runActor(&e)
		}
	}
	q.order, q.next = q.order[:0], 0
	q.own, q.place, q.dispatch, q.actor = q.own[:0], q.place[:0], q.dispatch[:0], q.actor[:0]
	q.flushing = false
}

// figures is what a node says about itself.
func (n *node) figures() *place.Event {
	return &place.Event{Kind: place.View, Node: n.id, Total: n.total, Free: n.free(), Queued: n.queuedTasks()}
}

// report sends the node's figures to who has it in view, not too often.
func (n *node) report() {
	if n.reporting || len(n.watchers) == 0 {
		return
	}
	n.reporting = true
	n.c.background(n.c.opts.ViewEvery, func() {
		n.reporting = false
		if n.down {
			return
		}
		ev := n.figures()
		if n.sameFigures(ev) {
			return
		}
		for _, w := range n.watchers {
			switch {
			case w == n:
				n.stepPlace(ev)
			case !w.down:
				n.send(w.id, message{kind: msgView, view: ev})
			}
		}
	})
}
