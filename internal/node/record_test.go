package node_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

var refuse = weft.Task1("node_test.refuse", func(context.Context, int) (int, error) { return 0, errors.New("not today") })

// rowOf is the row of a task that has ended or lives; without an id if there is none.
func rowOf(t *testing.T, n *node.Node, r weft.Ref[int]) (row state.Task) {
	t.Helper()
	rows, err := n.State().Tasks(t.Context(), state.Query{Ended: true, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, row = range rows.Rows {
		if r.String()[:len(row.ID)] == row.ID {
			return row
		}
	}
	return state.Task{}
}

// A list of tasks says since when they wait and run, and when they ended.
func TestTimesOfTasks(t *testing.T) {
	socket, n := startNode(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	ctx := open(t, weft.Address(socket))
	pipe := fifo(t)
	first := waitFor.Remote(ctx, pipe)
	second := inc.RemoteOf(ctx, first)
	until(ctx, t, "the first", func() bool { return !rowOf(t, n, first).Started.IsZero() })
	if row := rowOf(t, n, second); row.Submitted.IsZero() || !row.Started.IsZero() {
		t.Errorf("a task that waits: %+v", row)
	}
	letGo(t, pipe)
	failed := refuse.Remote(ctx, 1)
	if _, err := second.Get(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := failed.Get(ctx); err == nil {
		t.Fatal("it did not fail")
	}
	for _, r := range []weft.Ref[int]{first, second, failed} {
		row := rowOf(t, n, r)
		if row.Submitted.IsZero() || row.Started.Before(row.Submitted) || !row.Ended.After(row.Started) || time.Since(row.Submitted) > patience {
			t.Errorf("submitted %v, started %v, ended %v", row.Submitted, row.Started, row.Ended)
		}
	}
	if row := rowOf(t, n, second); row.State != state.TaskFinished || row.Started.Sub(row.Submitted) <= 0 {
		t.Errorf("a task that waited: %+v", row)
	}
	if row := rowOf(t, n, failed); row.State != state.TaskFailed || row.Cause != event.UserError.String() {
		t.Errorf("a task that failed: %+v", row)
	}
	rows, err := n.State().Tasks(t.Context(), state.Query{})
	if err != nil || rows.Total != 1 || rows.Rows[0].ID != rowOf(t, n, failed).ID {
		t.Errorf("without those that ended well: %+v, %v", rows, err)
	}
}

// What goes to disk is in the events, with its size.
func TestSpillsAreRecorded(t *testing.T) {
	const part, parts = 4 << 20, 8
	socket, n := startNode(t, node.Config{StoreBytes: 16 << 20})
	ctx := open(t, weft.Address(socket))
	refs := make([]weft.Ref[[]byte], parts)
	for i := range refs {
		var err error
		if refs[i], err = weft.Put(ctx, make([]byte, part)); err != nil {
			t.Fatal(err)
		}
	}
	until(ctx, t, "half of them on disk", func() bool {
		s := n.Events().Stats()
		return s.Bytes[event.ObjectSpilled] >= parts*part/2 && s.Kinds[event.ObjectSpilled] == uint64(s.Bytes[event.ObjectSpilled]/part)
	})
	runtime.KeepAlive(refs)
}
