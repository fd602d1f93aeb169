package node

import (
	"context"
	"slices"

	"github.com/weftrun/weft/internal/actor"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// moveAtOnce is how many objects the heir copies at a time.
	moveAtOnce = 16
	// recordsAtOnce is how many records of what was owned one message has.
	recordsAtOnce = 256
)

// HandOver gives another node, the heir, what this one has that others need: first
// copies of its objects, then the ownership of what its workers made. It follows
// [Node.Drain], and the end of the node's membership follows it. Drivers' sessions
// end, and so do actors that this node owns, but for detached ones, which others
// adopt. Without another node the heir is zero.
// If ctx ends before, nothing is owned by anybody else, but copies may have moved.
func (n *Node) HandOver(ctx context.Context) (heir id.Node, err error) {
	n.endDrivers()
	n.lock()
	p := n.chooseHeir()
	n.endActors()
	n.unlock()
	if p == nil {
		return heir, nil
	}
	if err := n.until(ctx, func() bool { return n.idle() && n.actorless() }); err != nil {
		return heir, err
	}
	if err := n.moveCopies(ctx, p); err != nil {
		return heir, err
	}
	n.lock()
	defer n.unlock()
	if p.gone {
		return heir, nil
	}
	return p.id, n.bequeath(p)
}

// endDrivers ends the sessions of drivers.
func (n *Node) endDrivers() {
	n.lock()
	var drivers []*session
	for _, s := range n.sessions {
		if s.worker == nil {
			drivers = append(drivers, s)
		}
	}
	n.unlock()
	for _, s := range drivers {
		n.endSession(s)
	}
}

// chooseHeir is the node that has the most CPUs free, of those that stay.
func (n *Node) chooseHeir() (best *peer) {
	for _, p := range n.peersInOrder() {
		if !p.draining && p.view.Node == p.id && (best == nil || p.view.Free.CPU > best.view.Free.CPU) {
			best = p
		}
	}
	return best
}

// endActors ends the actors whose record is this node's.
func (n *Node) endActors() {
	n.eachOwnActor(func(a *actor.Info) {
		if n.adoptable(a) {
			n.stepOwn(&own.Event{Kind: own.Retire, Task: a.Actor}) // the heir of objects need not know it
			return
		}
		n.deaths[a.Actor] = &wire.Error{Code: wire.ActorDied, Op: a.Spec.Name, Node: n.id, Message: "the node that owned it was drained"}
		n.kill(a.Actor, true)
	})
}

// actorless reports whether no record of an actor is this node's any more.
func (n *Node) actorless() bool {
	none := true
	n.eachOwnActor(func(a *actor.Info) { none = none && n.adoptable(a) })
	return none
}

// adoptable reports whether an actor outlives this node.
func (n *Node) adoptable(a *actor.Info) bool { return a.Spec.Actor.Detached && n.cfg.Cluster != nil }

func (n *Node) eachOwnActor(do func(*actor.Info)) {
	for after := (id.Actor{}); ; {
		page := n.actors.List(after, pageSize)
		for i := range page {
			if a := &page[i]; !a.Remote && a.State != actor.Dead {
				do(a)
			}
			after = page[i].Actor
		}
		if len(page) < pageSize {
			return
		}
	}
}

// moveCopies has p copy every object whose only copy may be the one here.
func (n *Node) moveCopies(ctx context.Context, p *peer) error {
	n.lock()
	var all []id.Object
	for o, e := range n.objects {
		if e.at && !n.alsoElsewhere(o) {
			all = append(all, o)
		}
	}
	n.moving = map[id.Object]bool{}
	n.unlock()
	for len(all) > 0 {
		n.lock()
		for len(all) > 0 && len(n.moving) < moveAtOnce {
			n.move(p, all[0])
			all = all[1:]
		}
		n.unlock()
		some := len(all) > 0
		err := n.until(ctx, func() bool { return len(n.moving) == 0 || some && len(n.moving) < moveAtOnce || p.gone })
		if err != nil || p.gone {
			return err
		}
	}
	return nil
}

// alsoElsewhere reports whether an object of this node's has another copy.
func (n *Node) alsoElsewhere(o id.Object) bool {
	return slices.ContainsFunc(n.own.Locations(o, nil), func(at id.Node) bool {
		p := n.peers[at]
		return p != nil && !p.draining
	})
}

// move has p copy one object.
func (n *Node) move(p *peer, o id.Object) {
	if r, ok := n.describeObject(o); ok {
		n.moving[o] = true
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Take{Take: &nodev1.Take{Object: r}}})
	}
}

// gotTake copies an object of a node that leaves.
func (n *Node) gotTake(p *peer, m *nodev1.Take) error {
	_, _, err := n.learn(m.Object)
	if err != nil {
		return err
	}
	o := id.Object(m.Object.Object)
	e := n.objects[o]
	e.ready = true
	answer := func(err error) {
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Taken{Taken: &nodev1.Taken{Object: o[:], Here: err == nil}}})
	}
	if n.awayOf(o) == nil {
		answer(nil)
		return nil
	}
	n.bring(o, id.Job{}, answer)
	return nil
}

// gotTaken notes that the heir has a copy, or cannot have one. Its owner hears of
// it from here, before it hears that this node has left.
func (n *Node) gotTaken(p *peer, m *nodev1.Taken) error {
	o, err := wire.ReadObject(m.Object)
	if err != nil {
		return err
	}
	if n.moving[o] {
		delete(n.moving, o)
		if m.Here {
			n.stepOwn(&own.Event{Kind: own.CopyAdded, Object: o, Node: p.id})
		}
	}
	return nil
}
