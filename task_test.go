package weft_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

var (
	answer = weft.Task0("test.answer", func(context.Context) (int, error) { return 42, nil })
	square = weft.Task1("test.square", func(_ context.Context, x int) (int, error) { return x * x, nil })
	add    = weft.Task2("test.add", func(_ context.Context, a, b int) (int, error) { return a + b, nil })
	label  = weft.Task3("test.label", func(_ context.Context, s string, n int, b []byte) (string, error) {
		return fmt.Sprintf("%s %d %x", s, n, b), nil
	})
	sum = weft.Task1("test.sum", func(_ context.Context, xs []int) (int, error) {
		total := 0
		for _, x := range xs {
			total += x
		}
		return total, nil
	})
	countTo = weft.Split1("test.countTo", func(_ context.Context, n int) ([]int, error) {
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out, nil
	})
	divide = weft.Pair1("test.divide", func(_ context.Context, n [2]int) (int, string, error) {
		return n[0] / n[1], fmt.Sprint("rest ", n[0]%n[1]), nil
	})
	reversed = weft.Task1("test.reversed", func(_ context.Context, b []byte) ([]byte, error) {
		b = bytes.Clone(b)
		slices.Reverse(b)
		return b, nil
	})
)

func TestTaskArguments(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		equal(t, 42)(answer.Call(ctx))
		equal(t, 42)(answer.Remote(ctx).Get(ctx))
		equal(t, 49)(square.Call(ctx, 7))
		nine := square.Remote(ctx, 3)
		equal(t, 81)(square.RemoteOf(ctx, nine).Get(ctx))
		equal(t, 13)(add.RemoteOf(ctx, nine, weft.Val(4)).Get(ctx))
		equal(t, 13)(add.RemoteOf(ctx, weft.Val(4), nine).Get(ctx))
		equal(t, 18)(add.RemoteOf(ctx, nine, nine).Get(ctx))
		equal(t, "x 9 0102")(label.RemoteOf(ctx, weft.Val("x"), nine, weft.Val([]byte{1, 2})).Get(ctx))
		equal(t, "y 1 ")(label.Call(ctx, "y", 1, nil))
		equal(t, "z 2 ff")(label.Remote(ctx, "z", 2, []byte{255}).Get(ctx))
		five := must[weft.Ref[int]](t)(weft.Put(ctx, 5))
		equal(t, 25)(square.RemoteOf(ctx, five).Get(ctx))
		equal(t, 5)(five.Get(ctx))
	})
}

func TestTaskWrongArguments(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		_, err := square.RemoteOf(ctx, nil).Get(ctx)
		isCode(t, err, weft.Invalid, "nil argument", "weft.Val")
		_, err = square.RemoteOf(ctx, weft.Ref[int]{}).Get(ctx)
		isCode(t, err, weft.Invalid, "zero Ref")
		_, err = weft.Ref[int]{}.Get(ctx)
		isCode(t, err, weft.Invalid, "zero Ref")
		equal(t, 1)(square.Call(ctx, 1))
	})
}

func TestCollect(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		refs := []weft.Ref[int]{must[weft.Ref[int]](t)(weft.Put(ctx, 100))}
		for i := range 50 {
			refs = append(refs, square.Remote(ctx, i))
		}
		equal(t, 100+49*50*99/6)(sum.RemoteOf(ctx, weft.Collect(refs...)).Get(ctx))
		equal(t, 0)(sum.RemoteOf(ctx, weft.Collect[int]()).Get(ctx))
		refs[7] = fail.Remote(ctx, "the seventh")
		_, err := sum.RemoteOf(ctx, weft.Collect(refs...)).Get(ctx)
		isCode(t, err, weft.UserError, "the seventh")
	})
}

func TestSplit(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		got := must[[]int](t)(weft.GetAll(ctx, countTo.Remote(ctx, 300, 300)))
		for i, v := range got {
			if v != i {
				t.Fatalf("element %d is %d", i, v)
			}
		}
		_, err := weft.GetAll(ctx, countTo.Remote(ctx, 2, 3))
		isCode(t, err, weft.UserError, "returned 3 values, 2 were asked for")
	})
}

func TestPair(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		quotient, rest := divide.Remote(ctx, [2]int{17, 5})
		equal(t, 3)(quotient.Get(ctx))
		equal(t, "rest 2")(rest.Get(ctx))
		quotient, rest = divide.Remote(ctx, [2]int{17, 0})
		_, err := quotient.Get(ctx)
		isCode(t, err, weft.UserError, "divide by zero")
		_, err = rest.Get(ctx)
		isCode(t, err, weft.UserError, "divide by zero")
	})
}

func TestLargeValues(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		want := make([]byte, 1<<20+13)
		for i := range want {
			want[i] = byte(i * i >> 3)
		}
		put := must[weft.Ref[[]byte]](t)(weft.Put(ctx, want))
		once := reversed.RemoteOf(ctx, put)
		twice := reversed.RemoteOf(ctx, once)
		if got := must[[]byte](t)(twice.Get(ctx)); !bytes.Equal(got, want) {
			t.Error("an object of 1 MiB is another one after two tasks")
		}
		if got := must[[]byte](t)(reversed.Call(ctx, must[[]byte](t)(reversed.Call(ctx, want)))); !bytes.Equal(got, want) {
			t.Error("an argument of 1 MiB is another one after two tasks")
		}
		view := must[*weft.Bytes](t)(weft.View(ctx, put))
		if !bytes.Equal(view.Data(), want) {
			t.Error("a view of 1 MiB shows something else")
		}
		view.Release()
	})
}

// parcel holds references in the places that a value can have them.
type parcel struct {
	One   weft.Ref[int]
	Many  []weft.Ref[int]
	Named map[string]weft.Ref[int]
	Tally weft.Actor[tally]
	None  weft.Ref[int]
}

var openParcel = weft.Task1("test.openParcel", func(ctx context.Context, p parcel) (int, error) {
	total, err := p.One.Get(ctx)
	if err != nil {
		return 0, err
	}
	many, err := weft.GetAll(ctx, p.Many)
	if err != nil {
		return 0, err
	}
	for _, v := range many {
		total += v
	}
	v, err := p.Named["x"].Get(ctx)
	if err != nil {
		return 0, err
	}
	if p.None != (weft.Ref[int]{}) {
		return 0, fmt.Errorf("the zero Ref has become %v", p.None)
	}
	return tallyAdd.Call(ctx, p.Tally, total+v)
})

func TestReferencesInsideValues(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		p := parcel{One: square.Remote(ctx, 1), Many: []weft.Ref[int]{square.Remote(ctx, 2), square.Remote(ctx, 3)},
			Named: map[string]weft.Ref[int]{"x": square.Remote(ctx, 4)}, Tally: tallies.New(ctx, 100)}
		equal(t, 130)(openParcel.Call(ctx, p))
		put := must[weft.Ref[parcel]](t)(weft.Put(ctx, p))
		equal(t, 160)(openParcel.RemoteOf(ctx, put).Get(ctx))
		equal(t, 160)(tallyAdd.Call(ctx, p.Tally, 0))
		got := must[parcel](t)(put.Get(ctx))
		equal(t, 9)(got.Many[1].Get(ctx))
	})
}

var packParcel = weft.Task1("test.packParcel", func(ctx context.Context, n int) (parcel, error) {
	put, err := weft.Put(ctx, n)
	return parcel{One: put, Many: []weft.Ref[int]{square.Remote(ctx, n)}, Tally: tallies.New(ctx, n)}, err
})

// What a task returns outlives it, also the objects and actors it only refers to.
func TestReferencesReturned(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		p := must[parcel](t)(packParcel.Call(ctx, 6))
		equal(t, 6)(p.One.Get(ctx))
		equal(t, 36)(p.Many[0].Get(ctx))
		equal(t, 8)(tallyAdd.Call(ctx, p.Tally, 2))
	})
}

var fib *weft.Func1[int, int]

func init() {
	fib = weft.Task1("test.fib", func(ctx context.Context, n int) (int, error) {
		if n < 2 {
			return n, nil
		}
		vs, err := weft.GetAll(ctx, []weft.Ref[int]{fib.Remote(ctx, n-1), fib.Remote(ctx, n-2)})
		if err != nil {
			return 0, err
		}
		return vs[0] + vs[1], nil
	})
}

// Tasks that wait for tasks lend their CPU: the depth is more than there are.
func TestNestedDeeperThanCPUs(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		equal(t, 144)(fib.Call(c.Context(), 12))
	})
}

var describe = weft.Task0("test.describe", func(ctx context.Context) (weft.RuntimeContext, error) {
	return weft.Runtime(ctx), nil
})

func TestRuntime(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		driver := weft.Runtime(ctx)
		if driver.Node == "" || driver.Job == "" || driver.Task != "" {
			t.Errorf("the driver's context is %+v", driver)
		}
		ref := describe.Remote(ctx, weft.Name("me"), weft.CPU(0.5), weft.Resource("slot", 1))
		got := must[weft.RuntimeContext](t)(ref.Get(ctx))
		if got.Node != driver.Node || got.Job != driver.Job || got.Name != "me" || got.Attempt != 1 || got.Actor != "" {
			t.Errorf("a task's context is %+v, its driver's %+v", got, driver)
		}
		if !strings.HasPrefix(ref.String(), got.Task) {
			t.Errorf("task %s returns object %s", got.Task, ref)
		}
		if got.Resources["CPU"] != 0.5 || got.Resources["slot"] != 1 {
			t.Errorf("its resources are %v", got.Resources)
		}
		actor := must[weft.RuntimeContext](t)(tallyDescribe.Call(ctx, tallies.New(ctx, 0)))
		if actor.Actor == "" || actor.Incarnation != 1 || actor.Task == "" {
			t.Errorf("an actor's context is %+v", actor)
		}
	})
}
