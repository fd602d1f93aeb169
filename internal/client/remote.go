package client

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// submission is what it takes to encode a Submit, used again and again.
type submission struct {
	m    sessionv1.Submit
	args [3]sessionv1.Arg
	vals [3]sessionv1.Value
	puts []id.Object // arguments that had to become objects
}

var submissions = sync.Pool{New: func() any { return new(submission) }}

// Submit implements Session.
func (r *Remote) Submit(ctx context.Context, c *Call) {
	if err := r.submit(ctx, c, sessionv1.Kind_KIND_SUBMIT, 0); err != nil {
		for _, f := range c.Rets {
			f.Complete(Result{Err: err})
		}
		return
	}
	if stop := r.cancelWith(ctx, c); stop != nil && len(c.Rets) > 0 {
		c.Rets[0].OnDone(func() { stop() })
	}
}

// submit sends c; its returns are awaited from then on.
func (r *Remote) submit(ctx context.Context, c *Call, kind sessionv1.Kind, request uint64) error {
	s := submissions.Get().(*submission)
	d := r.template(c.Spec)
	defer d.release()
	s.m.Template = d.number
	err := r.fill(ctx, s, c)
	if err == nil {
		err = r.expect(c.Rets)
	}
	if err == nil {
		s.m.Request, s.m.Await = request, true
		if err = r.post(ctx, kind, &s.m, c.Once); err != nil { // with Once somebody waits
			c.Rets = r.unexpect(c.Rets)
		}
	}
	if err == nil {
		r.count(c)
		c.Arg1, c.Args = [3]Arg{}, nil
	}
	for _, o := range s.puts { // the task holds them from its submission on
		r.drop(o)
	}
	s.reset()
	submissions.Put(s)
	return err
}

// expect registers new Futures, whose values will come unasked.
func (r *Remote) expect(fs []*Future) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for _, f := range fs {
		r.pending[f.ID] = f
	}
	return nil
}

// unexpect forgets Futures of which nothing will come, and returns those that are
// left to complete: the session's end, if it came first, has the others.
func (r *Remote) unexpect(fs []*Future) (left []*Future) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range fs {
		if r.pending[f.ID] == f {
			delete(r.pending, f.ID)
			left = append(left, f)
		}
	}
	return left
}

// post sends a message that asks for something, when it may be sent. A task that
// waits for that is blocked.
func (r *Remote) post(ctx context.Context, kind sessionv1.Kind, msg wire.Message, now bool) error {
	for {
		if done, err := r.out.post(kind, msg, now); done || err != nil {
			return err
		}
		if err := r.awaitCredit(ctx, kind); err != nil {
			return err
		}
	}
}

func (r *Remote) awaitCredit(ctx context.Context, kind sessionv1.Kind) error {
	defer r.Blocked(ctx)()
	return r.out.admit(ctx, kind)
}

// count arranges for the references that the node counts from a submission on
// to be dropped.
func (r *Remote) count(c *Call) {
	for _, f := range c.Rets {
		f.Shared.Store(true)
		if !c.Once {
			runtime.AddCleanup(f, r.dropped, f.ID)
		}
	}
}

// cancelWith cancels c's task when ctx ends, unless that is a running task's
// own: cancelling it reaches its children anyway.
func (r *Remote) cancelWith(ctx context.Context, c *Call) (stop func() bool) {
	if IsTaskContext(ctx) || ctx.Done() == nil {
		return nil
	}
	t := c.Task
	return context.AfterFunc(ctx, func() { r.Cancel(t, false, true) })
}

// fill makes a message of c. Large arguments are put first.
func (r *Remote) fill(ctx context.Context, s *submission, c *Call) error {
	m := &s.m
	m.Seq, m.Group = c.Task.Seq(), c.Group
	if !c.Parent.IsZero() {
		m.Parent, m.ParentAttempt = c.Parent[:], c.ParentAttempt
	}
	if !c.Actor.IsZero() {
		m.Actor = c.Actor[:]
	}
	for i := range c.Args {
		p, v := s.arg(i)
		m.Args = append(m.Args, p)
		if err := r.fillArg(ctx, s, p, v, c, i); err != nil {
			return err
		}
	}
	return nil
}

// arg returns memory for the i-th argument.
func (s *submission) arg(i int) (*sessionv1.Arg, *sessionv1.Value) {
	if i < len(s.args) {
		return &s.args[i], &s.vals[i]
	}
	return new(sessionv1.Arg), new(sessionv1.Value)
}

// reset lets go of what the message shares with its call.
func (s *submission) reset() {
	s.m.Parent, s.m.Actor, s.m.ParentAttempt = nil, nil, 0
	for i := range min(len(s.m.Args), len(s.args)) {
		p, v := &s.args[i], &s.vals[i]
		p.Value, p.Object, p.Objects, p.List = nil, nil, nil, false
		v.Tag, v.Size, v.Data, v.Refs = 0, 0, nil, nil
	}
	clear(s.m.Args)
	s.m.Args, s.puts = s.m.Args[:0], s.puts[:0]
}

func (r *Remote) fillArg(ctx context.Context, s *submission, p *sessionv1.Arg, v *sessionv1.Value, c *Call, i int) error {
	a := &c.Args[i]
	if list, ok := a.Val.(List); ok {
		p.List = true
		for _, f := range list {
			if err := failed(f); err != nil {
				return err
			}
			p.Objects = append(p.Objects, f.ID[:]...)
		}
		return nil
	}
	if a.Fut != nil {
		p.Object = a.Fut.ID[:]
		return failed(a.Fut)
	}
	enc, err := c.Fn.Args[i].Encode(r, a.Val)
	if err != nil {
		return err
	}
	if len(enc.Data) <= r.inlineLimit {
		wire.FillValue(v, enc)
		p.Value = v
		return nil
	}
	o := r.NewTask().Return(0)
	if err := r.putLarge(ctx, o, enc); err != nil {
		return err
	}
	s.puts = append(s.puts, o)
	p.Object = append(p.Object, o[:]...)
	return nil
}

// failed returns the error of a Future that has one already.
func failed(f *Future) error {
	if f.Ready() {
		return f.Result().Err
	}
	return nil
}

// Blocked implements Session. A task that waits in several goroutines is
// blocked from the first to the last.
func (r *Remote) Blocked(ctx context.Context, on ...*Future) (resume func()) {
	run := FromContext(ctx)
	if run == nil || run.Task.IsZero() {
		return func() {}
	}
	if atomic.AddInt32(&run.waits, 1) == 1 {
		ref := &sessionv1.TaskRef{Task: run.Task[:]}
		for _, f := range on {
			ref.Objects = append(ref.Objects, f.ID[:]...)
		}
		r.out.send(sessionv1.Kind_KIND_BLOCKED, ref)
	}
	return func() {
		if atomic.AddInt32(&run.waits, -1) == 0 {
			r.out.add(sessionv1.Kind_KIND_UNBLOCKED, &sessionv1.TaskRef{Task: run.Task[:]})
		}
	}
}

// blockedAfter is Blocked from when a while has passed, unless the wait is over by then.
func (r *Remote) blockedAfter(ctx context.Context, d time.Duration) (resume func()) {
	var mu sync.Mutex
	var over bool
	end := func() {}
	begin := time.AfterFunc(d, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			end = r.Blocked(ctx)
		}
	})
	return func() {
		begin.Stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		end()
	}
}

// Cancel implements Session.
func (r *Remote) Cancel(t id.Task, force, recursive bool) {
	r.out.send(sessionv1.Kind_KIND_CANCEL, &sessionv1.Cancel{Task: t[:], Force: force, Recursive: recursive})
}

// Kill implements Session.
func (r *Remote) Kill(a id.Actor, noRestart bool) {
	r.out.send(sessionv1.Kind_KIND_KILL, &sessionv1.Kill{Actor: a[:], NoRestart: noRestart})
}

// Handle implements Session.
func (r *Remote) Handle(a id.Actor, n int) {
	r.out.add(sessionv1.Kind_KIND_HANDLE, &sessionv1.Counts{Ids: a[:], N: []int32{int32(n)}})
}
