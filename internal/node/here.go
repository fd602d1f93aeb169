package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// lease is a dispatch lease on this process: one goroutine runs its tasks, one
// after the other, for as long as there are some.
type lease struct {
	n      *Node
	id     dispatch.Lease
	queue  []*task // handed over and not begun; under the node's lock
	spare  []*task // queue's memory
	active bool    // a goroutine runs or is about to
	cur    *task   // for the goroutine that starts
}

// startHere gives a task to the lease's goroutine, or an actor's constructor to
// the actor's.
func (n *Node) startHere(t *task) {
	if t.spec.Kind == spec.KindCreate {
		n.construct(t)
		return
	}
	l := n.leases[t.lease]
	if l == nil {
		l = &lease{n: n, id: t.lease}
		n.leases[t.lease] = l
	}
	l.queue = append(l.queue, t)
	if l.active {
		return
	}
	l.active, l.cur = true, l.next()
	n.out.starts = append(n.out.starts, l.run)
}

// closeLease forgets a lease on which nothing more will be started.
func (n *Node) closeLease(id dispatch.Lease) { delete(n.leases, id) }

// run executes tasks until the lease has none.
func (l *lease) run() {
	n := l.n
	var f frame
	for t := l.cur; t != nil; {
		began := time.Now()
		n.perform(t, nil, &f)
		ran := time.Since(began)
		n.lock()
		t.run = nil
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: t.id, Attempt: t.attempt, Lease: l.id, Ran: int64(ran)})
		n.finish(t, &f.outcome)
		n.settle()
		if t = l.next(); t == nil {
			l.active = false
		}
		n.unlock()
	}
}

// next takes the lease's next task, or returns nil.
func (l *lease) next() *task {
	if len(l.queue) == 0 {
		return nil
	}
	t := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) == 0 {
		l.queue = l.spare[:0]
	}
	l.n.arm(t)
	return t
}

// arm gives a task that is about to run here its context.
func (n *Node) arm(t *task) {
	t.run = client.NewTaskContext(client.Running{Sess: n.local, Call: t.call, Task: t.id, Attempt: t.attempt,
		Actor: t.owner(), Incarnation: t.incarnation, Spec: t.spec})
	if t.cancelled {
		t.run.Cancel(wire.Cancelled)
	}
}

// frame is what running tasks one after the other needs again and again.
type frame struct {
	outcome
	in3  [3]any
	out1 [1]any
	out  []any
}

// perform runs t's function in this process and fills f with its outcome. It
// is called without the lock.
func (n *Node) perform(t *task, self any, f *frame) {
	f.outcome = outcome{}
	fn, in, err := n.arguments(t, f)
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
		err = client.RunStream(c, fn, self, in, t.stream.yield)
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
		f.err = wire.AsError(err, wire.UserError)
		f.err.Node, f.err.Place = n.id, n.where
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
	t := n.tasks[e.Task]
	if t == nil {
		return
	}
	t.cancelled = true
	switch {
	case t.worker != inProcess && t.worker != 0:
		n.interruptWorker(t, e.Force)
	case t.run != nil:
		n.later(func() { t.run.Cancel(wire.Cancelled) })
	}
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
	e := n.objects[o]
	n.mu.Unlock()
	switch {
	case e == nil:
		return nil, &wire.Error{Code: wire.ObjectFreed, Op: "read " + o.String()}
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

// block tells dispatch. A method's CPU is its actor's.
func (n *Node) block(t id.Task, kind dispatch.EventKind) {
	task := n.tasks[t]
	if task == nil || n.closed {
		return
	}
	if task.blocked = kind == dispatch.Blocked; !task.blocked {
		task.waitsOn = task.waitsOn[:0]
	}
	n.stepDispatch(&dispatch.Event{Kind: kind, Task: t, Lease: task.lease})
}

// spawnHere starts a goroutine that Close waits for.
func (n *Node) spawnHere(f func()) {
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		f()
	}()
}
