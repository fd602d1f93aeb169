package cluster_test

import (
	"context"
	"crypto/rand"
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
	"github.com/weftrun/weft/internal/head"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/identity"
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
	// Of a head.
	store     control.Store
	authority *identity.Authority
}

// start starts a member that joins the cluster of head; without, it is a head.
func start(t *testing.T, cpus float64, joins ...*member) *member {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := t.TempDir()
	m := &member{socket: filepath.Join(dir, "s"), expelled: make(chan struct{})}
	cfg := cluster.Config{Listen: "127.0.0.1:0", Expelled: func() { close(m.expelled) },
		Node: node.Config{Dir: dir, Socket: m.socket, Resources: map[string]float64{"CPU": cpus}}}
	rand.Read(cfg.ID[:])
	if len(joins) == 0 {
		m.found(t, &cfg)
	}
	for _, h := range joins {
		joined := joining(t, h, cfg.ID)
		cfg.Credentials, cfg.Heads = joined.Credentials, joined.Heads
	}
	m.Member = cluster.New(cfg)
	t.Cleanup(func() { m.close(t) })
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

// joining is what node n has once the head h has let it in.
func joining(t *testing.T, h *member, n id.Node) cluster.Config {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, err := h.authority.NewToken(ctx, h.store, identity.TokenOptions{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := identity.Join(ctx, h.Address(), token.String(), n, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Config{ID: n, Listen: "127.0.0.1:0", Credentials: a.Credentials, Heads: []head.Where{{Node: a.Head, Address: h.Address()}}}
}

// found makes m the first head of a cluster.
func (m *member) found(t *testing.T, cfg *cluster.Config) {
	var err error
	if m.authority, err = identity.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	if cfg.Credentials, err = m.authority.NewCredentials(cfg.ID, nil); err != nil {
		t.Fatal(err)
	}
	m.store = mem.New(mem.Config{})
	cfg.Store = m.store
	cfg.Desk = &identity.Desk{Authority: m.authority, Store: m.store, Self: cfg.ID}
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
	first := start(t, 0)
	ctx := open(t, first.socket)
	waits := inc.Remote(ctx, 1) // waits for a node that can
	start(t, 1, first)
	if got, err := waits.Get(ctx); err != nil || got != 2 {
		t.Fatal(got, err)
	}
	third := start(t, 1, first)
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
