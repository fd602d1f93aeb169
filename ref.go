package weft

import (
	"context"
	"errors"
	"iter"
	"runtime"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/wire"
)

// Ref stands for a value of type T that a task will return, or that Put has
// stored. It is small, comparable and safe to copy and to use from several
// goroutines. As an argument it is awaited by the task, not by the caller;
// inside an argument's fields it stays a Ref. The zero Ref refers to nothing.
//
// The value lives at least as long as some Ref to it is reachable in some
// process. A value is immutable once it has been given to Weft.
type Ref[T any] struct{ f *client.Future }

// Arg is an argument of type T: a Ref[T], a value wrapped by Val, or, for a
// slice, Collect of many refs.
type Arg[T any] interface{ arg(T) client.Arg }

type value[T any] struct{ v T }

func (v value[T]) arg(T) client.Arg { return client.Arg{Val: v.v} }

func (r Ref[T]) arg(T) client.Arg { return client.Arg{Fut: r.future()} }

type collected[T any] []Ref[T]

func (c collected[T]) arg([]T) client.Arg {
	list := make(client.List, len(c))
	for i, r := range c {
		list[i] = r.future()
	}
	return client.Arg{Val: list}
}

// Val makes the value v an argument, for calls that mix values and refs.
func Val[T any](v T) Arg[T] { return value[T]{v} }

// Collect makes many refs one argument: the task gets their values as a slice.
func Collect[T any](refs ...Ref[T]) Arg[[]T] { return collected[T](refs) }

// future returns the Future behind r; for the zero Ref one that has failed.
func (r Ref[T]) future() *client.Future {
	if r.f != nil {
		return r.f
	}
	return failed(&Error{Code: Invalid, Message: "the zero Ref refers to nothing", Hint: "use the Ref that Remote or Put returned"})
}

func failed(err error) *client.Future {
	f := &client.Future{}
	f.Complete(client.Result{Err: err})
	return f
}

// Get waits for the value and returns it. The error is a *Error: of code
// UserError if the task returned an error or panicked, of another code if Weft
// could not run it or has lost the value. If ctx ends first the error is of
// code Timeout or Cancelled, and the task goes on.
//
// Inside a task, pass the task's own ctx: while it waits its CPU is lent to
// others, so tasks may wait for tasks to any depth.
func (r Ref[T]) Get(ctx context.Context) (v T, err error) {
	f := r.future()
	if err := await(ctx, f); err != nil {
		return v, err
	}
	v, err = valueOf[T](f)
	runtime.KeepAlive(r.f)
	return v, err
}

// Done returns a channel that is closed when the value or its error is here.
func (r Ref[T]) Done() <-chan struct{} {
	f, ch := r.future(), make(chan struct{})
	want(f)
	f.OnDone(func() { close(ch) })
	return ch
}

// String is the id of the object, as `weft list` and `weft why` print it.
func (r Ref[T]) String() string {
	if r.f == nil {
		return "no object"
	}
	return r.f.ID.String()
}

// Future gives Weft's codecs what is behind r. It is not for programs.
func (r Ref[T]) Future() *client.Future { return r.f }

// SetFuture is Future's counterpart when a Ref arrives inside a value.
func (r *Ref[T]) SetFuture(f *client.Future) { r.f = f }

// MarshalCBOR is how a Ref travels inside a value: as its object's id.
func (r Ref[T]) MarshalCBOR() ([]byte, error) { return client.MarshalRef(r.f) }

// UnmarshalCBOR is MarshalCBOR's inverse.
func (r *Ref[T]) UnmarshalCBOR(b []byte) (err error) {
	r.f, err = client.UnmarshalRef(b)
	return err
}

// await blocks until f is complete.
func await(ctx context.Context, f *client.Future) error {
	if f.Ready() {
		return nil
	}
	want(f)
	if run := client.FromContext(ctx); run != nil {
		defer run.Sess.Blocked(ctx, f)()
	}
	if err := f.Wait(ctx); err != nil {
		return waitError(f, err)
	}
	return nil
}

// want has the node push f's value to this process, once.
func want(f *client.Future) {
	if f.Sess != nil && !f.Ready() {
		f.Sess.Want(f)
	}
}

func waitError(f *client.Future, cause error) error {
	e := &Error{Code: Cancelled, Op: "get " + f.ID.String(), Err: cause, Message: "the wait ended before the value came; the task goes on"}
	if errors.Is(cause, context.DeadlineExceeded) {
		e.Code = Timeout
		e.Hint = "`weft why " + f.ID.String() + "` says what it waits for"
	}
	return e
}

// valueOf reads the result of a complete Future.
func valueOf[T any](f *client.Future) (v T, err error) {
	res := f.Result()
	if res.Err != nil {
		return v, res.Err
	}
	val := res.Val
	if res.Enc != nil {
		codec, err := client.CodecFor[T]()
		if err != nil {
			return v, &Error{Code: wire.Encode, Op: "get " + f.ID.String(), Message: err.Error()}
		}
		if val, err = client.ValueOf(f, codec); err != nil {
			return v, &Error{Code: wire.Encode, Op: "get " + f.ID.String(), Message: err.Error()}
		}
	}
	if val == nil {
		return v, nil
	}
	v, ok := val.(T)
	if !ok {
		return v, &Error{Code: wire.Encode, Op: "get " + f.ID.String(), Message: typeMismatch[T](val)}
	}
	return v, nil
}

// GetAll waits for all refs and returns their values in order. It returns the
// first error in the order of refs, without waiting for those after it.
func GetAll[T any](ctx context.Context, refs []Ref[T]) ([]T, error) {
	wantAll(refs)
	out := make([]T, len(refs))
	for i, r := range refs {
		v, err := r.Get(ctx)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// wantAll asks for all values in one message.
func wantAll[T any](refs []Ref[T]) {
	var fs []*client.Future
	for _, r := range refs {
		if f := r.f; f != nil && f.Sess != nil && !f.Ready() {
			fs = append(fs, f)
		}
	}
	if len(fs) > 0 {
		fs[0].Sess.Want(fs...)
	}
}

// Wait returns when n of refs have a value or an error, or when ctx ends. Both
// results keep the order of refs; done may be longer than n. The values are
// not fetched. The error is that of ctx, with done as it was then.
func Wait[T any](ctx context.Context, refs []Ref[T], n int) (done, rest []Ref[T], err error) {
	if n < 0 || n > len(refs) {
		return nil, refs, &Error{Code: Invalid, Op: "wait", Message: waitCount(n, len(refs))}
	}
	ready, err := waitReady(ctx, refs, n)
	for i, r := range refs {
		if ready[i] {
			done = append(done, r)
		} else {
			rest = append(rest, r)
		}
	}
	return done, rest, err
}

// waitReady marks which refs are ready once n are.
func waitReady[T any](ctx context.Context, refs []Ref[T], n int) ([]bool, error) {
	events, ready, stop := watch(refs)
	defer stop()
	count := 0
	mark := func(i int) {
		if !ready[i] {
			ready[i] = true
			count++
		}
	}
	for drained := false; count < n || !drained; {
		select {
		case i := <-events:
			mark(i)
			continue
		default:
			drained = true
		}
		if count >= n {
			break
		}
		resume := func() {}
		if run := client.FromContext(ctx); run != nil {
			resume = run.Sess.Blocked(ctx)
		}
		select {
		case i := <-events:
			resume()
			mark(i)
		case <-ctx.Done():
			resume()
			return ready, endedWait(ctx, "wait")
		}
	}
	return ready, nil
}

// endedWait is the error of a wait, or of a call that was not made, that ctx has
// ended.
func endedWait(ctx context.Context, op string) error {
	e := &Error{Code: Cancelled, Op: op, Err: context.Cause(ctx)}
	if errors.Is(e.Err, context.DeadlineExceeded) {
		e.Code = Timeout
	}
	return e
}

// watch delivers the index of each ref of refs as it becomes ready.
func watch[T any](refs []Ref[T]) (events chan int, ready []bool, stop func()) {
	events, ready = make(chan int, len(refs)), make([]bool, len(refs))
	var fs []*client.Future
	var index []int
	for i, r := range refs {
		if f := r.future(); f.Sess == nil || f.Ready() {
			events <- i
		} else {
			fs, index = append(fs, f), append(index, i)
		}
	}
	if len(fs) == 0 {
		return events, ready, func() {}
	}
	return events, ready, fs[0].Sess.Watch(fs, func(i int) { events <- index[i] })
}

// Completed yields refs in the order in which they become ready, with their
// values. It ends early when ctx does; the last error is then ctx's.
func Completed[T any](ctx context.Context, refs []Ref[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		wantAll(refs)
		events, _, stop := watch(refs)
		defer stop()
		for range refs {
			i, err := nextEvent(ctx, events)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			if !yield(refs[i].Get(ctx)) {
				return
			}
		}
	}
}

func nextEvent(ctx context.Context, events <-chan int) (int, error) {
	select {
	case i := <-events:
		return i, nil
	default:
	}
	if run := client.FromContext(ctx); run != nil {
		defer run.Sess.Blocked(ctx)()
	}
	select {
	case i := <-events:
		return i, nil
	case <-ctx.Done():
		return 0, endedWait(ctx, "completed")
	}
}

// Put stores v and returns a Ref to it. Give a large value that many tasks read
// to Put once. An embedded node keeps v itself: do not change it afterwards.
// Otherwise v is encoded into shared memory; Put waits for room there.
func Put[T any](ctx context.Context, v T) (Ref[T], error) {
	s, err := sessionOf(ctx)
	if err != nil {
		return Ref[T]{}, err
	}
	codec, err := client.CodecFor[T]()
	if err != nil {
		return Ref[T]{}, &Error{Code: wire.Encode, Op: "put", Message: err.Error()}
	}
	f := &client.Future{ID: s.NewTask().Return(0), Sess: s}
	if err := s.Put(ctx, f, v, codec); err != nil {
		return Ref[T]{}, err
	}
	return Ref[T]{f}, nil
}

// Cancel stops the task that makes r: if it has not started it never does, if
// it runs its context is cancelled, and so for everything it has started. Get
// then returns an error of code Cancelled. A task that has finished is not
// affected. Force ends the process of a task that does not return.
func Cancel[T any](r Ref[T], opts ...CancelOption) {
	if r.f == nil || r.f.Sess == nil {
		return
	}
	c := cancelOptions{recursive: true}
	for _, o := range opts {
		o(&c)
	}
	r.f.Sess.Cancel(r.f.ID.Task(), c.force, c.recursive)
}

type cancelOptions struct{ force, recursive bool }

// CancelOption changes what Cancel does.
type CancelOption func(*cancelOptions)

// Force ends the worker process of the task if it runs in one of its own.
func Force() CancelOption { return func(c *cancelOptions) { c.force = true } }

// Shallow leaves the tasks that the cancelled one has started alone.
func Shallow() CancelOption { return func(c *cancelOptions) { c.recursive = false } }
