package wefttest_test

import (
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
