package sim

import (
	"cmp"
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
)

// host is an incarnation of an actor on the node that runs it.
type host struct {
	n           *node
	actor       id.Actor
	incarnation uint32
	worker      *worker
	keeper      *node // of its record
	lease       uint64
	queue       []*execution // in order of arrival; the first ones may run
	running     int
	limit       int
	alive       bool
	gone        bool
	ran         map[id.Task]uint32 // attempts begun in this incarnation
	last        map[callerOf]uint64
}

// callerOf is a session on a node.
type callerOf struct {
	node    int32
	session id.Session
}

// newHost makes room for an actor whose constructor was given to a worker.
func (n *node) newHost(e *execution) *host {
	if old := n.hosts[e.task]; old != nil {
		old.drop()
	}
	h := &host{n: n, actor: e.task, incarnation: e.attempt, worker: e.worker, keeper: e.owner, lease: e.push.lease,
		limit: max(1, e.spec.Actor.Concurrency), ran: map[id.Task]uint32{}, last: map[callerOf]uint64{}}
	n.hosts[e.task] = h
	e.worker.hosts = append(e.worker.hosts, h)
	return h
}

// constructed tells the keeper of an actor's record how its constructor ended.
func (n *node) constructed(e *execution, fault own.Fault) {
	ev := actor.Event{Actor: e.task, Incarnation: e.attempt}
	switch fault {
	case 0:
		ev.Kind, e.host.alive = actor.Started, true
	case own.Unschedulable:
		ev.Kind, ev.Cause = actor.CannotPlace, actor.Unschedulable
	case own.SetupFailed:
		ev.Kind, ev.Cause = actor.CannotPlace, actor.SetupFailed
	case own.User, own.ArgLost:
		ev.Kind = actor.InitError
	default:
		return // whoever ended it knows
	}
	n.tellKeeper(e.owner, &ev)
}

// tellKeeper reports something about an actor to where its record is.
func (n *node) tellKeeper(keeper *node, ev *actor.Event) {
	if keeper == n {
		n.stepActor(ev)
		return
	}
	n.send(keeper.id, message{kind: msgActor, actor: ev})
}

// take queues a call in the order in which it came.
func (h *host) take(e *execution) {
	e.host = h
	e.worker = h.worker
	h.queue = append(h.queue, e)
}

// run begins the calls whose turn it is.
func (h *host) run() {
	for i := 0; i < len(h.queue) && h.running < h.limit && !h.gone; i++ {
		e := h.queue[i]
		if e.phase == fetching {
			return
		}
		if e.phase == queued {
			h.running++
			h.n.c.oracle.called(h, e)
			e.start()
			i = -1 // the queue may have changed
		}
	}
}

// left takes an ended call out.
func (h *host) left(e *execution, was phase) {
	if i := slices.Index(h.queue, e); i >= 0 {
		h.queue = slices.Delete(h.queue, i, i+1)
		if was >= children {
			h.running--
		}
	}
	h.run()
}

// drop takes an actor away without a word.
func (h *host) drop() {
	if h.gone {
		return
	}
	h.gone = true
	if h.n.hosts[h.actor] == h {
		delete(h.n.hosts, h.actor)
	}
	h.worker.hosts = slices.DeleteFunc(h.worker.hosts, func(x *host) bool { return x == h })
	for _, e := range slices.Clone(h.queue) {
		e.crash(own.WorkerDied)
		h.n.dropKids(e)
	}
	h.queue = nil
}

// crash is the end of an actor with its process.
func (h *host) crash() {
	h.drop()
	h.n.tellKeeper(h.keeper, &actor.Event{Kind: actor.Lost, Actor: h.actor, Incarnation: h.incarnation, Cause: actor.WorkerDied})
}

// stop ends an incarnation because its record's keeper says so.
func (n *node) stop(a id.Actor, incarnation uint32) {
	h := n.hosts[a]
	if h == nil || h.incarnation != incarnation {
		if h == nil {
			n.unqueue(a, incarnation) // not begun
		}
		return
	}
	if e := n.execs[attemptKey{a, incarnation}]; e != nil {
		e.abort() // its constructor runs
		return
	}
	h.drop()
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: a})
}

// runActor carries out what the actor machine decided.
func (n *node) runActor(e *actor.Effect) {
	switch e.Kind {
	case actor.Begin:
		n.begin(e)
	case actor.Deliver:
		n.deliver(e)
	case actor.FailCall:
		n.failCall(e.Task, callFault(e))
	case actor.Refuse:
		n.failCall(e.Task, own.ActorDead)
	case actor.Stop:
		n.stopActor(e)
	case actor.Changed:
		n.actorChanged(e)
	case actor.NameTaken, actor.Found:
		delete(n.tasks, e.Actor)
	case actor.Tell:
		n.send(e.To, message{kind: msgTold, actor: &actor.Event{Kind: actor.Told, From: n.id, Actor: e.Actor,
			State: e.State, Incarnation: e.Incarnation, Node: e.Node, Worker: e.Worker, Cause: e.Cause}})
	case actor.Release:
		n.send(e.Actor.Owner(), message{kind: msgHandle, task: e.Actor, n: -n.tokens[e.Actor]})
		delete(n.tokens, e.Actor)
	}
}

func callFault(e *actor.Effect) own.Fault {
	switch {
	case e.MaybeRan:
		return own.ActorMaybe
	case e.Cause == actor.SessionGone:
		return own.Cancelled
	}
	return own.ActorDead
}

func (n *node) failCall(t id.Task, fault own.Fault) {
	if w := n.tasks[t]; w != nil {
		n.conclude(&own.Event{Kind: own.Failed, Task: t, Attempt: w.attempt, Fault: fault})
	}
}

// begin has an actor's constructor run. Its arguments are held by the owner of
// its creation task for all its life.
func (n *node) begin(e *actor.Effect) {
	w := n.tasks[e.Actor]
	switch {
	case w == nil:
		n.c.fail("%s: actor %s begins after it was forgotten", n, n.c.taskName(e.Actor))
	case e.Incarnation == 1:
		n.stepOwn(&own.Event{Kind: own.Submit, Task: w.task, Session: w.session, Spec: w.spec, Args: w.args, Bytes: 100})
	default:
		n.seek(w, e.Incarnation)
	}
}

func (n *node) deliver(e *actor.Effect) {
	w := n.tasks[e.Task]
	if w == nil {
		n.c.fail("%s: call %s is delivered after it was forgotten", n, n.c.taskName(e.Task))
		return
	}
	n.stepOwn(&own.Event{Kind: own.Started, Task: e.Task, Attempt: w.attempt, Node: e.Node})
	p := n.pushOf(w, w.attempt, 0)
	p.incarnation = e.Incarnation
	if e.Node == n.id {
		n.acceptCall(n, p)
		return
	}
	for _, a := range w.args {
		n.stepOwn(&own.Event{Kind: own.SendRef, Object: a, Node: e.Node})
	}
	n.send(e.Node, message{kind: msgCall, push: p})
}

// acceptCall takes a method call in, if its incarnation is here. If not, its
// caller will hear from the record's keeper.
func (n *node) acceptCall(owner *node, p *push) {
	h := n.hosts[p.actor]
	if h == nil || !h.alive || h.incarnation != p.incarnation {
		if owner != n {
			for i := range p.args {
				n.stepOwn(&own.Event{Kind: own.Drop, Object: p.args[i].Object, N: 1})
			}
		}
		return
	}
	e := &execution{push: *p, n: n, owner: owner}
	h.take(e)
	n.bring(e)
}

func (n *node) stopActor(e *actor.Effect) {
	switch {
	case e.Node.IsZero():
		n.stepPlace(&place.Event{Kind: place.Unqueue, Task: e.Actor, Attempt: e.Incarnation})
		n.unqueue(e.Actor, e.Incarnation)
	case e.Node == n.id:
		n.stop(e.Actor, e.Incarnation)
	default:
		n.send(e.Node, message{kind: msgStop, task: e.Actor, incarnation: e.Incarnation})
	}
}

// actorChanged ends the creation task of an actor that is gone for good.
func (n *node) actorChanged(e *actor.Effect) {
	n.c.note("%s: actor %s is %s", n, n.c.taskName(e.Actor), e.State)
	if e.State != actor.Dead || e.Actor.Owner() != n.id {
		return
	}
	n.stepOwn(&own.Event{Kind: own.Retire, Task: e.Actor})
}

// giveActor sends a handle to another node's driver.
func (n *node) giveActor(a id.Actor, to *node) {
	info, ok := n.actor.Get(a)
	if !ok || info.Remote {
		return
	}
	n.stepActor(&actor.Event{Kind: actor.Handle, Actor: a, Node: to.id, N: 1})
	n.send(to.id, message{kind: msgHandle, n: 1, actor: &actor.Event{Kind: actor.Told, From: n.id, Actor: a, Spec: info.Spec,
		Job: info.Job, State: info.State, Incarnation: info.Incarnation, Node: info.Node, Worker: info.Worker, Cause: info.Cause}})
}

// receiveActor takes in what other nodes say of actors.
func (n *node) receiveActor(from *node, m *message) {
	switch m.kind {
	case msgTold, msgActor:
		n.stepActor(m.actor)
	case msgHandle:
		if m.n < 0 {
			n.stepActor(&actor.Event{Kind: actor.Handle, Actor: m.task, Node: from.id, N: m.n})
			return
		}
		n.tokens[m.actor.Actor]++
		n.stepActor(m.actor)
		n.stepActor(&actor.Event{Kind: actor.Handle, Actor: m.actor.Actor, Session: driver, N: 1})
	case msgStop:
		n.stop(m.task, m.incarnation)
	case msgCall:
		n.gotRefs(from, m.push)
		n.acceptCall(from, m.push)
	}
}

// hosted lists the actors here in the order of their ids.
func (n *node) hosted() []*host {
	out := make([]*host, 0, len(n.hosts))
	for _, h := range n.hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return cmp.Or(slices.Compare(a.actor[:], b.actor[:])) })
	return out
}
