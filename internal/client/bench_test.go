package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/spec"
)

// The functions of these tests.
var (
	double = function1("double", func(_ context.Context, x int) (int, error) { return 2 * x, nil })
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
	t := &spec.Task{Function: f.Name, Sig: f.Sig, Returns: len(f.Rets)}
	if f.Stream != nil {
		t.Returns, t.Stream = 0, true
	}
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
	if run := FromContext(ctx(s)); run != nil {
		c.Parent = run.Task
	}
	return c
}

func ctx(Session) context.Context { return context.Background() }

func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports the processor time of an operation: of client, worker and
// fake node together.
func reportCPU(b *testing.B, run func()) {
	b.ReportAllocs()
	before := cpuTime()
	b.ResetTimer()
	run()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

func BenchmarkTaskSync(b *testing.B) {
	n := newFakeNode(b)
	n.worker()
	d, t := n.driver(), taskOf(double)
	ctx := context.Background()
	reportCPU(b, func() {
		for range b.N {
			c := newCall(d, t, double, Arg{Val: 21})
			c.Once = true
			d.Submit(ctx, c)
			d.Want(&c.Fut1)
			_ = c.Fut1.Wait(ctx)
			d.Release(&c.Fut1)
		}
	})
}

func BenchmarkTaskPipelined(b *testing.B) {
	n := newFakeNode(b)
	n.worker()
	d, t := n.driver(), taskOf(double)
	ctx := context.Background()
	reportCPU(b, func() {
		fs := make([]*Future, 0, 1000)
		for i := range b.N {
			fs = append(fs, &call(ctx, d, t, double, Arg{Val: i}).Fut1)
			if len(fs) == cap(fs) || i == b.N-1 {
				d.Want(fs...)
				for _, f := range fs {
					_ = f.Wait(ctx)
				}
				fs = fs[:0]
			}
		}
	})
}

func BenchmarkTaskConcurrent(b *testing.B) {
	n := newFakeNode(b)
	n.worker()
	d, t := n.driver(), taskOf(double)
	ctx := context.Background()
	reportCPU(b, func() {
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				for range b.N / 50 {
					f := &call(ctx, d, t, double, Arg{Val: 1}).Fut1
					d.Want(f)
					_ = f.Wait(ctx)
				}
			})
		}
		callers.Wait()
	})
}
