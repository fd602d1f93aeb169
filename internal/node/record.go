package node

import (
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// Events is the node's log of what happened.
func (n *Node) Events() *event.Log { return n.events }

var actorKinds = map[actor.State]event.Kind{
	actor.Pending: event.ActorPending, actor.Alive: event.ActorAlive,
	actor.Restarting: event.ActorRestarting, actor.Dead: event.ActorDead,
}

// actorRecord notes an actor's change of state.
func (n *Node) actorRecord(e *actor.Effect) {
	r := event.Record{Kind: actorKinds[e.State], ID: event.IDOf(e.Actor), N: e.Incarnation, Worker: e.Worker}
	if t := n.task(e.Actor); t != nil {
		r.Job, r.Name = t.spec.Job, n.events.Name(t.spec.Actor.Class)
	}
	n.events.Note(n.now, r, causeText[e.Cause])
}

// workerExited notes the death of a worker process.
func (n *Node) workerExited(p *process, crash *wire.Error) {
	text := crash.Message + "\n" + crash.Stderr
	if p.ending != "" {
		text = "the node ended it: " + p.ending
	}
	n.events.Note(n.now, event.Record{Kind: event.WorkerExited, Worker: p.id, Job: p.class.Job}, text)
}

// moveRecord notes that an object has gone to disk or come back.
func (n *Node) moveRecord(m store.Move) {
	kind := event.ObjectSpilled
	if m.Back {
		kind = event.ObjectRestored
	}
	n.events.Append(time.Since(n.start), event.Record{Kind: kind, ID: event.IDOf(m.Object), Job: m.Job, Bytes: m.Bytes, Ran: m.Took})
}

// failureRecord notes a task's failed attempt: for good, or with another to follow.
func (n *Node) failureRecord(t *task, kind event.Kind, f own.Fault, text string) {
	r := n.taskRecord(t, kind)
	r.Cause = faultCauses[f]
	n.events.Note(n.now, r, text)
}

// plainRecord notes the end of a task that nobody needs to look at: one that
// returned or was cancelled.
func (n *Node) plainRecord(t *task, kind event.Kind) { n.events.Append(n.now, n.taskRecord(t, kind)) }

// taskRecord is what all records of a task's end have.
func (n *Node) taskRecord(t *task, kind event.Kind) event.Record {
	queued, ran := n.now-t.submitted, time.Duration(0)
	if t.started != 0 {
		queued, ran = t.started-t.submitted, n.now-t.started
	}
	return event.Record{Kind: kind, ID: event.IDOf(t.id), Job: t.spec.Job, N: t.attempt, Worker: t.worker, Name: n.nameOf(t),
		Queued: event.Micros(queued), Ran: ran}
}

// ran notes that the run of t that ends now took d: its worker knows better
// than the node when it began, but not when it was submitted.
func (t *task) ran(d, now time.Duration) { t.started = max(now-d, t.submitted) }

// Why tasks fail, as records have it.
var faultCauses = map[own.Fault]event.Cause{
	own.User: event.UserError, own.Final: event.UserError, own.WorkerDied: event.WorkerDied, own.Bystander: event.WorkerDied, own.Suspect: event.WorkerDied,
	own.NodeDied: event.NodeDied, own.OutOfMemory: event.OutOfMemory, own.TooLarge: event.OutOfMemory, own.ArgLost: event.ArgLost, own.ArgMoved: event.ArgLost, own.Declined: event.Idle,
	own.Cancelled: event.Cancelled, own.Unschedulable: event.Unschedulable, own.SetupFailed: event.SetupFailed,
	own.ActorDead: event.ActorGone, own.ActorMaybe: event.MaybeRan, own.ReplayMismatch: event.UserError, own.ShortResult: event.WorkerDied,
}

// callee is what rows of ended tasks say of their function beyond its name.
type callee struct {
	kind     spec.Kind
	function string
}

// nameOf interns the name of t's function, remembering the last one asked for.
func (n *Node) nameOf(t *task) event.Name {
	if n.lastSpec != t.spec {
		n.lastSpec, n.lastName = t.spec, n.events.Name(t.spec.Name)
		n.callees[n.lastName] = callee{t.spec.Kind, t.spec.Function}
	}
	return n.lastName
}
