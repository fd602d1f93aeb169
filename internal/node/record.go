package node

import (
	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/event"
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

// failureRecord notes a task's failed attempt: for good, or with another to follow.
func (n *Node) failureRecord(t *task, kind event.Kind, text string) {
	n.events.Note(n.now, event.Record{Kind: kind, ID: event.IDOf(t.id), Job: t.spec.Job, N: t.attempt,
		Worker: t.worker, Name: n.events.Name(t.spec.Name)}, text)
}

// plainRecord notes the end of a task that nobody needs to look at: one that
// returned or was cancelled.
func (n *Node) plainRecord(t *task, kind event.Kind) {
	n.events.Append(n.now, event.Record{Kind: kind, ID: event.IDOf(t.id), Job: t.spec.Job, N: t.attempt,
		Worker: t.worker, Name: n.nameOf(t)})
}

// nameOf interns the name of t's function, remembering the last one asked for.
func (n *Node) nameOf(t *task) event.Name {
	if n.lastSpec != t.spec {
		n.lastSpec, n.lastName = t.spec, n.events.Name(t.spec.Name)
	}
	return n.lastName
}
