package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gates lets functions of the tests wait for the tests.
var gates struct {
	mu    sync.Mutex
	last  int
	doors map[string]chan struct{}
}

// newDoor returns a name for functions to wait for.
func newDoor() string {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	gates.last++
	name := fmt.Sprint("door ", gates.last)
	if gates.doors == nil {
		gates.doors = map[string]chan struct{}{}
	}
	gates.doors[name] = make(chan struct{})
	return name
}

func doorOf(name string) chan struct{} {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	return gates.doors[name]
}

func openDoor(name string) { close(doorOf(name)) }

// The functions that workers of these tests run.
var (
	double = function1("double", func(_ context.Context, x int) (int, error) { return 2 * x, nil })
	join   = function1("join", func(_ context.Context, parts []string) (string, error) { return strings.Join(parts, "+"), nil })
	upper  = function1("upper", func(_ context.Context, b []byte) ([]byte, error) {
		out := make([]byte, len(b))
		for i, c := range b {
			out[i] = c ^ 0x20
		}
		return out, nil
	})
	floats = function1("floats", func(_ context.Context, v []float64) ([]float64, error) { return v, nil })
	fail   = function1("fail", func(_ context.Context, how string) (int, error) {
		switch how {
		case "panic":
			var none []int
			none[len(how)]++
		case "exit":
			runtime.Goexit()
		}
		return 0, errors.New(how)
	})
	// waits returns once its door is opened, or with ctx's error.
	waits = function1("waits", func(ctx context.Context, door string) (string, error) {
		started.Add(1)
		select {
		case <-doorOf(door):
			return door, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	started atomic.Int32

	keep = function1("keep", func(_ context.Context, b basket) ([]ref, error) { return append(b.Many, b.One), nil })
	// nested has another task do its work.
	nested = function1("nested", func(ctx context.Context, x int) (int, error) {
		run := FromContext(ctx)
		c := newCall(run.Sess, taskOf(double), double, Arg{Val: x})
		c.Parent, c.ParentAttempt = run.Task, run.Attempt
		run.Sess.Submit(ctx, c)
		run.Sess.Want(&c.Fut1)
		defer run.Sess.Blocked(ctx, &c.Fut1)()
		if err := c.Fut1.Wait(ctx); err != nil {
			return 0, err
		}
		v, err := ValueOf(&c.Fut1, double.Rets[0])
		return as[int](v) + 1, err
	})
	split = register(&Function{Name: "split", Args: []Codec{mustCodec[string]()}, Rets: []Codec{mustCodec[string]()}, Split: true,
		Invoke: func(_ context.Context, _ any, in, out []any) error {
			for i, part := range strings.SplitN(as[string](in[0]), " ", len(out)) {
				out[i] = part
			}
			return nil
		}})
	// count yields 0 to n-1, then fails if fails is set.
	count = register(&Function{Name: "count", Args: []Codec{mustCodec[counting]()}, Rets: []Codec{mustCodec[[]byte]()},
		Stream: func(_ context.Context, _ any, in []any, yield func(any) bool) error {
			c := as[counting](in[0])
			for i := range c.N {
				made.Add(1)
				item := make([]byte, max(c.Size, 1))
				item[0] = byte(i)
				if !yield(item) {
					return nil
				}
			}
			if c.Fails {
				return errors.New("the source dried up")
			}
			return nil
		}})
	made atomic.Int32

	inflate = function1("inflate", func(_ context.Context, n int) ([]byte, error) { return pattern(n), nil })
	bad     = function1("bad", func(context.Context, any) (any, error) { return func() {}, nil })

	lost = &Function{Name: "doubel", Sig: 1, Args: double.Args, Rets: double.Rets} // registered nowhere
)

type counting struct {
	N, Size int
	Fails   bool
}

// The actor of these tests.
type tally struct {
	mu    sync.Mutex
	calls []int
	now   atomic.Int32
	most  atomic.Int32
	bytes []byte
}

var (
	newTally = register(&Function{Name: "newTally", Args: []Codec{mustCodec[int]()}, Create: true,
		Invoke: func(_ context.Context, _ any, in, out []any) error {
			if as[int](in[0]) < 0 {
				return errors.New("no such tally")
			}
			out[0] = &tally{}
			return nil
		}})
	addTo = register(&Function{Name: "tally.add", Args: []Codec{mustCodec[int]()}, Rets: []Codec{mustCodec[[]int]()},
		Invoke: func(_ context.Context, self any, in, out []any) error {
			t := self.(*tally)
			t.mu.Lock()
			t.calls = append(t.calls, as[int](in[0]))
			out[0] = append([]int(nil), t.calls...)
			t.mu.Unlock()
			return nil
		}})
	// crowd waits for its door, and tells how many calls were ever inside at once.
	crowd = register(&Function{Name: "tally.crowd", Args: []Codec{mustCodec[string]()}, Rets: []Codec{mustCodec[int]()},
		Invoke: func(ctx context.Context, self any, in, out []any) error {
			t := self.(*tally)
			n := t.now.Add(1)
			defer t.now.Add(-1)
			for most := t.most.Load(); n > most && !t.most.CompareAndSwap(most, n); most = t.most.Load() {
			}
			select {
			case <-doorOf(as[string](in[0])):
			case <-ctx.Done():
				return ctx.Err()
			}
			out[0] = int(t.most.Load())
			return nil
		}})
	holdBytes = register(&Function{Name: "tally.hold", Args: []Codec{mustCodec[[]byte]()}, Rets: []Codec{mustCodec[int]()},
		Invoke: func(_ context.Context, self any, in, out []any) error {
			t := self.(*tally)
			t.bytes = as[[]byte](in[0])
			out[0] = len(t.bytes)
			return nil
		}})
	quit = register(&Function{Name: "tally.quit", Rets: []Codec{mustCodec[int]()},
		Invoke: func(context.Context, any, []any, []any) error { return ErrExit }})
)

// function1 registers a function of one argument and one result.
func function1[A, R any](name string, f func(context.Context, A) (R, error)) *Function {
	return register(&Function{Name: name, Args: []Codec{mustCodec[A]()}, Rets: []Codec{mustCodec[R]()},
		Invoke: func(ctx context.Context, _ any, in, out []any) (err error) {
			out[0], err = f(ctx, as[A](in[0]))
			return err
		}})
}

func register(f *Function) *Function {
	if err := Register(f); err != nil {
		panic(err)
	}
	return f
}

func mustCodec[T any]() Codec {
	c, err := CodecFor[T]()
	if err != nil {
		panic(err)
	}
	return c
}

func as[T any](v any) T {
	t, _ := v.(T)
	return t
}

func taskOf(f *Function) *spec.Task {
	return sealed(&spec.Task{Function: f.Name, Sig: f.Sig, Returns: len(f.Rets)})
}

func sealed(t *spec.Task) *spec.Task {
	if err := t.Seal(); err != nil {
		panic(err)
	}
	return t
}

// call submits a task as the root package does.
func call(ctx context.Context, s Session, t *spec.Task, f *Function, args ...Arg) *Call {
	c := newCall(s, t, f, args...)
	s.Submit(ctx, c)
	return c
}

func newCall(s Session, t *spec.Task, f *Function, args ...Arg) *Call {
	c := &Call{Task: s.NewTask(), Spec: t, Fn: f}
	c.Args = append(c.Arg1[:0], args...)
	c.Fut1.ID, c.Fut1.Sess = c.Task.Return(0), s
	c.Ret1[0] = &c.Fut1
	c.Rets = c.Ret1[:1]
	for i := 1; i < t.Returns; i++ {
		c.Rets = append(c.Rets, &Future{ID: c.Task.Return(uint32(i)), Sess: s})
	}
	return c
}

// get waits for a value as the root package does.
func get[T any](t testing.TB, f *Future) (T, error) {
	t.Helper()
	f.Sess.Want(f)
	var zero T
	if err := f.Wait(t.Context()); err != nil {
		return zero, err
	}
	v, err := ValueOf(f, mustCodec[T]())
	return as[T](v), err
}

// mustGet is get of what does not fail.
func mustGet[T any](t testing.TB, f *Future) T {
	t.Helper()
	v, err := get[T](t, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// run calls a function of one result and waits for it.
func run[T any](t testing.TB, s Session, f *Function, args ...any) (T, error) {
	t.Helper()
	list := make([]Arg, len(args))
	for i, a := range args {
		list[i] = Arg{Val: a}
	}
	return get[T](t, &call(t.Context(), s, taskOf(f), f, list...).Fut1)
}

// actorOf creates an actor.
func actorOf(t testing.TB, s Session, desc spec.Actor) id.Actor {
	t.Helper()
	desc.Class = "tally"
	desc.Concurrency = max(desc.Concurrency, 1)
	c := newCall(s, sealed(&spec.Task{Kind: spec.KindCreate, Function: newTally.Name, Sig: newTally.Sig, Actor: &desc}), newTally, Arg{Val: 1})
	s.Submit(t.Context(), c)
	if _, err := get[any](t, &c.Fut1); err != nil {
		t.Fatal(err)
	}
	return c.Task
}

// method calls an actor.
func method(t testing.TB, s Session, a id.Actor, f *Function, group string, args ...Arg) *Future {
	c := newCall(s, sealed(&spec.Task{Kind: spec.KindMethod, Function: f.Name, Sig: f.Sig, Returns: len(f.Rets)}), f, args...)
	c.Actor, c.Group = a, group
	s.Submit(t.Context(), c)
	return &c.Fut1
}
