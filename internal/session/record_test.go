package session

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// A recorder is a Handler that remembers what came.
type recorder struct {
	nop
	conn *Conn

	mu      sync.Mutex
	changed sync.Cond
	seqs    []uint64 // of Puts
	batch   int      // frames since BatchEnd
	longest int      // such batch
	results int
	taken   int
	ended   bool
	err     error
	onPut   func(*sessionv1.Put) error
}

func newRecorder() *recorder {
	r := new(recorder)
	r.changed.L = &r.mu
	return r
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.changed.Broadcast()
}

// wait returns when f is true.
func (r *recorder) wait(f func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !f() {
		r.changed.Wait()
	}
}

func (r *recorder) frame(f func()) {
	r.note(func() {
		f()
		r.batch++
		r.longest = max(r.longest, r.batch)
	})
}

func (r *recorder) Put(m *sessionv1.Put, _ int) error {
	var more func(*sessionv1.Put) error
	r.frame(func() {
		r.seqs = append(r.seqs, m.Seq)
		more = r.onPut
	})
	if more != nil {
		return more(m)
	}
	return nil
}
func (r *recorder) Result(*sessionv1.Result) error {
	r.frame(func() { r.results++ })
	return nil
}
func (r *recorder) TakenBack(*sessionv1.TakenBack) error {
	r.frame(func() { r.taken++ })
	return nil
}
func (r *recorder) BatchEnd() { r.note(func() { r.batch = 0 }) }
func (r *recorder) Closed(err error) {
	r.note(func() {
		if r.ended {
			err = errors.New("Closed was called twice")
		}
		if r.batch > 0 {
			err = errors.New("Closed without BatchEnd")
		}
		r.ended, r.err = true, err
	})
}

// closed waits for the end and returns its error.
func (r *recorder) closed() error {
	r.wait(func() bool { return r.ended })
	return r.err
}

// A testServer is a server whose drivers have recorders.
type testServer struct {
	*Server
	path    string
	drivers chan *recorder // in the order of their Hellos
}

func serve(t testing.TB, cfg Config) *testServer {
	t.Helper()
	ts := &testServer{path: filepath.Join(t.TempDir(), "node"), drivers: make(chan *recorder, 1000)}
	if cfg.Accept == nil {
		cfg.Accept = ts.accept
	}
	var err error
	if ts.Server, err = NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ts.Close)
	if err := ts.Listen(ts.path); err != nil {
		t.Fatal(err)
	}
	return ts
}

func (ts *testServer) accept(c *Conn, hello *sessionv1.Hello) (Handler, *sessionv1.Welcome, error) {
	if hello.Name == "unwanted" {
		return nil, nil, &wire.Error{Code: wire.Unauthenticated, Message: "not you"}
	}
	r := newRecorder()
	r.conn = c
	ts.drivers <- r
	return r, &sessionv1.Welcome{Session: 1}, nil
}

// connect returns both ends of a driver's session.
func (ts *testServer) connect(t testing.TB) (*testDriver, *recorder) {
	t.Helper()
	d := dial(t, ts.path)
	return d, <-ts.drivers
}

// worker returns both ends of a worker's session.
func (ts *testServer) worker(t testing.TB) (*testDriver, *recorder) {
	t.Helper()
	d, call, side := workerLanes(t)
	r := newRecorder()
	accepted := make(chan *Conn, 1)
	conn, err := ts.Adopt(call, side, func(c *Conn, _ *sessionv1.Hello) (Handler, *sessionv1.Welcome, error) {
		accepted <- c
		return r, &sessionv1.Welcome{Worker: 1}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: wire.Version, Role: wire.RoleWorker})
	d.expect(t, sessionv1.Kind_KIND_WELCOME, new(sessionv1.Welcome))
	if r.conn = <-accepted; r.conn != conn {
		t.Fatal("Adopt returned another Conn than it accepted")
	}
	return d, r
}

func workerLanes(t testing.TB) (d *testDriver, call, side int) {
	t.Helper()
	d = new(testDriver)
	for _, lane := range []struct {
		node *int
		ours **wire.Socket
	}{{&call, &d.call}, {&side, &d.side}} {
		node, ours, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		*lane.node = node
		if *lane.ours, err = wire.NewSocket(ours, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*lane.ours).Close() })
	}
	d.frames = wire.NewReader(d.call)
	return d, call, side
}

// goodbye expects the node's last frame.
func goodbye(t testing.TB, frames *wire.Reader) *wire.Error {
	t.Helper()
	for {
		kind, body, err := frames.Next()
		if err != nil {
			t.Fatalf("no goodbye: %v", err)
		}
		if kind != sessionv1.Kind_KIND_GOODBYE {
			continue
		}
		var g sessionv1.Goodbye
		if err := g.UnmarshalVT(body); err != nil {
			t.Fatal(err)
		}
		if _, _, err := frames.Next(); err == nil {
			t.Error("a frame after the goodbye")
		}
		if g.Error == nil {
			return nil
		}
		return wire.ErrorFromPB(g.Error)
	}
}

func put(seq uint64) *sessionv1.Put { return &sessionv1.Put{Seq: seq} }

const short = 400 * time.Millisecond
