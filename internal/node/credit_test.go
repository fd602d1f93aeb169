package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/weftrun/weft"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/wire"
)

// narrow is a node at which about a hundred tasks may wait.
func narrow(t *testing.T, cpus float64) (socket string, n *node.Node) {
	t.Helper()
	return startNode(t, node.Config{Resources: map[string]float64{"CPU": cpus}, QueueBytes: 64 << 10})
}

var (
	waitFor = weft.Task1("node_test.waitFor", func(_ context.Context, pipe string) (int, error) {
		f, err := os.Open(pipe) // waits for letGo
		if err == nil {
			err = f.Close()
		}
		return 1, err
	})
	fan, descend *weft.Func1[int, int]
	queueMany    *weft.Func1[string, int]
)

func init() {
	fan = weft.Task1("node_test.fan", func(ctx context.Context, n int) (int, error) {
		refs := make([]weft.Ref[int], n)
		for i := range refs {
			refs[i] = inc.Remote(ctx, 0)
		}
		got, err := weft.GetAll(ctx, refs)
		return len(got), err
	})
	queueMany = weft.Task1("node_test.queueMany", func(ctx context.Context, pipe string) (int, error) {
		refs := make([]weft.Ref[int], 500)
		for i := range refs {
			refs[i] = waitFor.Remote(ctx, pipe)
		}
		got, err := weft.GetAll(ctx, refs)
		return len(got), err
	})
	descend = weft.Task1("node_test.descend", func(ctx context.Context, n int) (int, error) {
		if n == 0 {
			return 0, nil
		}
		// More than the child, so that credit is used up on the way down.
		more := []weft.Ref[int]{inc.Remote(ctx, n), inc.Remote(ctx, n)}
		below, err := descend.Call(ctx, n-1)
		if err == nil {
			_, err = weft.GetAll(ctx, more)
		}
		return below + 1, err
	})
}

// A driver that has used up its credit waits, and all that releases something
// gets through meanwhile.
func TestDriverAtItsBound(t *testing.T) {
	socket, n := narrow(t, 1)
	ctx := open(t, weft.Address(socket))
	pipe := fifo(t)
	there, err := weft.Put(ctx, 7)
	if err != nil {
		t.Fatal(err)
	}
	running := waitFor.Remote(ctx, pipe)
	queued := inc.Remote(ctx, 1)
	var refs []weft.Ref[int]
	submitted := make(chan struct{})
	go func() {
		defer close(submitted)
		for range 1000 {
			refs = append(refs, inc.Remote(ctx, 1))
		}
	}()
	until(ctx, t, "the driver has no credit", func() bool { return n.Starving() == 1 })
	if v, err := there.Get(ctx); v != 7 || err != nil {
		t.Error(v, err)
	}
	weft.Cancel(queued)
	if _, err := queued.Get(ctx); !errors.Is(err, weft.Cancelled) {
		t.Error(err)
	}
	select {
	case <-submitted:
		t.Error("a thousand tasks were submitted beyond the credit for a hundred")
	default:
	}
	letGo(t, pipe)
	<-submitted
	if got, err := weft.GetAll(ctx, refs); len(got) != 1000 || err != nil {
		t.Error(len(got), err)
	}
	if _, err := running.Get(ctx); err != nil {
		t.Error(err)
	}
}

// A submit that waits for credit ends with its context.
func TestSubmitWithoutCreditIsCancelled(t *testing.T) {
	socket, n := narrow(t, 1)
	ctx := open(t, weft.Address(socket))
	pipe := fifo(t)
	running := waitFor.Remote(ctx, pipe)
	short, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	var last weft.Ref[int]
	wait.Go(func() {
		for short.Err() == nil {
			last = inc.Remote(short, 1) // the last one waits for credit, or finds its context ended
		}
	})
	until(ctx, t, "the driver has no credit", func() bool { return n.Starving() == 1 })
	cancel()
	wait.Wait()
	if _, err := last.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	letGo(t, pipe)
	if _, err := running.Get(ctx); err != nil {
		t.Error(err)
	}
}

// Tasks submit more tasks than fit: while they wait they lend their CPU, so that
// what they submitted runs and makes room.
func TestFanOutBeyondCredit(t *testing.T) {
	socket, _ := narrow(t, 1)
	ctx := open(t, weft.Address(socket))
	a, b := fan.Remote(ctx, 2000), fan.Remote(ctx, 2000)
	for _, r := range []weft.Ref[int]{a, b} {
		if n, err := r.Get(ctx); n != 2000 || err != nil {
			t.Error(n, err)
		}
	}
}

// Why does a task wait that may not submit more?
func TestWhyWithoutCredit(t *testing.T) {
	socket, n := narrow(t, 1)
	ctx := open(t, weft.Address(socket))
	pipe := fifo(t)
	many := queueMany.Remote(ctx, pipe)
	until(ctx, t, "a task that waits for credit", func() bool {
		tasks, err := n.State().Tasks(ctx, state.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range tasks.Rows {
			if row := &tasks.Rows[i]; row.Name == "node_test.queueMany" {
				why, err := n.State().Why(ctx, row.ID)
				return err == nil && strings.Contains(why.Text, "waits to submit more") && strings.Contains(why.Next, "--queue-bytes")
			}
		}
		return false
	})
	letGo(t, pipe)
	if got, err := many.Get(ctx); got != 500 || err != nil {
		t.Error(got, err)
	}
}

// A recursion whose tasks all wait for what they cannot submit is let go on.
func TestRecursionBeyondCredit(t *testing.T) {
	socket, _ := narrow(t, 1)
	ctx := open(t, weft.Address(socket))
	if n, err := descend.Call(ctx, 400); n != 400 || err != nil {
		t.Error(n, err)
	}
}

// Small values are put through shared memory when there is no credit for more.
func TestPutsBeyondCredit(t *testing.T) {
	socket, _ := narrow(t, 1)
	ctx := open(t, weft.Address(socket))
	var refs []weft.Ref[string]
	for i := range 200 {
		r, err := weft.Put(ctx, fmt.Sprint(i, strings.Repeat("x", 1000)))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, r)
	}
	for i, r := range refs {
		if v, err := r.Get(ctx); err != nil || !strings.HasPrefix(v, fmt.Sprint(i, "x")) {
			t.Error(i, err)
		}
	}
}

// A session that submits without credit is ended; others are not.
func TestOverrunEndsTheSession(t *testing.T) {
	socket, _ := narrow(t, 1)
	bystander := open(t, weft.Address(socket))
	d := dialRaw(t, socket)
	never := id.NewTask(d.node, id.Seq(d.session, 1<<30)).Return(0)
	d.send(sessionv1.Kind_KIND_TEMPLATE, &sessionv1.Template{Id: 1, Function: "node_test.inc", Returns: 1})
	for i := range 1 << 20 {
		m := &sessionv1.Submit{Template: 1, Seq: id.Seq(d.session, uint64(i+1)), Args: []*sessionv1.Arg{{Object: never[:]}}}
		if !d.send(sessionv1.Kind_KIND_SUBMIT, m) {
			break
		}
	}
	if err := d.goodbye(); err == nil || err.Code != wire.Protocol || !strings.Contains(err.Message, "credit") {
		t.Error("the session ended with", err)
	}
	if v, err := inc.Call(bystander, 1); v != 2 || err != nil {
		t.Error(v, err)
	}
}
