package actor

import (
	"github.com/weftrun/weft/internal/id"
)

// A detached actor outlives the node that keeps its record. The calls of other
// nodes go on if the actor lives, and wait if it died too, until they hear who
// keeps the record now.

// orphaned notes that a node has died which kept r, or in which an orphan lived.
func (m *Machine) orphaned(r *record, dead id.Node, cause Cause, fx []Effect) []Effect {
	if r.node == dead || r.state != Alive {
		fx = m.failSent(r, cause, fx)
		m.loosen(r)
		r.node, r.worker, r.cause = id.Node{}, 0, cause
		if r.state != Restarting {
			fx = m.setState(r, Restarting, fx)
		}
	}
	if r.from != dead {
		return fx
	}
	r.from = id.Node{}
	return append(fx, Effect{Kind: Orphaned, Actor: r.actor})
}

// kept takes the answer to Orphaned: who keeps the record now says how it is.
func (m *Machine) kept(ev *Event, fx []Effect) []Effect {
	r := m.actors[ev.Actor]
	switch {
	case r == nil || !r.remote || !r.from.IsZero() || r.state == Dead:
		return fx
	case ev.From.IsZero():
		return m.told(&Event{Actor: r.actor, State: Dead, Incarnation: r.incarnation, Cause: NodeDied}, fx)
	}
	r.from = ev.From
	return fx
}

// adopt makes the record of a detached actor this node's. Its own calls and
// handles are there already, if it has any; those of others come.
func (m *Machine) adopt(ev *Event, fx []Effect) []Effect {
	r := m.actors[ev.Actor]
	switch {
	case r == nil:
		r = m.add(ev.Actor, ev.Spec, ev.Job)
		r.state = Restarting
		m.stats.States[Restarting]++
	case !r.remote || r.state == Dead:
		return fx // told twice
	}
	r.remote, r.from, r.spec, r.job = false, id.Node{}, ev.Spec, ev.Job
	if key := (nameKey{ev.Spec.Actor.Namespace, ev.Spec.Actor.Name}); key.name != "" && m.names[key] == nil {
		m.names[key], r.named = r, true
	}
	if !ev.Node.IsZero() {
		return m.adoptLiving(r, ev, fx)
	}
	fx = m.failSent(r, ev.Cause, fx)
	if r.restarts = int(ev.Incarnation) - 1; ev.Cause == NodeLeft { // which is not counted
		r.restarts--
	}
	r.incarnation, r.node, r.worker, r.cause = ev.Incarnation, id.Node{}, 0, ev.Cause
	if most := r.spec.Actor.MaxRestarts; r.incarnation > 1 && (most == 0 || most > 0 && r.restarts > most) {
		return m.die(r, ev.Cause, stopNothing, fx)
	}
	m.stats.Restarts++
	m.loosen(r)
	fx = m.setState(r, Restarting, fx)
	return append(fx, Effect{Kind: Begin, Actor: r.actor, Incarnation: r.incarnation})
}

// adoptLiving is adopt for one that lives.
func (m *Machine) adoptLiving(r *record, ev *Event, fx []Effect) []Effect {
	if r.incarnation != ev.Incarnation {
		fx = m.failSent(r, ev.Cause, fx)
		m.loosen(r)
	}
	r.incarnation, r.restarts = ev.Incarnation, int(ev.Incarnation)-1
	r.node, r.worker, r.cause = ev.Node, ev.Worker, NotDead
	fx = m.setState(r, Alive, fx)
	return m.pump(r, fx)
}
