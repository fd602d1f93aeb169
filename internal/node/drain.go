package node

import (
	"context"
	"slices"

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
	n.draining = true
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
	return n.until(ctx, n.idle)
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

// idle reports whether nothing runs, here or elsewhere for this node.
func (n *Node) idle() bool {
	if s := n.own.Stats(); s.Waiting+s.Queued+s.Running > 0 || len(n.guests) > 0 {
		return false
	}
	for _, p := range n.workers {
		if len(p.tasks) > 0 {
			return false
		}
	}
	for _, r := range n.leases {
		if r.active > 0 {
			return false
		}
	}
	for _, inst := range n.instances {
		if len(inst.runs) > 0 {
			return false
		}
	}
	return true
}

// condition is something that somebody waits for.
type condition struct {
	holds func() bool
	noted chan struct{} // closed once it does
}

// until waits for a condition, looked at when each critical
// section ends.
func (n *Node) until(ctx context.Context, holds func() bool) error {
	c := &condition{holds, make(chan struct{})}
	n.lock()
	n.conditions = append(n.conditions, c)
	n.unlock()
	select {
	case <-c.noted:
		return nil
	case <-ctx.Done():
		n.lock()
		n.conditions = slices.DeleteFunc(n.conditions, func(x *condition) bool { return x == c })
		n.unlock()
		return context.Cause(ctx)
	}
}

// noteConditions tells those who wait for what is so now.
func (n *Node) noteConditions() {
	for i := 0; i < len(n.conditions); {
		if c := n.conditions[i]; c.holds() {
			n.conditions = slices.Delete(n.conditions, i, i+1)
			n.later(func() { close(c.noted) }) // after the results have been sent
		} else {
			i++
		}
	}
}

// refusal is why no driver may join, if none may.
func (n *Node) refusal() error {
	switch {
	case n.closed:
		return errClosed()
	case n.draining:
		return errDraining()
	}
	return nil
}

func errDraining() *wire.Error {
	return &wire.Error{Code: wire.Closed, Message: "the node is about to end and begins nothing new",
		Hint: "start another one, and connect to it"}
}
