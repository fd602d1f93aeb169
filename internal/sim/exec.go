package sim

import (
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
)

// accept takes a task in to run here: it fetches what is missing and gives it
// to the dispatcher or its actor.
func (n *node) accept(owner *node, p *push) {
	n.bring(&execution{push: *p, n: n, owner: owner})
}

// bring fetches what an execution lacks.
func (n *node) bring(e *execution) {
	n.execs[attemptKey{e.task, e.attempt}] = e
	for i := range e.args {
		a := &e.args[i]
		if a.Where != own.AtNode || n.has(a.Object) {
			continue
		}
		e.missing++
		o := a.Object
		at := a.Node
		if f := n.fetches[o]; f != nil {
			at = f.from.id
		}
		n.fetch(a, func(ok bool) { e.fetched(o, at, ok) })
	}
	if e.missing == 0 && e.phase == fetching {
		e.enqueue()
	}
}

func (e *execution) fetched(o id.Object, at id.Node, ok bool) {
	e.missing--
	if !ok {
		e.n.stepOwn(&own.Event{Kind: own.CopyLost, Object: o, Node: at})
	}
	switch {
	case e.phase != fetching:
	case !ok:
		e.looked = at
		e.end(own.ArgLost, o)
	case e.missing == 0:
		e.enqueue()
	}
}

// enqueue hands an execution that has its arguments on.
func (e *execution) enqueue() {
	e.phase = queued
	if e.spec.Kind == spec.KindMethod {
		e.host.run()
		return
	}
	e.n.stepDispatch(&dispatch.Event{Kind: dispatch.Enqueue, Task: e.task, Attempt: e.attempt,
		Spec: e.spec, Lease: dispatch.Lease(e.lease)})
}

// unqueue takes a task out that has not been given to a worker.
func (n *node) unqueue(t id.Task, attempt uint32) {
	e := n.execs[attemptKey{t, attempt}]
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Unqueue, Task: t, Attempt: attempt})
	if e != nil && e.phase <= queued {
		e.phase = over
		delete(n.execs, attemptKey{t, attempt})
		e.letGo()
	}
}

// runDispatch carries out what the dispatcher decided.
func (n *node) runDispatch(e *dispatch.Effect) {
	switch e.Kind {
	case dispatch.Start:
		n.started(e)
	case dispatch.Spawn:
		class := e.Class
		n.c.after(n.c.opts.Spawn, func() { n.spawned(class) })
	case dispatch.Retire:
		n.retire(e.Worker)
	case dispatch.Revoke:
		lease := e.Lease
		n.c.after(0, func() { n.takeBack(lease) })
	case dispatch.Infeasible:
		n.refused(e, own.Unschedulable)
	case dispatch.SetupFailed:
		n.refused(e, own.SetupFailed)
	case dispatch.Grant:
		n.toPlacer(e.Node, &place.Event{Kind: place.Granted, Node: n.id, Lease: uint64(e.Lease), Key: e.Key})
	case dispatch.Refuse:
		n.toPlacer(e.Node, &place.Event{Kind: place.Refused, Node: n.id, Key: e.Key, N: e.N})
	case dispatch.End:
		n.toPlacer(e.Node, &place.Event{Kind: place.Revoked, Node: n.id, Lease: uint64(e.Lease)})
	case dispatch.Recalled:
		n.recalled(e)
	case dispatch.Close:
		if l := n.lanes[e.Lease]; l != nil && len(l.queue) == 0 {
			n.dropLane(e.Lease, l)
		}
	}
}

// recalled passes a task on that waited here, unless it is another owner's.
func (n *node) recalled(f *dispatch.Effect) {
	e := n.execs[attemptKey{f.Task, f.Attempt}]
	w := n.tasks[f.Task]
	if w == nil || n.handed {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Enqueue, Task: f.Task, Attempt: f.Attempt, Spec: e.spec})
		return
	}
	e.phase = over
	delete(n.execs, attemptKey{f.Task, f.Attempt})
	e.letGo()
	n.stepPlace(&place.Event{Kind: place.Recalled, Task: f.Task, Attempt: f.Attempt, Spec: e.spec, Node: f.Node})
}

// toPlacer tells another node's placer about its leases here, with fresh
// figures.
func (n *node) toPlacer(to id.Node, ev *place.Event) {
	kind := msgGrant
	switch ev.Kind {
	case place.Refused:
		kind = msgRefuse
	case place.Revoked:
		kind = msgEnd
	}
	n.send(to, message{kind: msgView, view: n.figures()})
	n.send(to, message{kind: kind, view: ev})
}

// refused ends a task that can never run here.
func (n *node) refused(e *dispatch.Effect, fault own.Fault) {
	if x := n.execs[attemptKey{e.Task, e.Attempt}]; x != nil {
		x.end(fault, id.Object{})
	}
}

func (n *node) spawned(class dispatch.Class) {
	if n.down {
		return
	}
	n.lastWorker++
	w := &worker{id: n.lastWorker + 1, session: driver + id.Session(n.lastWorker)}
	n.workers[w.id] = w
	n.stepDispatch(&dispatch.Event{Kind: dispatch.WorkerUp, Worker: w.id, Class: class})
}

// retire ends a worker that the dispatcher has no use for.
func (n *node) retire(w id.Worker) {
	if x := n.workers[w]; x != nil {
		n.endWorker(x)
	}
}

// endWorker takes a process away, with all that ran in it.
func (n *node) endWorker(w *worker) {
	delete(n.workers, w.id)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.WorkerGone, Worker: w.id})
	suspects := w.suspects()
	for _, l := range slices.Clone(w.lanes) {
		for i, e := range slices.Clone(l.queue) {
			l.queue = nil
			switch {
			case i > 0:
				e.crash(own.Bystander)
			case e.phase == children:
				e.others = suspects
				e.crash(own.Bystander)
			default:
				e.others = suspects - 1
				e.crash(own.WorkerDied)
			}
		}
	}
	for _, h := range slices.Clone(w.hosts) {
		h.crash()
	}
	for _, lease := range n.leasesOf(w) {
		delete(n.lanes, lease)
	}
	n.endSession(w.session, false)
}

// suspects counts those that may have ended w: actors and tasks that compute.
func (w *worker) suspects() int {
	count := len(w.hosts)
	for _, l := range w.lanes {
		if len(l.queue) > 0 && l.queue[0].phase != children && l.queue[0].spec.Kind == spec.KindTask {
			count++
		}
	}
	return count
}

func (n *node) leasesOf(w *worker) []dispatch.Lease {
	var out []dispatch.Lease
	for k, l := range n.lanes {
		if l.worker == w {
			out = append(out, k)
		}
	}
	return out // the order does not matter: they are only deleted
}

// crash reports an execution that ended with its process.
func (e *execution) crash(fault own.Fault) {
	if e.phase == over {
		return
	}
	e.phase = over
	e.gen++
	delete(e.n.execs, attemptKey{e.task, e.attempt})
	if e.cancel {
		fault = own.Cancelled
	}
	if e.spec.Kind == spec.KindMethod {
		e.letGo() // its caller hears of the actor
		return
	}
	e.n.outcome(e, fault, id.Object{}, nil)
}

// started puts a task behind what its worker has of the same lease.
func (n *node) started(f *dispatch.Effect) {
	e := n.execs[attemptKey{f.Task, f.Attempt}]
	w := n.workers[f.Worker]
	switch {
	case w == nil:
		n.c.fail("%s starts %s on worker %d, which is gone", n, n.c.taskName(f.Task), f.Worker)
		return
	case e == nil:
		n.neverStarted(f)
		return
	case e.phase != queued:
		n.c.fail("%s starts %s attempt %d, which is not queued", n, n.c.taskName(f.Task), f.Attempt)
		return
	}
	l := n.lanes[f.Lease]
	if l == nil {
		l = &lane{worker: w}
		n.lanes[f.Lease] = l
		w.lanes = append(w.lanes, l)
	}
	e.worker, e.lane, e.phase, e.through = w, l, sent, f.Lease
	l.queue = append(l.queue, e)
	n.assigned(e)
	if len(l.queue) == 1 {
		e.start()
	}
}

// neverStarted answers a Start that was on its way when the task was taken
// out.
func (n *node) neverStarted(f *dispatch.Effect) {
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: f.Task, Attempt: f.Attempt, Lease: f.Lease})
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: f.Task})
}

// assigned tells the owner side that a worker has the task.
func (n *node) assigned(e *execution) {
	if e.spec.Kind == spec.KindCreate {
		e.host = n.newHost(e)
		n.tellKeeper(e.owner, &actor.Event{Kind: actor.Placed, Actor: e.task, Incarnation: e.attempt, Node: n.id, Worker: e.worker.id})
	}
	if e.owner == n {
		n.stepOwn(&own.Event{Kind: own.Started, Task: e.task, Attempt: e.attempt, Node: n.id})
	}
}

// leave takes an ended execution off its worker and begins the next one.
func (e *execution) leave(was phase, fault own.Fault) {
	n := e.n
	switch {
	case e.spec.Kind == spec.KindMethod:
		e.host.left(e, was)
		return
	case e.lane == nil:
		if was == queued && fault != own.Unschedulable && fault != own.SetupFailed {
			n.stepDispatch(&dispatch.Event{Kind: dispatch.Unqueue, Task: e.task, Attempt: e.attempt})
		}
		return
	}
	l := e.lane
	i := slices.Index(l.queue, e)
	l.queue = slices.Delete(l.queue, i, i+1)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: e.task, Attempt: e.attempt,
		Lease: e.through, Ran: e.ran()})
	if e.spec.Kind == spec.KindCreate && fault != 0 {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: e.task})
		e.host.drop()
	}
	if i == 0 && len(l.queue) > 0 {
		next := l.queue[0]
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Begun, Task: next.task, Lease: e.through})
		next.start()
	}
}

// takeBack answers a Revoke: what has not begun is given back.
func (n *node) takeBack(lease dispatch.Lease) {
	if n.down {
		return
	}
	l := n.lanes[lease]
	var back []id.Task
	var ended []*execution
	if l != nil && len(l.queue) > 1 {
		for _, e := range l.queue[1:] {
			back = append(back, e.task)
			e.phase, e.lane, e.worker = queued, nil, nil
			if e.cancel {
				ended = append(ended, e)
			}
		}
		l.queue = slices.Clip(l.queue[:1])
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.TakenBack, Lease: lease, Tasks: back})
	for _, e := range ended {
		e.end(own.Cancelled, id.Object{})
	}
}

func (n *node) dropLane(lease dispatch.Lease, l *lane) {
	delete(n.lanes, lease)
	l.worker.lanes = slices.DeleteFunc(l.worker.lanes, func(x *lane) bool { return x == l })
}

// block lends or takes back the CPU of a task that waits for its children.
func (e *execution) block(on bool) {
	kind := dispatch.Unblocked
	if on {
		kind = dispatch.Blocked
	}
	if e.spec.Kind != spec.KindMethod {
		e.n.stepDispatch(&dispatch.Event{Kind: kind, Task: e.task, Lease: e.through})
	}
}

// outcome tells the owner how an execution ended.
func (n *node) outcome(e *execution, fault own.Fault, lost id.Object, returns []own.Return) {
	m := message{kind: msgDone, task: e.task, attempt: e.attempt, lease: dispatch.Lease(e.push.lease), ran: e.ran(),
		incarnation: e.incarnation, returns: returns, n: int(e.item)}
	if fault != 0 {
		m.kind, m.fault, m.object, m.looked, m.n = msgFailed, fault, lost, e.looked, e.others
	}
	if e.spec.Kind == spec.KindCreate {
		n.constructed(e, fault)
	}
	if e.owner == n {
		n.ended(n, &m)
		return
	}
	to := n.c.byID[n.own.Home(e.owner.id)]
	if n.gone[to.index] {
		n.discard(returns)
		e.letGo()
		return
	}
	if to == n { // it inherited the task
		n.ended(n, &m)
		e.letGo()
		return
	}
	for i := range returns {
		for _, o := range returns[i].Inner {
			n.stepOwn(&own.Event{Kind: own.SendRef, Object: o, Node: to.id})
		}
	}
	n.send(to.id, m)
	e.letGo()
}

// letGo drops the references that came with a task of another node.
func (e *execution) letGo() {
	if e.owner == e.n {
		return
	}
	for i := range e.args {
		e.n.stepOwn(&own.Event{Kind: own.Drop, Object: e.args[i].Object, N: 1})
	}
	e.args = nil
}

// creationsOwn reports whether the outcome of a creation task is its owner's
// to know. What happened to its worker is the actor machine's.
func (n *node) creationsOwn(m *message) bool {
	return m.kind == msgDone || m.fault == own.User || m.fault == own.ArgLost
}

// ended takes the outcome of one of this node's tasks in.
func (n *node) ended(from *node, m *message) {
	w := n.tasks[m.task]
	if m.at.IsZero() {
		m.at = from.id
	}
	if from != n {
		m.eachInner(func(o id.Object) { n.stepOwn(&own.Event{Kind: own.GotRef, Object: o, Node: from.id}) })
	}
	if heir := n.own.Home(m.task.Owner()); heir != n.id {
		n.passOn(heir, m)
		return
	}
	ev := own.Event{Kind: own.Done, Task: m.task, Attempt: m.attempt, Node: m.at, Returns: m.returns, N: m.n}
	if m.kind == msgFailed {
		ev.Kind, ev.Fault, ev.Object, ev.To = own.Failed, m.fault, m.object, m.looked
	}
	again := false
	if w == nil || w.spec.Kind != spec.KindCreate || n.creationsOwn(m) {
		again = n.conclude(&ev)
	}
	if w != nil && w.spec.Kind == spec.KindMethod {
		n.stepActor(&actor.Event{Kind: actor.Finished, Actor: w.actor, Incarnation: m.incarnation, Task: m.task, Again: again})
	}
	if from != n {
		m.eachInner(func(o id.Object) { n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1}) })
		if w == nil || w.spec.Kind != spec.KindMethod {
			n.stepPlace(&place.Event{Kind: place.Ended, Task: m.task, Node: m.at, Lease: uint64(m.lease), Ran: m.ran})
		}
	}
}

// passOn sends an outcome to the node that inherited the task.
func (n *node) passOn(heir id.Node, m *message) {
	m.eachInner(func(o id.Object) { n.stepOwn(&own.Event{Kind: own.SendRef, Object: o, Node: heir}) })
	n.send(heir, *m)
	m.eachInner(func(o id.Object) { n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1}) })
}

// eachInner calls do for each reference inside the values of a result.
func (m *message) eachInner(do func(id.Object)) {
	for i := range m.returns {
		for _, o := range m.returns[i].Inner {
			do(o)
		}
	}
}

// ran is how long an execution has run, in nanoseconds; 0 if it has not.
func (e *execution) ran() int64 {
	if e.worker == nil {
		return 0
	}
	return max(1, int64(e.n.c.now-e.begun))
}
