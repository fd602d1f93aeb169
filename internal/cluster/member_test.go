package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/cluster"
	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/control/mem"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	goleak.VerifyTestMain(m)
}

// member is a node that a test has started.
type member struct {
	*cluster.Member
	socket   string
	expelled chan struct{}
	store    control.Store // its own, of a head
}

// start starts a member that knows of the heads given; without any it is one.
func start(t *testing.T, cpus float64, heads ...string) *member {
	t.Helper()
	dir := t.TempDir()
	m := &member{socket: filepath.Join(dir, "s"), expelled: make(chan struct{})}
	cfg := cluster.Config{Listen: "127.0.0.1:0", Heads: heads, Expelled: func() { close(m.expelled) },
		Node: node.Config{Dir: dir, Socket: m.socket, Resources: map[string]float64{"CPU": cpus}}}
	if len(heads) == 0 {
		m.store = mem.New(mem.Config{})
		cfg.Store = m.store
	}
	var err error
	if m.Member, err = cluster.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.close(t) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) close(t *testing.T) {
	if m.Member == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	if m.store != nil {
		_ = m.store.Close()
	}
	m.Member = nil
}

func open(t *testing.T, socket string) context.Context {
	t.Helper()
	s, err := weft.Init(context.Background(), weft.Address(socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
	t.Cleanup(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return ctx
}

var inc = weft.Task1("cluster_test.inc", func(_ context.Context, n int) (int, error) { return n + 1, nil })

// A head without CPUs has its tasks run by the nodes that join it.
func TestJoin(t *testing.T) {
	head := start(t, 0)
	ctx := open(t, head.socket)
	first := inc.Remote(ctx, 1) // waits for a node that can
	start(t, 1, head.Address())
	if got, err := first.Get(ctx); err != nil || got != 2 {
		t.Fatal(got, err)
	}
	third := start(t, 1, head.Address())
	for i := range 100 {
		if got, err := inc.Call(ctx, i); err != nil || got != i+1 {
			t.Fatal(got, err)
		}
	}
	until(ctx, t, "three nodes", func() bool {
		rows, err := third.State().Nodes(ctx, state.Query{})
		return err == nil && len(rows.Rows) == 3
	})
}

func until(ctx context.Context, t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("there never was", what)
		}
	}
}
