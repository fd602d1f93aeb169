package weft

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/spec"
)

// function is the untyped core of every registered function: what it is, its
// default options, and the description of its calls in the last session used.
type function struct {
	fn       *client.Function
	def      spec.Task
	last     atomic.Pointer[boundSpec]
	variants atomic.Pointer[[]variant] // of the description, the latest last
}

// maxVariants bounds what a function keeps of options given to single calls.
const maxVariants = 32

// variant is a description as options made it, and sealed.
type variant struct {
	raw    spec.Task
	sealed *spec.Task
}

// boundSpec is a function's default description within one session.
type boundSpec struct {
	sess client.Session
	spec *spec.Task
}

// register makes fn callable by name. Misuse panics with the user's line:
// it is a mistake in the source, found when the program starts.
func register(fn *client.Function, def spec.Task, err error) *function {
	if err == nil {
		def.Function, def.Sig = fn.Name, 0
		if !fn.Split && fn.Stream == nil && !fn.Create {
			def.Returns = len(fn.Rets)
		}
		def.Stream = fn.Stream != nil
		if fn.Create {
			def.Kind, def.Returns = spec.KindCreate, 1
		}
		err = client.Register(fn)
	}
	def.Sig = fn.Sig
	return described(fn, def, err)
}

// described is a function of which everything is known.
func described(fn *client.Function, def spec.Task, err error) *function {
	if err == nil {
		probe := def
		err = probe.Seal()
	}
	if err != nil {
		panic(fmt.Sprintf("weft: %s: %v", fn.Where, err))
	}
	return &function{fn: fn, def: def}
}

// callerOutside returns file:line of the nearest caller outside this package.
func callerOutside() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		fr, more := frames.Next()
		if !ownFrame(fr.Function) || !more {
			return fmt.Sprintf("%s:%d", fr.File, fr.Line)
		}
	}
}

// specFor returns the description of a call in s.
func (c *function) specFor(s client.Session, opts []TaskOption) (*spec.Task, error) {
	if len(opts) == 0 {
		if b := c.last.Load(); b != nil && b.sess == s {
			return b.spec, nil
		}
	}
	t := c.def
	t.Job = s.Info().Job
	for _, o := range opts {
		if err := o.applyTask(&t); err != nil {
			return nil, &Error{Code: Invalid, Op: t.Function, Message: err.Error()}
		}
	}
	sealed, err := c.intern(&t)
	if err != nil {
		return nil, &Error{Code: Invalid, Op: t.Function, Message: err.Error()}
	}
	if len(opts) == 0 {
		c.last.Store(&boundSpec{s, sealed})
	}
	return sealed, nil
}

// intern seals t, or returns what an equal one became before: a session tells
// the node each description once, and may tell it only so many.
func (c *function) intern(t *spec.Task) (*spec.Task, error) {
	if sealed := c.interned(t); sealed != nil {
		return sealed, nil
	}
	sealed := *t
	if err := sealed.Seal(); err != nil {
		return nil, err
	}
	if t.Actor != nil && t.Actor.Name != "" {
		return &sealed, nil // a name has one, and its namespace is still to come
	}
	for {
		old, kept := c.variants.Load(), []variant(nil)
		if old != nil {
			kept = (*old)[max(0, len(*old)-maxVariants+1):]
		}
		latest := append(slices.Clone(kept), variant{*t, &sealed})
		if c.variants.CompareAndSwap(old, &latest) {
			return &sealed, nil
		}
	}
}

// interned is what an equal description became, or nil.
func (c *function) interned(t *spec.Task) *spec.Task {
	vs := c.variants.Load()
	if vs == nil {
		return nil
	}
	for i := range *vs {
		v := &(*vs)[i]
		if v.raw.Name == t.Name && v.raw.Strategy == t.Strategy && reflect.DeepEqual(&v.raw, t) {
			return v.sealed
		}
	}
	return nil
}

// prepare makes the Call that ctx, args and opts describe, without its returns.
func (c *function) prepare(ctx context.Context, args [3]client.Arg, opts []TaskOption) (client.Session, *client.Call, error) {
	run := client.FromContext(ctx)
	s, err := sessionOfRun(run)
	if err != nil {
		return nil, nil, err
	}
	t, err := c.specFor(s, opts)
	if err != nil {
		return nil, nil, err
	}
	if ctx.Err() != nil {
		return nil, nil, endedWait(ctx, t.Name)
	}
	call := &client.Call{Task: s.NewTask(), Spec: t, Fn: c.fn, Arg1: args}
	call.Args = call.Arg1[:len(c.fn.Args)]
	if run != nil {
		call.Parent, call.ParentAttempt = run.Task, run.Attempt
	}
	return s, call, nil
}

// remote submits a call with one return value.
func (c *function) remote(ctx context.Context, args [3]client.Arg, opts []TaskOption) *client.Future {
	s, call, err := c.prepare(ctx, args, opts)
	if err != nil {
		return failed(err)
	}
	oneReturn(s, call)
	s.Submit(ctx, call)
	return &call.Fut1
}

// callNow is remote and Get. Nobody else sees the Ref, so it need not be
// watched for becoming garbage.
func callNow[R any](ctx context.Context, c *function, args [3]client.Arg, opts []TaskOption) (R, error) {
	s, call, err := c.prepare(ctx, args, opts)
	if err != nil {
		var zero R
		return zero, err
	}
	return submitNow[R](ctx, s, call)
}

func submitNow[R any](ctx context.Context, s client.Session, call *client.Call) (R, error) {
	call.Once = true
	oneReturn(s, call)
	s.Submit(ctx, call)
	v, err := Ref[R]{&call.Fut1}.Get(ctx)
	s.Release(&call.Fut1)
	return v, err
}

func oneReturn(s client.Session, call *client.Call) {
	call.Fut1.ID, call.Fut1.Sess = call.Task.Return(0), s
	if len(call.Fn.Rets) > 0 {
		call.Fut1.Codec = call.Fn.Rets[0]
	}
	call.Ret1[0] = &call.Fut1
	call.Rets = call.Ret1[:]
}

// remoteN submits a call with n return values.
func (c *function) remoteN(ctx context.Context, n int, args [3]client.Arg, opts []TaskOption) []*client.Future {
	rets := make([]*client.Future, n)
	s, call, err := c.prepare(ctx, args, opts)
	if err != nil {
		for i := range rets {
			rets[i] = failed(err)
		}
		return rets
	}
	fs := make([]client.Future, n)
	for i := range fs {
		fs[i].ID, fs[i].Sess, fs[i].Codec = call.Task.Return(uint32(i)), s, c.fn.Rets[min(i, len(c.fn.Rets)-1)]
		rets[i] = &fs[i]
	}
	call.Rets = rets
	s.Submit(ctx, call)
	return rets
}

// stream submits a streaming call.
func (c *function) stream(ctx context.Context, args [3]client.Arg, opts []TaskOption) (client.Stream, error) {
	s, call, err := c.prepare(ctx, args, opts)
	if err != nil {
		return nil, err
	}
	return s.SubmitStream(ctx, call), nil
}

// Func0 is a registered task function without arguments; see Func1.
type Func0[R any] struct{ c *function }

// Func1 is a registered task function: Remote runs it as a task on some node
// and returns at once. The methods of Func0 to Func3 differ only in the number
// of arguments; a function that needs more takes a struct.
type Func1[A, R any] struct{ c *function }

// Func2 is a registered task function of two arguments; see Func1.
type Func2[A, B, R any] struct{ c *function }

// Func3 is a registered task function of three arguments; see Func1.
type Func3[A, B, C, R any] struct{ c *function }

// Task0 registers fn like Task1.
func Task0[R any](name string, fn func(context.Context) (R, error), def ...TaskOption) *Func0[R] {
	return &Func0[R]{taskFunction[none, none, none, R](name, 0, def,
		func(ctx context.Context, _ []any) (any, error) { return fn(ctx) })}
}

// Task1 registers fn as a task function under a name that is unique in the
// program. Call it from a package-level variable, so that every process of the
// program registers the same. def are the options of every call.
//
// It panics, naming the caller's line, if the name is taken or if an argument
// or result type cannot be encoded to leave the process.
func Task1[A, R any](name string, fn func(context.Context, A) (R, error), def ...TaskOption) *Func1[A, R] {
	return &Func1[A, R]{taskFunction[A, none, none, R](name, 1, def,
		func(ctx context.Context, in []any) (any, error) { return fn(ctx, as[A](in[0])) })}
}

// Task2 registers fn like Task1.
func Task2[A, B, R any](name string, fn func(context.Context, A, B) (R, error), def ...TaskOption) *Func2[A, B, R] {
	return &Func2[A, B, R]{taskFunction[A, B, none, R](name, 2, def,
		func(ctx context.Context, in []any) (any, error) { return fn(ctx, as[A](in[0]), as[B](in[1])) })}
}

// Task3 registers fn like Task1.
func Task3[A, B, C, R any](name string, fn func(context.Context, A, B, C) (R, error), def ...TaskOption) *Func3[A, B, C, R] {
	return &Func3[A, B, C, R]{taskFunction[A, B, C, R](name, 3, def,
		func(ctx context.Context, in []any) (any, error) {
			return fn(ctx, as[A](in[0]), as[B](in[1]), as[C](in[2]))
		})}
}

// none is the type of an absent argument.
type none struct{}

// as converts a decoded or passed value back to its type; nil is T's zero value.
func as[T any](v any) T {
	t, _ := v.(T)
	return t
}

func taskFunction[A, B, C, R any](name string, arity int, def []TaskOption, call func(context.Context, []any) (any, error)) *function {
	fn, err := describe[A, B, C, R](name, arity)
	fn.Invoke = func(ctx context.Context, _ any, in, out []any) (err error) {
		out[0], err = call(ctx, in)
		return err
	}
	t, err2 := taskDefaults(def)
	return register(fn, t, firstError(err, err2))
}

// describe starts a Function of the given types.
func describe[A, B, C, R any](name string, arity int) (*client.Function, error) {
	fn := &client.Function{Name: name, Where: callerOutside()}
	if name == "" {
		return fn, errors.New("a function needs a name")
	}
	a, err1 := client.CodecFor[A]()
	b, err2 := client.CodecFor[B]()
	c, err3 := client.CodecFor[C]()
	r, err4 := client.CodecFor[R]()
	fn.Args = []client.Codec{a, b, c}[:arity]
	fn.Rets = []client.Codec{r}
	for i, err := range []error{err1, err2, err3} {
		if err != nil && i < arity {
			return fn, fmt.Errorf("%s: argument %d: %w", name, i+1, err)
		}
	}
	if err4 != nil {
		return fn, fmt.Errorf("%s: result: %w", name, err4)
	}
	return fn, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Remote starts the task and returns a Ref to its result.
func (f *Func0[R]) Remote(ctx context.Context, opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{}, opts)}
}

// Call is Remote and Get.
func (f *Func0[R]) Call(ctx context.Context, opts ...TaskOption) (R, error) {
	return callNow[R](ctx, f.c, [3]client.Arg{}, opts)
}

// Remote starts the task with the value a and returns a Ref to its result. It
// does not wait; what goes wrong is Get's error. The task runs again after a
// system failure, up to MaxRetries times. It is cancelled when ctx is.
func (f *Func1[A, R]) Remote(ctx context.Context, a A, opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{{Val: a}}, opts)}
}

// RemoteOf is Remote for an argument that may be a Ref: the task starts when
// its value is there, and gets the value.
func (f *Func1[A, R]) RemoteOf(ctx context.Context, a Arg[A], opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{argOf(a)}, opts)}
}

// Call is Remote and Get. On an embedded node, with a context that cannot end,
// the function runs on the caller's goroutine, which spares two switches: one
// that ends its goroutine (runtime.Goexit) ends the caller's.
func (f *Func1[A, R]) Call(ctx context.Context, a A, opts ...TaskOption) (R, error) {
	return callNow[R](ctx, f.c, [3]client.Arg{{Val: a}}, opts)
}

// Remote starts the task; see Func1.Remote.
func (f *Func2[A, B, R]) Remote(ctx context.Context, a A, b B, opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{{Val: a}, {Val: b}}, opts)}
}

// RemoteOf is Remote for arguments that may be refs; see Func1.RemoteOf.
func (f *Func2[A, B, R]) RemoteOf(ctx context.Context, a Arg[A], b Arg[B], opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{argOf(a), argOf(b)}, opts)}
}

// Call is Remote and Get.
func (f *Func2[A, B, R]) Call(ctx context.Context, a A, b B, opts ...TaskOption) (R, error) {
	return callNow[R](ctx, f.c, [3]client.Arg{{Val: a}, {Val: b}}, opts)
}

// Remote starts the task; see Func1.Remote.
func (f *Func3[A, B, C, R]) Remote(ctx context.Context, a A, b B, c C, opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{{Val: a}, {Val: b}, {Val: c}}, opts)}
}

// RemoteOf is Remote for arguments that may be refs; see Func1.RemoteOf.
func (f *Func3[A, B, C, R]) RemoteOf(ctx context.Context, a Arg[A], b Arg[B], c Arg[C], opts ...TaskOption) Ref[R] {
	return Ref[R]{f.c.remote(ctx, [3]client.Arg{argOf(a), argOf(b), argOf(c)}, opts)}
}

// Call is Remote and Get.
func (f *Func3[A, B, C, R]) Call(ctx context.Context, a A, b B, c C, opts ...TaskOption) (R, error) {
	return callNow[R](ctx, f.c, [3]client.Arg{{Val: a}, {Val: b}, {Val: c}}, opts)
}

// argOf turns an Arg into the client's form; a nil Arg is an error of the call.
func argOf[T any](a Arg[T]) client.Arg {
	if a == nil {
		return client.Arg{Fut: failed(&Error{Code: Invalid, Message: "a nil argument", Hint: "wrap values in weft.Val"})}
	}
	var zero T
	return a.arg(zero)
}

// SplitFunc is a registered function that returns a slice of which every
// element becomes an object of its own.
type SplitFunc[A, R any] struct{ c *function }

// Split1 registers fn like Task1; see SplitFunc.
func Split1[A, R any](name string, fn func(context.Context, A) ([]R, error), def ...TaskOption) *SplitFunc[A, R] {
	desc, err := describe[A, none, none, R](name, 1)
	desc.Split = true
	desc.Invoke = func(ctx context.Context, _ any, in, out []any) error {
		rs, err := fn(ctx, as[A](in[0]))
		if err == nil && len(rs) != len(out) {
			err = fmt.Errorf("returned %d values, %d were asked for", len(rs), len(out))
		}
		if err != nil {
			return err
		}
		for i := range out {
			out[i] = rs[i]
		}
		return nil
	}
	t, err2 := taskDefaults(def)
	return &SplitFunc[A, R]{register(desc, t, firstError(err, err2))}
}

// Remote starts the task, which must return n values.
func (f *SplitFunc[A, R]) Remote(ctx context.Context, n int, a A, opts ...TaskOption) []Ref[R] {
	opts = append([]TaskOption{returns(n)}, opts...)
	refs := make([]Ref[R], n)
	for i, fut := range f.c.remoteN(ctx, n, [3]client.Arg{{Val: a}}, opts) {
		refs[i] = Ref[R]{fut}
	}
	return refs
}

// PairFunc is a registered function with two results; see Pair1.
type PairFunc[A, R, S any] struct{ c *function }

// Pair1 registers a function of two results, each an object of its own.
func Pair1[A, R, S any](name string, fn func(context.Context, A) (R, S, error), def ...TaskOption) *PairFunc[A, R, S] {
	desc, err := describe[A, none, none, R](name, 1)
	second, err2 := client.CodecFor[S]()
	desc.Rets = append(desc.Rets, second)
	desc.Invoke = func(ctx context.Context, _ any, in, out []any) (err error) {
		out[0], out[1], err = fn(ctx, as[A](in[0]))
		return err
	}
	t, err3 := taskDefaults(def)
	return &PairFunc[A, R, S]{register(desc, t, firstError(err, err2, err3))}
}

// Remote starts the task and returns a Ref to each result.
func (f *PairFunc[A, R, S]) Remote(ctx context.Context, a A, opts ...TaskOption) (Ref[R], Ref[S]) {
	return f.RemoteOf(ctx, Val(a), opts...)
}

// RemoteOf is Remote for an argument that may be a Ref.
func (f *PairFunc[A, R, S]) RemoteOf(ctx context.Context, a Arg[A], opts ...TaskOption) (Ref[R], Ref[S]) {
	fs := f.c.remoteN(ctx, 2, [3]client.Arg{argOf(a)}, opts)
	return Ref[R]{fs[0]}, Ref[S]{fs[1]}
}

// StreamFunc is a registered generator; see Stream1.
type StreamFunc[A, R any] struct{ c *function }

// Stream1 registers a function whose results are delivered one by one, as they
// are made, each an object of its own. The producer runs ahead of its consumer
// by at most Window's items and bytes.
func Stream1[A, R any](name string, fn func(context.Context, A) iter.Seq2[R, error], def ...TaskOption) *StreamFunc[A, R] {
	desc, err := describe[A, none, none, R](name, 1)
	desc.Stream = func(ctx context.Context, _ any, in []any, yield func(any) bool) error {
		return drain(fn(ctx, as[A](in[0])), yield)
	}
	t, err2 := taskDefaults(def)
	return &StreamFunc[A, R]{register(desc, t, firstError(err, err2))}
}

// drain passes seq's values on until it fails or nobody wants more.
func drain[R any](seq iter.Seq2[R, error], yield func(any) bool) error {
	for v, err := range seq {
		if err != nil {
			return err
		}
		if !yield(v) {
			return nil
		}
	}
	return nil
}

// Remote starts the generator.
func (f *StreamFunc[A, R]) Remote(ctx context.Context, a A, opts ...TaskOption) *Items[R] {
	return f.RemoteOf(ctx, Val(a), opts...)
}

// RemoteOf is Remote for an argument that may be a Ref.
func (f *StreamFunc[A, R]) RemoteOf(ctx context.Context, a Arg[A], opts ...TaskOption) *Items[R] {
	s, err := f.c.stream(ctx, [3]client.Arg{argOf(a)}, opts)
	return &Items[R]{s: s, err: err}
}

// Items is the consumer's end of a stream. It is for one goroutine at a time.
type Items[R any] struct {
	s   client.Stream
	err error
}

// Refs yields a Ref to each item as it is made. An item whose making failed
// ends the stream with the error. Leaving the loop early cancels the producer.
func (it *Items[R]) Refs(ctx context.Context) iter.Seq2[Ref[R], error] {
	return func(yield func(Ref[R], error) bool) {
		if it.err != nil {
			yield(Ref[R]{}, it.err)
			return
		}
		defer it.s.Close()
		for {
			item, err := it.s.Next(ctx)
			if item.End {
				err = item.Err
			}
			if err != nil || item.End {
				if err != nil {
					yield(Ref[R]{}, err)
				}
				return
			}
			if !yield(Ref[R]{item.Future}, nil) {
				return
			}
		}
	}
}

// All yields each item's value as it is made; see Refs.
func (it *Items[R]) All(ctx context.Context) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for ref, err := range it.Refs(ctx) {
			var v R
			if err == nil {
				v, err = ref.Get(ctx)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}
