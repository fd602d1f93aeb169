package node

import (
	"context"
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/coordinate"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// task is what the node knows of a task that the machines do not: whom it is
// for and its arguments. It exists from submission until own forgets it.
//
// A million of them may wait, so what few tasks have is in maps of the Node.
type task struct {
	id          id.Task
	attempt     uint32
	session     id.Session // that submitted it
	worker      id.Worker  // where it runs; 0 while it does not
	incarnation uint32
	spec        *spec.Task
	call        *client.Call // of the embedded session; its futures are completed
	enc         *encoded     // of any other session
	actor       id.Actor     // for methods
	stream      *stream
	lease       dispatch.Lease
	out         *outcome            // while its result is being handled
	run         *client.TaskContext // while it runs in this process
	submitted   time.Duration       // when, and when its run began; 0 while it has not
	started     time.Duration
	readers     uint8 // of its arguments: runs in this process, messages being written
	began       bool  // its worker said so
	told        bool  // own knows that the actor was constructed
	cancelled   bool
	blocked     bool // it waits in a call to the node, perhaps for Node.waitsOn
	victim      bool // the memory guard ended its process
	unsent      bool // its worker's session was over already
	came        bool // of a guest that waits for its turn: with its arguments
}

// number is that of the present run: a constructor's is its incarnation.
func (t *task) number() uint32 {
	if t.spec.Kind == spec.KindCreate {
		return t.incarnation
	}
	return t.attempt
}

// owner is the actor that t creates or calls; zero for plain tasks.
func (t *task) owner() id.Actor {
	if t.spec.Kind == spec.KindCreate {
		return t.id
	}
	return t.actor
}

// encoded is a task as a session's message brought it.
type encoded struct {
	args          []arg
	inner         []id.Object // references inside argument values
	group         string
	parent        id.Task
	parentAttempt uint32
	await         bool  // its session is sent the returns as they come
	cost          int32 // credit that comes back when it is over
}

// arg is one encoded argument: a value, an object's, or a list of objects'.
type arg struct {
	val  wire.Value
	obj  id.Object
	list []id.Object
	many bool
}

// outcome is what an attempt brought: results by position, or an error.
type outcome struct {
	results []client.Result
	one     [1]client.Result
	err     *wire.Error
	exits   bool  // the actor ends with this call
	final   bool  // err is not retried
	ran     int64 // nanoseconds
}

// fault is what own is told of an error that the function returned.
func (o *outcome) fault() own.Fault {
	if o.final {
		return own.Final
	}
	return own.User
}

// task returns the payload of a task, or nil. The effects of one event are
// mostly about one task: the last one asked for is at hand.
func (n *Node) task(t id.Task) *task {
	if n.hot != nil && n.hot.id == t {
		return n.hot
	}
	found := n.tasks[t]
	if found != nil {
		n.hot = found
	}
	return found
}

// submit hands a new task to own and, for a method, to its actor's queue.
// An id that was used before is refused.
func (n *Node) submit(t *task, ev *own.Event) error {
	if old := n.tasks[t.id]; old != nil && old != t {
		return usedTwice(t.id)
	}
	ev.Kind, ev.Task, ev.Session, ev.Spec = own.Submit, t.id, t.session, t.spec
	mark := len(n.fx.own)
	n.stepOwn(ev)
	if len(n.fx.own) > mark && n.fx.own[mark].Kind == own.Unexpected {
		return &wire.Error{Code: wire.Protocol, Op: "submit", Task: t.id, Message: n.fx.own[mark].Why}
	}
	n.tasks[t.id], n.hot = t, t
	t.attempt, t.submitted = 1, n.now // it may fail before it is runnable
	if t.stream != nil {
		n.streams[t.id] = t.stream
	}
	if n.draining {
		n.turnAway(t)
	}
	if t.spec.Kind != spec.KindMethod {
		return nil
	}
	// Usually all arguments are there: spare the actor machine a second event.
	ready := len(n.away) == 0 && len(n.fx.own) == mark+1 && n.fx.own[mark].Kind == own.Runnable
	if ready {
		t.attempt = n.fx.own[mark].Attempt
		n.fx.own = n.fx.own[:mark]
		if n.spoiled(t) {
			return nil
		}
	}
	n.toActor(&actor.Event{Kind: actor.Call, Actor: t.actor, Task: t.id, Session: t.session, ArgsReady: ready})
	return nil
}

// spoiled reports whether t cannot run because an argument has failed, or for
// its concurrency group; then it ends with that error.
func (n *Node) spoiled(t *task) bool {
	err := n.argError(t)
	if err == nil && t.spec.Kind == spec.KindMethod {
		err = n.groupError(t)
	}
	if err != nil {
		n.argFailed(t, err)
	}
	return err != nil
}

func usedTwice(t id.Task) *wire.Error {
	return &wire.Error{Code: wire.Protocol, Op: "submit", Task: t, Message: "an id used twice"}
}

// ownEffect does what own wants done.
func (n *Node) ownEffect(e *own.Effect) {
	switch e.Kind {
	case own.Runnable:
		n.runnable(e)
	case own.Ready:
		n.ready(e)
	case own.ItemReady:
		n.itemReady(e)
	case own.StreamEnd:
		n.streamEnd(e)
	case own.Free:
		n.free(e.Object)
	case own.FailTask:
		n.failTask(e)
	case own.Retry:
		n.retried(e)
	case own.Unqueue:
		n.unqueue(e.Task, e.Attempt)
	case own.Interrupt:
		n.interrupt(e)
	case own.Credit:
		n.credit(e)
	case own.Forget:
		n.forget(e.Task)
	case own.Send:
		n.sendOwn(e)
	case own.Unused:
		n.unused(e.Object)
	case own.Unexpected:
		n.unexpected(e)
	}
}

// unexpected notes what a correct peer would not have done.
func (n *Node) unexpected(e *own.Effect) {
	if log := n.cfg.Log; log != nil {
		why, task, object := e.Why, e.Task, e.Object
		n.later(func() { log.Debug("unexpected", "why", why, "task", task, "object", object) })
	}
}

// runnable places a task whose arguments are there, unless one is an error.
func (n *Node) runnable(e *own.Effect) {
	t := n.task(e.Task)
	if t == nil {
		return
	}
	t.attempt = e.Attempt
	if n.spoiled(t) {
		return
	}
	switch {
	case t.spec.Kind != spec.KindMethod:
		n.placeTask(t, t.attempt)
	default:
		n.withArguments(t, func() { n.argsReady(t) })
	}
}

// placeTask has a node chosen for an attempt of t.
func (n *Node) placeTask(t *task, attempt uint32) {
	if s := &t.spec.Strategy; s.Kind == spec.InGroup {
		n.seekGroup(s.Group)
	}
	n.stepPlace(&place.Event{Kind: place.Runnable, Task: t.id, Attempt: attempt, Spec: t.spec})
}

// argsReady tells the machine that knows a call, or will, that its arguments are
// there.
func (n *Node) argsReady(t *task) {
	ev := actor.Event{Kind: actor.ArgsReady, Actor: t.actor, Task: t.id, Session: t.session}
	if waiting := n.meeting[t.actor]; len(waiting) > 0 {
		n.meeting[t.actor] = append(waiting, ev)
		return
	}
	n.stepActor(&ev)
}

// argFailed ends a task that has waited for an argument which is an error.
func (n *Node) argFailed(t *task, err *wire.Error) {
	switch t.spec.Kind {
	case spec.KindCreate:
		n.initFailed(t, err)
		return
	case spec.KindMethod:
		n.stepActor(&actor.Event{Kind: actor.CancelCall, Task: t.id}) // those behind it go on
	}
	n.conclude(t, &outcome{err: err}) // others may fail of it in turn: a loop, not a recursion
}

// placeEffect does what place wants done.
func (n *Node) placeEffect(e *place.Effect) {
	switch e.Kind {
	case place.Ask, place.Push, place.GiveBack:
		n.remotePlace(e)
		return
	case place.Recall:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Recall, Spec: e.Spec, N: e.N, Node: e.Node})
		return
	}
	t := n.task(e.Task)
	if t == nil {
		return
	}
	switch e.Kind {
	case place.Here:
		n.withArguments(t, func() { n.enqueue(t) })
	case place.Infeasible:
		n.infeasible(t, e.Removed, e.Why)
	case place.Waiting:
		if n.cfg.Cluster != nil {
			n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.Seek, Node: n.id, Need: &t.spec.Resources, Selector: t.spec.Selector})
		}
	}
}

// infeasible fails a task that no node can ever run.
func (n *Node) infeasible(t *task, groupRemoved bool, why string) {
	err := &wire.Error{Code: wire.Unschedulable, Message: why,
		Hint: "ask for less, or start the node with more (`weft start --resources`, weft.Resources)"}
	if groupRemoved {
		err.Code, err.Hint = wire.GroupRemoved, "make another"
	}
	t.out = &outcome{err: err}
	if t.spec.Kind == spec.KindCreate {
		n.cannotPlace(t, actor.Unschedulable)
		return
	}
	n.failed(t, own.Unschedulable)
}

// cannotPlace reports that an actor has no place, with the error at hand.
func (n *Node) cannotPlace(t *task, cause actor.Cause) {
	if n.guests[t.id] != nil {
		n.hostRefused(t, cause)
		return
	}
	n.deaths[t.id] = t.out.err
	n.stepActor(&actor.Event{Kind: actor.CannotPlace, Actor: t.id, Cause: cause})
}

// failed reports that t's attempt ended without a result.
func (n *Node) failed(t *task, f own.Fault) {
	n.guardEnded(t)
	n.attemptOver(t, &own.Event{Fault: f})
}

// dispatchEffect does what dispatch wants done.
func (n *Node) dispatchEffect(e *dispatch.Effect) {
	switch e.Kind {
	case dispatch.Start:
		n.startTask(e)
	case dispatch.Close:
		n.closeLease(e.Lease)
	case dispatch.Spawn:
		n.spawn(e.Class)
	case dispatch.Retire:
		n.retire(e.Worker)
	case dispatch.Revoke:
		n.revoke(e)
	case dispatch.Infeasible:
		if t := n.task(e.Task); t != nil {
			n.infeasible(t, e.Resource == dispatch.GroupResource, infeasibleText(e))
		}
	case dispatch.SetupFailed:
		n.setupFailed(e)
	case dispatch.Grant, dispatch.Refuse, dispatch.End:
		n.leaseAnswer(e)
	case dispatch.Reserved, dispatch.Unreservable:
		n.groupAnswer(e)
	case dispatch.Recalled:
		n.recalled(e)
	}
}

// recalled passes a task on that waited here, unless it is another owner's.
func (n *Node) recalled(e *dispatch.Effect) {
	t := n.task(e.Task)
	switch {
	case t == nil:
	case n.guests[t.id] != nil:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Enqueue, Task: t.id, Attempt: e.Attempt, Spec: t.spec})
	default:
		n.guardEnded(t)
		n.stepPlace(&place.Event{Kind: place.Recalled, Task: t.id, Attempt: e.Attempt, Spec: t.spec, Node: e.Node})
	}
}

func infeasibleText(e *dispatch.Effect) string {
	if e.Resource == dispatch.GroupResource {
		return "its placement group has been removed"
	}
	return fmt.Sprintf("it asks for %s=%s and no node has more than %s", e.Resource, e.Asked, e.Have)
}

func (n *Node) setupFailed(e *dispatch.Effect) {
	t := n.task(e.Task)
	if t == nil {
		return
	}
	t.out = &outcome{err: n.spawnError(t, e.Class)}
	if t.spec.Kind == spec.KindCreate {
		n.cannotPlace(t, actor.SetupFailed)
		return
	}
	n.failed(t, own.SetupFailed)
}

// startTask sends a task to its worker.
func (n *Node) startTask(e *dispatch.Effect) {
	t := n.task(e.Task)
	if t == nil {
		// Forgotten while it waited: the lease goes on with the next one.
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: e.Task, Attempt: e.Attempt, Lease: e.Lease})
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: e.Task}) // if it is a constructor
		return
	}
	t.worker, t.lease, t.began = e.Worker, e.Lease, e.N == 0
	if len(n.guests) > 0 && n.guests[t.id] != nil { // its owner knows
		if t.spec.Kind == spec.KindCreate {
			n.hostPlaced(t, e.Worker)
		}
	} else if t.spec.Kind == spec.KindCreate {
		info, _ := n.actors.Get(t.id)
		t.incarnation = info.Incarnation
		n.stepActor(&actor.Event{Kind: actor.Placed, Actor: t.id, Incarnation: t.incarnation, Node: n.id, Worker: e.Worker})
	} else {
		n.stepOwn(&own.Event{Kind: own.Started, Task: t.id, Attempt: t.attempt, Node: n.id})
	}
	if e.Worker == inProcess {
		n.startHere(t)
		return
	}
	n.execute(t, e.N > 0)
}

// finish ends an attempt that has a result or a user's error.
func (n *Node) finish(t *task, o *outcome) {
	n.conclude(t, o)
	n.settleOwn()
	t.out = nil
}

// conclude is finish without what follows from it.
func (n *Node) conclude(t *task, o *outcome) {
	n.guardEnded(t)
	t.out = o
	ev := own.Event{Kind: own.Done, Task: t.id, Attempt: t.attempt, Node: n.ranAt(t)}
	if len(n.guests) > 0 && n.guests[t.id] != nil {
		n.guestOver(t, &ev)
		return
	}
	if o.err != nil && o.err.Code == wire.UserError && t.worker != 0 {
		ev.Kind, ev.Fault = own.Failed, o.fault()
		n.stepFailed(t, &ev)
		return
	}
	n.counts.done++
	n.repay(t)
	n.plainRecord(t, event.TaskDone)
	returns := n.returns[:0]
	for i := range t.spec.Returns {
		returns = append(returns, n.returned(t, uint32(i), o))
	}
	if t.stream != nil {
		ev.N = t.stream.made
	}
	ev.Returns, n.returns = returns, returns
	n.stepOwn(&ev)
}

// settleOwn handles own's effects while the outcome they are about is at hand.
func (n *Node) settleOwn() {
	f := &n.fx
	for f.ownAt < len(f.own) {
		e := f.own[f.ownAt]
		f.ownAt++
		n.ownEffect(&e)
	}
}

// failTask makes the error that the task's returns will show.
func (n *Node) failTask(e *own.Effect) {
	t := n.task(e.Task)
	if t == nil {
		return
	}
	if t.out == nil {
		t.out = &outcome{}
	}
	if t.out.err == nil {
		t.out.err = n.faultError(e)
	}
	t.out.err.Task, t.out.err.Attempt = t.id, e.Attempt
	if t.out.err.Op == "" {
		t.out.err.Op = t.spec.Name
	}
	n.counts.failed++
	n.repay(t)
	if e.Fault == own.Cancelled {
		n.plainRecord(t, event.TaskCancelled)
		return
	}
	n.failureRecord(t, event.TaskFailed, e.Fault, t.out.err.Error())
	n.tellActor(t)
}

// tellActor tells a task's actor that own has given the task up: a call leaves
// the queue, so that those behind it go on, and without a constructor the actor
// ends.
func (n *Node) tellActor(t *task) {
	switch t.spec.Kind {
	case spec.KindMethod:
		n.stepActor(&actor.Event{Kind: actor.CancelCall, Task: t.id})
	case spec.KindCreate:
		if info, ok := n.actors.Get(t.id); ok && info.State != actor.Dead {
			n.deaths[t.id] = t.out.err
			n.kill(t.id, true)
		}
	}
}

var faultCodes = map[own.Fault]wire.Code{
	own.User: wire.UserError, own.WorkerDied: wire.WorkerCrashed, own.NodeDied: wire.NodeDied,
	own.OutOfMemory: wire.OutOfMemory, own.TooLarge: wire.OutOfMemory, own.ArgLost: wire.ObjectLost, own.Cancelled: wire.Cancelled,
	own.Unschedulable: wire.Unschedulable, own.SetupFailed: wire.SetupFailed, own.ActorDead: wire.ActorDied,
	own.ActorMaybe: wire.ActorUnavailable, own.Bystander: wire.WorkerCrashed, own.Suspect: wire.WorkerCrashed,
	own.ReplayMismatch: wire.UserError, own.ShortResult: wire.Protocol, own.Final: wire.UserError,
}

// faultError describes a fault of which nothing more is known.
func (n *Node) faultError(e *own.Effect) *wire.Error {
	err := &wire.Error{Code: faultCodes[e.Fault], Node: n.id}
	switch e.Fault {
	case own.ReplayMismatch:
		err.Message = "when it was run again the generator made fewer items than had been delivered"
		err.Hint = "a generator that may be retried must make the same items every time"
	case own.ArgLost:
		err.Message = fmt.Sprintf("argument %s is lost", e.Object)
	case own.Cancelled:
		err.Message = ""
		err.Err = context.Canceled
	}
	return err
}

// retried forgets where the failed attempt ran.
func (n *Node) retried(e *own.Effect) {
	if t := n.task(e.Task); t != nil {
		n.counts.retried++
		n.failureRecord(t, event.TaskRetried, e.Fault, retryText(t))
		t.attempt, t.worker, t.out, t.blocked, t.started = e.Attempt, 0, nil, false, 0
		if e.Fault == own.Suspect {
			t.spec = t.spec.Apart()
		}
		delete(n.waitsOn, t.id)
		delete(n.elsewhere, t.id)
		if t.spec.Kind == spec.KindMethod {
			t.incarnation = 0 // that one's end is no news of this attempt
		}
		if t.spec.Kind == spec.KindMethod && e.Fault != own.User {
			// It keeps its place before calls that were never sent.
			n.toActor(&actor.Event{Kind: actor.Call, Actor: t.actor, Task: t.id, Session: t.session, Again: true})
		}
		if t.stream != nil {
			t.stream.restart()
		}
	}
}

func retryText(t *task) string {
	if t.out == nil || t.out.err == nil {
		return ""
	}
	return t.out.err.Error()
}

// unqueue takes a task out of whatever queue it waits in.
func (n *Node) unqueue(id id.Task, attempt uint32) {
	if t := n.task(id); t != nil {
		n.guardEnded(t)
	}
	delete(n.coming, id)
	n.stepPlace(&place.Event{Kind: place.Unqueue, Task: id})
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Unqueue, Task: id, Attempt: attempt})
	n.stepActor(&actor.Event{Kind: actor.CancelCall, Task: id})
}

// forget drops a task's payload.
func (n *Node) forget(id id.Task) {
	t := n.task(id)
	if t == nil {
		return
	}
	delete(n.tasks, id)
	n.hot = nil
	n.guardEnded(t)
	n.repay(t)
	if stop := n.unwatch[id]; stop != nil {
		delete(n.unwatch, id)
		n.later(func() { stop() })
	}
	delete(n.waitsOn, id)
	delete(n.coming, id)
	delete(n.elsewhere, id)
	if t.readers == 0 { // else the last of them does so
		t.dropArguments()
	}
}

// dropArguments lets go of what is not needed any more of a call: its futures
// live on with their refs.
func (t *task) dropArguments() {
	if t.call != nil {
		t.call.Arg1, t.call.Args = [3]client.Arg{}, nil
	}
}
