package sim

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
)

// KillNode ends a node at once. The others learn of it after detect.
func (c *Cluster) KillNode(i int, detect time.Duration) {
	n := c.nodes[i]
	if n.down {
		return
	}
	c.note("%s dies", n)
	n.down = true
	c.condemn(n, detect)
}

// Declare says that a node is dead though it runs, as after a partition. It
// goes on until it hears of it itself, after grace.
func (c *Cluster) Declare(i int, detect, grace time.Duration) {
	n := c.nodes[i]
	if n.down {
		return
	}
	c.note("%s is declared dead", n)
	c.condemn(n, detect)
	c.after(grace, func() { n.down = true })
}

// condemn tells everybody that n is dead, each at its own time.
func (c *Cluster) condemn(n *node, detect time.Duration) {
	if n.condemned {
		return
	}
	n.condemned = true
	c.oracle.lost(n)
	for _, x := range c.nodes {
		if x == n || x.down {
			continue
		}
		c.after(detect+c.transit(), func() { x.mourn(n) })
	}
}

// mourn takes the death of another node in.
func (n *node) mourn(dead *node) {
	if n.down || n.gone[dead.index] {
		return
	}
	n.gone[dead.index] = true
	for _, l := range between(n, dead) {
		l.clear()
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.HolderGone, Node: dead.id})
	for _, e := range n.running() {
		if e.owner == dead {
			e.abort()
		}
	}
	for _, h := range n.hosted() {
		if h.keeper == dead {
			n.stop(h.actor, h.incarnation)
		}
	}
	n.stepPlace(&place.Event{Kind: place.NodeGone, Node: dead.id})
	n.stepOwn(&own.Event{Kind: own.NodeDead, Node: dead.id})
	n.stepActor(&actor.Event{Kind: actor.NodeDead, Node: dead.id, Cause: actor.NodeDied})
	n.failFetches(dead)
	for _, o := range n.sortedStore() {
		if n.ownerless(o) {
			delete(n.store, o)
		}
	}
}

// ownerless reports whether nobody will ever tell this node to drop a copy.
func (n *node) ownerless(o id.Object) bool {
	x := n.c.byID[n.own.Home(o.Owner())]
	return x != n && n.gone[x.index]
}

// failFetches ends what was to come from a dead node.
func (n *node) failFetches(dead *node) {
	var lost []id.Object
	for o, f := range n.fetches {
		if f.from == dead {
			lost = append(lost, o)
		}
	}
	sortObjects(lost)
	for _, o := range lost {
		n.arrived(o, -1)
	}
}

// KillWorker ends the k-th worker of a node, if it has so many.
func (c *Cluster) KillWorker(i, k int) bool {
	n := c.nodes[i]
	if n.down || len(n.workers) == 0 {
		return false
	}
	var ids []id.Worker
	for w := range n.workers {
		ids = append(ids, w)
	}
	slices.Sort(ids)
	w := n.workers[ids[k%len(ids)]]
	c.note("%s: worker %d dies", n, w.id)
	n.endWorker(w)
	c.flush()
	return true
}

// Cut separates two nodes.
func (c *Cluster) Cut(i, j int) { c.setCut(c.nodes[i], c.nodes[j], true) }

// Heal joins them again.
func (c *Cluster) Heal(i, j int) { c.setCut(c.nodes[i], c.nodes[j], false) }

// Slow changes the speed of a node's workers.
func (c *Cluster) Slow(i int, speed float64) { c.nodes[i].speed = speed }

// LoseObject takes a copy of an object from a node's store, as a broken disk
// does.
func (c *Cluster) LoseObject(i int, o id.Object) bool {
	n := c.nodes[i]
	if n.down || !n.has(o) {
		return false
	}
	delete(n.store, o)
	n.stepOwn(&own.Event{Kind: own.CopyLost, Object: o, Node: n.id})
	c.flush()
	return true
}

// endSession drops what a session holds; a driver's tasks end with it.
func (n *node) endSession(s id.Session, force bool) {
	x := n.sessions[s]
	if x == nil {
		return
	}
	delete(n.sessions, s)
	for o, k := range x.holds { // sums: the order does not matter
		n.c.oracle.ref(n, o, -k)
	}
	n.stepOwn(&own.Event{Kind: own.SessionEnd, Session: s, Force: force})
	n.stepActor(&actor.Event{Kind: actor.SessionEnd, Session: s})
}
