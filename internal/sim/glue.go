package sim

import (
	"cmp"
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
)

// driver is the session of a node's driver; workers' sessions come after it.
const driver id.Session = 1

// submit makes a task of a session known to its owner.
func (n *node) submit(s *session, p *Program, args []id.Object, parent id.Task, attempt uint32) id.Task {
	t := n.newTask(s, p, args)
	n.stepOwn(&own.Event{Kind: own.Submit, Task: t, Session: s.id, Spec: p.Spec, Args: args,
		Parent: parent, ParentAttempt: attempt, Bytes: 100})
	return t
}

// newTask gives a task its id and keeps what it will be run with.
func (n *node) newTask(s *session, p *Program, args []id.Object) id.Task {
	s.next++
	t := id.NewTask(n.id, id.Seq(s.id, s.next))
	n.tasks[t] = &work{task: t, spec: p.Spec, program: p, args: args, session: s.id, attempt: 1}
	for _, a := range args {
		n.c.oracle.ref(n, a, 1)
	}
	for i := range returnsOf(p.Spec) {
		s.holds[t.Return(uint32(i))]++
		n.c.oracle.ref(n, t.Return(uint32(i)), 1)
	}
	n.c.oracle.submitted++
	return t
}

// runOwn carries out what the owner decided.
func (n *node) runOwn(e *own.Effect) {
	switch e.Kind {
	case own.Runnable:
		n.runnable(e)
	case own.Ready:
		if w := n.tasks[e.Object.Task()]; w != nil && !w.spec.Stream {
			n.concluded(w)
		}
		n.ready(e.Object)
	case own.ItemReady:
		if w := n.tasks[e.Task]; w != nil {
			w.made++
		}
	case own.StreamEnd:
		if w := n.tasks[e.Task]; w != nil {
			n.concluded(w)
		}
	case own.Credit:
		n.credit(e.Node, message{kind: msgCredit, task: e.Task, attempt: e.Attempt, n: e.N})
	case own.Unused:
		n.ready(e.Object) // whoever waits for it without holding it learns that it is gone
	case own.Free:
		n.discardCopy(e)
	case own.Retry:
		if w := n.tasks[e.Task]; w != nil {
			n.c.oracle.retries++
			w.attempt = e.Attempt
			if e.Fault == own.Suspect {
				w.spec = w.spec.Apart()
			}
			if w.spec.Kind == spec.KindMethod {
				n.stepActor(&actor.Event{Kind: actor.Call, Actor: w.actor, Task: e.Task, Session: w.session, Again: true})
			}
		}
	case own.Unqueue:
		n.unqueueOwned(e)
	case own.Interrupt:
		if x := n.execs[attemptKey{e.Task, e.Attempt}]; x != nil && (e.Node.IsZero() || e.Node == n.id) {
			x.abort()
		}
	case own.Forget:
		if w := n.tasks[e.Task]; w != nil {
			n.concluded(w)
			delete(n.tasks, e.Task)
		}
	case own.Send:
		n.send(e.Node, message{kind: msgOwn, own: *e.Msg})
	case own.Unexpected:
		n.c.fail("%s: own: unexpected: task %s object %s: %s", n, n.c.taskName(e.Task), n.c.objectName(e.Object), e.Why)
	}
}

// concluded notes that a task has an outcome: it needs its arguments no more.
func (n *node) concluded(w *work) {
	if w.ended {
		return
	}
	w.ended = true
	n.c.oracle.ended++
	for _, a := range w.args {
		n.c.oracle.ref(n, a, -1)
	}
}

func (n *node) runnable(e *own.Effect) {
	w := n.tasks[e.Task]
	if w == nil {
		n.c.fail("%s: task %s is runnable after it was forgotten", n, n.c.taskName(e.Task))
		return
	}
	w.attempt, w.skip = e.Attempt, uint32(e.N)
	if w.spec.Kind == spec.KindMethod {
		n.stepActor(&actor.Event{Kind: actor.ArgsReady, Task: e.Task})
		return
	}
	n.seek(w, e.Attempt)
}

// seek has a place found for a task.
func (n *node) seek(w *work, attempt uint32) {
	n.stepPlace(&place.Event{Kind: place.Runnable, Task: w.task, Attempt: attempt, Spec: w.spec, Local: n.locality(w)})
}

// locality says where a task's large arguments are.
func (n *node) locality(w *work) []place.NodeBytes {
	var out []place.NodeBytes
	for _, a := range w.args {
		r, ok := n.locate(a)
		if !ok || r.Where != own.AtNode {
			continue
		}
		at := r.Node
		if n.has(a) {
			at = n.id
		}
		i := slices.IndexFunc(out, func(b place.NodeBytes) bool { return b.Node == at })
		if i < 0 {
			i = len(out)
			out = append(out, place.NodeBytes{Node: at})
		}
		out[i].Bytes += r.Size
	}
	return out
}

// pushOf is what a node needs to know to run an attempt.
func (n *node) pushOf(w *work, attempt uint32, lease uint64) *push {
	p := &push{task: w.task, attempt: attempt, lease: lease, spec: w.spec, program: w.program, skip: w.skip,
		actor: w.actor, session: w.session}
	for _, a := range w.args {
		r, _ := n.locate(a)
		r.Object = a
		p.args = append(p.args, r)
	}
	return p
}

// unqueueOwned takes a task of this node out of whatever queue it is in.
func (n *node) unqueueOwned(e *own.Effect) {
	if w := n.tasks[e.Task]; w != nil && w.spec.Kind == spec.KindMethod {
		n.stepActor(&actor.Event{Kind: actor.CancelCall, Task: e.Task})
		return
	}
	n.stepPlace(&place.Event{Kind: place.Unqueue, Task: e.Task, Attempt: e.Attempt})
	n.unqueue(e.Task, e.Attempt)
}

// conclude tells the owner an outcome and reports whether it runs the task
// again.
func (n *node) conclude(ev *own.Event) (again bool) {
	q := &n.c.queue
	before := len(q.own)
	n.stepOwn(ev)
	for i := before; i < len(q.own); i++ {
		switch e := &q.own[i]; {
		case e.Kind == own.Retry && e.Task == ev.Task:
			again = true
		case e.Kind == own.Ready && ev.Kind == own.Done && e.Object == ev.Task.Return(0):
			n.c.oracle.accept(n, ev.Task, ev.Attempt)
		}
	}
	return again
}

// runPlace carries out what the placer decided.
func (n *node) runPlace(e *place.Effect) {
	w := n.tasks[e.Task]
	if n.handed { // what it looks places for is the heir's now
		w = nil
	}
	switch e.Kind {
	case place.Here:
		if w != nil {
			n.accept(n, n.pushOf(w, e.Attempt, 0))
		}
	case place.Ask:
		n.send(e.Node, message{kind: msgAsk, spec: e.Spec, n: e.N})
	case place.Push:
		if w != nil {
			n.pushTo(w, e)
		} else {
			n.send(e.Node, message{kind: msgGiveBack, lease: dispatch.Lease(e.Lease)})
		}
	case place.Recall:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Recall, Spec: e.Spec, N: e.N, Node: e.Node})
	case place.GiveBack:
		n.send(e.Node, message{kind: msgGiveBack, lease: dispatch.Lease(e.Lease)})
	case place.Infeasible:
		n.infeasible(w, e)
	}
}

func (n *node) infeasible(w *work, e *place.Effect) {
	switch {
	case w == nil:
	case w.spec.Kind == spec.KindCreate:
		n.stepActor(&actor.Event{Kind: actor.CannotPlace, Actor: w.task, Cause: actor.Unschedulable})
	default:
		n.conclude(&own.Event{Kind: own.Failed, Task: e.Task, Attempt: e.Attempt, Fault: own.Unschedulable})
	}
}

// pushTo sends a task to another node.
func (n *node) pushTo(w *work, e *place.Effect) {
	for _, a := range w.args {
		n.stepOwn(&own.Event{Kind: own.SendRef, Object: a, Node: e.Node})
	}
	n.stepOwn(&own.Event{Kind: own.Started, Task: w.task, Attempt: e.Attempt, Node: e.Node})
	if w.spec.Kind == spec.KindCreate {
		n.stepActor(&actor.Event{Kind: actor.Placed, Actor: w.task, Incarnation: e.Attempt, Node: e.Node})
	}
	n.send(e.Node, message{kind: msgPush, push: n.pushOf(w, e.Attempt, e.Lease)})
}

// receive takes a message in.
func (n *node) receive(from *node, m *message) {
	switch m.kind {
	case msgOwn:
		n.stepOwn(&own.Event{Kind: own.Peer, Node: from.id, Msg: &m.own})
	case msgAsk:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Request, Node: from.id, Spec: m.spec, N: m.n})
	case msgGrant, msgRefuse, msgEnd, msgView:
		n.stepPlace(m.view)
	case msgGiveBack:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Return, Lease: m.lease})
	case msgPush:
		n.gotRefs(from, m.push)
		if n.handed {
			n.turnAway(from, m.push)
			return
		}
		n.accept(from, m.push)
	case msgDone, msgFailed:
		n.ended(from, m)
	case msgFetch:
		n.asked(from, m.object)
	case msgData:
		n.arrived(m.object, m.n)
	case msgItem:
		n.gotItem(m)
	case msgCredit:
		n.credit(n.id, *m)
	case msgRef:
		n.given(from, m.object)
	case msgAdopt:
		n.stepOwn(&own.Event{Kind: own.Adopt, Node: from.id, Records: m.records})
	default:
		n.receiveActor(from, m)
	}
}

// gotRefs registers the references that came with a task.
func (n *node) gotRefs(from *node, p *push) {
	for i := range p.args {
		n.stepOwn(&own.Event{Kind: own.GotRef, Object: p.args[i].Object, Node: from.id})
	}
}

// owned lists this node's tasks in the order of their ids.
func (n *node) owned() []*work {
	out := make([]*work, 0, len(n.tasks))
	for _, w := range n.tasks {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *work) int { return slices.Compare(a.task[:], b.task[:]) })
	return out
}

// running lists the executions here in the order of their tasks' ids.
func (n *node) running() []*execution {
	out := make([]*execution, 0, len(n.execs))
	for _, e := range n.execs {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *execution) int {
		return cmp.Or(slices.Compare(a.task[:], b.task[:]), cmp.Compare(a.attempt, b.attempt))
	})
	return out
}

// returnsOf is how many values of a task its session holds from the start.
func returnsOf(s *spec.Task) int {
	if s.Stream {
		return 0
	}
	return s.Returns
}
