package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// runner runs tasks in this process, one after the other: those of a dispatch
// lease, or calls of an actor, of which a few may run at a time. All of it is
// under the node's lock.
type runner struct {
	n      *Node
	lease  dispatch.Lease // 0 for an actor's
	inst   *instance      // nil for a lease's
	limit  int            // goroutines at a time
	active int
	queue  []*task // handed over and not begun
	head   int     // of queue
}

// start is a runner's first task for one more goroutine.
type start struct {
	r     *runner
	first armed
	at    time.Duration // when it was decided
}

// armed is a task that is to run here, with the context of this run: another
// attempt may begin, on another instance of its actor, before this one ends.
type armed struct {
	*task
	run *client.TaskContext
}

// add gives r a task, and another goroutine if it may have one.
func (r *runner) add(t *task) {
	if r.active >= r.limit {
		r.queue = append(r.queue, t)
		return
	}
	r.active++
	r.n.out.starts = append(r.n.out.starts, start{r, r.n.arm(t, r.inst), r.n.now})
}

// next takes r's next task, or ends a goroutine of it and returns none.
func (r *runner) next() armed {
	if r.head == len(r.queue) || r.inst != nil && r.inst.stopped {
		clear(r.queue)
		r.queue, r.head = r.queue[:0], 0
		r.active--
		return armed{}
	}
	t := r.queue[r.head]
	r.queue[r.head] = nil
	if r.head++; r.head == len(r.queue) {
		r.queue, r.head = r.queue[:0], 0
	}
	return r.n.arm(t, r.inst)
}

// remove takes t out if it has not begun.
func (r *runner) remove(t *task) bool {
	i := slices.Index(r.queue[r.head:], t)
	if i < 0 {
		return false
	}
	r.queue = slices.Delete(r.queue, r.head+i, r.head+i+1)
	return true
}

// waiting takes all tasks that have not begun.
func (r *runner) waiting() []*task {
	ts := slices.Clone(r.queue[r.head:])
	clear(r.queue)
	r.queue, r.head = r.queue[:0], 0
	return ts
}

// run executes first and whatever else r has.
func (r *runner) run(first armed, at time.Duration) {
	f := frames.Get().(*frame)
	f.began = at
	for t := first; t.task != nil; {
		t = r.step(t, f)
	}
	frames.Put(f)
}

// runNow executes t on the goroutine of its caller, which waits for it anyway.
// What else r has by then gets a goroutine of its own.
func (r *runner) runNow(t armed, at time.Duration) {
	f := frames.Get().(*frame)
	f.began = at
	next := r.step(t, f)
	at = f.began
	frames.Put(f)
	if next.task != nil {
		r.n.spawnHere(func() { r.run(next, at) })
	}
}

// step executes t, reports its outcome and takes the next task.
func (r *runner) step(t armed, f *frame) (next armed) {
	returned, at := false, f.began
	defer func() {
		if !returned {
			r.n.spawnHere(func() { r.goexited(t, at) })
		}
	}()
	var self any
	if r.inst != nil {
		self = r.inst.self
	}
	r.n.perform(t, self, f)
	returned = true
	return r.report(t, f)
}

// goexited goes on after a function that ended its goroutine, which was r's.
func (r *runner) goexited(t armed, at time.Duration) {
	f := &frame{began: at, outcome: outcome{err: r.n.goexit()}}
	if next := r.report(t, f); next.task != nil {
		r.run(next, f.began)
	}
}

func (n *Node) goexit() *wire.Error {
	return &wire.Error{Code: wire.UserError, Type: "runtime.Goexit", Node: n.id, Place: n.where,
		Message: "the function ended its goroutine (runtime.Goexit) instead of returning"}
}

// report ends t with the outcome in f and takes the next task. Of calls to an
// instance that was stopped nobody wants to know any more.
func (r *runner) report(t armed, f *frame) (next armed) {
	n := r.n
	n.lock()
	current := n.disarm(t, r.inst)
	switch {
	case r.inst == nil:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: t.id, Attempt: t.run.Running.Attempt, Lease: r.lease,
			Ran: int64(n.now - f.began)})
		if current {
			n.finish(t.task, &f.outcome)
		}
	case current && !r.inst.stopped:
		n.answered(t.task, &f.outcome)
	}
	n.settle()
	next = r.next()
	f.began = n.now
	n.unlock()
	return next
}

// startHere gives a task to the runner of its lease, or an actor's constructor
// to the actor's goroutine.
func (n *Node) startHere(t *task) {
	if t.spec.Kind == spec.KindCreate {
		n.construct(t)
		return
	}
	r := n.leases[t.lease]
	if r == nil {
		r = &runner{n: n, lease: t.lease, limit: 1}
		n.leases[t.lease] = r
	}
	r.add(t)
}

// closeLease forgets a lease on which nothing more will be started.
func (n *Node) closeLease(id dispatch.Lease) { delete(n.leases, id) }

// arm gives a task that is about to run here, on inst if it is a call, its context.
func (n *Node) arm(t *task, inst *instance) armed {
	t.run = client.NewTaskContext(client.Running{Sess: n.local, Call: t.call, Task: t.id, Attempt: t.attempt,
		Actor: t.owner(), Incarnation: t.incarnation, Spec: t.spec, Devices: n.deviceNumbers(t)})
	t.readers++
	t.started = n.now
	if inst != nil {
		inst.runs = append(inst.runs, t.run)
	}
	if t.cancelled {
		t.run.Cancel(wire.Cancelled)
	}
	return armed{t, t.run}
}

// disarm ends a run of a task and reports whether it is the latest one.
func (n *Node) disarm(t armed, inst *instance) (current bool) {
	if inst != nil {
		i := slices.Index(inst.runs, t.run)
		last := len(inst.runs) - 1
		inst.runs[i], inst.runs[last] = inst.runs[last], nil
		inst.runs = inst.runs[:last]
	}
	if current = t.task.run == t.run; current {
		t.task.run = nil
	}
	if t.readers--; t.readers == 0 && n.task(t.id) != t.task {
		t.dropArguments()
	}
	return current
}

// frame is what running tasks one after the other needs again and again.
type frame struct {
	outcome
	began time.Duration // of the task that runs, since the node's start
	in3   [3]any
	out1  [1]any
	out   []any
}

var frames = sync.Pool{New: func() any { return new(frame) }}

// perform runs t's function in this process and fills f with its outcome. It
// is called without the lock.
func (n *Node) perform(t armed, self any, f *frame) {
	f.outcome = outcome{}
	if t.run.Cancelled() {
		f.err = &wire.Error{Code: wire.Cancelled, Op: t.spec.Name, Message: "before it began"}
		t.run.Finish()
		return
	}
	fn, in, err := n.arguments(t.task, f)
	if err != nil {
		f.err = wire.AsError(err, wire.Encode)
		return
	}
	f.out1[0] = nil
	f.out = f.out1[:]
	if t.spec.Returns > 1 {
		f.out = make([]any, t.spec.Returns)
	}
	c := t.run
	if fn.Stream != nil {
		err = client.RunStream(c, fn, self, in, func(v any) bool { return t.stream.yield(c, v) })
	} else {
		err = client.Run(c, fn, self, in, f.out)
	}
	c.Finish()
	f.in3 = [3]any{}
	f.fill(n, fn, err)
}

// fill sets the outcome to the values returned, or to err.
func (f *frame) fill(n *Node, fn *client.Function, err error) {
	if errors.Is(err, client.ErrExit) {
		f.exits, err = true, nil
	}
	if err != nil {
		e := *wire.AsError(err, wire.UserError) // it may be another task's
		e.Node, e.Place = n.id, n.where
		f.err = &e
		return
	}
	if fn.Stream != nil || fn.Create {
		return
	}
	if len(f.out) == 1 {
		f.one[0] = client.Result{Val: f.out[0]}
		f.results = f.one[:]
		return
	}
	f.results = make([]client.Result, len(f.out))
	for i, v := range f.out {
		f.results[i] = client.Result{Val: v}
	}
}

// interrupt stops a running task.
func (n *Node) interrupt(e *own.Effect) {
	t := n.task(e.Task)
	if t == nil {
		return
	}
	t.cancelled = true
	switch {
	case t.worker != inProcess && t.worker != 0:
		n.interruptWorker(t, e.Force)
	case t.run != nil:
		c := t.run
		n.later(func() { c.Cancel(wire.Cancelled) })
	case t.worker == inProcess:
		n.withdraw(t)
	case n.guests[t.id] != nil && t.spec.Kind == spec.KindMethod:
		t.out = nil
		n.attemptOver(t, &own.Event{Fault: own.Cancelled})
	case t.worker == 0 && t.spec.Kind == spec.KindTask: // its worker gave it back
		n.withdrawQueued(t)
	}
}

// withdraw ends a task that was handed over to this process and has not begun:
// those before it may take long.
func (n *Node) withdraw(t *task) {
	o := &outcome{err: &wire.Error{Code: wire.Cancelled, Op: t.spec.Name, Message: "before it began"}}
	switch inst := n.instances[t.actor]; {
	case t.spec.Kind == spec.KindTask:
		if r := n.leases[t.lease]; r != nil && r.remove(t) {
			n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: t.id, Attempt: t.attempt, Lease: t.lease})
			n.finish(t, o)
		}
	case t.spec.Kind == spec.KindMethod && inst != nil:
		if inst.runnerOf(t).remove(t) {
			n.answered(t, o)
		}
	}
}

// withdrawQueued ends a cancelled task that was started, and given back by its
// worker: it waits in dispatch again.
func (n *Node) withdrawQueued(t *task) {
	n.unqueue(t.id, t.attempt)
	n.failed(t, own.Cancelled)
}

// function is what t calls, if this process knows it.
func (t *task) function() (*client.Function, error) {
	if t.call != nil {
		return t.call.Fn, nil
	}
	return client.FindFunction(t.spec.Function, t.spec.Sig)
}

// arguments gathers the function of t and its argument values.
func (n *Node) arguments(t *task, f *frame) (*client.Function, []any, error) {
	fn, err := t.function()
	if err != nil {
		return nil, nil, err
	}
	in := f.in3[:0]
	for i := range fn.Args {
		v, err := n.argument(t, fn, i)
		if err != nil {
			return nil, nil, argumentError(fn, i, err)
		}
		in = append(in, v)
	}
	return fn, in, nil
}

// argument is t's i-th argument as a value.
func (n *Node) argument(t *task, fn *client.Function, i int) (any, error) {
	if t.call == nil {
		return n.decodeArgument(&t.enc.args[i], fn.Args[i])
	}
	a := &t.call.Args[i]
	if list, many := a.Val.(client.List); many {
		return fn.Args[i].(client.Collector).Collect(list)
	}
	if a.Fut != nil {
		return client.ValueOf(a.Fut, fn.Args[i])
	}
	return a.Val, nil
}

// decodeArgument is an argument of another process's task that runs here.
func (n *Node) decodeArgument(a *arg, c client.Codec) (any, error) {
	switch {
	case a.many:
		col, ok := c.(client.Collector)
		if !ok {
			return nil, &wire.Error{Code: wire.Invalid, Message: "a list of objects for an argument that is no slice"}
		}
		elems := make([]any, len(a.list))
		for i, o := range a.list {
			v, err := n.readObject(o, col.Element())
			if err != nil {
				return nil, err
			}
			elems[i] = v
		}
		return col.Join(elems)
	case !a.obj.IsZero():
		return n.readObject(a.obj, c)
	}
	return c.Decode(n.local, a.val)
}

// readObject is the value of a ready object.
func (n *Node) readObject(o id.Object, c client.Codec) (any, error) {
	n.mu.Lock()
	e, missing := n.objects[o], n.missing(o)
	n.mu.Unlock()
	switch {
	case e == nil:
		return nil, &wire.Error{Code: wire.ObjectFreed, Op: "read " + o.String()}
	case missing:
		return nil, &wire.Error{Code: wire.ObjectLost, Op: "read " + o.String(), Message: "it was lost before it was read"}
	case e.at:
		return n.readStored(e, c)
	case e.res.Err != nil:
		return nil, e.res.Err
	case e.res.Enc != nil:
		return c.Decode(n.local, e.res.Enc.Value)
	}
	return e.res.Val, nil
}

// readStored decodes an object from the store.
func (n *Node) readStored(e *object, c client.Codec) (any, error) {
	at, err := n.store.PinWait(n.ctx, 0, e.id)
	if err != nil {
		return nil, &wire.Error{Code: wire.ObjectLost, Op: "read " + e.id.String(), Err: err, Message: err.Error()}
	}
	defer n.store.Unpin(0, e.id, 1)
	return c.Decode(n.local, wire.Value{Tag: e.tag, Data: at.Bytes, Refs: e.refs})
}

func argumentError(fn *client.Function, i int, err error) *wire.Error {
	e := *wire.AsError(err, wire.Encode)
	e.Op = fn.Name
	e.Message = fmt.Sprintf("argument %d: %s", i+1, e.Message)
	return &e
}

// block tells dispatch that a task waits or goes on. A method's CPU is its
// actor's, and is lent while all methods that run wait.
func (n *Node) block(t *task, kind dispatch.EventKind) {
	waits := kind == dispatch.Blocked
	if n.closed || t.blocked == waits {
		return
	}
	if t.blocked = waits; !waits {
		delete(n.waitsOn, t.id)
	}
	ev := dispatch.Event{Kind: kind, Task: t.id, Lease: t.lease}
	if t.spec.Kind == spec.KindMethod {
		ev.Task, ev.Lease = t.actor, 0
	}
	n.stepDispatch(&ev)
}

// spawnHere starts a goroutine that Close waits for.
func (n *Node) spawnHere(f func()) {
	n.running.Go(f)
}
