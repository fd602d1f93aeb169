package sim

import (
	"fmt"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
)

// oracle knows what no node can know: every reference there is. It says when
// the machines are wrong.
type oracle struct {
	refs      map[id.Object]int           // references of nodes that are not dead
	byNode    map[int32]map[id.Object]int // the same by node, so that a death can take them away
	accepted  map[id.Task]uint32          // attempt whose results were taken
	submitted int
	ended     int
	retries   int
}

func newOracle() oracle {
	return oracle{refs: map[id.Object]int{}, byNode: map[int32]map[id.Object]int{}, accepted: map[id.Task]uint32{}}
}

// ref counts a reference that a session or a waiting task has.
func (o *oracle) ref(n *node, obj id.Object, d int) {
	if n.c.opts.Unchecked || n.condemned {
		return
	}
	mine := o.byNode[n.index]
	if mine == nil {
		mine = map[id.Object]int{}
		o.byNode[n.index] = mine
	}
	add(mine, obj, d)
	add(o.refs, obj, d)
}

func add(m map[id.Object]int, o id.Object, d int) {
	if m[o] += d; m[o] == 0 {
		delete(m, o)
	}
}

// lost takes away what a dead node held.
func (o *oracle) lost(n *node) {
	for obj, k := range o.byNode[n.index] {
		add(o.refs, obj, -k)
	}
	delete(o.byNode, n.index)
}

// freed is told that n, if it is the owner, frees an object.
func (o *oracle) freed(n *node, obj id.Object) {
	if n.c.opts.Unchecked || n.own.Home(obj.Owner()) != n.id || n.condemned {
		return
	}
	if n.own.Known(obj).Is == own.Pending {
		return // a copy that came late, of a value that is being made again
	}
	if k := o.refs[obj]; k > 0 {
		n.c.fail("%s frees %s, to which there are %d references", n, n.c.objectName(obj), k)
	}
}

// accept is told that the results of an attempt were taken.
func (o *oracle) accept(n *node, t id.Task, attempt uint32) {
	if n.c.opts.Unchecked {
		return
	}
	if was, ok := o.accepted[t]; ok && attempt <= was {
		n.c.fail("%s takes results of %s attempt %d after those of attempt %d", n, n.c.taskName(t), attempt, was)
	}
	o.accepted[t] = attempt
}

// called is told that a call begins on an actor: once for each attempt, and
// first attempts of a caller in order.
func (o *oracle) called(h *host, e *execution) {
	c := h.n.c
	if c.opts.Unchecked {
		return
	}
	if was, ok := h.ran[e.task]; ok && e.attempt <= was {
		c.fail("%s runs call %s attempt %d after attempt %d in incarnation %d", h.n, c.taskName(e.task), e.attempt, was, h.incarnation)
	}
	h.ran[e.task] = e.attempt
	who := callerOf{e.owner.index, e.session}
	_, seq := id.SplitSeq(e.task.Seq())
	if e.attempt == 1 {
		if seq <= h.last[who] {
			c.fail("%s runs call %s after the caller's %d", h.n, c.taskName(e.task), h.last[who])
		}
		h.last[who] = seq
	}
}

// Check asks every machine of every node that runs for its invariants.
func (c *Cluster) Check() error {
	if c.failure != nil {
		return c.failure
	}
	for _, n := range c.nodes {
		if n.down {
			continue
		}
		for _, m := range []struct {
			name string
			err  error
		}{{"own", n.own.Check()}, {"place", n.place.Check()}, {"dispatch", n.dispatch.Check()}, {"actor", n.actor.Check()}} {
			if m.err != nil {
				return fmt.Errorf("%v: %s: %s: %w", c.now, n, m.name, m.err)
			}
		}
	}
	return nil
}

// CheckSettled asks, of a cluster at rest, that every task has a result or a
// stated error.
func (c *Cluster) CheckSettled() error {
	for _, n := range c.nodes {
		if n.down {
			continue
		}
		if n.gets > 0 {
			return fmt.Errorf("%v: %s: %d gets are not answered", c.now, n, n.gets)
		}
		for _, w := range n.owned() {
			if w.ended {
				continue
			}
			return fmt.Errorf("%v: %s: task %s has neither result nor error: %s", c.now, n, c.taskName(w.task), c.why(n, w))
		}
	}
	return nil
}

// CheckEmpty asks, of a cluster at rest whose references are all dropped,
// that nothing is left: no value, no payload, no execution, no reservation.
func (c *Cluster) CheckEmpty() error {
	for _, n := range c.nodes {
		if n.down {
			continue
		}
		if err := n.leftovers(); err != nil {
			return fmt.Errorf("%v: %s: %w", c.now, n, err)
		}
	}
	return nil
}

func (n *node) leftovers() error {
	free := n.dispatch.Free()
	switch {
	case n.draining && n.c.anyHeir() != nil:
		return fmt.Errorf("it was to leave and is still here: %d running, %d actors here, %d fetches, actors' records: %v, unflushed: %v",
			len(n.execs), len(n.hosts), len(n.fetches), n.pendingActors(), n.unflushed())
	case len(n.store) > 0:
		return fmt.Errorf("%d objects are left: %s", len(n.store), n.anyObject())
	case len(n.tasks) > 0:
		return fmt.Errorf("%d tasks are left: %s", len(n.tasks), n.c.taskName(n.owned()[0].task))
	case len(n.execs) > 0:
		return fmt.Errorf("%d executions are left: %s", len(n.execs), n.c.taskName(n.running()[0].task))
	case len(n.hosts) > 0:
		return fmt.Errorf("%d actors are left", len(n.hosts))
	case len(n.fetches) > 0:
		return fmt.Errorf("%d fetches are left", len(n.fetches))
	case !free.Equal(&n.total):
		return fmt.Errorf("%s are free of %s", free, n.total)
	case len(n.actor.List(id.Actor{}, 1)) > 0:
		return fmt.Errorf("actor %s is left", n.c.taskName(n.actor.List(id.Actor{}, 1)[0].Actor))
	}
	return nil
}

// anyObject names one object of the store, the smallest.
func (n *node) anyObject() string {
	var least id.Object
	for o := range n.store {
		if least.IsZero() || string(o[:]) < string(least[:]) {
			least = o
		}
	}
	return n.c.objectName(least)
}
