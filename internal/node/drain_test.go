package node_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

// parent says that it runs, waits for one pipe, and then calls a function.
var parent = weft.Task1("node_test.parent", func(ctx context.Context, pipe string) (int, error) {
	if _, err := waitFor.Call(ctx, pipe); err != nil {
		return 0, err
	}
	return inc.Call(ctx, 41)
})

// A node that drains lets what runs end, with what that calls, and begins
// nothing else.
func TestDrain(t *testing.T) {
	socket, n := startNode(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	ctx := open(t, weft.Address(socket))
	pipe := fifo(t)
	runs := parent.Remote(ctx, pipe)
	until(ctx, t, "its child", func() bool { return running(t, n) == 2 })
	waits := inc.Remote(ctx, 1, weft.CPU(1))
	behind := inc.RemoteOf(ctx, runs)
	until(ctx, t, "all", func() bool { return n.Tasks() == 4 })

	drained := make(chan error, 1)
	go func() { drained <- n.Drain(ctx) }()
	for _, r := range []weft.Ref[int]{waits, behind} {
		if _, err := r.Get(ctx); !errors.Is(err, weft.Closed) {
			t.Errorf("what has not begun: %v", err)
		}
	}
	if _, err := inc.Call(ctx, 1); !errors.Is(err, weft.Closed) {
		t.Errorf("a new task: %v", err)
	}
	if _, err := add.Remote(ctx, tallies.New(ctx, 1), 1).Get(ctx); err == nil {
		t.Error("a new actor answers")
	}
	if _, err := weft.Init(ctx, weft.Address(socket)); !errors.Is(err, weft.Closed) {
		t.Errorf("a new program: %v", err)
	}
	if nodes, err := n.State().Nodes(ctx, state.Query{}); err != nil || nodes.Rows[0].State != state.NodeDraining {
		t.Errorf("the node says %v, %v", nodes, err)
	}
	select {
	case err := <-drained:
		t.Fatal("drained while a task runs:", err)
	default:
	}
	letGo(t, pipe)
	if v, err := runs.Get(ctx); v != 42 || err != nil {
		t.Errorf("what ran: %d, %v", v, err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// running counts the tasks that run.
func running(t *testing.T, n *node.Node) (count int) {
	t.Helper()
	rows, err := n.State().Tasks(t.Context(), state.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows.Rows {
		if rows.Rows[i].State == state.TaskRunning || rows.Rows[i].State == state.TaskInGet {
			count++
		}
	}
	return count
}

// A task that does not end is not waited for beyond the context.
func TestDrainThatIsGivenUp(t *testing.T) {
	socket, n := startNode(t, node.Config{})
	ctx := open(t, weft.Address(socket))
	nap.Remote(ctx, 1)
	until(ctx, t, "it", func() bool { return running(t, n) == 1 })
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := n.Drain(short); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A node that runs nothing has drained at once.
func TestDrainOfNothing(t *testing.T) {
	_, n := startNode(t, node.Config{})
	if err := n.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}
