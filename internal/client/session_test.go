package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

func TestCall(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	if v, err := run[int](t, d, double, 21); v != 42 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	// A chain of references, and a list of them.
	a := call(t.Context(), d, taskOf(double), double, Arg{Val: 1})
	b := call(t.Context(), d, taskOf(double), double, Arg{Fut: &a.Fut1})
	if v := mustGet[int](t, &b.Fut1); v != 4 {
		t.Errorf("got %d, want 4", v)
	}
	words := make(List, 5)
	for i := range words {
		words[i] = &Future{ID: d.NewTask().Return(0), Sess: d}
		if err := d.Put(t.Context(), words[i], fmt.Sprint("w", i), mustCodec[string]()); err != nil {
			t.Fatal(err)
		}
	}
	j := call(t.Context(), d, taskOf(join), join, Arg{Val: words})
	if v := mustGet[string](t, &j.Fut1); v != "w0+w1+w2+w3+w4" {
		t.Errorf("got %q", v)
	}
	// Several returns, none of them fetched in order.
	s := call(t.Context(), d, sealed(&spec.Task{Function: split.Name, Sig: split.Sig, Returns: 3}), split, Arg{Val: "a b c"})
	for i, want := range []string{"a", "b", "c"} {
		if v := mustGet[string](t, s.Rets[i]); v != want {
			t.Errorf("return %d: got %q", i, v)
		}
	}
	runtime.KeepAlive(words)
}

// Options of their own for every call do not make the node remember ever more,
// and equal ones are told once.
func TestManyDescriptions(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	for i := range 2*maxTemplates + 10 {
		s := sealed(&spec.Task{Function: double.Name, Sig: double.Sig, Returns: 1, Priority: i})
		c := call(t.Context(), d, s, double, Arg{Val: i})
		if v := mustGet[int](t, &c.Fut1); v != 2*i {
			t.Fatalf("call %d: got %d", i, v)
		}
	}
	count := func() int {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.seen[sessionv1.Kind_KIND_TEMPLATE]
	}
	told := count()
	for range 3 {
		s := sealed(&spec.Task{Function: double.Name, Sig: double.Sig, Returns: 1, Priority: 2*maxTemplates + 9})
		call(t.Context(), d, s, double, Arg{Val: 1})
	}
	mustGet[int](t, &call(t.Context(), d, taskOf(double), double, Arg{Val: 1}).Fut1)
	if again := count(); again != told+1 {
		t.Errorf("the node was told %d times more, want once, of the last", again-told)
	}
	if all := len(d.templates.all); all != maxTemplates {
		t.Errorf("%d numbers are used, want %d", all, maxTemplates)
	}
}

func TestErrorsOfTasks(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	for _, c := range []struct {
		f     *Function
		arg   any
		code  wire.Code
		parts []string
	}{
		{fail, "on purpose", wire.UserError, []string{"fail: on purpose", "worker 1, pid "}},
		{fail, "panic", wire.UserError, []string{"index out of range"}},
		{fail, "exit", wire.UserError, []string{"runtime.Goexit"}},
		{lost, 1, wire.NotRegistered, []string{"double"}},
	} {
		_, err := run[int](t, d, c.f, c.arg)
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s(%v): got %v, want code %v", c.f.Name, c.arg, err, c.code)
			continue
		}
		for _, part := range c.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s(%v): got %v, want %q in it", c.f.Name, c.arg, err, part)
			}
		}
		if c.arg == "panic" && !strings.HasPrefix(e.Trace, "github.com/weftrun/weft/internal/client.init.") {
			t.Errorf("the trace does not begin with the user's function:\n%s", e.Trace)
		}
	}
	if v, err := run[int](t, d, double, 4); v != 8 || err != nil {
		t.Errorf("after the errors: got %v, %v", v, err)
	}
	if _, err := run[any](t, d, bad, 1); !errors.Is(err, wire.Encode) || !strings.Contains(err.Error(), "result 1") {
		t.Errorf("a result that cannot be encoded: got %v", err)
	}
	if _, err := run[any](t, d, bad, func() {}); !errors.Is(err, wire.Encode) {
		t.Errorf("an argument that cannot be encoded: got %v", err)
	}
}

func TestNestedCall(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	n.worker()
	d := n.driver()
	if v, err := run[int](t, d, nested, 20); v != 41 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	n.until(func() bool {
		return n.seen[sessionv1.Kind_KIND_BLOCKED] == 1 && n.seen[sessionv1.Kind_KIND_UNBLOCKED] == 1
	})
}

// settled collects garbage until the node counts no references and no pins.
func (n *fakeNode) settled() {
	n.t.Helper()
	left := func() (refs, pins int) {
		for _, c := range n.refs {
			refs += c
		}
		for _, c := range n.pins {
			pins += c
		}
		return refs, pins
	}
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	n.until(func() bool { refs, pins := left(); return refs == 0 && pins == 0 })
	close(stop)
	sweeper.Wait()
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// Values over the inline limit go through shared memory, in every role, and
// what pins them is given back.
func TestLargeValues(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	big := pattern(300_000)
	func() {
		p := &Future{ID: d.NewTask().Return(0), Sess: d}
		if err := d.Put(t.Context(), p, big, mustCodec[[]byte]()); err != nil {
			t.Fatal(err)
		}
		if got := mustGet[[]byte](t, p); !slices.Equal(got, big) {
			t.Error("put and got something else")
		}
		byValue := call(t.Context(), d, taskOf(upper), upper, Arg{Val: big})
		byRef := call(t.Context(), d, taskOf(upper), upper, Arg{Fut: p})
		for _, c := range []*Call{byValue, byRef} {
			got := mustGet[[]byte](t, &c.Fut1)
			if len(got) != len(big) || got[12345] != big[12345]^0x20 {
				t.Errorf("a task made %d bytes of it", len(got))
			}
		}
		vec := make([]float64, 50_000)
		vec[49_999] = 1.5
		if got, err := run[[]float64](t, d, floats, vec); err != nil || !reflect.DeepEqual(got, vec) {
			t.Errorf("floats: %d of them, %v", len(got), err)
		}
		a := actorOf(t, d, spec.Actor{})
		if got := mustGet[int](t, method(t, d, a, holdBytes, "", Arg{Fut: p})); got != len(big) {
			t.Errorf("an actor got %d bytes", got)
		}
	}()
	n.settled()
}

// A value that lies in shared memory can be read after the session is closed.
func TestLargeValueOutlivesSession(t *testing.T) {
	n := newFakeNode(t)
	d := n.driver()
	f := &Future{ID: d.NewTask().Return(0), Sess: d}
	if err := d.Put(t.Context(), f, pattern(100_000), mustCodec[[]byte]()); err != nil {
		t.Fatal(err)
	}
	d.Want(f)
	if err := f.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := ValueOf(f, mustCodec[[]byte]()); err != nil || !slices.Equal(v.([]byte), pattern(100_000)) {
		t.Errorf("got %v", err)
	}
}

func TestStoreFull(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	n.set(&n.full)
	f := &Future{ID: d.NewTask().Return(0), Sess: d}
	if err := d.Put(t.Context(), f, pattern(100_000), mustCodec[[]byte]()); !errors.Is(err, wire.StoreFull) {
		t.Errorf("put: got %v", err)
	}
	if _, err := run[[]byte](t, d, upper, pattern(100_000)); !errors.Is(err, wire.StoreFull) {
		t.Errorf("argument: got %v", err)
	}
	if _, err := run[[]byte](t, d, inflate, 100_000); !errors.Is(err, wire.StoreFull) {
		t.Errorf("result: got %v", err)
	}
}

// References inside arguments and results arrive as references, and are
// counted from end to end.
func TestRefsThroughSession(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	func() {
		var refs []ref
		for i := range 3 {
			f := &Future{ID: d.NewTask().Return(0), Sess: d}
			if err := d.Put(t.Context(), f, i, mustCodec[int]()); err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref{f})
		}
		got, err := run[[]ref](t, d, keep, basket{One: refs[0], Many: refs[1:]})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{1, 2, 0} {
			if v := mustGet[int](t, got[i].f); v != want {
				t.Errorf("reference %d: got %d, want %d", i, v, want)
			}
		}
	}()
	n.settled()
}

// Two Futures of one object are both completed, whoever asks first.
func TestTwins(t *testing.T) {
	n := newFakeNode(t)
	d := n.driver()
	c := call(t.Context(), d, taskOf(double), double, Arg{Val: 1})
	twin, late := d.Adopt(c.Fut1.ID), d.Adopt(c.Fut1.ID)
	d.Want(twin)
	d.Want(twin, &c.Fut1, late)
	n.worker()
	for _, f := range []*Future{twin, &c.Fut1, late, d.Adopt(c.Fut1.ID)} {
		if v := mustGet[int](t, f); v != 2 {
			t.Errorf("got %d, want 2", v)
		}
	}
}

func TestWatch(t *testing.T) {
	n := newFakeNode(t)
	n.set(&n.hold)
	n.worker()
	d := n.driver()
	var fs []*Future
	for i := range 10 {
		fs = append(fs, d.Adopt(call(t.Context(), d, taskOf(double), double, Arg{Val: i}).Fut1.ID))
	}
	// Watching again and again asks the node once.
	for range 100 {
		d.Watch(fs, func(i int) { t.Errorf("%d is ready", i) })()
	}
	events := make(chan int, 20)
	stop := d.Watch(fs, func(i int) { events <- i })
	defer stop()
	n.release()
	var got []int
	for range fs {
		got = append(got, <-events)
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("ready: %v", got)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.seen[sessionv1.Kind_KIND_WATCH]; w > 1 {
		t.Errorf("%d Watch messages", w)
	}
}

func TestDeadline(t *testing.T) {
	n := newFakeNode(t)
	d := n.driver() // and no worker
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.DeadlineExceeded)
	c := call(t.Context(), d, taskOf(double), double, Arg{Val: 1})
	d.Want(&c.Fut1)
	if err := c.Fut1.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get: got %v", err)
	}
	n.set(&n.silent)
	if _, err := d.Lookup(ctx, "", "x"); !errors.Is(err, wire.Timeout) {
		t.Errorf("lookup: got %v", err)
	}
	if err := d.CreateGroup(ctx, d.NewTask(), &spec.Group{}); !errors.Is(err, wire.Timeout) {
		t.Errorf("group: got %v", err)
	}
	if err := d.Put(ctx, &Future{ID: d.NewTask().Return(0)}, pattern(10_000), mustCodec[[]byte]()); !errors.Is(err, wire.Timeout) {
		t.Errorf("put: got %v", err)
	}
}

// What comes after nobody waits any more is given back.
func TestLateAnswers(t *testing.T) {
	n := newFakeNode(t)
	d := n.driver()
	for _, late := range []any{&sessionv1.Reserved{Reservation: 1, At: &sessionv1.Location{}}, &sessionv1.Found{Actor: make([]byte, 16)}} {
		number, ch, err := d.openRequest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d.forsake(number, ch)
		n.mu.Lock()
		n.reserved[1] = &sessionv1.Location{}
		n.mu.Unlock()
		d.answer(number, late)
	}
	n.until(func() bool { return n.seen[sessionv1.Kind_KIND_ABORT] == 1 && n.handles[id.Actor{}] == -1 })
}

func TestCancel(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	before, door := started.Load(), newDoor()
	running := call(t.Context(), d, taskOf(waits), waits, Arg{Val: door})
	queued := call(t.Context(), d, taskOf(waits), waits, Arg{Val: door})
	waitFor(func() bool { return started.Load() > before })
	d.Cancel(queued.Task, false, true)
	d.Cancel(running.Task, false, true)
	for _, c := range []*Call{running, queued} {
		if _, err := get[string](t, &c.Fut1); !errors.Is(err, wire.Cancelled) {
			t.Errorf("got %v", err)
		}
	}
	if n := started.Load() - before; n != 1 {
		t.Errorf("%d tasks began, want 1", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := call(ctx, d, taskOf(waits), waits, Arg{Val: door})
	cancel()
	if _, err := get[string](t, &c.Fut1); !errors.Is(err, wire.Cancelled) {
		t.Errorf("by the context: got %v", err)
	}
}

// waitFor spins until a condition of the functions holds.
func waitFor(cond func() bool) {
	for !cond() {
		runtime.Gosched()
	}
}

// Everything that waits when the node dies fails, and so does what comes later.
func TestNodeDies(t *testing.T) {
	n := newFakeNode(t)
	d := n.driver()
	n.set(&n.silent)
	var waiting sync.WaitGroup
	check := func(what string, err error) {
		if !errors.Is(err, wire.Closed) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	c := call(t.Context(), d, taskOf(double), double, Arg{Val: 1})
	twin := d.Adopt(c.Fut1.ID)
	d.Want(twin, &c.Fut1)
	s := d.SubmitStream(t.Context(), newCall(d, sealed(&spec.Task{Function: count.Name, Sig: count.Sig, Stream: true}), count, Arg{Val: counting{}}))
	ready := make(chan int, 1)
	d.Watch([]*Future{d.Adopt(d.NewTask().Return(0))}, func(i int) { ready <- i })
	for what, f := range map[string]func() error{
		"get":  func() error { _, err := get[int](t, &c.Fut1); return err },
		"twin": func() error { _, err := get[int](t, twin); return err },
		"put": func() error {
			return d.Put(t.Context(), &Future{ID: d.NewTask().Return(0)}, pattern(10_000), mustCodec[[]byte]())
		},
		"lookup": func() error { _, err := d.Lookup(t.Context(), "", "x"); return err },
		"query":  func() error { _, err := d.Query(t.Context(), "x", nil); return err },
		"stream": func() error { item, err := s.Next(t.Context()); return errors.Join(item.Err, err) },
		"create": func() error {
			_, err := d.CreateRegistered(t.Context(), newCall(d, sealed(&spec.Task{Kind: spec.KindCreate, Function: newTally.Name,
				Sig: newTally.Sig, Actor: &spec.Actor{Concurrency: 1}}), newTally, Arg{Val: 1}))
			return err
		},
	} {
		waiting.Go(func() { check(what, f()) })
	}
	n.until(func() bool {
		return n.seen[sessionv1.Kind_KIND_RESERVE] > 0 && n.seen[sessionv1.Kind_KIND_LOOKUP] > 0 && n.seen[sessionv1.Kind_KIND_QUERY] > 0 &&
			n.seen[sessionv1.Kind_KIND_CREATE] > 0 && n.seen[sessionv1.Kind_KIND_CONSUME] > 0
	})
	n.close()
	waiting.Wait()
	<-ready
	_, err := run[int](t, d, double, 1)
	check("submit", err)
	check("later put", d.Put(t.Context(), &Future{ID: d.NewTask().Return(0)}, 1, mustCodec[int]()))
	_, err = get[int](t, d.Adopt(d.NewTask().Return(0)))
	check("later get", err)
	_, err = d.Lookup(t.Context(), "", "x")
	check("later lookup", err)
	d.Cancel(d.NewTask(), false, true)
	d.Watch([]*Future{d.Adopt(d.NewTask().Return(0))}, func(i int) { ready <- i })
	<-ready
	s.Close()
	if err := d.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Fifty goroutines do everything at once.
func TestManyCallers(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	n.worker()
	d := n.driver()
	a := actorOf(t, d, spec.Actor{Concurrency: 4})
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			for k := range 20 {
				if v, err := run[int](t, d, double, i*k); v != 2*i*k || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
				f := &Future{ID: d.NewTask().Return(0), Sess: d}
				if err := d.Put(t.Context(), f, pattern(100*k), mustCodec[[]byte]()); err != nil {
					t.Error(err)
				}
				c := call(t.Context(), d, taskOf(upper), upper, Arg{Fut: f})
				if v, err := get[[]byte](t, &c.Fut1); len(v) != 100*k || err != nil {
					t.Errorf("got %d bytes, %v", len(v), err)
				}
				if _, err := get[[]int](t, method(t, d, a, addTo, "", Arg{Val: k})); err != nil {
					t.Error(err)
				}
				if _, err := d.Query(t.Context(), "status", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	n.settled()
}
