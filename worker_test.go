package weft_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// dieOnce ends this process in a certain way unless the signal has happened,
// and returns the attempt of the task that lives.
func dieOnce(ctx context.Context, how, s string) (int, error) {
	if signal(s).happened() {
		return weft.Runtime(ctx).Attempt, nil
	}
	if err := signal(s).set(); err != nil {
		return 0, err
	}
	return 0, die(how)
}

func die(how string) error {
	fmt.Println("on standard output")
	fmt.Fprintln(os.Stderr, "its last words")
	switch how {
	case "exit":
		os.Exit(7)
	case "panic":
		go panic("in a goroutine of its own")
	case "SIGKILL":
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
	}
	select {}
}

var (
	perish    = weft.Task1("test.perish", func(_ context.Context, how string) (int, error) { return 0, die(how) }, weft.Isolated())
	perishOne = weft.Task2("test.perishOnce", dieOnce, weft.Isolated())
)

func TestWorkerDies(t *testing.T) {
	tests := []struct {
		how   string
		parts []string
	}{
		{"exit", []string{"exit status 7", "its last words"}},
		{"SIGKILL", []string{"SIGKILL", "its last words"}},
		{"panic", []string{"exit status 2", "panic: in a goroutine of its own", "its last words"}},
	}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.how, func(t *testing.T) {
				ctx := c.Context()
				equal(t, 2)(perishOne.Call(ctx, tt.how, string(newSignal(t))))
				_, err := perish.Call(ctx, tt.how, weft.MaxRetries(1))
				isCode(t, err, weft.WorkerCrashed, append(tt.parts, "test.perish", "attempt 2", "worker ", "pid ")...)
				s := newSignal(t)
				_, err = perishOne.Call(ctx, tt.how, string(s), weft.MaxRetries(0))
				isCode(t, err, weft.WorkerCrashed, tt.parts...)
			})
		}
		equal(t, 42)(answer.Call(c.Context()))
	})
}

// A task whose process dies with another one's is run again, as the same attempt
// at most one more than the culprit's.
func TestSharedWorkerDies(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 4}})
	ctx := c.Context()
	m, arrived, leave := newMeeting(t)
	others := []weft.Ref[int]{meet.Remote(ctx, m), meet.Remote(ctx, m)}
	c.Eventually("the others", func() bool { return arrived.count() == 2 })
	c.KillWorker()
	c.Eventually("the others again", func() bool { return arrived.count() == 4 })
	if err := leave.set(); err != nil {
		t.Fatal(err)
	}
	for _, v := range must[[]int](t)(weft.GetAll(ctx, others)) {
		if v != 2 {
			t.Errorf("it is attempt %d", v)
		}
	}
	equal(t, 42)(answer.Call(ctx))
}

var spoil = weft.Task1("test.spoil", func(ctx context.Context, now string) (int, error) {
	if err := signal(now).wait(ctx); err != nil {
		return 0, err
	}
	os.Exit(7)
	return 0, nil
}, weft.MaxRetries(1))

// A task that ends its process time and again costs others in it no attempt: they
// run again apart from each other, and it pays for itself.
func TestCulpritPaysAlone(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 4}})
	ctx := c.Context()
	m, arrived, leave := newMeeting(t)
	now := newSignal(t)
	culprit := spoil.Remote(ctx, string(now))
	others := []weft.Ref[int]{meet.Remote(ctx, m, weft.MaxRetries(1)), meet.Remote(ctx, m, weft.MaxRetries(1))}
	c.Eventually("the others", func() bool { return arrived.count() == 2 })
	if err := now.set(); err != nil {
		t.Fatal(err)
	}
	_, err := culprit.Get(ctx)
	isCode(t, err, weft.WorkerCrashed, "exit status 7", "attempt 3") // with others, alone, and once more
	c.Eventually("the others again", func() bool { return arrived.count() == 4 })
	if err := leave.set(); err != nil {
		t.Fatal(err)
	}
	for _, v := range must[[]int](t)(weft.GetAll(ctx, others)) {
		if v != 2 {
			t.Errorf("it is attempt %d", v)
		}
	}
	c.Check()
}

var makeThree = weft.Task0("test.makeThree", func(ctx context.Context) ([]weft.Ref[[]byte], error) {
	var out []weft.Ref[[]byte]
	for i := range 3 {
		ref, err := weft.Put(ctx, bytes.Repeat([]byte{byte(i)}, 200<<10))
		if err != nil {
			return nil, err
		}
		out = append(out, ref)
	}
	return out, nil
}, weft.Isolated())

// What a worker has made is the node's: it outlives the worker.
func TestObjectsOutliveTheirWorker(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		refs := must[[]weft.Ref[[]byte]](t)(makeThree.Call(ctx))
		large := reversed.Remote(ctx, bytes.Repeat([]byte{9}, 200<<10), weft.Isolated())
		<-large.Done()
		before := len(c.Workers())
		for range before {
			c.KillWorker()
		}
		c.Eventually("the workers' ends", func() bool { return len(c.Workers()) < before })
		for i, v := range must[[][]byte](t)(weft.GetAll(ctx, refs)) {
			if !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, 200<<10)) {
				t.Errorf("object %d is another one", i)
			}
		}
		if v := must[[]byte](t)(large.Get(ctx)); len(v) != 200<<10 {
			t.Errorf("%d bytes", len(v))
		}
	})
}

var readInside = weft.Task1("test.readInside", func(ctx context.Context, refs struct{ Parts []weft.Ref[int] }) (int, error) {
	total := 0
	values, err := weft.GetAll(ctx, refs.Parts)
	for _, v := range values {
		total += v
	}
	return total, err
}, weft.Isolated())

// A result that is there already can be referred to inside an argument of a task
// in another process.
func TestResultInsideAnArgument(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		first := answer.Remote(ctx)
		equal(t, 42)(first.Get(ctx))
		refs := struct{ Parts []weft.Ref[int] }{[]weft.Ref[int]{first, answer.Remote(ctx)}}
		equal(t, 84)(readInside.Call(ctx, refs))
	})
}

var dieReading = weft.Task2("test.dieReading", func(_ context.Context, b []byte, how string) (int, error) {
	if len(b) == 0 || b[0] != 7 {
		return 0, fmt.Errorf("the argument has %d bytes", len(b))
	}
	return 0, die(how)
}, weft.Isolated(), weft.MaxRetries(0))

var dieWriting = weft.Task1("test.dieWriting", func(ctx context.Context, n int) (int, error) {
	w, err := weft.NewWriter(ctx, int64(n))
	if err != nil {
		return 0, err
	}
	copy(w.Bytes()[:n/2], noise(1, n/2))
	return 0, die("SIGKILL")
}, weft.Isolated(), weft.MaxRetries(0))

// Pins and room that a dead worker had are given back: the store can be filled.
func TestWorkerDiesWithPinsAndRoom(t *testing.T) {
	const store, part = 32 << 20, 8 << 20
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 2}, StoreBytes: store, SpillBytes: 1})
	ctx := c.Context()
	for range 3 {
		func() {
			arg := must[weft.Ref[[]byte]](t)(weft.Put(ctx, bytes.Repeat([]byte{7}, part)))
			_, err := dieReading.RemoteOf(ctx, arg, weft.Val("SIGKILL")).Get(ctx)
			isCode(t, err, weft.WorkerCrashed)
			_, err = dieWriting.Call(ctx, part)
			isCode(t, err, weft.WorkerCrashed)
		}()
	}
	// Everything but a little can be had at once.
	var refs []weft.Ref[[]byte]
	for i := range 3 {
		refs = append(refs, must[weft.Ref[[]byte]](t)(weft.Put(ctx, bytes.Repeat([]byte{byte(i)}, part))))
	}
	for i, v := range must[[][]byte](t)(weft.GetAll(ctx, refs)) {
		if len(v) != part || v[part-1] != byte(i) {
			t.Errorf("object %d is another one", i)
		}
	}
}

// An actor whose process dies is started again as often as it may be.
func TestActorWorkerDies(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 10, weft.Isolated(), weft.MaxRestarts(1))
		equal(t, 11)(tallyAdd.Call(ctx, a, 1))
		_, err := tallyDie.Call(ctx, a, string(newSignal(t)))
		isCode(t, err, weft.ActorUnavailable, "may have run", "MaxTaskRetries")
		equal(t, 11)(tallyAdd.Call(ctx, a, 1)) // it has begun again
		if n := must[weft.RuntimeContext](t)(tallyDescribe.Call(ctx, a)).Incarnation; n != 2 {
			t.Errorf("it is incarnation %d", n)
		}
		late := newSignal(t)
		dead := tallyDie.Remote(ctx, a, string(late))
		_, err = dead.Get(ctx)
		isCode(t, err, weft.ActorDied, "SIGKILL", "its last words")
		_, err = tallyAdd.Call(ctx, a, 1)
		isCode(t, err, weft.ActorDied, "worker process died")
	})
}

// With task retries the calls that were out are repeated first, in order.
func TestActorCallIsRepeated(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 10, weft.Isolated(), weft.MaxRestarts(-1), weft.MaxTaskRetries(2))
		s := newSignal(t)
		equal(t, 11)(tallyAdd.Call(ctx, a, 1))
		out := tallyDie.Remote(ctx, a, string(s))
		after := []weft.Ref[int]{tallyAdd.Remote(ctx, a, 1), tallyAdd.Remote(ctx, a, 1)}
		equal(t, 2)(out.Get(ctx))
		got := must[[]int](t)(weft.GetAll(ctx, after))
		if got[0] != 11 || got[1] != 12 {
			t.Errorf("the calls behind it returned %v", got)
		}
	})
}

// A shared worker takes its actors with it; each is restarted for itself.
func TestSharedWorkerDiesWithActors(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	keeps := tallies.New(ctx, 1, weft.MaxRestarts(3))
	loses := tallies.New(ctx, 1)
	equal(t, 2)(tallyAdd.Call(ctx, keeps, 1))
	equal(t, 2)(tallyAdd.Call(ctx, loses, 1))
	c.KillWorker()
	_, err := tallyAdd.Call(ctx, loses, 1)
	isCode(t, err, weft.ActorDied, "SIGKILL")
	for {
		v, err := tallyAdd.Call(ctx, keeps, 1)
		if err == nil {
			equal(t, 2)(v, err)
			break
		}
		isCode(t, err, weft.ActorUnavailable)
	}
}

var pyNowhere = weft.PyTask0[int]("nowhere", "f")

// Where there is no Python, a call of a Python function says what to install.
func TestNoPython(t *testing.T) {
	t.Setenv("WEFT_PYTHON", "/nonexistent/python")
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		_, err := pyNowhere.Call(c.Context())
		isCode(t, err, weft.SetupFailed, "nowhere.f", "/nonexistent/python", "pip install weft", "weft.Python")
	})
}
