package node

import (
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// host is an incarnation of an actor that lives here and whose record another
// node, the keeper, has.
type host struct {
	actor       id.Actor
	spec        *spec.Task
	incarnation uint32
	keeper      *peer
	worker      id.Worker
	alive       bool
	calls       []*task // in order of arrival; the first waits for arguments
}

// tellKeeper reports what became of an incarnation to where its record is.
func (n *Node) tellKeeper(keeper *peer, ev *actor.Event, err *wire.Error) {
	if keeper.gone {
		return
	}
	m := &nodev1.ActorEvent{Kind: uint32(ev.Kind), Actor: slices.Clone(ev.Actor[:]), Incarnation: ev.Incarnation, Worker: uint32(ev.Worker), Cause: uint32(ev.Cause)}
	if err != nil {
		m.Error = wire.ErrorToPB(err)
	}
	n.post(keeper, &nodev1.Message{Body: &nodev1.Message_Actor{Actor: m}})
}

// gotActor takes in what became of an actor at p whose record this node keeps.
func (n *Node) gotActor(p *peer, m *nodev1.ActorEvent) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	ev := &actor.Event{Kind: actor.EventKind(m.Kind), Actor: a, Incarnation: m.Incarnation, Node: p.id, Worker: id.Worker(m.Worker), Cause: actor.Cause(m.Cause)}
	info, ok := n.actors.Get(a)
	if m.Error != nil && ok && info.Incarnation == m.Incarnation && info.State != actor.Dead {
		n.deaths[a] = wire.ErrorFromPB(m.Error)
	}
	n.stepActor(ev)
	return nil
}

// hostPlaced notes that a guest, a constructor, was given to a worker.
func (n *Node) hostPlaced(t *task, w id.Worker) {
	g := n.guests[t.id]
	if old := n.hosts[t.id]; old != nil {
		n.dropHost(old)
	}
	n.hosts[t.id] = &host{actor: t.id, spec: t.spec, incarnation: t.incarnation, keeper: g.owner, worker: w}
	n.tellKeeper(g.owner, &actor.Event{Kind: actor.Placed, Actor: t.id, Incarnation: t.incarnation, Worker: w}, nil)
}

// hostEnded reports the end of a guest, a constructor, that returned.
func (n *Node) hostEnded(t *task, o *outcome) {
	h := n.hosts[t.id]
	if h == nil {
		return
	}
	t.out = o
	if o.err != nil {
		n.dropHost(h)
		n.tellKeeper(h.keeper, &actor.Event{Kind: actor.InitError, Actor: t.id, Incarnation: t.incarnation}, o.err)
		n.stopRemoteActor(&actor.Effect{Actor: t.id, Incarnation: t.incarnation, Worker: t.worker})
	} else {
		h.alive = true
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: t.id, Attempt: t.attempt, Lease: t.lease})
		n.tellKeeper(h.keeper, &actor.Event{Kind: actor.Started, Actor: t.id, Incarnation: t.incarnation, Worker: h.worker}, nil)
	}
	n.guestOver(t, &own.Event{Kind: own.Done})
}

// hostRefused reports that a guest, a constructor, has no place here.
func (n *Node) hostRefused(t *task, cause actor.Cause) {
	n.tellKeeper(n.guests[t.id].owner, &actor.Event{Kind: actor.CannotPlace, Actor: t.id, Incarnation: t.incarnation, Cause: cause}, t.out.err)
	n.guestOver(t, &own.Event{Kind: own.Failed, Fault: own.Unschedulable})
}

// hostsIn lists the actors of other nodes' records in a worker, in order.
func (n *Node) hostsIn(w id.Worker) (hs []*host) {
	for _, h := range n.hosts {
		if h.worker == w {
			hs = append(hs, h)
		}
	}
	slices.SortFunc(hs, func(a, b *host) int { return slices.Compare(a.actor[:], b.actor[:]) })
	return hs
}

// hostsCrashed reports the end of the hosts in a process that has died.
func (n *Node) hostsCrashed(w id.Worker, crash *wire.Error) {
	for _, h := range n.hostsIn(w) {
		n.dropHost(h)
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: h.actor})
		n.tellKeeper(h.keeper, &actor.Event{Kind: actor.Lost, Actor: h.actor, Incarnation: h.incarnation, Cause: actor.WorkerDied}, crash)
		if t := n.tasks[h.actor]; t != nil && n.guests[h.actor] != nil {
			n.guestOver(t, &own.Event{Kind: own.Failed, Fault: own.WorkerDied})
		}
	}
}

// dropHost forgets an incarnation and the calls that came for it: their callers
// hear of its end from the keeper.
func (n *Node) dropHost(h *host) {
	delete(n.hosts, h.actor)
	n.dropCalls(h.actor, h.incarnation)
	n.releaseJob(h.spec.Job)
}

// dropCalls forgets the calls of other nodes for an incarnation that has ended.
func (n *Node) dropCalls(a id.Actor, incarnation uint32) {
	for tid := range n.guests {
		if t := n.tasks[tid]; t.spec.Kind == spec.KindMethod && t.actor == a && t.incarnation == incarnation {
			n.dropGuest(t)
		}
	}
}

// dropHostsOf stops the actors whose record a node had that has died.
func (n *Node) dropHostsOf(dead id.Node) {
	for _, h := range n.hosts {
		switch {
		case h.keeper.id != dead:
		case h.alive && h.spec.Actor.Detached && n.cfg.Cluster != nil:
			n.seekKeeper(h.actor)
		default:
			n.stopHost(h.actor, h.incarnation, true)
		}
	}
}

// stopHost ends an incarnation because the keeper of its record says so.
func (n *Node) stopHost(a id.Actor, incarnation uint32, force bool) {
	t := n.tasks[a]
	making := t != nil && n.guests[a] != nil && t.incarnation == incarnation
	h := n.hosts[a]
	switch {
	case h != nil && h.incarnation == incarnation:
		n.dropHost(h)
		n.stopRemoteActor(&actor.Effect{Actor: a, Incarnation: incarnation, Worker: h.worker, Force: force})
	case making && t.worker == 0:
		n.unqueue(a, t.attempt)
	}
	if making {
		n.guestOver(t, &own.Event{Kind: own.Failed, Fault: own.Cancelled})
	}
}

// gotStopActor is the keeper's message.
func (n *Node) gotStopActor(m *nodev1.StopActor) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	n.stopHost(a, m.Incarnation, m.Force)
	return nil
}

// takeCall gives a guest, a method call, to its actor, behind those that came
// before it. A call for another incarnation is forgotten: its caller will hear.
func (n *Node) takeCall(t *task) {
	h := n.hosts[t.actor]
	if h == nil {
		n.takeOwnCall(t)
		return
	}
	if h.incarnation != t.incarnation || !h.alive {
		n.dropGuest(t)
		return
	}
	h.calls = append(h.calls, t)
	n.withArguments(t, func() {
		t.came = true
		n.executeCalls(h)
	})
}

// takeOwnCall is takeCall for an actor whose record this node has.
func (n *Node) takeOwnCall(t *task) {
	info, ok := n.actors.Get(t.actor)
	if !ok || info.Node != n.id || info.Incarnation != t.incarnation || info.State != actor.Alive {
		n.dropGuest(t)
		return
	}
	n.withArguments(t, func() {
		t.worker = info.Worker
		n.execute(t, false)
	})
}

// executeCalls sends the calls whose arguments are here, up to the first that
// has to wait.
func (n *Node) executeCalls(h *host) {
	for len(h.calls) > 0 {
		t := h.calls[0]
		if n.tasks[t.id] == t { // else it was cancelled
			if !t.came {
				return
			}
			t.worker = h.worker
			n.execute(t, false)
		}
		h.calls = h.calls[1:]
	}
}

// deliverTo sends a call to its actor at another node.
func (n *Node) deliverTo(p *peer, t *task) {
	m := &nodev1.Push{Task: t.id[:], Attempt: t.attempt, Template: n.describe(p, t.spec), Actor: t.actor[:], Incarnation: t.incarnation, Group: t.group()}
	for i := range t.enc.args {
		m.Args = append(m.Args, n.pushArg(p, &t.enc.args[i]))
	}
	t.worker = elsewhere
	n.elsewhere[t.id] = p.id
	n.stepOwn(&own.Event{Kind: own.Started, Task: t.id, Attempt: t.attempt, Node: p.id})
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Push{Push: m}})
}
