package weft_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// course is what the generator below is to do.
type course struct {
	Items int
	Size  int    // of each item in bytes
	Made  string // signal: an item is about to be delivered
	Left  string // signal: nobody wanted more
	FailAt,
	KillAt,
	Short int // fewer items the second time
	Died string // signal of KillAt
}

var generate = weft.Stream1("test.generate", func(ctx context.Context, c course) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if weft.Runtime(ctx).Attempt > 1 {
			c.Items -= c.Short
		}
		for i := range c.Items {
			if c.FailAt > 0 && i == c.FailAt {
				yield(nil, errors.New("the generator gave up"))
				return
			}
			if c.KillAt > 0 && i == c.KillAt {
				if _, err := dieOnce(ctx, "SIGKILL", c.Died); err != nil {
					yield(nil, err)
					return
				}
			}
			if c.Made != "" {
				_ = signal(c.Made).set()
			}
			item := make([]byte, max(c.Size, 1))
			item[0] = byte(i)
			if !yield(item, nil) {
				if c.Left != "" {
					_ = signal(c.Left).set()
				}
				return
			}
		}
	}
})

// consume reads a whole stream and returns how many items it had.
func consume(ctx context.Context, t *testing.T, items *weft.Items[[]byte]) (n int, err error) {
	t.Helper()
	for v, err := range items.All(ctx) {
		if err != nil {
			return n, err
		}
		if v[0] != byte(n) {
			t.Fatalf("item %d begins with %d", n, v[0])
		}
		n++
	}
	return n, nil
}

func TestStream(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		equal(t, 500)(consume(ctx, t, generate.Remote(ctx, course{Items: 500})))
		equal(t, 0)(consume(ctx, t, generate.Remote(ctx, course{})))
		equal(t, 20)(consume(ctx, t, generate.Remote(ctx, course{Items: 20, Size: 200 << 10}, weft.Window(0, 0))))
		n, err := consume(ctx, t, generate.Remote(ctx, course{Items: 100, FailAt: 77}))
		isCode(t, err, weft.UserError, "the generator gave up")
		if n != 77 {
			t.Errorf("%d items came before the error, 77 were made", n)
		}
		_, err = consume(ctx, t, generate.RemoteOf(ctx, nil))
		isCode(t, err, weft.Invalid, "nil argument")
		_, err = consume(ctx, t, generate.Remote(ctx, course{}, weft.CPU(100)))
		isCode(t, err, weft.Unschedulable, "CPU")
	})
}

// The items of a stream are objects, which tasks take as arguments.
func TestStreamRefs(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		var sizes []weft.Ref[int]
		for ref, err := range generate.Remote(ctx, course{Items: 30, Size: 100 << 10}).Refs(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, size.RemoteOf(ctx, ref))
		}
		for i, n := range must[[]int](t)(weft.GetAll(ctx, sizes)) {
			if n != 100<<10 {
				t.Fatalf("item %d has %d bytes", i, n)
			}
		}
		if len(sizes) != 30 {
			t.Errorf("%d items", len(sizes))
		}
	})
}

var size = weft.Task1("test.size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })

// A producer is never further ahead of its consumer than the window.
func TestStreamWindow(t *testing.T) {
	tests := []struct {
		name   string
		window weft.TaskOption
		size   int
		ahead  int // items
	}{
		{"items", weft.Window(4, 0), 1, 4},
		{"bytes", weft.Window(0, 1<<20), 512 << 10, 2},
		{"none named", weft.Window(0, 0), 1, 64},
	}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				made := newSignal(t)
				all := 2*tt.ahead + 30
				items := generate.Remote(c.Context(), course{Items: all, Size: tt.size, Made: string(made)}, tt.window)
				c.Eventually("the window to fill", func() bool { return made.count() >= tt.ahead })
				taken := 0
				for _, err := range items.All(c.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					// One more is made than delivered, and one may have been asked for.
					if taken++; made.count() > taken+1+tt.ahead+1 {
						t.Fatalf("%d items are made, %d are taken and the window is %d", made.count(), taken, tt.ahead)
					}
				}
				if taken != all {
					t.Errorf("%d items", taken)
				}
			})
		}
	})
}

// A consumer that leaves ends the producer.
func TestStreamConsumerLeaves(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		left := newSignal(t)
		for _, err := range generate.Remote(ctx, course{Items: 1 << 40, Left: string(left)}, weft.Window(8, 0)).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		c.Eventually("the producer to end", left.happened)
		// One that has never been started is not started.
		m, arrived, leave := newMeeting(t)
		holder := meet.Remote(ctx, m, weft.Resource("slot", 1))
		c.Eventually("the holder", arrived.happened)
		made := newSignal(t)
		queued := generate.Remote(ctx, course{Items: 5, Made: string(made)}, weft.Resource("slot", 1))
		soon, cancel := context.WithCancel(ctx)
		cancel()
		_, err := consume(soon, t, queued)
		isCode(t, err, weft.Cancelled)
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(holder.Get(ctx))
		equal(t, 1)(meetWithSlot(ctx, t).Get(ctx))
		if made.happened() {
			t.Error("the stream that nobody reads was made")
		}
	})
}

// A producer that dies is run again; what was delivered is not delivered twice.
func TestStreamProducerDies(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		for _, size := range []int{1, 100 << 10} {
			died := newSignal(t)
			equal(t, 40)(consume(ctx, t, generate.Remote(ctx, course{Items: 40, Size: size, KillAt: 25, Died: string(died)},
				weft.Isolated(), weft.Window(3, 0))))
			if died.count() != 1 {
				t.Errorf("the producer died %d times", died.count())
			}
		}
	})
}

// One that then makes fewer items than were delivered has an error for it.
func TestStreamReplayIsShort(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		n, err := consume(ctx, t, generate.Remote(ctx, course{Items: 40, KillAt: 25, Short: 35, Died: string(newSignal(t))},
			weft.Isolated(), weft.Window(2, 0)))
		if err == nil {
			t.Fatalf("%d items and no error", n)
		}
		isCode(t, err, weft.UserError, "fewer items")
	})
}

// A producer that waits for its window lends its CPU, like every call that waits.
func TestStreamLendsItsCPU(t *testing.T) {
	onBoth(t, wefttest.Options{Resources: map[string]float64{"CPU": 1}}, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		for ref, err := range generate.Remote(ctx, course{Items: 20}, weft.Window(1, 0)).Refs(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			equal(t, 1)(size.RemoteOf(ctx, ref).Get(ctx))
		}
	})
}
