package weft_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// ledger is what a task that fails is called with.
type ledger struct {
	Name  string
	Lines []int
}

var audit = weft.Task3("test.audit", func(ctx context.Context, l ledger, more []int, text []byte) (int, error) {
	sum, err := square.Call(ctx, len(l.Lines)) // what it calls runs as usual
	return sum, errors.Join(err, fmt.Errorf("%s: %v and %v and %d bytes do not add up", l.Name, l.Lines, more, len(text)))
})

// A task that failed is run again with what it was called with: values, the
// values of refs, and lists of them, small and in shared memory.
func TestReplay(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		big := must[weft.Ref[[]byte]](t)(weft.Put(ctx, noise(1, 300<<10)))
		list := weft.Collect(square.Remote(ctx, 2), square.Remote(ctx, 3))
		failed := audit.RemoteOf(ctx, weft.Val(ledger{"books", []int{1, 2}}), list, big)
		_, err := failed.Get(ctx)
		isCode(t, err, weft.UserError, "do not add up")
		e, _ := errors.AsType[*weft.Error](err)
		_, again := c.Session().Replay(ctx, e.Task.String())
		if want := "books: [1 2] and [4 9] and 307200 bytes do not add up"; again == nil || !strings.Contains(again.Error(), want) {
			t.Errorf("again: %v", again)
		}
		_, err = c.Session().Replay(ctx, strings.Repeat("ab", 16))
		isCode(t, err, weft.NotFound, "arguments are gone")
		_, err = c.Session().Replay(ctx, "what")
		isCode(t, err, weft.Invalid, "replay")
	})
}

// replayed is a program with a main of its own, which Init keeps it from.
func replayed(string, string) int {
	_, err := weft.Init(context.Background())
	fmt.Println("its own main", err)
	return 7
}

// With WEFT_REPLAY a program runs the task instead of its main.
func TestReplayProgram(t *testing.T) {
	c := wefttest.Join(t, small)
	_, err := audit.Call(c.Context(), ledger{"books", []int{1}}, []int{2}, []byte("abc"))
	e, _ := errors.AsType[*weft.Error](err)
	if e == nil {
		t.Fatal(err)
	}
	for task, want := range map[string]string{
		e.Task.String():          "books: [1] and [2] and 3 bytes do not add up",
		strings.Repeat("ab", 16): "arguments are gone",
	} {
		cmd := exec.Command("/proc/self/exe", "", "")
		cmd.Env = append(os.Environ(), programEnv+"=replayed", weft.AddressEnv+"="+c.Address(), "WEFT_REPLAY="+task)
		out, err := cmd.CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		if exit == nil || exit.ExitCode() != 1 || !strings.Contains(string(out), want) || strings.Contains(string(out), "its own main") {
			t.Errorf("%v: %s", err, out)
		}
	}
}
