package node

import (
	"slices"

	"github.com/weftrun/weft/internal/actor"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// The record of an actor is kept by the node whose session created it. Another
// node whose sessions get a handle asks the keeper for the actor's state, and is
// told of each change until it lets go of its handle.

// toActor passes an event of a session about an actor on: to this node's
// machine, once that knows the actor, or to the keeper.
func (n *Node) toActor(ev *actor.Event) {
	a := ev.Actor
	of := n.keeperOf(a)
	if of == n.id {
		n.stepActor(ev)
		return
	}
	keeper := n.peers[of]
	info, known := n.actors.Get(a)
	switch {
	case keeper == nil && n.dead[of] && n.cfg.Cluster != nil && (!known || info.State != actor.Dead && (ev.Kind == actor.Kill || ev.Kind == actor.Exit)):
		n.meeting[a] = append(n.meeting[a], *ev) // it may be detached
		n.seekKeeper(a)
	case keeper == nil:
		n.stepActor(ev) // it is dead: calls fail
	case ev.Kind == actor.Kill || ev.Kind == actor.Exit:
		n.post(keeper, &nodev1.Message{Body: &nodev1.Message_Kill{Kill: &nodev1.KillActor{Actor: slices.Clone(a[:]),
			NoRestart: ev.NoRestart, Exit: ev.Kind == actor.Exit}}})
	case known:
		n.stepActor(ev)
	default:
		if len(n.meeting[a]) == 0 {
			n.post(keeper, &nodev1.Message{Body: &nodev1.Message_Handle{Handle: &nodev1.Handle{Actor: slices.Clone(a[:]), N: 1}}})
		}
		n.meeting[a] = append(n.meeting[a], *ev)
	}
}

// gotKill ends an actor for a session at another node.
func (n *Node) gotKill(m *nodev1.KillActor) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	if m.Exit {
		n.stepActor(&actor.Event{Kind: actor.Exit, Actor: a})
	} else {
		n.kill(a, m.NoRestart)
	}
	return nil
}

// gotHandle counts the handles that p holds, and tells it of an actor that it
// got to know.
func (n *Node) gotHandle(p *peer, m *nodev1.Handle) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	n.introduce(p, a, int(m.N))
	return nil
}

// introduce is gotHandle of n handles.
func (n *Node) introduce(p *peer, a id.Actor, handles int) {
	info, known := n.actors.Get(a)
	if handles > 0 && a.Owner() != n.id && (!known || info.Remote) { // this node may be about to adopt it
		n.seek.early[a] = append(n.seek.early[a], p.id)
		n.seekKeeper(a)
		return
	}
	n.stepActor(&actor.Event{Kind: actor.Handle, Actor: a, Node: p.id, N: handles})
	if handles <= 0 {
		return
	}
	if !known {
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Told{Told: &nodev1.Told{Actor: a[:], State: uint32(actor.Dead), Cause: uint32(actor.Unknown)}}})
		return
	}
	template := n.describe(p, info.Spec)
	n.tellOf(p, &actor.Effect{Actor: a, State: info.State, Incarnation: info.Incarnation, Node: info.Node, Worker: info.Worker, Cause: info.Cause}, template)
}

// tellOf tells p the state of an actor on which it has a handle.
func (n *Node) tellOf(p *peer, e *actor.Effect, template uint32) {
	a, at := e.Actor, e.Node
	m := &nodev1.Told{Actor: a[:], State: uint32(e.State), Incarnation: e.Incarnation, Node: at[:], Worker: uint32(e.Worker),
		Cause: uint32(e.Cause), Template: template}
	if err := n.deaths[a]; err != nil {
		m.Error = wire.ErrorToPB(err)
	}
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Told{Told: m}})
}

// gotTold takes the state of an actor of p's record in.
func (n *Node) gotTold(p *peer, m *nodev1.Told) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	ev := actor.Event{Kind: actor.Told, From: p.id, Actor: a, State: actor.State(m.State), Incarnation: m.Incarnation,
		Worker: id.Worker(m.Worker), Cause: actor.Cause(m.Cause)}
	if len(m.Node) > 0 {
		if ev.Node, err = wire.ReadNode(m.Node); err != nil {
			return err
		}
	}
	if m.Template != 0 {
		if ev.Spec = p.specs[m.Template]; ev.Spec == nil {
			return &wire.Error{Code: wire.Protocol, Message: "an actor of an unknown template"}
		}
		ev.Job = ev.Spec.Job
	}
	if _, known := n.actors.Get(a); known || ev.Spec != nil {
		if m.Error != nil {
			n.deaths[a] = wire.ErrorFromPB(m.Error)
		}
		n.met(p, a, &ev)
		return nil
	}
	n.met(p, a, nil)
	return nil
}

// met hands over what has waited for the state of an actor to be known. A
// handle that nobody wants any more goes back.
func (n *Node) met(p *peer, a id.Actor, told *actor.Event) {
	waiting := slices.DeleteFunc(n.meeting[a], func(ev actor.Event) bool {
		return n.sessions[ev.Session] == nil || ev.Kind == actor.Call && n.task(ev.Task) == nil
	})
	asked := len(n.meeting[a]) > 0
	delete(n.meeting, a)
	if _, known := n.actors.Get(a); told != nil && (known || len(waiting) > 0) {
		n.stepActor(told)
	} else if told != nil && asked {
		n.releaseActor(p, a, 1)
	}
	for i := range waiting {
		n.stepActor(&waiting[i])
	}
	n.introduced(a)
}

// releaseActor gives handles back to the keeper.
func (n *Node) releaseActor(p *peer, a id.Actor, handles int) {
	delete(n.deaths, a)
	if p != nil {
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Handle{Handle: &nodev1.Handle{Actor: slices.Clone(a[:]), N: int32(-handles)}}})
	}
}

// meetNobody has what waits for a keeper that has died go on: it fails.
func (n *Node) meetNobody(dead id.Node) {
	for a, waiting := range n.meeting {
		if n.keeperOf(a) != dead {
			continue
		}
		if n.cfg.Cluster != nil {
			n.seekKeeper(a) // it may be detached
			continue
		}
		delete(n.meeting, a)
		for i := range waiting {
			n.stepActor(&waiting[i])
		}
		n.introduced(a)
	}
}
