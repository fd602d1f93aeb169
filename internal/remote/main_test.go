package remote_test

import (
	"context"
	"crypto/tls"
	"io"
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
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/remote"
	"github.com/weftrun/weft/internal/token"
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
	way     *way
	token   *token.Token
	refuse  func(string) error // what Authenticate says besides
	role    remote.Role
}

func start(t *testing.T, role remote.Role, resume time.Duration) *cluster {
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
	c.gateway = remote.NewGateway(remote.Config{Socket: filepath.Join(dir, "s"), Dir: filepath.Join(dir, "programs"), Resume: resume, Authenticate: c.authenticate})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := c.gateway.Serve(l); err != nil {
			t.Error(err)
		}
	})
	c.way = newWay(t, l.Addr().String())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.way.close()
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

func (c *cluster) authenticate(_ context.Context, secret string) (remote.Role, error) {
	if c.refuse != nil {
		return "", c.refuse(secret)
	}
	return c.role, nil
}

func (c *cluster) address() string {
	return "weft://" + c.token.String() + "@" + c.way.l.Addr().String()
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

// way passes bytes on to an address, until it is cut.
type way struct {
	l    net.Listener
	to   string
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
	shut bool // new connections are refused

	limit    atomic.Int64 // bytes that one lasts for in a direction; 0: for ever
	accepted atomic.Int64
}

func newWay(t *testing.T, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{l: l, to: to, open: map[net.Conn]bool{}}
	w.wg.Go(w.serve)
	return w
}

func (w *way) serve() {
	for {
		from, err := w.l.Accept()
		if err != nil {
			return
		}
		w.accepted.Add(1)
		to, err := net.Dial("tcp", w.to)
		if err != nil || !w.add(from, to) {
			_ = from.Close()
			if to != nil {
				_ = to.Close()
			}
			continue
		}
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			w.wg.Go(func() {
				if limit := w.limit.Load(); limit > 0 {
					_, _ = io.CopyN(pair[1], pair[0], limit)
					_, _ = from.Close(), to.Close()
					return
				}
				_, _ = io.Copy(pair[1], pair[0])
				_ = pair[1].(*net.TCPConn).CloseWrite()
			})
		}
	}
}

func (w *way) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.open[c] = true
	}
	if w.shut {
		clear(w.open)
	}
	return !w.shut
}

// cut ends all connections; with shut there are no further ones.
func (w *way) cut(shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = shut
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	clear(w.open)
}

func (w *way) close() {
	_ = w.l.Close()
	w.cut(true)
	w.wg.Wait()
}
