package node

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

// instance is a living actor in this process, with a runner for its calls and
// one for each concurrency group.
type instance struct {
	n           *Node
	actor       id.Actor
	incarnation uint32
	create      *task
	self        any
	main        runner
	groups      map[string]*runner
	runs        []*client.TaskContext // of the constructor or calls that have not returned
	stopped     bool
}

// createActor asks the actor machine for the actor that t constructs. It
// returns the actor that the name stands for, which may be an older one.
func (n *Node) createActor(t *task, s *session) (id.Actor, error) {
	if n.tasks[t.id] != nil {
		return id.Actor{}, usedTwice(t.id)
	}
	n.tasks[t.id] = t
	mark := len(n.fx.actor)
	n.stepActor(&actor.Event{Kind: actor.Create, Actor: t.id, Spec: t.spec, Session: t.session, Job: s.job})
	for _, e := range n.fx.actor[mark:] {
		switch e.Kind {
		case actor.NameTaken:
			delete(n.tasks, t.id)
			n.hot = nil
			return id.Actor{}, nameTaken(t.spec.Actor.Class, t.spec.Actor.Name, e.Existing)
		case actor.Found:
			delete(n.tasks, t.id)
			n.hot = nil
			return e.Existing, nil
		}
	}
	return t.id, nil
}

// actorEffect does what the actor machine wants done.
func (n *Node) actorEffect(e *actor.Effect) {
	switch e.Kind {
	case actor.Begin:
		n.beginActor(e)
	case actor.Deliver:
		n.deliver(e)
	case actor.FailCall:
		n.failCall(e)
	case actor.Refuse:
		n.refuseCall(e)
	case actor.Stop:
		n.stopActor(e)
	case actor.Changed:
		n.actorChanged(e)
	case actor.Tell:
		if p := n.peers[e.To]; p != nil {
			n.tellOf(p, e, 0)
		}
	case actor.Release:
		n.releaseActor(n.peers[n.keeperOf(e.Actor)], e.Actor, 1)
		delete(n.keepers, e.Actor)
	case actor.Orphaned:
		n.seekKeeper(e.Actor)
	case actor.Forget:
		delete(n.deaths, e.Actor)
	}
}

// beginActor has the constructor run: through own the first time, when its
// arguments may still be missing, and placed again for a restart.
func (n *Node) beginActor(e *actor.Effect) {
	t := n.task(e.Actor)
	if t == nil {
		return
	}
	t.incarnation = e.Incarnation
	if e.Incarnation > 1 {
		n.placeTask(t, e.Incarnation)
		return
	}
	ev := n.submission(t)
	if err := n.submit(t, &ev); err != nil {
		n.initFailed(t, wire.AsError(err, wire.Internal))
	}
}

// submission describes t's arguments for own.
func (n *Node) submission(t *task) own.Event {
	if t.call == nil {
		return own.Event{Args: t.enc.deps(n), Inner: t.enc.inner, Parent: t.enc.parent, ParentAttempt: t.enc.parentAttempt}
	}
	ev := own.Event{Parent: t.call.Parent, ParentAttempt: t.call.ParentAttempt, Unshared: !n.leaves(t)}
	ev.Args = n.waitsFor(t.call)
	if !ev.Unshared {
		n.local.count(t.call)
	}
	return ev
}

// construct runs t, a constructor, on a goroutine of the new instance.
func (n *Node) construct(t *task) {
	a := t.spec.Actor
	inst := &instance{n: n, actor: t.id, incarnation: t.incarnation, create: t}
	inst.main = runner{n: n, inst: inst, limit: max(a.Concurrency, 1)}
	for name, limit := range a.Groups {
		if inst.groups == nil {
			inst.groups = map[string]*runner{}
		}
		inst.groups[name] = &runner{n: n, inst: inst, limit: limit}
	}
	n.instances[t.id] = inst
	run := n.arm(t, inst)
	n.later(func() { n.spawnHere(func() { inst.construct(run) }) })
}

// construct runs the constructor and reports.
func (inst *instance) construct(t armed) {
	f, n, returned := frame{}, inst.n, false
	defer func() {
		if !returned {
			f.err = n.goexit()
		}
		inst.report(t, &f)
	}()
	n.perform(t, nil, &f)
	returned = true
}

// report says how the constructor ended.
func (inst *instance) report(t armed, f *frame) {
	n := inst.n
	n.lock()
	defer n.unlock()
	n.disarm(t, inst)
	switch {
	case inst.stopped:
	case f.err != nil:
		n.initFailed(t.task, f.err)
	default:
		inst.self = f.out[0]
		n.constructed(t.task)
	}
}

// constructed reports that an actor is ready, to its creator only once. Its
// lease stays: what it reserves is the actor's until Release.
func (n *Node) constructed(t *task) {
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: t.id, Attempt: t.attempt, Lease: t.lease})
	n.stepActor(&actor.Event{Kind: actor.Started, Actor: t.id, Incarnation: t.incarnation})
	if !t.told {
		t.told = true
		n.finish(t, &outcome{results: []client.Result{{}}})
	}
}

// initFailed reports that a constructor returned an error. What is left of its
// instance goes.
func (n *Node) initFailed(t *task, err *wire.Error) {
	info, ok := n.actors.Get(t.id)
	if !ok || info.State == actor.Dead || info.Incarnation != t.incarnation {
		return
	}
	n.deaths[t.id] = err
	n.stepActor(&actor.Event{Kind: actor.InitError, Actor: t.id, Incarnation: t.incarnation})
	if inst := n.instances[t.id]; inst != nil && inst.incarnation == t.incarnation {
		inst.stopped = true
		delete(n.instances, t.id)
	}
	if t.worker > inProcess {
		n.stopRemoteActor(&actor.Effect{Actor: t.id, Incarnation: t.incarnation, Worker: t.worker})
	}
}

// kill ends an actor by force.
func (n *Node) kill(a id.Actor, noRestart bool) {
	n.toActor(&actor.Event{Kind: actor.Kill, Actor: a, NoRestart: noRestart})
}

// deliver gives a call to its actor.
func (n *Node) deliver(e *actor.Effect) {
	t := n.task(e.Task)
	if t == nil {
		n.stepActor(&actor.Event{Kind: actor.Finished, Actor: e.Actor, Incarnation: e.Incarnation, Task: e.Task})
		return
	}
	t.worker, t.incarnation = e.Worker, e.Incarnation
	if e.Node != n.id {
		if p := n.peers[e.Node]; p != nil {
			n.deliverTo(p, t)
		}
		return
	}
	n.stepOwn(&own.Event{Kind: own.Started, Task: t.id, Attempt: t.attempt, Node: n.id})
	if e.Worker != inProcess {
		n.withArguments(t, func() { n.execute(t, false) })
		return
	}
	inst := n.instances[e.Actor]
	if inst == nil {
		return
	}
	inst.runnerOf(t).add(t)
}

// runnerOf is that of t's concurrency group.
func (inst *instance) runnerOf(t *task) *runner {
	if g := t.group(); g != "" && inst.groups[g] != nil {
		return inst.groups[g]
	}
	return &inst.main
}

// groupError is why t's actor cannot run it: it has no such concurrency group.
func (n *Node) groupError(t *task) *wire.Error {
	g := t.group()
	if g == "" {
		return nil
	}
	info, known := n.actors.Get(t.actor)
	if !known || info.Spec.Actor.Groups[g] > 0 {
		return nil
	}
	has := "no concurrency groups"
	if names := slices.Sorted(maps.Keys(info.Spec.Actor.Groups)); len(names) > 0 {
		has = fmt.Sprintf("the concurrency groups %q", names)
	}
	return &wire.Error{Code: wire.Invalid, Op: t.spec.Name, Task: t.id, Node: n.id,
		Message: fmt.Sprintf("the method is in concurrency group %q, and the actor has %s", g, has),
		Hint:    fmt.Sprintf("create the actor with weft.ConcurrencyGroup(%q, n)", g)}
}

// group is the concurrency group of a method call.
func (t *task) group() string {
	if t.call != nil {
		return t.call.Group
	}
	return t.enc.group
}

// answered reports the end of a method call, wherever it ran.
func (n *Node) answered(t *task, o *outcome) {
	n.block(t, dispatch.Unblocked)
	if len(n.guests) > 0 && n.guests[t.id] != nil {
		t.out = o
		n.guestOver(t, &own.Event{Kind: own.Done})
		return
	}
	if o.err == nil || o.err.Code != wire.UserError {
		n.stepActor(&actor.Event{Kind: actor.Finished, Actor: t.actor, Incarnation: t.incarnation, Task: t.id})
		if o.exits {
			n.toActor(&actor.Event{Kind: actor.Exit, Actor: t.actor})
		}
		n.finish(t, o)
		return
	}
	n.answeredAgain(t, o, &own.Event{Fault: o.fault()})
}

// answeredAgain reports a call that failed in a way which its owner may want to
// try again. Own first: if it does, the actor must not end in between.
func (n *Node) answeredAgain(t *task, o *outcome, ev *own.Event) {
	t.out = o
	mark := len(n.fx.own)
	n.guardEnded(t)
	ev.Kind, ev.Task, ev.Attempt, ev.Node = own.Failed, t.id, t.attempt, n.ranAt(t)
	done := actor.Event{Kind: actor.Finished, Actor: t.actor, Incarnation: t.incarnation, Task: t.id}
	n.stepOwn(ev)
	for i := range n.fx.own[mark:] {
		done.Again = done.Again || n.fx.own[mark+i].Kind == own.Retry
	}
	n.stepActor(&done)
	n.settleOwn()
}

// failCall ends a call that its actor did not answer.
func (n *Node) failCall(e *actor.Effect) {
	t := n.task(e.Task)
	if t == nil || e.MaybeRan && t.incarnation != e.Incarnation {
		return
	}
	info, known := n.actors.Get(t.actor)
	dead := !known || info.State == actor.Dead
	fault := own.ActorDead
	t.out = &outcome{err: n.actorError(t, e, dead)}
	switch {
	case e.Cause == actor.SessionGone:
		fault = own.Cancelled
	case !dead && e.MaybeRan:
		fault = own.ActorMaybe
	}
	n.failed(t, fault)
}

// actorError says what became of a call's actor.
func (n *Node) actorError(t *task, e *actor.Effect, dead bool) *wire.Error {
	err := &wire.Error{Code: wire.ActorDied, Op: t.spec.Name, Actor: t.actor, Node: n.id, Message: causeText[e.Cause]}
	if death := n.deaths[t.actor]; death != nil {
		brief := *death
		err.Stderr, err.Trace, brief.Stderr, brief.Trace = death.Stderr, death.Trace, "", "" // once is enough
		if death.Code == wire.ActorDied {                                                    // as this one
			err.Message += ": " + death.Message
		} else {
			err.Message += ": " + brief.Error()
		}
		err.Err = &brief
		if death.Code == wire.SetupFailed {
			err.Code = wire.SetupFailed
		}
	}
	if !dead {
		err.Code = wire.ActorUnavailable
		err.Hint = "the call may have run; set MaxTaskRetries if it may run twice"
	} else if e.MaybeRan {
		err.Hint = "the call had been sent and may have run"
	}
	return err
}

var causeText = map[actor.Cause]string{
	actor.OutOfScope: "its last handle went out of scope", actor.Killed: "it was killed", actor.Exited: "it ended itself",
	actor.InitFailed: "its constructor failed", actor.WorkerDied: "its worker process died", actor.NodeDied: "its node died", actor.NodeLeft: "its node left the cluster",
	actor.JobEnded: "its job ended", actor.Unschedulable: "no node can ever hold it", actor.SetupFailed: "its worker could not be started",
	actor.SessionGone: "the caller's session ended", actor.Unknown: "it had ended before the call was made",
}

func (n *Node) refuseCall(e *actor.Effect) {
	t := n.task(e.Task)
	if t == nil {
		return
	}
	t.out = &outcome{err: &wire.Error{Code: wire.PendingCallsLimit, Op: t.spec.Name, Actor: t.actor,
		Message: "the caller has as many calls outstanding as MaxPending allows", Hint: "wait for some results first"}}
	n.failed(t, own.ActorDead)
}

// stopActor ends an incarnation, wherever it lives or waits.
func (n *Node) stopActor(e *actor.Effect) {
	t := n.task(e.Actor)
	if e.Node.IsZero() {
		if t != nil {
			n.unqueue(t.id, e.Incarnation)
		}
		return
	}
	if e.Node != n.id {
		if p := n.peers[e.Node]; p != nil {
			n.post(p, &nodev1.Message{Body: &nodev1.Message_StopActor{StopActor: &nodev1.StopActor{Actor: slices.Clone(e.Actor[:]),
				Incarnation: e.Incarnation, Force: e.Force}}})
		}
		return
	}
	n.dropCalls(e.Actor, e.Incarnation)
	if e.Worker != inProcess {
		n.stopRemoteActor(e)
		return
	}
	inst := n.instances[e.Actor]
	if inst == nil || inst.incarnation != e.Incarnation {
		return
	}
	delete(n.instances, e.Actor)
	inst.stopped = true
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: e.Actor})
	if !e.Force {
		return
	}
	for _, run := range inst.runs { // a goroutine cannot be killed, but it can be told
		n.later(func() { run.Cancel(wire.ActorDied) })
	}
}

// actorChanged records a change of an actor's state.
func (n *Node) actorChanged(e *actor.Effect) {
	n.actorRecord(e)
	n.actorMetadata(e)
	if e.State == actor.Alive {
		delete(n.deaths, e.Actor) // of the incarnation before
		n.keepElsewhere(e.Actor)
	}
	if e.State != actor.Dead {
		return
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: e.Actor}) // whatever it died of
	t := n.task(e.Actor)
	if t == nil {
		return
	}
	err := n.deaths[t.id]
	if err == nil {
		err = &wire.Error{Code: wire.ActorDied, Op: t.spec.Actor.Class, Actor: e.Actor, Message: causeText[e.Cause]}
	}
	t.out = &outcome{err: err}
	n.failed(t, own.ActorDead)
	n.stepOwn(&own.Event{Kind: own.Retire, Task: t.id})
	if e.Actor.Owner() != n.id {
		delete(n.tasks, e.Actor) // own has never heard of it
		n.hot = nil
	}
	if t.spec.Actor.Detached {
		n.releaseJob(t.spec.Job)
	}
}
