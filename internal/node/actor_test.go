package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/weftrun/weft"
)

type tally struct{ n int }

func (c *tally) Add(_ context.Context, d int) (int, error) { c.n += d; return c.n, nil }

var (
	tallies = weft.Actor1("node_test.tally", func(_ context.Context, n int) (*tally, error) {
		if n < 0 {
			return nil, errNegative
		}
		return &tally{n}, nil
	})
	add = weft.Method1(tallies, (*tally).Add)

	// phoenixes need two processes: the first ends in the constructor.
	phoenixes = weft.Actor1("node_test.phoenix", func(_ context.Context, mark string) (*tally, error) {
		if _, err := os.Stat(mark); err != nil {
			if err := os.WriteFile(mark, nil, 0o600); err != nil {
				return nil, err
			}
			os.Exit(3)
		}
		return &tally{1}, nil
	}, weft.Isolated(), weft.MaxRestarts(1))
	rise = weft.Method1(phoenixes, (*tally).Add)

	// late fails once it is let go: when the pipe has a writer.
	late = weft.Task1("node_test.late", func(_ context.Context, pipe string) (int, error) {
		f, err := os.Open(pipe)
		if err != nil {
			return 0, err
		}
		return 0, errors.Join(errNegative, f.Close())
	})
	errNegative = errors.New("negative")
)

// A call whose argument fails leaves the queue of its actor.
func TestCallsBehindOneWithAFailedArgument(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		pipe := fifo(t)
		c := tallies.New(ctx, 0)
		bad := add.RemoteOf(ctx, c, late.Remote(ctx, pipe))
		good := add.Remote(ctx, c, 1)
		letGo(t, pipe)
		if _, err := bad.Get(ctx); !errors.Is(err, weft.UserError) {
			t.Error("the call with the failed argument:", err)
		}
		if v, err := good.Get(ctx); v != 1 || err != nil {
			t.Error("the call behind it:", v, err)
		}
	})
}

// An actor whose constructor's argument fails is dead, and its calls fail.
func TestConstructorWithAFailedArgument(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		pipe := fifo(t)
		c := tallies.NewOf(ctx, late.Remote(ctx, pipe))
		call := add.Remote(ctx, c, 1)
		letGo(t, pipe)
		if err := c.Ready(ctx); !errors.Is(err, weft.UserError) {
			t.Error("ready:", err)
		}
		if _, err := call.Get(ctx); !errors.Is(err, weft.ActorDied) {
			t.Error("call:", err)
		}
	})
}

// A constructor that fails gives back what the actor had reserved.
func TestFailedConstructorsGiveBack(t *testing.T) {
	for _, isolated := range []bool{false, true} {
		t.Run(fmt.Sprint("isolated=", isolated), func(t *testing.T) {
			each(t, 1, func(t *testing.T, ctx context.Context) {
				opts := []weft.ActorOption{weft.CPU(1)}
				if isolated {
					opts = append(opts, weft.Isolated())
				}
				for range 3 {
					if err := tallies.New(ctx, -1, opts...).Ready(ctx); !errors.Is(err, weft.UserError) {
						t.Fatal("ready:", err)
					}
				}
				if v, err := inc.Remote(ctx, 1, weft.CPU(1)).Get(ctx); v != 2 || err != nil {
					t.Error("a task that needs the CPU:", v, err)
				}
			})
		})
	}
}

// Who waits for an actor learns of it although its first process died.
func TestConstructorThatNeedsTwoProcesses(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		c := phoenixes.New(ctx, t.TempDir()+"/mark")
		if err := c.Ready(ctx); err != nil {
			t.Error("ready:", err)
		}
		if v, err := rise.Call(ctx, c, 1); v != 2 || err != nil {
			t.Error("call:", v, err)
		}
	})
}

// Calls that are about to begin when their actor is killed are answered, one way
// or the other.
func TestKillWhileCallsBegin(t *testing.T) {
	ctx := open(t)
	for range 200 {
		c := tallies.New(ctx, 0)
		var calls []weft.Ref[int]
		for range 20 {
			calls = append(calls, add.Remote(ctx, c, 1))
		}
		weft.Kill(c, false)
		for _, r := range calls {
			if _, err := r.Get(ctx); err != nil && !errors.Is(err, weft.ActorDied) {
				t.Fatal(err)
			}
		}
	}
}

// A call that may run again does so at the next instance, whatever the last one
// still says.
func TestKillAndRestartWhileACallRuns(t *testing.T) {
	ctx := open(t)
	c := tallies.New(ctx, 0, weft.MaxRestarts(-1), weft.MaxTaskRetries(-1))
	for i := range 200 {
		r := add.Remote(ctx, c, 1)
		weft.Kill(c, true)
		if v, err := r.Get(ctx); err != nil || v < 1 || v > i+1 {
			t.Fatal(i, v, err)
		}
	}
}

// A detached actor that was still queued when its driver left is made.
func TestDetachedActorOfADriverInAHurry(t *testing.T) {
	address := weft.Address(start(t, 1))
	s, err := weft.Init(context.Background(), address, weft.InNamespace("n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := s.Context(context.Background())
	tallies.New(ctx, 5, weft.Named("survivor"), weft.Detached(), weft.CPU(1), weft.Isolated())
	end(t, s)
	ctx = open(t, address, weft.InNamespace("n"))
	c, err := weft.Lookup(ctx, tallies, "survivor")
	if err != nil {
		t.Fatal(err)
	}
	defer weft.Kill(c, false)
	if v, err := add.Call(ctx, c, 1); v != 6 || err != nil {
		t.Error(v, err)
	}
}

// A call that waits for its argument fails with its actor.
func TestKillOfAnActorWhoseCallWaitsForAnArgument(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		never, cancel := context.WithCancel(ctx)
		defer cancel()
		c := tallies.New(ctx, 0)
		if err := c.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		call := add.RemoteOf(ctx, c, nap.Remote(never, 0))
		weft.Kill(c, false)
		if _, err := call.Get(ctx); !errors.Is(err, weft.ActorDied) {
			t.Error(err)
		}
	})
}
