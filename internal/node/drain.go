package node

import (
	"context"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Drain takes no more work and returns when nothing runs any more, or with ctx's
// error. What drivers have submitted and has not begun fails with code Closed,
// and so does what they submit from now on; what a running task calls still
// runs. Close is to follow.
func (n *Node) Drain(ctx context.Context) error {
	n.lock()
	if n.drained == nil {
		n.drained, n.noteDrained = context.WithCancel(context.Background())
	}
	drained := n.drained
	n.unlock()
	for after := (id.Task{}); ; {
		n.lock()
		page := n.own.Tasks(after, endedAtOnce)
		for i := range page {
			after = page[i].Task
			if t := n.task(after); t != nil && t.worker == 0 && !page[i].Lineage {
				n.turnAway(t)
			}
		}
		n.unlock()
		if len(page) == 0 {
			break
		}
	}
	select {
	case <-drained.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turnAway ends a driver's task that a node which drains does not begin.
func (n *Node) turnAway(t *task) {
	if n.nested(t) {
		return
	}
	err := errDraining()
	err.Op, err.Task = t.spec.Name, t.id
	if t.spec.Kind == spec.KindCreate {
		if t.incarnation <= 1 { // else it restarts: its calls wait
			n.deaths[t.id] = err
			n.kill(t.id, true)
		}
		return
	}
	t.out = &outcome{err: err}
	n.stepOwn(&own.Event{Kind: own.Cancel, Task: t.id})
	n.settle()
}

// nested reports whether t was submitted by a task or a worker.
func (n *Node) nested(t *task) bool {
	if s := n.sessions[t.session]; s == nil || s.worker != nil {
		return s != nil
	}
	if t.call != nil {
		return !t.call.Parent.IsZero()
	}
	return !t.enc.parent.IsZero()
}

// noteIdle has Drain return once nothing runs.
func (n *Node) noteIdle() {
	for _, p := range n.workers {
		if len(p.tasks) > 0 {
			return
		}
	}
	for _, r := range n.leases {
		if r.active > 0 {
			return
		}
	}
	for _, inst := range n.instances {
		if len(inst.runs) > 0 {
			return
		}
	}
	n.later(n.noteDrained) // after the results have been sent
}

// refusal is why no driver may join, if none may.
func (n *Node) refusal() error {
	switch {
	case n.closed:
		return errClosed()
	case n.drained != nil:
		return errDraining()
	}
	return nil
}

func errDraining() *wire.Error {
	return &wire.Error{Code: wire.Closed, Message: "the node is about to end and begins nothing new",
		Hint: "start another one, and connect to it"}
}
