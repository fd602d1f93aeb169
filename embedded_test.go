package weft

import (
	"context"
	"errors"
	"testing"
	"time"
)

var square = Task1("test.square", func(_ context.Context, x int) (int, error) { return x * x, nil })
var addTask = Task2("test.add", func(_ context.Context, a, b int) (int, error) { return a + b, nil })
var boom = Task1("test.boom", func(_ context.Context, s string) (int, error) {
	if s == "panic" {
		panic("oh")
	}
	return 0, errors.New(s)
})
var fib *Func1[int, int]

func init() {
	fib = Task1("test.fib", func(ctx context.Context, n int) (int, error) {
		if n < 2 {
			return n, nil
		}
		a, b := fib.Remote(ctx, n-1), fib.Remote(ctx, n-2)
		x, err := a.Get(ctx)
		if err != nil {
			return 0, err
		}
		y, err := b.Get(ctx)
		return x + y, err
	})
}

type counter struct{ n int }

var counters = Actor1("test.counter", func(_ context.Context, start int) (*counter, error) { return &counter{start}, nil })
var incr = Method1(counters, (*counter).Add)

func (c *counter) Add(_ context.Context, d int) (int, error) { c.n += d; return c.n, nil }

// connect opens the session of a test.
func connect(t testing.TB, opts ...InitOption) {
	s, err := Init(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// pipelined keeps up to a thousand calls under way.
func pipelined(b *testing.B, call func() Ref[int]) {
	refs := make([]Ref[int], 0, 1000)
	for i := range b.N {
		refs = append(refs, call())
		if len(refs) == cap(refs) || i == b.N-1 {
			if _, err := GetAll(context.Background(), refs); err != nil {
				b.Fatal(err)
			}
			refs = refs[:0]
		}
	}
}

func TestSmoke(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connect(t)
	if v, err := square.Call(ctx, 7); v != 49 || err != nil {
		t.Fatal(v, err)
	}
	a := square.Remote(ctx, 3)
	b := addTask.RemoteOf(ctx, a, Val(4))
	if v, err := b.Get(ctx); v != 13 || err != nil {
		t.Fatal(v, err)
	}
	if _, err := boom.Call(ctx, "bad"); !errors.Is(err, UserError) {
		t.Fatal(err)
	}
	if _, err := boom.Call(ctx, "panic"); !errors.Is(err, UserError) {
		t.Fatal(err)
	} else {
		t.Log(err)
	}
	if v, err := fib.Call(ctx, 12); v != 144 || err != nil {
		t.Fatal(v, err)
	}
	c := counters.New(ctx, 10)
	for i := 1; i <= 100; i++ {
		if v, err := incr.Call(ctx, c, 1); v != 10+i || err != nil {
			t.Fatal(i, v, err)
		}
	}
	p, err := Put(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := square.RemoteOf(ctx, p).Get(ctx); v != 25 || err != nil {
		t.Fatal(v, err)
	}
}

func BenchmarkCall(b *testing.B) {
	ctx := context.Background()
	connect(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := square.Call(ctx, 7); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPipelined(b *testing.B) {
	ctx := context.Background()
	connect(b)
	b.ReportAllocs()
	pipelined(b, func() Ref[int] { return square.Remote(ctx, 7) })
}

func BenchmarkActorCall(b *testing.B) {
	ctx := context.Background()
	connect(b)
	c := counters.New(ctx, 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := incr.Call(ctx, c, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkActorPipelined(b *testing.B) {
	ctx := context.Background()
	connect(b)
	c := counters.New(ctx, 10)
	b.ReportAllocs()
	pipelined(b, func() Ref[int] { return incr.Remote(ctx, c, 1) })
}
