package weft_test

import (
	"context"
	"math"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

func TestWrongOptions(t *testing.T) {
	tests := []struct {
		name  string
		opt   weft.TaskOption
		code  weft.Code
		parts []string
	}{
		{"negative CPU", weft.CPU(-1), weft.Invalid, []string{"CPU", "negative"}},
		{"CPU is no number", weft.CPU(math.NaN()), weft.Invalid, []string{"CPU", "NaN"}},
		{"infinite CPU", weft.CPU(math.Inf(1)), weft.Invalid, []string{"CPU", "Inf"}},
		{"negative memory", weft.Memory(-1), weft.Invalid, []string{"memory", "negative"}},
		{"negative resource", weft.Resource("slot", -0.5), weft.Invalid, []string{"slot", "negative"}},
		{"nameless resource", weft.Resource("", 1), weft.Invalid, []string{"name"}},
		{"more CPUs than there are", weft.CPU(3), weft.Unschedulable, []string{"CPU", "3", "2"}},
		{"more memory than there is", weft.Memory(1 << 45), weft.Unschedulable, []string{"memory"}},
		{"more than there is", weft.Resource("slot", 1.5), weft.Unschedulable, []string{"slot", "1.5"}},
		{"nothing there", weft.Resource("robot", 1), weft.Unschedulable, []string{"robot"}},
		{"no GPU", weft.GPU(1), weft.Unschedulable, []string{"GPU"}},
		{"no such label", weft.On(map[string]string{"zone": "moon"}), weft.Unschedulable, []string{"zone"}},
		{"not a label's value", weft.On(map[string]string{"zone": "in(a"}), weft.Invalid, []string{"zone"}},
		{"no node id", weft.OnNode("somewhere", false), weft.Invalid, []string{"somewhere"}},
		{"no such node", weft.OnNode("00000000deadbeef", false), weft.Unschedulable, []string{"00000000deadbeef"}},
		{"negative window", weft.Window(-1, 0), weft.Invalid, []string{"window", "-1"}},
		{"negative retries", weft.MaxRetries(-2), weft.Invalid, []string{"MaxRetries", "-2"}},
		{"no group", weft.In(nil, 0), weft.Invalid, []string{"placement group"}},
	}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := answer.Remote(c.Context(), tt.opt).Get(c.Context())
				isCode(t, err, tt.code, tt.parts...)
				_, err = answer.Call(c.Context(), tt.opt)
				isCode(t, err, tt.code, tt.parts...)
			})
		}
		equal(t, 42)(answer.Call(c.Context()))
	})
}

func TestWrongActorOptions(t *testing.T) {
	tests := []struct {
		name  string
		opt   weft.ActorOption
		code  weft.Code
		parts []string
	}{
		{"negative CPU", weft.CPU(-1), weft.Invalid, []string{"CPU", "negative"}},
		{"more CPUs than there are", weft.CPU(3), weft.Unschedulable, []string{"CPU"}},
		{"nothing there", weft.Resource("robot", 1), weft.Unschedulable, []string{"robot"}},
		{"no concurrency", weft.Concurrency(0), weft.Invalid, []string{"concurrency 0"}},
		{"empty group", weft.ConcurrencyGroup("io", 0), weft.Invalid, []string{"io"}},
		{"empty name", weft.Named(""), weft.Invalid, []string{"name"}},
		{"get or create what", weft.GetOrCreate(), weft.Invalid, []string{"Named"}},
		{"negative restarts", weft.MaxRestarts(-2), weft.Invalid, []string{"MaxRestarts -2"}},
		{"negative task retries", weft.MaxTaskRetries(-2), weft.Invalid, []string{"MaxTaskRetries -2"}},
		{"negative pending", weft.MaxPending(-1), weft.Invalid, []string{"MaxPending -1"}},
	}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				a := tallies.New(c.Context(), 1, tt.opt)
				isCode(t, a.Ready(c.Context()), tt.code, tt.parts...)
				_, err := tallyAdd.Call(c.Context(), a, 1)
				if tt.code == weft.Unschedulable {
					isCode(t, err, weft.ActorDied, tt.parts...)
				} else {
					isCode(t, err, tt.code, tt.parts...)
				}
			})
		}
	})
}

func TestNodeAffinity(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		here := weft.Runtime(ctx).Node
		equal(t, 42)(answer.Call(ctx, weft.OnNode(here, false)))
		equal(t, 42)(answer.Call(ctx, weft.OnNode("00000000deadbeef", true)))
		equal(t, 42)(answer.Call(ctx, weft.Spread()))
	})
}

func TestLabels(t *testing.T) {
	c := wefttest.Start(t, weft.Labels(map[string]string{"zone": "a", "disk": "ssd"}))
	ctx := c.Context()
	for _, labels := range []map[string]string{{"zone": "a"}, {"zone": "!b"}, {"zone": "in(a,b)", "disk": "!in(hdd)"}} {
		equal(t, 42)(answer.Call(ctx, weft.On(labels)))
	}
	_, err := answer.Call(ctx, weft.On(map[string]string{"zone": "in(b,c)"}))
	isCode(t, err, weft.Unschedulable, "zone")
}

// meeting is two signals: somebody has arrived, and may leave.
type meeting struct{ Arrived, Leave string }

func newMeeting(t *testing.T) (meeting, signal, signal) {
	arrived, leave := newSignal(t), newSignal(t)
	return meeting{string(arrived), string(leave)}, arrived, leave
}

// attend arrives and stays until it may leave. It does not lend its CPU.
func attend(ctx context.Context, m meeting) (int, error) {
	if err := signal(m.Arrived).set(); err != nil {
		return 0, err
	}
	return weft.Runtime(ctx).Attempt, signal(m.Leave).wait(ctx)
}

var meet = weft.Task1("test.meet", attend)

// A resource is held while a task runs, and given back by its end.
func TestResourcesAreHeld(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m1, arrived1, leave1 := newMeeting(t)
		m2, arrived2, leave2 := newMeeting(t)
		first := meet.Remote(ctx, m1, weft.Resource("slot", 1))
		second := meet.Remote(ctx, m2, weft.Resource("slot", 0.5))
		c.Eventually("the first task", arrived1.happened)
		equal(t, 42)(answer.Call(ctx)) // needs no slot
		if arrived2.happened() {
			t.Error("two tasks have the same slot")
		}
		if err := leave1.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(first.Get(ctx))
		c.Eventually("the second task", arrived2.happened)
		if err := leave2.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(second.Get(ctx))
	})
}

var logLine = weft.Task2("test.logLine", func(_ context.Context, to, line string) (int, error) {
	return 0, appendLine(to, line)
})

func TestPriority(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, arrived, leave := newMeeting(t)
		slot := weft.Resource("slot", 1)
		holder := meet.Remote(ctx, m, slot)
		c.Eventually("the holder", arrived.happened)
		log := string(newSignal(t))
		refs := []weft.Ref[int]{logLine.Remote(ctx, log, "low", slot, weft.Priority(-1)), logLine.Remote(ctx, log, "first", slot),
			logLine.Remote(ctx, log, "second", slot), logLine.Remote(ctx, log, "high", slot, weft.Priority(5))}
		equal(t, 42)(answer.Call(ctx)) // the node has read all of them
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(holder.Get(ctx))
		must[[]int](t)(weft.GetAll(ctx, refs))
		equal(t, "high first second low ")(readLines(log))
	})
}
