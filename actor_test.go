package weft_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// tally is an actor that adds up.
type tally struct {
	n    int
	busy atomic.Int32
}

var (
	tallies = weft.Actor1("test.tally", func(_ context.Context, start int) (*tally, error) {
		if start < 0 {
			return nil, fmt.Errorf("cannot start at %d", start)
		}
		return &tally{n: start}, nil
	})
	tallyAdd      = weft.Method1(tallies, (*tally).Add)
	tallyFail     = weft.Method1(tallies, (*tally).Fail)
	tallyMeet     = weft.Method1(tallies, (*tally).Meet)
	tallyAlone    = weft.Method1(tallies, (*tally).Alone)
	tallyDescribe = weft.Method0(tallies, (*tally).Describe)
	tallyIO       = weft.Method1(tallies, (*tally).Meet, weft.MethodName("IO"), weft.InConcurrencyGroup("io"))
	tallyCount    = weft.StreamMethod1(tallies, (*tally).Count)
	tallyDie      = weft.Method1(tallies, (*tally).Die)
)

func (a *tally) Add(_ context.Context, d int) (int, error) {
	a.n += d
	return a.n, nil
}

func (a *tally) Fail(_ context.Context, how string) (int, error) {
	switch how {
	case "panic":
		panic("an actor's panic")
	case "exit":
		return 0, fmt.Errorf("enough: %w", weft.ErrExit)
	}
	return 0, errors.New(how)
}

func (a *tally) Meet(ctx context.Context, m meeting) (int, error) { return attend(ctx, m) }

// Alone fails if another call runs.
func (a *tally) Alone(context.Context, int) (int, error) {
	if a.busy.Add(1) > 1 {
		return 0, errors.New("two calls at once")
	}
	defer a.busy.Add(-1)
	runtime.Gosched()
	a.n++
	return a.n, nil
}

func (a *tally) Describe(ctx context.Context) (weft.RuntimeContext, error) {
	return weft.Runtime(ctx), nil
}

func (a *tally) Count(_ context.Context, n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for range n {
			a.n++
			if !yield(a.n, nil) {
				return
			}
		}
	}
}

// Die ends the process that the actor lives in, if the signal has not happened.
func (a *tally) Die(ctx context.Context, s string) (int, error) {
	return dieOnce(ctx, "SIGKILL", s)
}

func TestActorCallsInOrder(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 10)
		refs := make([]weft.Ref[int], 200)
		for i := range refs {
			refs[i] = tallyAlone.Remote(ctx, a, i)
		}
		for i, v := range must[[]int](t)(weft.GetAll(ctx, refs)) {
			if v != 11+i {
				t.Fatalf("call %d returned %d", i, v)
			}
		}
		// A call waits for its argument, and those after it for the call.
		m, arrived, leave := newMeeting(t)
		slow := meet.Remote(ctx, m)
		first := tallyAdd.RemoteOf(ctx, a, slow)
		second := tallyAdd.Remote(ctx, a, 1000)
		c.Eventually("the argument's task", arrived.happened)
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 211)(first.Get(ctx))
		equal(t, 1211)(second.Get(ctx))
	})
}

func TestActorErrors(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 1)
		_, err := tallyFail.Call(ctx, a, "a method's error")
		isCode(t, err, weft.UserError, "a method's error")
		_, err = tallyFail.Call(ctx, a, "panic")
		isCode(t, err, weft.UserError, "panic: an actor's panic")
		equal(t, 3)(tallyAdd.Call(ctx, a, 2)) // it lives
		_, err = tallyAdd.Call(ctx, weft.Actor[tally]{}, 1)
		isCode(t, err, weft.Invalid, "zero Actor")
		_, err = tallyAdd.RemoteOf(ctx, a, fail.Remote(ctx, "an argument's error")).Get(ctx)
		isCode(t, err, weft.UserError, "an argument's error")
		equal(t, 4)(tallyAdd.Call(ctx, a, 1)) // the order goes on behind it
	})
}

func TestActorConstructorFails(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, -5)
		early := tallyAdd.Remote(ctx, a, 1)
		isCode(t, a.Ready(ctx), weft.UserError, "cannot start at -5")
		for range 2 {
			_, err := early.Get(ctx)
			isCode(t, err, weft.ActorDied, "constructor failed", "cannot start at -5")
			early = tallyAdd.Remote(ctx, a, 1)
		}
		// Nor can its argument have failed.
		b := tallies.NewOf(ctx, fail.Remote(ctx, "no argument"))
		isCode(t, b.Ready(ctx), weft.UserError, "no argument")
		_, err := tallyAdd.Call(ctx, b, 1)
		isCode(t, err, weft.ActorDied, "no argument")
		// Not even if that was known before.
		failed := fail.Remote(ctx, "known to fail")
		_, err = failed.Get(ctx)
		isCode(t, err, weft.UserError, "known to fail")
		known := tallies.NewOf(ctx, failed)
		isCode(t, known.Ready(ctx), weft.UserError, "known to fail")
		_, err = tallyAdd.Call(ctx, known, 1)
		isCode(t, err, weft.ActorDied, "known to fail")
		ok := tallies.NewOf(ctx, square.Remote(ctx, 4))
		if err := ok.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		equal(t, 17)(tallyAdd.Call(ctx, ok, 1))
	})
}

func TestNamedActors(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		_, err := weft.Lookup(ctx, tallies, "scores")
		isCode(t, err, weft.NotFound, "scores")
		a := tallies.New(ctx, 1, weft.Named("scores"))
		equal(t, 2)(tallyAdd.Call(ctx, a, 1))
		b := must[weft.Actor[tally]](t)(weft.Lookup(ctx, tallies, "scores"))
		equal(t, 3)(tallyAdd.Call(ctx, b, 1))
		again := tallies.New(ctx, 1, weft.Named("scores"))
		isCode(t, again.Ready(ctx), weft.AlreadyExists, "scores", "GetOrCreate")
		got := tallies.New(ctx, 500, weft.Named("scores"), weft.GetOrCreate())
		equal(t, 4)(tallyAdd.Call(ctx, got, 1))
		if got.String() != a.String() {
			t.Errorf("GetOrCreate gave actor %s, not %s", got, a)
		}
		other := tallies.New(ctx, 100, weft.Named("scores"), weft.Namespace("elsewhere"))
		equal(t, 101)(tallyAdd.Call(ctx, other, 1))
		there := must[weft.Actor[tally]](t)(weft.LookupIn(ctx, tallies, "elsewhere", "scores"))
		equal(t, 102)(tallyAdd.Call(ctx, there, 1))
		_, err = weft.Lookup(ctx, rooms, "scores")
		isCode(t, err, weft.Invalid, "test.tally", "test.room")

		weft.Kill(a, false)
		_, err = tallyAdd.Call(ctx, a, 1)
		isCode(t, err, weft.ActorDied, "killed")
		fresh := tallies.New(ctx, 7, weft.Named("scores"), weft.GetOrCreate())
		equal(t, 8)(tallyAdd.Call(ctx, fresh, 1))
	})
}

func TestKill(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 1)
		m, arrived, _ := newMeeting(t)
		running := tallyMeet.Remote(ctx, a, m)
		waiting := tallyAdd.Remote(ctx, a, 1)
		c.Eventually("the call", arrived.happened)
		weft.Kill(a, false)
		_, err := running.Get(ctx)
		isCode(t, err, weft.ActorDied, "killed")
		_, err = waiting.Get(ctx)
		isCode(t, err, weft.ActorDied, "killed")
		_, err = tallyAdd.Call(ctx, a, 1)
		isCode(t, err, weft.ActorDied, "killed")

		b := tallies.New(ctx, 1, weft.MaxRestarts(1))
		equal(t, 6)(tallyAdd.Call(ctx, b, 5))
		weft.Kill(b, true)
		equal(t, 2)(tallyAdd.Call(ctx, b, 1)) // it has begun again
		if n := must[weft.RuntimeContext](t)(tallyDescribe.Call(ctx, b)).Incarnation; n != 2 {
			t.Errorf("it is incarnation %d", n)
		}
		weft.Kill(b, true) // there is no restart left
		_, err = tallyAdd.Call(ctx, b, 1)
		isCode(t, err, weft.ActorDied, "killed")
	})
}

// An actor ends when its last handle is gone, after the calls made so far.
func TestActorOutOfScope(t *testing.T) {
	onBoth(t, wefttest.Options{Resources: map[string]float64{"CPU": 2, "slot": 1}}, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		last := func() weft.Ref[int] {
			a := tallies.New(ctx, 1, weft.Resource("slot", 1))
			return tallyAdd.Remote(ctx, a, 1)
		}()
		next := meetWithSlot(ctx, t)
		equal(t, 2)(last.Get(ctx))
		c.Eventually("the slot", func() bool {
			runtime.GC()
			select {
			case <-next.Done():
				return true
			default:
				return false
			}
		})
		equal(t, 1)(next.Get(ctx))
	})
}

// meetWithSlot starts a task that needs the slot and need not stay.
func meetWithSlot(ctx context.Context, t *testing.T) weft.Ref[int] {
	m, _, leave := newMeeting(t)
	if err := leave.set(); err != nil {
		t.Fatal(err)
	}
	return meet.Remote(ctx, m, weft.Resource("slot", 1))
}

// A method of a concurrency group that its actor does not have does not run.
func TestUndefinedConcurrencyGroup(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, arrived, leave := newMeeting(t)
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			a    weft.Actor[tally]
			want string
		}{
			{tallies.New(ctx, 1), "no concurrency groups"},
			{tallies.New(ctx, 1, weft.ConcurrencyGroup("disk", 1), weft.ConcurrencyGroup("net", 1)), `["disk" "net"]`},
		} {
			_, err := tallyIO.Call(ctx, x.a, m)
			if !errors.Is(err, weft.Invalid) || !strings.Contains(err.Error(), `"io"`) || !strings.Contains(err.Error(), x.want) {
				t.Errorf("the call's error is %v, want code Invalid, \"io\" and %s", err, x.want)
			}
			equal(t, 2)(tallyAdd.Call(ctx, x.a, 1)) // those behind it go on
		}
		if n := arrived.count(); n != 0 {
			t.Errorf("%d calls ran", n)
		}
	})
}

// Calls of one actor run at the same time if it says so: they meet.
func TestConcurrency(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 1, weft.Concurrency(3), weft.ConcurrencyGroup("io", 2))
		m, arrived, leave := newMeeting(t)
		var refs []weft.Ref[int]
		for range 4 {
			refs = append(refs, tallyMeet.Remote(ctx, a, m))
		}
		c.Eventually("three calls", func() bool { return arrived.count() == 3 })
		io, ioArrived, _ := newMeeting(t)
		io.Leave = m.Leave
		for range 3 {
			refs = append(refs, tallyIO.Remote(ctx, a, io))
		}
		c.Eventually("two calls in the group", func() bool { return ioArrived.count() == 2 })
		if n := arrived.count(); n != 3 {
			t.Errorf("%d calls run, 3 may", n)
		}
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		must[[]int](t)(weft.GetAll(ctx, refs))
		if arrived.count() != 4 || ioArrived.count() != 3 {
			t.Errorf("%d and %d calls ran", arrived.count(), ioArrived.count())
		}
	})
}

// An actor that ends itself answers the call first.
func TestActorExits(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 1, weft.MaxRestarts(5))
		equal(t, 0)(tallyFail.Call(ctx, a, "exit"))
		_, err := tallyAdd.Call(ctx, a, 1)
		isCode(t, err, weft.ActorDied, "ended itself")
	})
}

func TestMaxPending(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 1, weft.MaxPending(2))
		m, _, leave := newMeeting(t)
		first, second := tallyMeet.Remote(ctx, a, m), tallyAdd.Remote(ctx, a, 1)
		_, err := tallyAdd.Call(ctx, a, 1)
		isCode(t, err, weft.PendingCallsLimit, "MaxPending")
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(first.Get(ctx))
		equal(t, 2)(second.Get(ctx))
		equal(t, 3)(tallyAdd.Call(ctx, a, 1))
	})
}

func TestStreamMethod(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 10)
		got := 10
		for v, err := range tallyCount.Remote(ctx, a, 100).All(ctx) {
			if got++; err != nil || v != got {
				t.Fatalf("item %d: %d, %v", got, v, err)
			}
		}
		equal(t, 110)(tallyAdd.Call(ctx, a, 0))
	})
}

// room is an actor that calls another one.
type room struct{ other weft.Actor[room] }

var (
	rooms     = weft.Actor0("test.room", func(context.Context) (*room, error) { return &room{}, nil })
	roomMeet  = weft.Method1(rooms, (*room).Meet)
	roomVisit *weft.MethodFn1[room, string, int]
)

func init() { roomVisit = weft.Method1(rooms, (*room).Visit) }

func (r *room) Meet(_ context.Context, other weft.Actor[room]) (int, error) {
	r.other = other
	return 0, nil
}

// Visit calls the other room until the signal has happened n times.
func (r *room) Visit(ctx context.Context, s string) (int, error) {
	if err := signal(s).set(); err != nil {
		return 0, err
	}
	return roomVisit.Call(ctx, r.other, s)
}

// Two actors that wait for each other are a deadlock, and are told to be one.
func TestDeadlockIsNamed(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	a, b := rooms.New(ctx), rooms.New(ctx)
	must[int](t)(roomMeet.Call(ctx, a, b))
	must[int](t)(roomMeet.Call(ctx, b, a))
	s := newSignal(t)
	stuck := roomVisit.Remote(ctx, a, string(s))
	c.Eventually("both rooms", func() bool { return s.count() == 2 })
	c.Eventually("weft why to name the deadlock", func() bool { return isDeadlock(c.Why(stuck.String()), a) })
	weft.Kill(a, false)
	weft.Kill(b, false)
	_, err := stuck.Get(ctx)
	isCode(t, err, weft.ActorDied)
}
