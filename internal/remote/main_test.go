package remote_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/control/mem"
	"github.com/weftrun/weft/internal/cut"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/remote"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	goleak.VerifyTestMain(m)
}

// cluster is a node with a Gateway, and a way to it that can be cut.
type cluster struct {
	node    *node.Node
	gateway *remote.Gateway
	way     *cut.Way
	token   *token.Token
	refuse  atomic.Pointer[wire.Error] // what Authenticate says besides
	asked   atomic.Int64               // how often Authenticate was called
	role    token.Role
}

func start(t *testing.T, role token.Role, resume time.Duration) *cluster {
	t.Helper()
	leak.Check(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := t.TempDir()
	c := &cluster{role: role}
	n, err := node.New(node.Config{Dir: dir, Socket: filepath.Join(dir, "s"), Resources: map[string]float64{"CPU": 2}, StoreBytes: 256 << 20})
	if err == nil {
		err = n.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.node = n
	l := c.listen(t)
	c.gateway = remote.NewGateway(remote.Config{Socket: filepath.Join(dir, "s"), Dir: filepath.Join(dir, "programs"), Resume: resume, Recheck: 10 * time.Millisecond, Authenticate: c.authenticate})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := c.gateway.Serve(l); err != nil {
			t.Error(err)
		}
	})
	c.way = cut.NewWay(t, l.Addr().String())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = l.Close()
		c.gateway.Close()
		serving.Wait()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// listen makes a TLS listener of a cluster, whose token c.token is.
func (c *cluster) listen(t *testing.T) net.Listener {
	t.Helper()
	a, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	store := mem.New(mem.Config{})
	defer func() { _ = store.Close() }()
	if c.token, err = a.NewToken(t.Context(), store, identity.TokenOptions{}); err != nil {
		t.Fatal(err)
	}
	creds, err := a.NewCredentials(id.Node{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := creds.TLS()
	cfg.NextProtos = []string{remote.Protocol}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (c *cluster) authenticate(context.Context, string) (token.Role, error) {
	c.asked.Add(1)
	if err := c.refuse.Load(); err != nil {
		return "", err
	}
	return c.role, nil
}

func (c *cluster) address() string {
	return "weft://" + c.token.String() + "@" + c.way.Address
}

func (c *cluster) open(t *testing.T) context.Context {
	t.Helper()
	s, err := weft.Init(context.Background(), weft.Address(c.address()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
	t.Cleanup(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Log("shutdown:", err)
		}
	})
	return ctx
}
