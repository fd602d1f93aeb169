package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/state"
)

// Bounds of an explanation: deeper or wider ones say that there is more.
const (
	whyDepth = 24
	whyWidth = 8
)

// explainer builds the tree of what something waits for, and the graph in which
// cycles are deadlocks. It runs under the node's lock.
type explainer struct {
	n     *Node
	seen  map[string]bool
	graph state.Graph
}

// Why implements state.Source.
func (s source) Why(_ context.Context, text string) (*state.Reason, error) {
	n := s.n
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = time.Since(n.start)
	x := &explainer{n: n, seen: map[string]bool{}, graph: state.Graph{}}
	var r *state.Reason
	if o, err := id.ParseObject(text); err == nil {
		r = x.object(o, 0)
	} else if t, err := id.ParseTask(text); err == nil {
		r = x.taskOrActor(t, 0)
	}
	if r == nil {
		r = n.past(text)
	}
	if r == nil {
		return nil, fmt.Errorf("nothing that lives is called %s: %w", text, state.ErrNotFound)
	}
	state.MarkDeadlocks(r, x.graph)
	return r, nil
}

// past tells the end of something from the events.
func (n *Node) past(text string) *state.Reason {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil
	}
	var about event.ID
	copy(about[:], b)
	entries := n.events.About(about, 1)
	if len(entries) == 0 {
		return nil
	}
	v := entries[0].View(n.start)
	return &state.Reason{Kind: "task", ID: text, Name: v.Name, State: state.TaskFinished, Text: v.String(), Error: v.Text}
}

func (x *explainer) taskOrActor(t id.Task, depth int) *state.Reason {
	if info, ok := x.n.actors.Get(t); ok && info.State != actor.Pending {
		return x.actor(t, &info, depth)
	}
	if info, ok := x.n.own.Task(t); ok && info.Spec != nil {
		return x.task(t, &info, depth)
	}
	if g := x.n.groups[t]; g != nil {
		row := x.n.groupRow(g)
		return &state.Reason{Kind: "group", ID: row.ID, State: row.State, Text: cmp.Or(g.why, fmt.Sprintf("%d of %d bundles are reserved", g.reserved, len(g.spec.Bundles)))}
	}
	return nil
}

// again marks what the tree has above already.
func (x *explainer) again(r *state.Reason, depth int) bool {
	if x.seen[r.ID] {
		r.Again = true
		return true
	}
	x.seen[r.ID] = true
	return depth >= whyDepth
}

// task explains one task.
func (x *explainer) task(t id.Task, i *own.TaskInfo, depth int) *state.Reason {
	r := &state.Reason{Kind: "task", ID: t.String(), Name: i.Spec.Name, State: x.n.taskState(i)}
	if x.again(r, depth) {
		return r
	}
	pay := x.n.task(t)
	switch {
	case pay == nil:
		r.Text = "it has ended"
	case i.Missing > 0:
		r.Text = fmt.Sprintf("it waits for %d of its arguments", i.Missing)
		x.objects(r, x.n.own.Waits(t), "its argument", depth)
	case pay.blocked && len(x.n.waitsOn[t]) == 0 && x.credit(r, pay):
	case pay.blocked:
		r.Text = "it runs, and waits for a result in Get or Wait; its CPU is lent meanwhile"
		x.objects(r, x.n.waitsOn[t], "the result", depth)
	case i.Spec.Kind == spec.KindMethod:
		x.call(r, t, pay, depth)
	default:
		x.queued(r, t, depth)
	}
	return r
}

// credit explains a task that waits to submit more.
func (x *explainer) credit(r *state.Reason, t *task) bool {
	why, waits := x.n.waitsForCredit(t)
	if waits {
		r.Text, r.Next = why, "raise --queue-bytes of `weft start`, or submit less at a time"
	}
	return waits
}

// objects adds the objects that r waits for.
func (x *explainer) objects(r *state.Reason, objects []id.Object, what string, depth int) {
	v := state.Vertex{Label: label(r)}
	for i, o := range objects {
		v.Needs = append(v.Needs, state.Need{What: what, By: []string{o.String()}})
		if i < whyWidth {
			r.WaitsFor = append(r.WaitsFor, x.object(o, depth+1))
		} else {
			r.More++
		}
	}
	x.graph[r.ID] = v
}

func label(r *state.Reason) string {
	if r.Name == "" {
		return r.Kind + " " + r.ID
	}
	return fmt.Sprintf("%s %s (%s)", r.Kind, r.ID, r.Name)
}

// object explains one object: through the task that makes it.
func (x *explainer) object(o id.Object, depth int) *state.Reason {
	st := x.n.own.Known(o)
	r := &state.Reason{Kind: "object", ID: o.String(), State: state.ObjectPending}
	switch st.Is {
	case own.Never:
		r.State, r.Text = state.ObjectLost, st.Why
		return r
	case own.Available:
		r.State, r.Text = state.ObjectInline, "it is available"
		if st.Error {
			r.State, r.Text = state.ObjectFailed, "its value is an error"
		}
		return r
	}
	if x.again(r, depth) {
		return r
	}
	made := x.taskOrActor(o.Task(), depth+1)
	if made == nil {
		r.Text = "no task that lives makes it"
		return r
	}
	r.Text, r.WaitsFor = "it is what a task will return", []*state.Reason{made}
	x.graph[r.ID] = state.Vertex{Label: "object " + r.ID, Needs: []state.Need{{What: "its task", By: []string{made.ID}}}}
	return r
}

// call explains a method call: through its actor, or the call before it.
func (x *explainer) call(r *state.Reason, t id.Task, pay *task, depth int) {
	why, on := x.n.actors.Waiting(t)
	r.Text = why
	if pay.worker != 0 && x.alone(pay) {
		r.Text = "it runs"
		return
	}
	if on.IsZero() {
		return
	}
	x.graph[r.ID] = state.Vertex{Label: label(r), Needs: []state.Need{{What: "its turn", By: []string{on.String()}}}}
	if next := x.taskOrActor(on, depth+1); next != nil {
		r.WaitsFor = append(r.WaitsFor, next)
	}
}

// alone reports whether t is the oldest call at its actor, so that it runs.
func (x *explainer) alone(t *task) bool {
	for _, o := range x.n.tasks {
		if o != t && o.actor == t.actor && o.worker != 0 && o.id.Seq() < t.id.Seq() {
			return false
		}
	}
	return true
}

// actor explains an actor: through the calls that keep it busy.
func (x *explainer) actor(a id.Actor, i *actor.Info, depth int) *state.Reason {
	r := &state.Reason{Kind: "actor", ID: a.String(), Name: i.Spec.Actor.Class, State: actorStates[i.State], Error: causeText[i.Cause]}
	if x.again(r, depth) {
		return r
	}
	r.Text = fmt.Sprintf("%d calls run or are on their way, %d wait", i.Sent, i.Queued)
	v := state.Vertex{Label: label(r)}
	for _, t := range x.n.tasks {
		if t.actor != a || t.worker == 0 || !x.alone(t) {
			continue
		}
		v.Needs = append(v.Needs, state.Need{What: "its running call", By: []string{t.id.String()}})
		if info, ok := x.n.own.Task(t.id); ok && info.Spec != nil && len(r.WaitsFor) < whyWidth {
			r.WaitsFor = append(r.WaitsFor, x.task(t.id, &info, depth+1))
		}
	}
	x.graph[r.ID] = v
	return r
}

// queued explains a task that dispatch has.
func (x *explainer) queued(r *state.Reason, t id.Task, depth int) {
	if why, waits := x.n.waitsForMemory(t); waits {
		r.Text, r.Next = why, "`weft status` shows who uses it"
		return
	}
	d, ok := x.n.dispatch.Waiting(t)
	if !ok {
		if why, waits := x.n.place.Waiting(t); waits {
			r.Text = why
		}
		return
	}
	switch d.Cause {
	case dispatch.ForNothing:
		r.Text = fmt.Sprintf("it is %s on worker %d", d.Phase, d.Worker)
	case dispatch.ForWorker:
		r.Text = "its worker process is being started"
		if p := x.n.task(t); p != nil && x.n.environPending(p.spec) {
			r.Text = "its runtime environment is being built"
		}
	case dispatch.ForMemory:
		r.Text, r.Next = "the node admits nothing new for want of memory: "+x.n.memory.machine.Explain(), "`weft status` shows who uses it"
	case dispatch.ForBundle:
		r.Text = "placement groups that were asked for earlier get their bundles first"
	case dispatch.ForTurn:
		r.Text = fmt.Sprintf("others come first: %d are before it in its queue", d.Ahead)
	case dispatch.ForResource:
		x.shortage(r, &d, depth)
	}
}

// shortage explains a task that lacks a resource: through those who hold it.
func (x *explainer) shortage(r *state.Reason, d *dispatch.Reason, depth int) {
	r.Text = fmt.Sprintf("it asks for %s=%s; %s of %s are free", d.Resource, d.Asked, d.Free, d.Total)
	r.Shortage = &state.Shortage{Resource: d.Resource, Asked: d.Asked.Float(), Free: d.Free.Float(), Total: d.Total.Float(), More: d.More}
	need := state.Need{What: d.Resource}
	for _, h := range d.Holders {
		holder := state.Holder{Kind: "task", ID: h.Task.String(), Amount: h.Amount.Float(), State: h.Phase.String()}
		if t := x.n.task(h.Task); t != nil {
			holder.Name = t.spec.Name
		}
		r.Shortage.HeldBy = append(r.Shortage.HeldBy, holder)
		need.By = append(need.By, h.Task.String())
		if next := x.taskOrActor(h.Task, depth+1); next != nil && d.Resource != resource.CPU {
			r.WaitsFor = append(r.WaitsFor, next)
		}
	}
	x.graph[r.ID] = state.Vertex{Label: label(r), Needs: []state.Need{need}}
}
