package client

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

func streamOf(t testing.TB, s Session, c counting, window int) (*Call, Stream) {
	tmpl := sealed(&spec.Task{Function: count.Name, Sig: count.Sig, Stream: true, WindowItems: window, WindowBytes: 1 << 20})
	cl := newCall(s, tmpl, count, Arg{Val: c})
	cl.Rets = nil
	return cl, s.SubmitStream(t.Context(), cl)
}

func TestStream(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	for _, c := range []counting{{N: 0}, {N: 1}, {N: 500}, {N: 20, Size: 50_000}, {N: 3, Fails: true}} {
		_, s := streamOf(t, d, c, 16)
		for i := 0; ; i++ {
			item, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if item.End {
				if i != c.N || (item.Err != nil) != c.Fails {
					t.Errorf("%+v: ended after %d with %v", c, i, item.Err)
				}
				break
			}
			if b := mustGet[[]byte](t, item.Future); item.Index != i || b[0] != byte(i) || len(b) != max(c.Size, 1) {
				t.Errorf("%+v: item %d has index %d and %d bytes", c, i, item.Index, len(b))
			}
		}
		if item, err := s.Next(t.Context()); !item.End || err != nil {
			t.Errorf("after the end: got %+v, %v", item, err)
		}
		s.Close()
	}
	n.settled()
}

// A producer makes no more than its window allows, and stops when its consumer
// leaves.
func TestStreamWindow(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	before := made.Load()
	_, s := streamOf(t, d, counting{N: 1_000_000}, 4)
	for range 10 {
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// What the consumer has asked for ahead, what is on its way, and one in hand.
	if m := made.Load() - before; m > 10+4+4+1 {
		t.Errorf("%d items were made for 10 with a window of 4", m)
	}
	s.Close()
	n.until(func() bool { return n.seen[sessionv1.Kind_KIND_RESULT] == 1 })
	if item, err := s.Next(t.Context()); !item.End || err != nil {
		t.Errorf("after Close: got %+v, %v", item, err)
	}
	_, s = streamOf(t, d, counting{N: 10}, 4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		item, err := s.Next(ctx) // what is there is there
		if errors.Is(err, wire.Cancelled) {
			break
		}
		if item.End || err != nil {
			t.Fatalf("got %+v, %v", item, err)
		}
	}
	s.Close()
}

func TestActor(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	a := actorOf(t, d, spec.Actor{})
	var fs []*Future
	for i := range 200 {
		fs = append(fs, method(t, d, a, addTo, "", Arg{Val: i}))
	}
	for i, f := range fs {
		if calls := mustGet[[]int](t, f); len(calls) != i+1 || calls[i] != i {
			t.Fatalf("call %d: got %v", i, calls)
		}
	}
	if f := method(t, d, a, quit, ""); !func() bool { _, err := get[int](t, f); return err == nil }() {
		t.Error("quitting failed")
	}
	c := newCall(d, sealed(&spec.Task{Kind: spec.KindCreate, Function: newTally.Name, Sig: newTally.Sig, Actor: &spec.Actor{Concurrency: 1}}), newTally, Arg{Val: -1})
	d.Submit(t.Context(), c)
	if _, err := get[any](t, &c.Fut1); !errors.Is(err, wire.UserError) {
		t.Errorf("a failing constructor: got %v", err)
	}
	info, err := d.CreateRegistered(t.Context(), newCall(d, sealed(&spec.Task{Kind: spec.KindCreate, Function: newTally.Name, Sig: newTally.Sig,
		Actor: &spec.Actor{Name: "x", Concurrency: 1}}), newTally, Arg{Val: 1}))
	if err != nil || info.Class != "class" {
		t.Errorf("create: got %+v, %v", info, err)
	}
	if found, err := d.Lookup(t.Context(), "", "x"); err != nil || found.Actor.IsZero() {
		t.Errorf("lookup: got %+v, %v", found, err)
	}
}

func TestActorConcurrency(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	d := n.driver()
	for _, c := range []struct {
		desc  spec.Actor
		group string
		calls int
		want  int
	}{
		{spec.Actor{Concurrency: 1}, "", 3, 1},
		{spec.Actor{Concurrency: 3}, "", 6, 3},
		{spec.Actor{Concurrency: 1, Groups: map[string]int{"io": 2}}, "io", 5, 2},
	} {
		a := actorOf(t, d, c.desc)
		door := newDoor()
		var fs []*Future
		for range c.calls {
			fs = append(fs, method(t, d, a, crowd, c.group, Arg{Val: door}))
		}
		if c.group != "" { // the default group goes on meanwhile
			mustGet[[]int](t, method(t, d, a, addTo, "", Arg{Val: 1}))
		}
		openDoor(door)
		most := 0
		for _, f := range fs {
			most = max(most, mustGet[int](t, f))
		}
		if most > c.want {
			t.Errorf("%+v: %d calls at once", c.desc, most)
		}
	}
}

// length is the number of jobs that a worker has.
func (w *workerRole) length() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

func TestStopActor(t *testing.T) {
	n := newFakeNode(t)
	role := n.worker().role
	d := n.driver()
	a := actorOf(t, d, spec.Actor{})
	running := method(t, d, a, crowd, "", Arg{Val: newDoor()})
	queued := method(t, d, a, addTo, "", Arg{Val: 1})
	waitFor(func() bool { return role.length() == 2 })
	n.workers[0].sendSide(sessionv1.Kind_KIND_STOP_ACTOR, &sessionv1.StopActor{Actor: a[:], Incarnation: 1})
	if _, err := get[int](t, running); err == nil {
		t.Error("a call of a stopped actor went on")
	}
	_, _ = get[[]int](t, queued)
	if _, err := get[[]int](t, method(t, d, a, addTo, "", Arg{Val: 1})); !errors.Is(err, wire.ActorUnavailable) {
		t.Errorf("a call after the end: got %v", err)
	}
}

// What has not begun is given back on request, and never runs.
func TestRevoke(t *testing.T) {
	n := newFakeNode(t)
	role := n.worker().role
	d := n.driver()
	before, door := started.Load(), newDoor()
	var calls []*Call
	for range 10 {
		calls = append(calls, call(t.Context(), d, taskOf(waits), waits, Arg{Val: door}))
	}
	waitFor(func() bool { return started.Load() > before && role.length() == 10 })
	w := n.workers[0]
	m := &sessionv1.Revoke{Lease: uint64(w.session)}
	m.Tasks = append(append(m.Tasks, calls[3].Task[:]...), calls[0].Task[:]...) // the latter runs
	w.sendSide(sessionv1.Kind_KIND_REVOKE, m)
	n.until(func() bool { return len(n.taken) > 0 })
	if got, want := n.takenSoFar(), []id.Task{calls[3].Task}; !slices.Equal(got, want) {
		t.Errorf("some: taken back %v, want %v", got, want)
	}
	w.sendSide(sessionv1.Kind_KIND_REVOKE, &sessionv1.Revoke{Lease: uint64(w.session)})
	n.until(func() bool { return len(n.taken) >= 9 })
	if got := n.takenSoFar(); slices.Contains(got, calls[0].Task) || len(got) != 9 {
		t.Errorf("all: taken back %v", got)
	}
	openDoor(door)
	if v := mustGet[string](t, &calls[0].Fut1); v != door {
		t.Errorf("got %q", v)
	}
	if got := started.Load() - before; got != 1 {
		t.Errorf("%d tasks began, want 1", got)
	}
}

// The side lane may overtake the call lane: what is to be stopped may not be
// there yet.
func TestStopOvertakes(t *testing.T) {
	n := newFakeNode(t)
	n.set(&n.hold)
	n.worker()
	d := n.driver()
	c := call(t.Context(), d, taskOf(waits), waits, Arg{Val: newDoor()})
	a := newCall(d, sealed(&spec.Task{Kind: spec.KindCreate, Function: newTally.Name, Sig: newTally.Sig, Actor: &spec.Actor{Concurrency: 1}}), newTally, Arg{Val: 1})
	d.Submit(t.Context(), a)
	n.until(func() bool { return len(n.workers) == 1 && len(n.tasks) == 2 })
	w := n.workers[0]
	w.sendSide(sessionv1.Kind_KIND_INTERRUPT, &sessionv1.Interrupt{Task: c.Task[:], Attempt: 1})
	w.sendSide(sessionv1.Kind_KIND_STOP_ACTOR, &sessionv1.StopActor{Actor: a.Task[:], Incarnation: 1})
	w.sendSide(sessionv1.Kind_KIND_REVOKE, &sessionv1.Revoke{Lease: 99}) // answered when the others have been read
	n.until(func() bool { return n.seen[sessionv1.Kind_KIND_TAKEN_BACK] == 1 })
	n.release()
	if _, err := get[string](t, &c.Fut1); !errors.Is(err, wire.Cancelled) {
		t.Errorf("task: got %v", err)
	}
	if _, err := get[any](t, &a.Fut1); !errors.Is(err, wire.Cancelled) {
		t.Errorf("actor: got %v", err)
	}
}

// A worker that is told to leave finishes what it has.
func TestExit(t *testing.T) {
	n := newFakeNode(t)
	idle, busy := n.worker(), n.worker()
	n.until(func() bool { return len(n.workers) == 2 })
	n.workers[0].sendSide(sessionv1.Kind_KIND_EXIT, &sessionv1.Exit{})
	<-idle.gone
	n.mu.Lock()
	n.workers = n.workers[1:]
	n.mu.Unlock()
	d := n.driver()
	before, door := started.Load(), newDoor()
	c := call(t.Context(), d, taskOf(waits), waits, Arg{Val: door})
	waitFor(func() bool { return started.Load() > before })
	n.workers[0].sendSide(sessionv1.Kind_KIND_EXIT, &sessionv1.Exit{})
	openDoor(door)
	if v := mustGet[string](t, &c.Fut1); v != door {
		t.Errorf("got %q", v)
	}
	<-busy.gone
	for _, r := range []*Remote{idle, busy} {
		if err := r.over(); !errors.Is(err, wire.Closed) {
			t.Errorf("it left with %v", err)
		}
	}
}

// What a worker cannot make sense of is that task's error, not its end.
func TestUnknownTemplate(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	n.until(func() bool { return len(n.workers) == 1 })
	w := n.workers[0]
	task := id.NewTask(fakeNodeID, 1)
	w.send(sessionv1.Kind_KIND_EXECUTE, &sessionv1.Execute{Task: task[:], Attempt: 1, Lease: 1, TemplateId: 99, Job: fakeJob[:]})
	w.send(sessionv1.Kind_KIND_EXECUTE, &sessionv1.Execute{Task: task[:], Attempt: 1, Lease: 1, TemplateId: 98, Job: fakeJob[:], Template: &sessionv1.Template{Kind: 77}})
	w.flush()
	n.until(func() bool { return n.seen[sessionv1.Kind_KIND_RESULT] == 2 })
	if v, err := run[int](t, n.driver(), double, 1); v != 2 || err != nil {
		t.Errorf("afterwards: got %v, %v", v, err)
	}
}

func TestWorkerLosesNode(t *testing.T) {
	n := newFakeNode(t)
	w := n.worker()
	d := n.driver()
	before := started.Load()
	call(t.Context(), d, taskOf(waits), waits, Arg{Val: newDoor()})
	waitFor(func() bool { return started.Load() > before })
	n.close()
	<-w.gone // and goleak sees that the task has ended
}

// listen serves the fake node at a socket, as a real one does.
func (n *fakeNode) listen(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); accepting.Wait() })
	take := func() *wire.Socket {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil
		}
		defer c.Close()
		f, err := c.File()
		if err != nil {
			t.Error(err)
			return nil
		}
		defer f.Close()
		s, err := wire.NewSocket(dup(t, f.Fd()), 0)
		if err != nil {
			t.Error(err)
		}
		return s
	}
	accepting.Go(func() {
		if call := take(); call != nil {
			n.serveLanes(call, take)
		}
	})
	return path
}

func TestDial(t *testing.T) {
	n := newFakeNode(t)
	n.worker()
	s, err := Dial(t.Context(), n.listen(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := run[int](t, s, double, 3); v != 6 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
	if info := s.Info(); info.Node != fakeNodeID || info.Job != fakeJob || info.Embedded || info.Address == "" {
		t.Errorf("got %+v", info)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	n.until(func() bool { return n.seen[sessionv1.Kind_KIND_GOODBYE] == 1 })
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestDialFails(t *testing.T) {
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, wire.Closed) {
		t.Errorf("nobody there: got %v", err)
	}
	for what, answer := range map[string]string{
		"closes": "", "talks HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n",
		"refuses":  string(wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, &sessionv1.Goodbye{Error: wire.ErrorToPB(&wire.Error{Code: wire.Unauthenticated, Message: "who are you"})})),
		"is newer": string(wire.AppendFrame(nil, sessionv1.Kind_KIND_WELCOME, &sessionv1.Welcome{Version: 99})),
	} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		var peer sync.WaitGroup
		peer.Go(func() {
			if c, err := l.Accept(); err == nil {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = c.Write([]byte(answer))
				_ = c.Close()
			}
		})
		_, err = Dial(t.Context(), path, Options{})
		var e *wire.Error
		if !errors.As(err, &e) || e.Op != "join "+path {
			t.Errorf("a peer that %s: got %v", what, err)
		}
		peer.Wait()
		_ = l.Close()
	}
}

// A peer that accepts and says nothing does not hold Dial beyond its context.
func TestDialSilence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, path, Options{}); !errors.Is(err, wire.Timeout) {
		t.Errorf("got %v", err)
	}
}

// Whatever a node sends, a session ends with an error and nothing else breaks.
func FuzzFromNode(f *testing.F) {
	o := id.NewTask(fakeNodeID, 1).Return(0)
	for kind, m := range map[sessionv1.Kind]wire.Message{
		sessionv1.Kind_KIND_VALUE:      &sessionv1.ObjectValue{Object: o[:], Value: &sessionv1.Value{Tag: 2, Data: []byte{1}}},
		sessionv1.Kind_KIND_READY:      &sessionv1.Objects{Objects: o[:]},
		sessionv1.Kind_KIND_ITEM:       &sessionv1.Item{Task: o[:16], Value: &sessionv1.Value{}},
		sessionv1.Kind_KIND_STREAM_END: &sessionv1.StreamEnd{Task: o[:16]},
		sessionv1.Kind_KIND_RESERVED:   &sessionv1.Reserved{Request: 1},
		sessionv1.Kind_KIND_EXECUTE:    &sessionv1.Execute{Task: o[:16], TemplateId: 1, Job: fakeJob[:], Template: wire.TemplateToPB(1, taskOf(double)), Args: []*sessionv1.Arg{{Value: &sessionv1.Value{Tag: 2, Data: []byte{1}}}}},
		sessionv1.Kind_KIND_REVOKE:     &sessionv1.Revoke{Lease: 1, Tasks: o[:16]},
		sessionv1.Kind_KIND_CREDIT:     &sessionv1.Credit{Task: o[:16], N: 1},
		sessionv1.Kind_KIND_STOP_ACTOR: &sessionv1.StopActor{Actor: o[:16]},
		sessionv1.Kind_KIND_INTERRUPT:  &sessionv1.Interrupt{Task: o[:16]},
		sessionv1.Kind_KIND_SLAB:       &sessionv1.Slab{Slab: 1, Size: 4096},
	} {
		frame := wire.AppendFrame(nil, kind, m)
		f.Add(frame, frame)
	}
	f.Fuzz(func(t *testing.T, toCall, toSide []byte) {
		for _, role := range []string{wire.RoleDriver, wire.RoleWorker} {
			n := newFakeNode(t)
			r := n.join(role)
			n.mu.Lock()
			c := n.all[0]
			n.mu.Unlock()
			call := newCall(r, taskOf(double), double, Arg{Val: 1})
			r.Submit(t.Context(), call)
			_, _ = c.call.Write(toCall)
			_, _ = c.side.Write(toSide)
			c.call.Shutdown()
			c.side.Shutdown()
			<-r.gone
			r.Want(&call.Fut1)
			if err := call.Fut1.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
			n.close()
		}
		runtime.Gosched()
	})
}
