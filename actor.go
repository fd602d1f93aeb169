package weft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"strings"
	"sync"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Actor is a handle on a living value of type S. It is comparable and safe to
// copy, also to other processes as part of an argument. An actor that is not
// detached ends, after the calls made so far, when its last handle goes.
type Actor[S any] struct{ h *handle }

// handle is what all copies of an Actor within a process share.
type handle struct {
	sess  client.Session
	id    id.Actor
	class *function
	ready *client.Future // of the constructor; nil for one that was looked up
	// retries is the actor's MaxTaskRetries, for the calls through this handle.
	retries int

	methods sync.Map // *method -> *spec.Task
}

func newHandle(s client.Session, a id.Actor, class *function, ready *client.Future) *handle {
	h := &handle{sess: s, id: a, class: class, ready: ready}
	if class != nil {
		h.retries = class.def.Actor.MaxTaskRetries
	}
	runtime.AddCleanup(h, func(a id.Actor) { s.Handle(a, -1) }, a)
	return h
}

// String is the actor's id, as `weft list actors` prints it.
func (a Actor[S]) String() string {
	if a.h == nil {
		return "no actor"
	}
	return a.h.id.String()
}

// Ready waits until the constructor has returned, and returns its error.
func (a Actor[S]) Ready(ctx context.Context) error {
	if a.h == nil {
		return &Error{Code: Invalid, Message: "the zero Actor is no actor"}
	}
	if a.h.ready == nil {
		return nil
	}
	if err := await(ctx, a.h.ready); err != nil {
		return err
	}
	return a.h.ready.Result().Err
}

// Handle gives Weft's codecs the session and id of an actor. It is not for programs.
func (a Actor[S]) Handle() (client.Session, id.Actor) {
	if a.h == nil {
		return nil, id.Actor{}
	}
	return a.h.sess, a.h.id
}

// SetHandle is Handle's counterpart when an Actor arrives inside a value.
func (a *Actor[S]) SetHandle(s client.Session, i id.Actor) { a.h = newHandle(s, i, nil, nil) }

// MarshalCBOR is how an Actor travels inside a value: as its id.
func (a Actor[S]) MarshalCBOR() ([]byte, error) {
	_, i := a.Handle()
	return client.MarshalActor(i)
}

// UnmarshalCBOR is MarshalCBOR's inverse.
func (a *Actor[S]) UnmarshalCBOR(b []byte) error {
	i, err := client.UnmarshalActor(b)
	if err == nil && !i.IsZero() {
		a.h = &handle{id: i}
	}
	return err
}

// Kill ends the actor at once: calls that run or wait fail with code ActorDied.
// With restart it is started again if it has restarts left.
func Kill[S any](a Actor[S], restart bool) {
	if a.h != nil {
		a.h.sess.Kill(a.h.id, !restart)
	}
}

// Class is what methods are registered on: Class0 to Class2 of the same S.
type Class[S any] interface{ class(*S) *function }

// Class0 is a registered constructor without arguments; see Class1.
type Class0[S any] struct{ c *function }

// Class1 is a registered constructor of actors: New runs it on some node and
// returns a handle at once.
type Class1[A, S any] struct{ c *function }

// Class2 is a registered constructor of two arguments; see Class1.
type Class2[A, B, S any] struct{ c *function }

func (c *Class0[S]) class(*S) *function       { return c.c }
func (c *Class1[A, S]) class(*S) *function    { return c.c }
func (c *Class2[A, B, S]) class(*S) *function { return c.c }

// Actor0 registers mk like Actor1.
func Actor0[S any](name string, mk func(context.Context) (*S, error), def ...ActorOption) *Class0[S] {
	return &Class0[S]{actorClass[none, none, S](name, 0, def,
		func(ctx context.Context, _ []any) (any, error) { return mk(ctx) })}
}

// Actor1 registers mk as the constructor of a class of actors, under a name
// that is unique in the program, like Task1. def are the options of every New.
func Actor1[A, S any](name string, mk func(context.Context, A) (*S, error), def ...ActorOption) *Class1[A, S] {
	return &Class1[A, S]{actorClass[A, none, S](name, 1, def,
		func(ctx context.Context, in []any) (any, error) { return mk(ctx, as[A](in[0])) })}
}

// Actor2 registers mk like Actor1.
func Actor2[A, B, S any](name string, mk func(context.Context, A, B) (*S, error), def ...ActorOption) *Class2[A, B, S] {
	return &Class2[A, B, S]{actorClass[A, B, S](name, 2, def,
		func(ctx context.Context, in []any) (any, error) { return mk(ctx, as[A](in[0]), as[B](in[1])) })}
}

func actorClass[A, B, S any](name string, arity int, def []ActorOption, mk func(context.Context, []any) (any, error)) *function {
	desc, err := describe[A, B, none, none](name, arity)
	desc.Create, desc.Rets = true, nil
	desc.Invoke = func(ctx context.Context, _ any, in, out []any) (err error) {
		out[0], err = mk(ctx, in)
		return err
	}
	t, err2 := actorDefaults(name, def)
	return register(desc, t, firstError(err, err2))
}

// actorDefaults is the description of a class's constructor.
func actorDefaults(class string, def []ActorOption) (spec.Task, error) {
	t := spec.Task{Actor: &spec.Actor{Class: class, Concurrency: 1}, MaxRetries: spec.DefaultMaxRetries}
	var err error
	for _, o := range def {
		err = firstError(err, o.applyActor(&t))
	}
	return t, err
}

// New creates an actor from the constructor's arguments; see Class1.New.
func (c *Class0[S]) New(ctx context.Context, opts ...ActorOption) Actor[S] {
	return Actor[S]{c.c.create(ctx, [3]client.Arg{}, opts)}
}

// New creates an actor and returns a handle at once. What goes wrong, in the
// constructor too, is the error of Ready and of every call.
func (c *Class1[A, S]) New(ctx context.Context, a A, opts ...ActorOption) Actor[S] {
	return Actor[S]{c.c.create(ctx, [3]client.Arg{{Val: a}}, opts)}
}

// NewOf is New for an argument that may be a Ref.
func (c *Class1[A, S]) NewOf(ctx context.Context, a Arg[A], opts ...ActorOption) Actor[S] {
	return Actor[S]{c.c.create(ctx, [3]client.Arg{argOf(a)}, opts)}
}

// New creates an actor; see Class1.New.
func (c *Class2[A, B, S]) New(ctx context.Context, a A, b B, opts ...ActorOption) Actor[S] {
	return Actor[S]{c.c.create(ctx, [3]client.Arg{{Val: a}, {Val: b}}, opts)}
}

// NewOf is New for arguments that may be refs.
func (c *Class2[A, B, S]) NewOf(ctx context.Context, a Arg[A], b Arg[B], opts ...ActorOption) Actor[S] {
	return Actor[S]{c.c.create(ctx, [3]client.Arg{argOf(a), argOf(b)}, opts)}
}

// create submits the constructor.
func (c *function) create(ctx context.Context, args [3]client.Arg, opts []ActorOption) *handle {
	actor := *c.def.Actor
	withActor := taskOption(func(t *spec.Task) error {
		t.Actor = &actor
		for _, o := range opts {
			if err := o.applyActor(t); err != nil {
				return err
			}
		}
		if t.Actor.GetIfExists && t.Actor.Name == "" {
			return errors.New("GetOrCreate needs Named")
		}
		return nil
	})
	s, call, err := c.prepare(ctx, args, []TaskOption{withActor})
	if err != nil {
		return &handle{class: c, ready: failed(err)}
	}
	oneReturn(s, call)
	if !actor.Registered() {
		s.Submit(ctx, call)
		if !s.Info().Embedded && !call.Fut1.Shared.Load() { // it failed here: the node knows no such actor
			return &handle{id: call.Task, class: c, ready: &call.Fut1}
		}
	} else if found, err := s.CreateRegistered(ctx, call); err != nil {
		return &handle{class: c, ready: failed(err)}
	} else if found.Actor != call.Task {
		return newHandle(s, found.Actor, c, nil)
	}
	h := newHandle(s, call.Task, c, &call.Fut1)
	h.retries = actor.MaxTaskRetries
	return h
}

// Lookup finds a living actor of class of by the name that Named gave it, in
// the session's namespace. The error is of code NotFound if there is none.
func Lookup[S any](ctx context.Context, of Class[S], name string) (Actor[S], error) {
	return LookupIn(ctx, of, "", name)
}

// LookupIn is Lookup in another namespace.
func LookupIn[S any](ctx context.Context, of Class[S], namespace, name string) (Actor[S], error) {
	s, err := sessionOf(ctx)
	if err != nil {
		return Actor[S]{}, err
	}
	found, err := s.Lookup(ctx, namespace, name)
	if err != nil {
		return Actor[S]{}, err
	}
	class := of.class(nil)
	if want := &class.def; found.Class != want.Actor.Class || found.Language != want.Language {
		return Actor[S]{}, &Error{Code: Invalid, Op: "lookup " + name, Message: fmt.Sprintf("it is an actor of %s class %q, not of %s class %q",
			language(found.Language), found.Class, language(want.Language), want.Actor.Class)}
	}
	return Actor[S]{newHandle(s, found.Actor, class, nil)}, nil
}

// language names a description's language.
func language(l string) string { return cmp.Or(l, wire.Go) }

// method is the untyped core of a registered actor method.
type method struct {
	*function
	name  string
	group string
}

// MethodFn0 is a registered method without arguments; see MethodFn1.
type MethodFn0[S, R any] struct{ m *method }

// MethodFn1 is a registered actor method. Calls of one caller reach the actor
// in the order in which they were made.
type MethodFn1[S, A, R any] struct{ m *method }

// MethodFn2 is a registered method of two arguments; see MethodFn1.
type MethodFn2[S, A, B, R any] struct{ m *method }

// Method0 registers m like Method1.
func Method0[S, R any](of Class[S], m func(*S, context.Context) (R, error), opts ...MethodOption) *MethodFn0[S, R] {
	return &MethodFn0[S, R]{methodFunction[none, none, R](of.class(nil), m, 0, opts,
		func(ctx context.Context, self any, _ []any) (any, error) { return m(self.(*S), ctx) })}
}

// Method1 registers a method of the actors of a class, given as a method
// expression such as (*Counter).Add. It panics like Task1.
func Method1[S, A, R any](of Class[S], m func(*S, context.Context, A) (R, error), opts ...MethodOption) *MethodFn1[S, A, R] {
	return &MethodFn1[S, A, R]{methodFunction[A, none, R](of.class(nil), m, 1, opts,
		func(ctx context.Context, self any, in []any) (any, error) { return m(self.(*S), ctx, as[A](in[0])) })}
}

// Method2 registers m like Method1.
func Method2[S, A, B, R any](of Class[S], m func(*S, context.Context, A, B) (R, error), opts ...MethodOption) *MethodFn2[S, A, B, R] {
	return &MethodFn2[S, A, B, R]{methodFunction[A, B, R](of.class(nil), m, 2, opts,
		func(ctx context.Context, self any, in []any) (any, error) {
			return m(self.(*S), ctx, as[A](in[0]), as[B](in[1]))
		})}
}

func methodFunction[A, B, R any](class *function, fn any, arity int, opts []MethodOption,
	call func(context.Context, any, []any) (any, error)) *method {
	m, err := newMethod(fn, opts)
	desc, err2 := describe[A, B, none, R](class.fn.Name+"."+m.name, arity)
	desc.Invoke = func(ctx context.Context, self any, in, out []any) (err error) {
		out[0], err = call(ctx, self, in)
		return err
	}
	m.function = register(desc, spec.Task{Kind: spec.KindMethod}, firstError(err, err2))
	return m
}

// StreamMethodFn is a registered generator method; see StreamMethod1.
type StreamMethodFn[S, A, R any] struct{ m *method }

// StreamMethod1 registers a method whose results are delivered one by one.
func StreamMethod1[S, A, R any](of Class[S], fn func(*S, context.Context, A) iter.Seq2[R, error], opts ...MethodOption) *StreamMethodFn[S, A, R] {
	m, err := newMethod(fn, opts)
	desc, err2 := describe[A, none, none, R](of.class(nil).fn.Name+"."+m.name, 1)
	desc.Stream = func(ctx context.Context, self any, in []any, yield func(any) bool) error {
		return drain(fn(self.(*S), ctx, as[A](in[0])), yield)
	}
	m.function = register(desc, spec.Task{Kind: spec.KindMethod}, firstError(err, err2))
	return &StreamMethodFn[S, A, R]{m}
}

// newMethod names a method after the Go method that fn is an expression of.
func newMethod(fn any, opts []MethodOption) (*method, error) {
	m := &method{name: methodName(runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name())}
	for _, o := range opts {
		if err := o.applyMethod(m); err != nil {
			return m, err
		}
	}
	if m.name == "" {
		return m, errors.New("a method given as a function literal needs weft.MethodName")
	}
	return m, nil
}

// methodName is what a program calls the method or function of the linker's
// name: "example.com/p.(*T).M" is M; "" is a literal, such as "p.init.func1".
func methodName(full string) string {
	if i := strings.LastIndex(full, ")."); i >= 0 {
		full = full[i+1:]
	}
	name := full[strings.LastIndexByte(full, '/')+1:]
	_, name, _ = strings.Cut(name, ".")
	if strings.Contains(name, ".") {
		return ""
	}
	return name
}

// bind makes the description of calls of m on h's actor.
func (m *method) bind(h *handle) (*spec.Task, error) {
	if t, ok := h.methods.Load(m); ok {
		return t.(*spec.Task), nil
	}
	t := m.def
	t.Job = h.sess.Info().Job
	t.MaxRetries = h.retries
	sealed, err := m.intern(&t)
	if err != nil {
		return nil, err
	}
	h.methods.Store(m, sealed)
	return sealed, nil
}

// prepare makes the Call of m on h with args.
func (m *method) prepare(ctx context.Context, h *handle, args [3]client.Arg) (*client.Call, error) {
	switch {
	case h == nil:
		return nil, &Error{Code: Invalid, Op: m.fn.Name, Message: "the zero Actor is no actor", Hint: "use what New or Lookup returned"}
	case h.sess == nil:
		err := h.ready.Result().Err
		return nil, &Error{Code: ActorDied, Op: m.fn.Name, Message: "its constructor failed: " + err.Error(), Err: err}
	}
	t, err := m.bind(h)
	if err != nil {
		return nil, &Error{Code: Invalid, Op: m.fn.Name, Message: err.Error()}
	}
	if ctx.Err() != nil {
		return nil, endedWait(ctx, t.Name)
	}
	call := &client.Call{Task: h.sess.NewTask(), Spec: t, Fn: m.fn, Actor: h.id, Group: m.group, Arg1: args}
	call.Args = call.Arg1[:len(m.fn.Args)]
	if run := client.FromContext(ctx); run != nil {
		call.Parent, call.ParentAttempt = run.Task, run.Attempt
	}
	return call, nil
}

func (m *method) remote(ctx context.Context, h *handle, args [3]client.Arg) *client.Future {
	call, err := m.prepare(ctx, h, args)
	if err != nil {
		return failed(err)
	}
	oneReturn(h.sess, call)
	h.sess.Submit(ctx, call)
	runtime.KeepAlive(h)
	return &call.Fut1
}

// callMethod is remote and Get.
func callMethod[R any](ctx context.Context, m *method, h *handle, args [3]client.Arg) (R, error) {
	call, err := m.prepare(ctx, h, args)
	if err != nil {
		var zero R
		return zero, err
	}
	v, err := submitNow[R](ctx, h.sess, call)
	runtime.KeepAlive(h)
	return v, err
}

// Remote calls the method; see MethodFn1.Remote.
func (f *MethodFn0[S, R]) Remote(ctx context.Context, a Actor[S]) Ref[R] {
	return Ref[R]{f.m.remote(ctx, a.h, [3]client.Arg{})}
}

// Call is Remote and Get.
func (f *MethodFn0[S, R]) Call(ctx context.Context, a Actor[S]) (R, error) {
	return callMethod[R](ctx, f.m, a.h, [3]client.Arg{})
}

// Remote calls the method on a and returns a Ref to the result. It does not wait.
func (f *MethodFn1[S, A, R]) Remote(ctx context.Context, a Actor[S], arg A) Ref[R] {
	return Ref[R]{f.m.remote(ctx, a.h, [3]client.Arg{{Val: arg}})}
}

// RemoteOf is Remote for an argument that may be a Ref. Later calls of the same
// caller wait behind it, so that order is kept.
func (f *MethodFn1[S, A, R]) RemoteOf(ctx context.Context, a Actor[S], arg Arg[A]) Ref[R] {
	return Ref[R]{f.m.remote(ctx, a.h, [3]client.Arg{argOf(arg)})}
}

// Call is Remote and Get.
func (f *MethodFn1[S, A, R]) Call(ctx context.Context, a Actor[S], arg A) (R, error) {
	return callMethod[R](ctx, f.m, a.h, [3]client.Arg{{Val: arg}})
}

// Remote calls the method; see MethodFn1.Remote.
func (f *MethodFn2[S, A, B, R]) Remote(ctx context.Context, a Actor[S], x A, y B) Ref[R] {
	return Ref[R]{f.m.remote(ctx, a.h, [3]client.Arg{{Val: x}, {Val: y}})}
}

// RemoteOf is Remote for arguments that may be refs.
func (f *MethodFn2[S, A, B, R]) RemoteOf(ctx context.Context, a Actor[S], x Arg[A], y Arg[B]) Ref[R] {
	return Ref[R]{f.m.remote(ctx, a.h, [3]client.Arg{argOf(x), argOf(y)})}
}

// Call is Remote and Get.
func (f *MethodFn2[S, A, B, R]) Call(ctx context.Context, a Actor[S], x A, y B) (R, error) {
	return callMethod[R](ctx, f.m, a.h, [3]client.Arg{{Val: x}, {Val: y}})
}

// Remote starts the generator method on a.
func (f *StreamMethodFn[S, A, R]) Remote(ctx context.Context, a Actor[S], arg A) *Items[R] {
	call, err := f.m.prepare(ctx, a.h, [3]client.Arg{{Val: arg}})
	if err != nil {
		return &Items[R]{err: err}
	}
	return &Items[R]{s: a.h.sess.SubmitStream(ctx, call)}
}
