package sim

import (
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
)

// Drain has a node leave: nothing new is placed there, what runs there ends,
// its copies and what it owns go to heir, and then it goes.
func (c *Cluster) Drain(i, heir int) {
	n, to := c.nodes[i], c.nodes[heir]
	if n == to || n.down || n.draining || to.down || to.draining {
		return
	}
	c.note("%s drains to %s", n, to)
	n.draining = true
	for _, x := range c.nodes {
		if !x.down {
			c.after(c.transit(), func() {
				if !x.down {
					x.stepPlace(&place.Event{Kind: place.Draining, Node: n.id})
				}
			})
		}
	}
	c.background(10*time.Millisecond, func() { n.leave(to) })
}

// leave goes on with a drain when nothing runs here any more.
func (n *node) leave(to *node) {
	again := func() { n.c.background(5*time.Millisecond, func() { n.leave(to) }) }
	switch {
	case n.down || n.condemned:
		return
	case to.down || to.condemned || to.draining:
		if x := n.c.anyHeir(); x != nil {
			to = x
		}
		again()
		return
	case len(n.execs)+len(n.hosts)+len(n.fetches) > 0 || n.unflushed() || n.pendingActors():
		again()
		return
	}
	if n.moveCopies(to) {
		again()
		return
	}
	n.handOver(to)
}

// anyHeir returns a node that stays.
func (c *Cluster) anyHeir() *node {
	for _, x := range c.nodes {
		if !x.down && !x.condemned && !x.draining {
			return x
		}
	}
	return nil
}

// unflushed reports whether messages of n's are under way, or to it.
func (n *node) unflushed() bool {
	for _, x := range n.c.nodes {
		for _, l := range between(n, x) {
			if len(l.waiting()) > 0 && !x.down {
				return true
			}
		}
	}
	return false
}

// pendingActors reports whether actors' records are kept here. They are the
// coordinator's in a real cluster; here such a node waits for their end.
func (n *node) pendingActors() bool { return len(n.actor.List(id.Actor{}, 1)) > 0 }

// moveCopies has the heir fetch what lies here, and reports whether anything
// did.
func (n *node) moveCopies(to *node) bool {
	var all []id.Object
	for o := range n.store {
		if !to.has(o) {
			all = append(all, o)
		}
	}
	sortObjects(all)
	for _, o := range all {
		r := own.Return{Object: o, Node: n.id}
		to.fetch(&r, func(bool) {})
		to.fetches[o].keep = true
	}
	return len(all) > 0
}

// handOver gives what n owns to its heir and leaves.
func (n *node) handOver(to *node) {
	for _, w := range n.owned() {
		if w.spec.Stream && !w.dropped { // its reader ends with this node
			w.dropped = true
			n.stepOwn(&own.Event{Kind: own.DropStream, Task: w.task})
		}
	}
	n.c.flush()
	records, fx, err := n.own.Drain(to.id, n.c.queue.own)
	if err != nil {
		n.c.fail("%s: %v", n, err)
		return
	}
	n.handed = true
	before := len(n.c.queue.own)
	n.c.queue.own = fx
	n.queued(owner, before, len(fx), 0)
	n.c.flush()
	for _, w := range n.owned() {
		to.tasks[w.task] = w
	}
	n.send(to.id, message{kind: msgAdopt, records: records})
	for s := range driver + id.Session(n.lastWorker) {
		n.endSession(s+1, false)
	}
	n.c.background(0, func() { n.depart(to) })
}

// depart ends the node once the heir has everything.
func (n *node) depart(to *node) {
	if n.unflushed() {
		n.c.background(time.Millisecond, func() { n.depart(to) })
		return
	}
	n.c.note("%s has left", n)
	n.down = true
	n.condemned = true
	n.heir = to
	n.c.oracle.lost(n)
	for _, x := range n.c.nodes {
		if !x.down {
			n.c.after(n.c.transit(), func() { x.farewell(n, to) })
		}
	}
}

// turnAway sends back a task that came after everything had been handed over:
// what it submits could have no owner here.
func (n *node) turnAway(owner *node, p *push) {
	e := &execution{push: *p, n: n, owner: owner}
	if p.spec.Kind == spec.KindCreate {
		n.tellKeeper(owner, &actor.Event{Kind: actor.Lost, Actor: p.task, Incarnation: p.attempt, Cause: actor.NodeDied})
	}
	n.outcome(e, own.Bystander, id.Object{}, nil)
}

// farewell takes in that a node has left and who has its things.
func (n *node) farewell(left, heir *node) {
	if n.down {
		return
	}
	n.gone[left.index] = true
	n.stepPlace(&place.Event{Kind: place.NodeGone, Node: left.id})
	n.stepDispatch(&dispatch.Event{Kind: dispatch.HolderGone, Node: left.id})
	if n == heir {
		n.stepOwn(&own.Event{Kind: own.NodeDead, Node: left.id})
	} else {
		n.stepOwn(&own.Event{Kind: own.Heir, Node: left.id, To: heir.id})
	}
	n.stepActor(&actor.Event{Kind: actor.NodeDead, Node: left.id, Cause: actor.NodeLeft})
	n.failFetches(left)
}
