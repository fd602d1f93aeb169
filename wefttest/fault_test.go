package wefttest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weftrun/weft/wefttest"
)

// A task may be given to a worker that has died a moment ago: its connection is
// closed, but nobody has told the node that the process is gone. It runs
// elsewhere.
func TestCallsRightAfterAWorkerDies(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{})
	for range 10 {
		before, err := where.Call(c.Context())
		if err != nil {
			t.Fatal(err)
		}
		killed := c.KillWorker()
		after, err := where.Call(c.Context())
		if err != nil || after == before {
			t.Fatalf("worker %d was killed after it was %d; then the task ran in %d: %v", killed, before, after, err)
		}
	}
	c.Check()
}

// A worker that is paused keeps its task until it goes on.
func TestPause(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 1}})
	ctx := c.Context()
	pid, err := where.Call(ctx)
	if err != nil {
		t.Fatal(err)
	}
	resume := c.Pause(pid)
	c.Eventually("the worker stands still", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		return err == nil && strings.Contains(string(status), "State:\tT")
	})
	waits := where.Remote(ctx)
	c.Eventually("the task is given to it", func() bool { return strings.Contains(c.Why(waits.String()), "RUNNING") })
	select {
	case <-waits.Done():
		t.Error("a task has run in a worker that stands still")
	default:
	}
	resume()
	if got, err := waits.Get(ctx); err != nil || got != pid {
		t.Fatal(got, err)
	}
	c.Check()
}
