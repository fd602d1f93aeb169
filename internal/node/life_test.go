package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
)

// A node that cannot listen leaves nothing behind, and can be closed.
func TestStartThatFails(t *testing.T) {
	n, err := node.New(node.Config{Socket: filepath.Join(t.TempDir(), "no", "folder")})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err == nil {
		t.Error("it listens where there is no folder")
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestCloseOfANodeThatWasNotStarted(t *testing.T) {
	n, err := node.New(node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// Every call of Close waits until nothing is left.
func TestCloseByMany(t *testing.T) {
	n, err := node.New(node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	for range 4 {
		go func() { closed <- n.Close(context.Background()) }()
	}
	for range 4 {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
}

// A driver with many tasks ends in many short critical sections, and all of it.
func TestSessionOfManyTasksEnds(t *testing.T) {
	const many = 4 * node.EndedAtOnce
	socket, n := startNode(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	s, err := weft.Init(context.Background(), weft.Address(socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
	defer cancel()
	for i := range many {
		nap.Remote(ctx, i)
	}
	until(ctx, t, "the tasks", func() bool { return n.Tasks() == many })
	steps := n.EndDriver()
	for i, left := range steps[1:] {
		if gone := steps[i] - left; gone > node.EndedAtOnce {
			t.Errorf("%d tasks ended in one critical section", gone)
		}
	}
	if len(steps) < 4 {
		t.Errorf("%d steps for %d tasks", len(steps), many)
	}
	_ = s.Shutdown(ctx) // says that the connection is gone
	until(ctx, t, "an end of it all", func() bool { return n.Left() == "" })
}

// Who waits for a placement group is answered when the session ends.
func TestSessionEndsBeforeAGroupHasItsResources(t *testing.T) {
	for _, address := range []string{"", start(t, 1)} {
		opts := []weft.InitOption{cpu(1)}
		if address != "" {
			opts = []weft.InitOption{weft.Address(address)}
		}
		s, err := weft.Init(context.Background(), opts...)
		if err != nil {
			t.Fatal(err)
		}
		ctx := s.Context(context.Background())
		g, err := weft.NewGroup(ctx, weft.Pack, map[string]float64{"CPU": 1})
		if err != nil {
			t.Fatal(err)
		}
		_ = g // holds the CPU
		answered := make(chan error)
		go func() {
			_, err := weft.NewGroup(ctx, weft.Pack, map[string]float64{"CPU": 1})
			answered <- err
		}()
		end(t, s)
		if err := <-answered; err == nil {
			t.Error("it has its resources")
		}
	}
}

// stubborn cannot leave the process if N is negative.
type stubborn struct{ N int }

func (s stubborn) MarshalCBOR() ([]byte, error) {
	if s.N < 0 {
		return nil, errNegative
	}
	return []byte{0xa0}, nil
}

func (s *stubborn) UnmarshalCBOR([]byte) error { return nil }

var (
	away = weft.Task1("node_test.away", func(context.Context, stubborn) (int, error) { return 1, nil }, weft.Isolated(), weft.CPU(1))

	// widow's first process ends while it waits for a task of its own.
	widow = weft.Task1("node_test.widow", func(ctx context.Context, _ int) (int, error) {
		if weft.Runtime(ctx).Attempt == 1 {
			child := nap.Remote(ctx, 0)
			time.AfterFunc(50*time.Millisecond, func() { os.Exit(3) })
			return child.Get(ctx)
		}
		return inc.Remote(ctx, 1).Get(ctx)
	}, weft.Isolated())

	block = weft.Task1("node_test.block", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
)

// A task whose argument cannot leave the process fails, and its CPU is free.
func TestArgumentThatCannotLeave(t *testing.T) {
	ctx := open(t, cpu(1))
	for range 3 {
		if _, err := away.Call(ctx, stubborn{-1}); !errors.Is(err, weft.Encode) {
			t.Fatal(err)
		}
	}
	if v, err := away.Call(ctx, stubborn{1}); v != 1 || err != nil {
		t.Error(v, err)
	}
}

// A task that had lent its CPU when its process died lends it again.
func TestTaskThatDiedWaitingWaitsAgain(t *testing.T) {
	each(t, 1, func(t *testing.T, ctx context.Context) {
		if v, err := widow.Call(ctx, 0); v != 2 || err != nil {
			t.Error(v, err)
		}
	})
}

// More values than the node lets lie in a socket all come.
func TestValuesPastTheCredit(t *testing.T) {
	ctx := open(t, weft.Address(start(t, 2)))
	refs := make([]weft.Ref[[]byte], 500)
	for i := range refs {
		refs[i] = block.Remote(ctx, 60_000)
	}
	if _, _, err := weft.Wait(ctx, refs, len(refs)); err != nil {
		t.Fatal(err)
	}
	if _, err := weft.GetAll(ctx, refs); err != nil {
		t.Error(err)
	}
}

// A long chain of tasks fails by its first without a stack as deep.
func TestFailureOfALongChain(t *testing.T) {
	ctx := open(t)
	pipe := fifo(t)
	last := late.Remote(ctx, pipe)
	for range 100_000 {
		last = inc.RemoteOf(ctx, last)
	}
	letGo(t, pipe)
	if _, err := last.Get(ctx); !errors.Is(err, weft.UserError) {
		t.Error(err)
	}
}
