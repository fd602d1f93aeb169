package weft_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/weftrun/weft"
)

// Functions and classes are registered in package-level variables, so that
// every process of a program registers the same.
var (
	exSquare = weft.Task1("example.square", func(_ context.Context, x int) (int, error) { return x * x, nil })
	exAdd    = weft.Task2("example.add", func(_ context.Context, a, b int) (int, error) { return a + b, nil })
	exSum    = weft.Task1("example.sum", func(_ context.Context, xs []int) (total int, err error) {
		for _, x := range xs {
			total += x
		}
		return total, nil
	})
	exOpen = weft.Task1("example.open", func(_ context.Context, name string) (string, error) {
		return "", fmt.Errorf("%s: %w", name, errNoFile)
	})
	exSleep = weft.Task0("example.sleep", func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	exDivide = weft.Pair1("example.divide", func(_ context.Context, x int) (quotient, rest int, err error) { return x / 10, x % 10, nil })
	exFields = weft.Split1("example.fields", func(_ context.Context, s string) ([]string, error) { return strings.Fields(s), nil })
	exCount  = weft.Stream1("example.count", func(_ context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return // nobody reads on
				}
			}
		}
	})
	exTry = weft.Task0("example.try", func(ctx context.Context) (string, error) {
		rt := weft.Runtime(ctx)
		if rt.Attempt < 3 {
			return "", errors.New("not yet")
		}
		return fmt.Sprintf("%s, attempt %d, with %v CPU", rt.Name, rt.Attempt, rt.Resources["CPU"]), nil
	}, weft.RetryErrors(), weft.CPU(0.5))
)

var errNoFile = errors.New("there is no such file")

// Counter is a class of actors: a value that lives somewhere, and methods that
// are called like tasks, one after the other.
type Counter struct{ n int }

func (c *Counter) Add(_ context.Context, d int) (int, error) { c.n += d; return c.n, nil }

var (
	counters   = weft.Actor1("example.counter", func(_ context.Context, start int) (*Counter, error) { return &Counter{start}, nil })
	counterAdd = weft.Method1(counters, (*Counter).Add)
)

// start is Init with its error dealt with, for the examples.
func start(opts ...weft.InitOption) (context.Context, *weft.Session) {
	ctx := context.Background()
	s, err := weft.Init(ctx, opts...)
	if err != nil {
		panic(err)
	}
	return ctx, s
}

func ExampleInit() {
	ctx := context.Background()
	s, err := weft.Init(ctx, weft.Resources(map[string]float64{"CPU": 4, "license": 1}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Shutdown(ctx)
	fmt.Println(exSquare.Call(ctx, 7, weft.Resource("license", 1)))
	// Output: 49 <nil>
}

func ExampleTask1() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	// var exSquare = weft.Task1("example.square", func(_ context.Context, x int) (int, error) { return x * x, nil })
	ref := exSquare.Remote(ctx, 7) // does not wait
	fmt.Println(ref.Get(ctx))
	fmt.Println(exSquare.Call(ctx, 8)) // Remote and Get
	// Output:
	// 49 <nil>
	// 64 <nil>
}

func ExampleFunc2_RemoteOf() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	a := exSquare.Remote(ctx, 3)
	b := exAdd.RemoteOf(ctx, a, weft.Val(1)) // starts when a is there, and gets its value
	c := exAdd.RemoteOf(ctx, a, b)
	fmt.Println(c.Get(ctx))
	// Output: 19 <nil>
}

func ExampleCollect() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	var squares []weft.Ref[int]
	for x := range 10 {
		squares = append(squares, exSquare.Remote(ctx, x))
	}
	fmt.Println(exSum.RemoteOf(ctx, weft.Collect(squares...)).Get(ctx))
	// Output: 285 <nil>
}

func ExamplePair1() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	quotient, rest := exDivide.Remote(ctx, 47) // an object each
	fmt.Println(quotient.Get(ctx))
	fmt.Println(rest.Get(ctx))
	// Output:
	// 4 <nil>
	// 7 <nil>
}

func ExampleSplit1() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	words := exFields.Remote(ctx, 2, "warp weft") // two results, an object each
	fmt.Println(words[1].Get(ctx))
	// Output: weft <nil>
}

func ExampleStream1() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	for i, err := range exCount.Remote(ctx, 1_000_000).All(ctx) {
		if err != nil || i == 3 {
			break // ends the producer
		}
		fmt.Println(i)
	}
	// Output:
	// 0
	// 1
	// 2
}

func ExampleActor1() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	// type Counter struct{ n int }
	// func (c *Counter) Add(_ context.Context, d int) (int, error) { c.n += d; return c.n, nil }
	// var counters = weft.Actor1("example.counter", func(_ context.Context, start int) (*Counter, error) { return &Counter{start}, nil })
	// var counterAdd = weft.Method1(counters, (*Counter).Add)
	c := counters.New(ctx, 10)
	counterAdd.Remote(ctx, c, 1)
	counterAdd.Remote(ctx, c, 2) // runs after the call before it
	fmt.Println(counterAdd.Call(ctx, c, 3))
	// Output: 16 <nil>
}

func ExampleLookup() {
	ctx, s := start(weft.InNamespace("shop"))
	defer s.Shutdown(ctx)
	first := counters.New(ctx, 100, weft.Named("visitors"))
	if err := first.Ready(ctx); err != nil {
		fmt.Println(err)
		return
	}
	found, err := weft.Lookup(ctx, counters, "visitors")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(counterAdd.Call(ctx, found, 1))
	_, err = weft.Lookup(ctx, counters, "orders")
	fmt.Println(errors.Is(err, weft.NotFound))
	// Output:
	// 101 <nil>
	// true
}

func ExampleGetOrCreate() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	for range 2 { // the second time it is there
		c := counters.New(ctx, 0, weft.Named("hits"), weft.GetOrCreate(), weft.Detached())
		fmt.Println(counterAdd.Call(ctx, c, 1))
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}

func ExamplePut() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	table, err := weft.Put(ctx, []int{1, 2, 3}) // stored once, for any number of tasks
	if err != nil {
		fmt.Println(err)
		return
	}
	a, b := exSum.RemoteOf(ctx, table), exSum.RemoteOf(ctx, table)
	fmt.Println(weft.GetAll(ctx, []weft.Ref[int]{a, b}))
	// Output: [6 6] <nil>
}

func ExampleNewWriter() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	w, err := weft.NewWriter(ctx, 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Abort() // does nothing after Seal
	n := copy(w.Bytes(), "written where it lies")
	ref, err := w.Seal(int64(n))
	if err != nil {
		fmt.Println(err)
		return
	}
	view, err := weft.View(ctx, ref) // not copied either
	if err != nil {
		fmt.Println(err)
		return
	}
	defer view.Release()
	fmt.Printf("%s\n", view.Data())
	// Output: written where it lies
}

func ExampleWait() {
	ctx, s := start(weft.Resources(map[string]float64{"CPU": 2}))
	defer s.Shutdown(ctx)
	refs := []weft.Ref[string]{exSleep.Remote(ctx), exTry.Remote(ctx)}
	done, rest, err := weft.Wait(ctx, refs, 1)
	fmt.Println(len(done), len(rest), err)
	fmt.Println(done[0].Get(ctx))
	// Output:
	// 1 1 <nil>
	// example.try, attempt 3, with 0.5 CPU <nil>
}

func ExampleCompleted() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	refs := []weft.Ref[int]{exSquare.Remote(ctx, 1), exSquare.Remote(ctx, 2), exSquare.Remote(ctx, 3)}
	total := 0
	for v, err := range weft.Completed(ctx, refs) { // in the order in which they end
		if err != nil {
			fmt.Println(err)
			return
		}
		total += v
	}
	fmt.Println(total)
	// Output: 14
}

func ExampleNewGroup() {
	ctx, s := start(weft.Resources(map[string]float64{"CPU": 4}))
	defer s.Shutdown(ctx)
	g, err := weft.NewGroup(ctx, weft.Pack, map[string]float64{"CPU": 1}, map[string]float64{"CPU": 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Remove()
	fmt.Println(exSquare.Call(ctx, 5, weft.In(g, 1), weft.CPU(2)))
	_, err = weft.NewGroup(ctx, weft.Pack, map[string]float64{"CPU": 100})
	fmt.Println(errors.Is(err, weft.Unschedulable))
	// Output:
	// 25 <nil>
	// true
}

func ExampleCancel() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	ref := exSleep.Remote(ctx)
	weft.Cancel(ref)
	_, err := ref.Get(ctx)
	fmt.Println(errors.Is(err, weft.Cancelled))
	// Output: true
}

// An error says what failed and of which kind it is. The kind is one of a closed
// set of codes; the function's own error is found too, if it ran in this process.
func ExampleError() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	_, err := exOpen.Call(ctx, "a.txt")
	fmt.Println(errors.Is(err, weft.UserError), errors.Is(err, errNoFile))
	if e, ok := errors.AsType[*weft.Error](err); ok {
		fmt.Println(e.Op, "-", e.Message, "- attempt", e.Attempt)
	}
	_, err = exSquare.Call(ctx, 1, weft.CPU(1000))
	fmt.Println(errors.Is(err, weft.Unschedulable))
	// Output:
	// true true
	// example.open - a.txt: there is no such file - attempt 1
	// true
}

func ExampleRef_Stat() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	ref, _ := weft.Put(ctx, make([]byte, 1000))
	st, err := ref.Stat(ctx)
	fmt.Println(st.Size, st.Place, st.ByReference, err)
	// Output: 1000 heap true <nil>
}

// Two sessions in one program: each has its own node.
func ExampleSession_Context() {
	ctx := context.Background()
	for _, cpus := range []float64{1, 2} {
		s, err := weft.Init(ctx, weft.Resources(map[string]float64{"CPU": cpus}))
		if err != nil {
			fmt.Println(err)
			return
		}
		defer s.Shutdown(ctx)
		_, err = exSquare.Call(s.Context(ctx), 1, weft.CPU(2))
		fmt.Println(err == nil)
	}
	// Output:
	// false
	// true
}

func ExampleRuntime() {
	ctx, s := start()
	defer s.Shutdown(ctx)
	// exTry is registered with weft.RetryErrors(), weft.CPU(0.5) and asks weft.Runtime which attempt it is.
	fmt.Println(exTry.Call(ctx))
	// Output: example.try, attempt 3, with 0.5 CPU <nil>
}
