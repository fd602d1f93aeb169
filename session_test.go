package weft_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/wefttest"
)

func TestWithoutSession(t *testing.T) {
	ctx := context.Background()
	_, err := square.Call(ctx, 1)
	isCode(t, err, weft.Closed, "no session", "weft.Init")
	_, err = weft.Put(ctx, 1)
	isCode(t, err, weft.Closed, "weft.Init")
	isCode(t, tallies.New(ctx, 1).Ready(ctx), weft.Closed, "weft.Init")
	_, err = weft.Lookup(ctx, tallies, "x")
	isCode(t, err, weft.Closed)
	_, err = weft.NewGroup(ctx, weft.Pack, bundle{"CPU": 1})
	isCode(t, err, weft.Closed)
	for _, err := range generate.Remote(ctx, course{Items: 1}).All(ctx) {
		isCode(t, err, weft.Closed)
	}
	if err := weft.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestAfterShutdown(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		known := square.Remote(ctx, 3)
		equal(t, 9)(known.Get(ctx))
		m, arrived, _ := newMeeting(t)
		running, queued := meet.Remote(ctx, m, weft.Resource("slot", 1)), square.Remote(ctx, 1, weft.Resource("slot", 1))
		a := tallies.New(ctx, 1)
		equal(t, 2)(tallyAdd.Call(ctx, a, 1))
		items := generate.Remote(ctx, course{Items: 1000})
		c.Eventually("the task", arrived.happened)
		waited := make(chan error, 1)
		go func() { _, err := running.Get(ctx); waited <- err }()
		c.Shutdown()
		c.Shutdown()
		isCode(t, <-waited, weft.Closed)
		equal(t, 9)(known.Get(ctx)) // what is here stays
		for _, ref := range []weft.Ref[int]{running, queued, square.Remote(ctx, 1), tallyAdd.Remote(ctx, a, 1)} {
			_, err := ref.Get(ctx)
			isCode(t, err, weft.Closed)
		}
		_, err := consume(ctx, t, items)
		isCode(t, err, weft.Closed)
		_, err = consume(ctx, t, generate.Remote(ctx, course{Items: 1}))
		isCode(t, err, weft.Closed)
		_, err = weft.Put(ctx, make([]byte, 1<<20))
		isCode(t, err, weft.Closed)
		_, err = weft.Lookup(ctx, tallies, "x")
		isCode(t, err, weft.Closed)
		isCode(t, tallies.New(ctx, 1).Ready(ctx), weft.Closed)
		isCode(t, tallies.New(ctx, 1, weft.Named("x")).Ready(ctx), weft.Closed)
		_, err = weft.NewGroup(ctx, weft.Pack, bundle{"CPU": 1})
		isCode(t, err, weft.Closed)
		weft.Cancel(running)
		weft.Kill(a, false)
	})
}

// Sessions and nodes of one program do not know of each other.
func TestTwoNodes(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	var sessions []*weft.Session
	for range 2 {
		sessions = append(sessions, must[*weft.Session](t)(weft.Init(ctx)))
	}
	contexts := []context.Context{ctx, sessions[0].Context(ctx), sessions[1].Context(ctx)}
	nodes := map[string]bool{}
	for i, ctx := range contexts {
		a := tallies.New(ctx, 10*i, weft.Named("the same"))
		equal(t, 10*i+1)(tallyAdd.Call(ctx, a, 1))
		equal(t, i*i)(square.Call(ctx, i))
		nodes[weft.Runtime(ctx).Node] = true
	}
	if len(nodes) != 3 {
		t.Errorf("3 nodes have %d ids", len(nodes))
	}
	for i, s := range sessions {
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		_, err := square.Call(contexts[i+1], 1)
		isCode(t, err, weft.Closed)
		equal(t, 4)(square.Call(ctx, 2))
	}
}

// A session joins the node beside another; named actors can be shared, and a
// detached one outlives the session that made it.
func TestDetachedActor(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	other, err := weft.Init(ctx, weft.Address(c.Address()), weft.InNamespace("shared"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := other.Context(context.Background())
	a := tallies.New(theirs, 5, weft.Named("kept"), weft.Detached())
	b := tallies.New(theirs, 5, weft.Named("dropped"))
	equal(t, 6)(tallyAdd.Call(theirs, a, 1))
	equal(t, 6)(tallyAdd.Call(theirs, b, 1))
	mine := must[weft.Actor[tally]](t)(weft.LookupIn(ctx, tallies, "shared", "kept"))
	dropped := must[weft.Actor[tally]](t)(weft.LookupIn(ctx, tallies, "shared", "dropped"))
	equal(t, 7)(tallyAdd.Call(ctx, mine, 1))
	if err := other.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	equal(t, 8)(tallyAdd.Call(ctx, mine, 1))
	_, err = tallyAdd.Call(ctx, dropped, 1)
	isCode(t, err, weft.ActorDied, "job ended")
	again := must[weft.Actor[tally]](t)(weft.LookupIn(ctx, tallies, "shared", "kept"))
	equal(t, 9)(tallyAdd.Call(ctx, again, 1))
	weft.Kill(again, false)
	_, err = tallyAdd.Call(ctx, mine, 1)
	isCode(t, err, weft.ActorDied, "killed")
}

// A node that goes away under a program is a clear error wherever it waits.
func TestNodeDiesUnderTheProgram(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	known := square.Remote(ctx, 3)
	equal(t, 9)(known.Get(ctx))
	m, arrived, _ := newMeeting(t)
	running, queued := meet.Remote(ctx, m, weft.Resource("slot", 1)), square.Remote(ctx, 1, weft.Resource("slot", 1))
	items := generate.Remote(ctx, course{Items: 1 << 40})
	a := tallies.New(ctx, 1)
	equal(t, 2)(tallyAdd.Call(ctx, a, 1))
	c.Eventually("the task", arrived.happened)
	waits := map[string]func() error{
		"get":    func() error { _, err := running.Get(ctx); return err },
		"wait":   func() error { _, err := weft.GetAll(ctx, []weft.Ref[int]{queued, running}); return err },
		"stream": func() error { _, err := consume(ctx, t, items); return err },
		"completed": func() (last error) {
			for _, last = range weft.Completed(ctx, []weft.Ref[int]{queued}) {
			}
			return last
		},
		"group": func() error { _, err := weft.NewGroup(ctx, weft.Pack, bundle{"slot": 1}); return err },
	}
	errs := make(chan error)
	for name, wait := range waits {
		go func() {
			if err := wait(); !errors.Is(err, weft.Closed) {
				errs <- fmt.Errorf("%s: %w is not of code closed", name, err)
				return
			}
			errs <- nil
		}()
	}
	c.KillNode()
	for range waits {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	equal(t, 9)(known.Get(ctx))
	for _, ref := range []weft.Ref[int]{running, square.Remote(ctx, 2), tallyAdd.Remote(ctx, a, 1)} {
		_, err := ref.Get(ctx)
		isCode(t, err, weft.Closed)
	}
	_, err := weft.Put(ctx, 1)
	isCode(t, err, weft.Closed)
	_, err = weft.Init(ctx, weft.Address(c.Address()))
	isCode(t, err, weft.Closed, c.Address(), "weft start")
}

func TestJoinNothing(t *testing.T) {
	leak.Check(t)
	_, err := weft.Init(context.Background(), weft.Address(t.TempDir()+"/no.sock"))
	isCode(t, err, weft.Closed, "no.sock", "weft start")
	_, err = weft.Init(context.Background(), weft.Resources(map[string]float64{"CPU": -1}))
	isCode(t, err, weft.Invalid, "CPU")
	_, err = weft.Init(context.Background(), weft.StoreBytes(-1))
	isCode(t, err, weft.Invalid)
}

// Garbage on the socket ends that connection and nothing else.
func TestGarbageOnTheSocket(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	a := tallies.New(ctx, 1)
	for seed := range uint64(8) {
		conn, err := net.Dial("unix", c.Address())
		if err != nil {
			t.Fatal(err)
		}
		garbage := noise(seed, 100<<seed)
		if seed == 0 {
			garbage = []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		_, _ = conn.Write(garbage) // the node may have closed it meanwhile
		_ = conn.(*net.UnixConn).CloseWrite()
		_, _ = bufio.NewReader(conn).ReadByte()
		_ = conn.Close()
	}
	equal(t, 2)(tallyAdd.Call(ctx, a, 1))
	equal(t, 42)(answer.Call(ctx))
}

// What a node does goes to its Logger, once Shutdown has returned all of it; the
// program's own doings only to one that wants to debug.
func TestLogger(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug} {
		var out strings.Builder
		s := must[*weft.Session](t)(weft.Init(t.Context(), weft.Logger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})))))
		ctx := s.Context(t.Context())
		equal(t, 49)(square.Call(ctx, 7))
		r := square.Remote(ctx, 8)
		equal(t, 64)(r.Get(ctx))
		job := weft.Runtime(ctx).Job
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), job) {
			t.Errorf("%v: the log does not have job %s:\n%s", level, job, &out)
		}
		if strings.Contains(out.String(), "test.square") != (level == slog.LevelDebug) {
			t.Errorf("%v: task %s in the log:\n%s", level, "test.square", &out)
		}
	}
}
