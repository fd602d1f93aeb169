package node

import (
	"errors"

	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// unsent ends the run of a task whose arguments cannot leave the process, or
// are lost.
func (n *Node) unsent(s *session, t *task, attempt uint32, lease dispatch.Lease, err error) {
	n.lock()
	defer n.unlock()
	if s.worker.tasks[t.id] != t || t.worker != s.worker.id || t.number() != attempt {
		return
	}
	delete(s.worker.tasks, t.id)
	if t.spec.Kind == spec.KindTask {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: t.id, Attempt: attempt, Lease: lease})
	}
	o := &outcome{err: wire.AsError(err, wire.Encode)}
	var lost *lostError
	if !errors.As(err, &lost) || t.spec.Kind == spec.KindCreate {
		n.ended(t, o)
		return
	}
	n.lost(lost.object)
	if t.spec.Kind == spec.KindMethod && n.guests[t.id] == nil {
		n.answeredAgain(t, o, &own.Event{Fault: own.ArgLost, Object: lost.object, To: n.id})
		return
	}
	t.out = o
	n.guardEnded(t)
	n.attemptOver(t, &own.Event{Fault: own.ArgLost, Object: lost.object, To: n.id})
}

// lost tells own that the copy of an object that lies here cannot be read.
func (n *Node) lost(o id.Object) {
	if e := n.objects[o]; e == nil || !e.at { // own knows, and others may wait for it
		return
	}
	n.free(o) // another may be made in its place
	n.stepOwn(&own.Event{Kind: own.CopyLost, Object: o, Node: n.id})
}

// lostError is that of an object whose bytes cannot be read back.
type lostError struct {
	object id.Object
	cause  error
}

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// getAgain has a value made again whose bytes are lost, if err says so.
func (c *conn) getAgain(err error) bool {
	var lost *lostError
	if !errors.As(err, &lost) {
		return false
	}
	c.n.spawnHere(func() { c.n.getAgain(c.s, lost.object) })
	return true
}

// getAgain has the value of an object sent that could not be read, should it be
// made again.
func (n *Node) getAgain(s *session, o id.Object) {
	n.lock()
	defer n.unlock()
	n.lost(o)
	if !s.ended {
		n.wait(o, func(e *object) { e.gets = appendOnce(e.gets, s) })
	}
}
