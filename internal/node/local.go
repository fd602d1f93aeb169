package node

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Local is the embedded session: the node's own process is its client, and a
// call is a function call. Values pass by reference.
//
// The results of calls that run in this process are Unshared: they live in
// their Futures and are ordinary garbage. They become objects that own counts
// when their id first leaves the process.
type Local struct {
	n    *Node
	s    *session
	info client.Info
	seq  atomic.Uint64
}

var _ client.Session = (*Local)(nil)

// Local opens the embedded session. A node has one.
func (n *Node) Local() (*Local, error) {
	n.lock()
	defer n.unlock()
	if n.closed {
		return nil, errClosed()
	}
	if n.local == nil {
		s := n.newSession()
		n.local = &Local{n: n, s: s, info: client.Info{Node: n.id, Job: n.cfg.Job, Session: s.id, Embedded: true}}
		s.job, s.namespace = n.cfg.Job, n.cfg.Namespace
		n.jobs[s.job] = &job{id: s.job, session: s, python: n.cfg.Python, metadata: n.cfg.Metadata, started: time.Now()}
		n.stepDispatch(&dispatch.Event{Kind: dispatch.WorkerUp, Worker: inProcess, Class: dispatch.Class{Job: s.job}})
	}
	return n.local, nil
}

// Info implements client.Session.
func (l *Local) Info() client.Info { return l.info }

// NewTask implements client.Session.
func (l *Local) NewTask() id.Task {
	return id.NewTask(l.info.Node, id.Seq(l.info.Session, l.seq.Add(1)))
}

// Submit implements client.Session.
func (l *Local) Submit(ctx context.Context, c *client.Call) {
	t := l.task(c)
	if c.Spec.Kind == spec.KindCreate {
		if _, err := l.create(t); err != nil {
			failAll(c, err)
		}
	} else if err := l.submit(t, c.Once && ctx.Done() == nil); err != nil {
		failAll(c, err)
	}
	l.watchContext(ctx, t.id)
}

func (l *Local) task(c *client.Call) *task {
	return &task{id: c.Task, session: l.info.Session, spec: c.Spec, call: c, actor: c.Actor}
}

// submit hands t to the machines. With now, the caller has nothing to do but
// wait for the result: if t starts at once, it runs on the caller's goroutine,
// which spares two switches.
func (l *Local) submit(t *task, now bool) error {
	n := l.n
	n.lock()
	if n.closed || l.s.ended {
		n.mu.Unlock()
		return errClosed()
	}
	ev := own.Event{Parent: t.call.Parent, ParentAttempt: t.call.ParentAttempt, Unshared: !n.leaves(t)}
	ev.Args = n.waitsFor(t.call)
	if !ev.Unshared {
		l.count(t.call)
	}
	err := n.submit(t, &ev)
	var mine start
	if now {
		n.settle()
		mine = n.out.take(t)
	}
	n.unlock()
	if mine.r != nil {
		mine.r.runNow(mine.first, mine.at)
	}
	return err
}

// take removes the start of t, if it is the last, and returns it.
func (b *batch) take(t *task) (s start) {
	if i := len(b.starts) - 1; i >= 0 && b.starts[i].first.task == t {
		s = b.starts[i]
		b.starts[i] = start{}
		b.starts = b.starts[:i]
	}
	return s
}

// leaves reports whether t runs in another process.
func (n *Node) leaves(t *task) bool {
	if t.spec.Kind == spec.KindMethod {
		c := n.task(t.actor)
		return c != nil && c.spec.Isolated
	}
	return t.spec.Isolated
}

// count has the session's reference to each return of c dropped when its
// Future is garbage.
func (l *Local) count(c *client.Call) {
	for _, f := range c.Rets {
		if c.Once {
			f.Shared.Store(true)
			continue
		}
		l.counted(f)
	}
}

func (l *Local) counted(f *client.Future) {
	f.Shared.Store(true)
	runtime.AddCleanup(f, l.drop, f.ID)
}

// drop is called when nothing in this process refers to o any more.
func (l *Local) drop(o id.Object) {
	l.n.lock()
	l.n.stepOwn(&own.Event{Kind: own.Drop, Object: o, Session: l.info.Session, N: 1})
	l.n.unlock()
}

// waitsFor lists the objects among c's arguments that have no value yet.
func (n *Node) waitsFor(c *client.Call) []id.Object {
	deps := n.scratch[:0]
	for i := range c.Args {
		if f := c.Args[i].Fut; f != nil {
			deps = appendPending(deps, f)
		} else if list, ok := c.Args[i].Val.(client.List); ok {
			for _, f := range list {
				deps = appendPending(deps, f)
			}
		}
	}
	n.scratch = deps
	return deps
}

func appendPending(deps []id.Object, f *client.Future) []id.Object {
	if f.Ready() {
		return deps
	}
	return append(deps, f.ID)
}

// watchContext cancels a task when ctx ends. The context of a running task
// needs no watching: cancelling it reaches its children anyway.
func (l *Local) watchContext(ctx context.Context, t id.Task) {
	if ctx.Done() == nil || client.IsTaskContext(ctx) {
		return
	}
	stop := context.AfterFunc(ctx, func() { l.Cancel(t, false, true) })
	l.n.lock()
	if task := l.n.task(t); task != nil {
		l.n.unwatch[t] = stop
		stop = nil
	}
	l.n.unlock()
	if stop != nil {
		stop()
	}
}

// SubmitStream implements client.Session.
func (l *Local) SubmitStream(ctx context.Context, c *client.Call) client.Stream {
	t := l.task(c)
	s := newStream(l.n, t)
	t.stream = s
	if err := l.submit(t, false); err != nil {
		s.fail(err)
		return s
	}
	l.watchContext(ctx, t.id)
	return s
}

// CreateRegistered implements client.Session.
func (l *Local) CreateRegistered(ctx context.Context, c *client.Call) (client.ActorInfo, error) {
	if c.Spec.Actor.Namespace == "" {
		c.Spec.Actor.Namespace = l.n.cfg.Namespace
	}
	return l.find(ctx, func(then func(client.ActorInfo, error)) {
		n, t := l.n, l.task(c)
		if n.closed || l.s.ended {
			then(client.ActorInfo{}, errClosed())
			return
		}
		n.createRegistered(t, n.sessions[t.session], func(a id.Actor, err error) {
			then(client.ActorInfo{Actor: a, Class: c.Spec.Actor.Class}, err)
		})
	})
}

// create asks the actor machine for an actor; Begin submits its constructor.
func (l *Local) create(t *task) (id.Actor, error) {
	n := l.n
	n.lock()
	defer n.unlock()
	if n.closed || l.s.ended {
		return id.Actor{}, errClosed()
	}
	return n.createActor(t, n.sessions[t.session])
}

// Put implements client.Session.
func (l *Local) Put(_ context.Context, f *client.Future, v any, codec client.Codec) error {
	l.n.mu.Lock()
	closed := l.n.closed
	l.n.mu.Unlock()
	if closed {
		return errClosed()
	}
	f.Codec = codec
	f.Complete(client.Result{Val: v})
	return nil
}

// Adopt implements client.Session.
func (l *Local) Adopt(o id.Object) *client.Future {
	n := l.n
	f := &client.Future{ID: o, Sess: l}
	l.counted(f)
	n.lock()
	defer n.unlock()
	if n.closed {
		f.Complete(closedResult())
		return f
	}
	n.stepOwn(&own.Event{Kind: own.Hold, Object: o, Session: l.info.Session, N: 1})
	n.wait(o, func(e *object) { e.futures = append(e.futures, f) })
	return f
}

// wait adds a waiter for o's value, or has it answered at once.
func (n *Node) wait(o id.Object, add func(*object)) {
	e := n.object(o)
	add(e)
	if e.ready {
		n.tell(e)
		return
	}
	n.stepOwn(&own.Event{Kind: own.Want, Object: o})
}

// Share implements client.Session.
func (l *Local) Share(f *client.Future) {
	if f.Shared.Load() {
		return
	}
	n := l.n
	n.lock()
	defer n.unlock()
	if f.Shared.Load() || n.closed {
		return
	}
	l.counted(f)
	n.stepOwn(&own.Event{Kind: own.Share, Object: f.ID, Session: l.info.Session, Return: own.Return{Object: f.ID, Node: n.id}})
	if f.Ready() {
		e := n.object(f.ID)
		e.ready, e.res, e.codec = true, *f.Result(), f.Codec
	}
}

// Release implements client.Session.
func (l *Local) Release(f *client.Future) {
	if f.Shared.Load() {
		l.drop(f.ID)
	}
}

// Want implements client.Session: results come without being asked for.
func (l *Local) Want(...*client.Future) {}

// Watch implements client.Session.
func (l *Local) Watch(fs []*client.Future, ready func(int)) (stop func()) {
	var stopped atomic.Bool
	for i, f := range fs {
		f.OnDone(func() {
			if !stopped.Load() {
				ready(i)
			}
		})
	}
	return func() { stopped.Store(true) }
}

// Blocked implements client.Session.
func (l *Local) Blocked(ctx context.Context, on ...*client.Future) (resume func()) {
	run := client.FromContext(ctx)
	if run == nil || run.Task.IsZero() {
		return func() {}
	}
	n := l.n
	n.lock()
	if t := n.runningHere(run); t != nil {
		ids := make([]id.Object, len(on))
		for i, f := range on {
			ids[i] = f.ID
		}
		n.waitsOn[run.Task] = ids
		n.block(t, dispatch.Blocked)
	}
	n.unlock()
	return func() {
		n.lock()
		if t := n.runningHere(run); t != nil {
			n.block(t, dispatch.Unblocked)
		}
		n.unlock()
	}
}

// runningHere is the task of which run is the present run, or nil.
func (n *Node) runningHere(run *client.Running) *task {
	if t := n.task(run.Task); t != nil && t.run != nil && &t.run.Running == run {
		return t
	}
	return nil
}

// Cancel implements client.Session.
func (l *Local) Cancel(t id.Task, force, recursive bool) {
	l.n.lock()
	defer l.n.unlock()
	l.n.stepOwn(&own.Event{Kind: own.Cancel, Task: t, Force: force, Recursive: recursive})
}

// Kill implements client.Session.
func (l *Local) Kill(a id.Actor, noRestart bool) {
	l.n.lock()
	defer l.n.unlock()
	l.n.kill(a, noRestart)
}

// Lookup implements client.Session.
func (l *Local) Lookup(ctx context.Context, namespace, name string) (client.ActorInfo, error) {
	if namespace == "" {
		namespace = l.n.cfg.Namespace
	}
	return l.find(ctx, func(then func(client.ActorInfo, error)) { l.n.lookup(l.info.Session, namespace, name, then) })
}

// find waits for what ask, called with the node's lock, finds.
func (l *Local) find(ctx context.Context, ask func(then func(client.ActorInfo, error))) (info client.ActorInfo, err error) {
	answered := make(chan struct{})
	l.n.lock()
	ask(func(found client.ActorInfo, failed error) {
		info, err = found, failed
		close(answered)
	})
	l.n.unlock()
	select {
	case <-answered:
		return info, err
	case <-ctx.Done():
		return client.ActorInfo{}, wire.AsError(context.Cause(ctx), wire.Cancelled)
	case <-l.n.ctx.Done():
		return client.ActorInfo{}, errClosed()
	}
}

// describeActor says what is known of an actor. It gives no handle.
func (n *Node) describeActor(a id.Actor) (client.ActorInfo, error) {
	info, ok := n.actors.Get(a)
	if !ok {
		return client.ActorInfo{}, &wire.Error{Code: wire.NotFound, Op: "lookup", Actor: a, Message: "there is no actor " + a.String()}
	}
	return actorInfo(a, info.Spec), nil
}

// actorInfo is what a lookup finds.
func actorInfo(a id.Actor, t *spec.Task) client.ActorInfo {
	return client.ActorInfo{Actor: a, Class: t.Actor.Class, Language: t.Language, Meta: t.Actor.Meta}
}

// Handle implements client.Session.
func (l *Local) Handle(a id.Actor, count int) {
	l.n.lock()
	defer l.n.unlock()
	if !l.n.closed {
		l.n.stepActor(&actor.Event{Kind: actor.Handle, Actor: a, Session: l.info.Session, N: count})
	}
}

// CreateGroup implements client.Session.
func (l *Local) CreateGroup(ctx context.Context, g id.Group, s *spec.Group) error {
	done := make(chan error, 1)
	l.n.lock()
	l.n.createGroup(g, s, l.info.Session, func(err error) { done <- err })
	l.n.unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		l.RemoveGroup(g)
		return wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}

// RemoveGroup implements client.Session.
func (l *Local) RemoveGroup(g id.Group) {
	l.n.lock()
	defer l.n.unlock()
	l.n.removeGroup(g)
}

// Query implements client.Session.
func (l *Local) Query(ctx context.Context, what string, ids []byte) ([]byte, error) {
	return l.n.query(ctx, what, ids)
}

// Close implements client.Session.
func (l *Local) Close(context.Context) error {
	l.n.lock()
	s := l.n.sessions[l.info.Session]
	if s != nil {
		l.n.failLeft() // before they are cancelled, for that is why
	}
	l.n.unlock()
	if s != nil {
		l.n.endSession(s)
	}
	return nil
}

func errClosed() *wire.Error {
	return &wire.Error{Code: wire.Closed, Message: "the session has been shut down", Hint: "call weft.Init again"}
}

// failAll completes c's futures with err.
func failAll(c *client.Call, err error) {
	for _, f := range c.Rets {
		f.Complete(client.Result{Err: err})
	}
}
