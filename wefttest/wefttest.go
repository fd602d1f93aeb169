package wefttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/internal/node"
)

// endWithin bounds how long a cluster may take to end.
const endWithin = 20 * time.Second

// Main runs the tests of m, or serves as a worker if a node has started this
// process as one. It does not return.
func Main(m *testing.M) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	os.Exit(m.Run())
}

// Cluster is one node and a session with it, for the length of a test.
type Cluster struct {
	t       testing.TB
	session *weft.Session
	node    *node.Node // of Join
	address string
	ctx     context.Context
}

// Options are the settings of a test's node. Zero fields are those of weft.Init.
type Options struct {
	Resources  map[string]float64
	StoreBytes int64
	SpillDir   string
	SpillBytes int64
	Memory     int64
}

// Start runs a node inside the test.
func Start(t testing.TB, opts ...weft.InitOption) *Cluster {
	t.Helper()
	leak.Check(t)
	t.Setenv(weft.AddressEnv, "")
	s, err := weft.Init(context.Background(), opts...)
	if err != nil {
		t.Fatalf("wefttest: %v", err)
	}
	return begin(t, &Cluster{t: t, session: s})
}

// Join runs a node as a daemon would be, and joins it.
func Join(t testing.TB, o Options) *Cluster {
	t.Helper()
	leak.Check(t)
	dir := t.TempDir()
	c := &Cluster{t: t, address: filepath.Join(dir, "weft.sock")}
	n, err := node.New(node.Config{Dir: dir, Socket: c.address, Resources: o.Resources, StoreBytes: o.StoreBytes,
		SpillDir: o.SpillDir, SpillBytes: o.SpillBytes, MemoryLimit: o.Memory})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		t.Fatalf("wefttest: %v", err)
	}
	c.node = n
	t.Cleanup(c.KillNode)
	if c.session, err = weft.Init(context.Background(), weft.Address(c.address)); err != nil {
		t.Fatalf("wefttest: %v", err)
	}
	return begin(t, c)
}

// begin gives the test a context that ends before its own deadline would.
func begin(t testing.TB, c *Cluster) *Cluster {
	ctx, cancel := context.WithTimeout(c.session.Context(context.Background()), time.Minute)
	c.ctx = ctx
	t.Cleanup(func() {
		cancel()
		c.Shutdown()
	})
	return c
}

// Context is the context for calls of the test. It ends after a minute, so that
// a test that hangs says where.
func (c *Cluster) Context() context.Context { return c.ctx }

// Session is the test's session.
func (c *Cluster) Session() *weft.Session { return c.session }

// Address is where further programs can join; "" after Start.
func (c *Cluster) Address() string { return c.address }

// Shutdown ends the session before the test does.
func (c *Cluster) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	if err := c.session.Shutdown(ctx); err != nil {
		c.t.Errorf("wefttest: shutdown: %v", err)
	}
}

// Check fails the test if an invariant of the node does not hold.
func (c *Cluster) Check() {
	c.t.Helper()
	if c.node == nil {
		return
	}
	if err := c.node.Check(); err != nil {
		c.t.Errorf("wefttest: %v", err)
	}
}
