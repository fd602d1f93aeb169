package node_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// start starts a node with a socket.
func start(t testing.TB, cpus float64) (socket string) {
	t.Helper()
	return startWith(t, node.Config{Resources: map[string]float64{"CPU": cpus}})
}

// startWith is start with a configuration that lacks its paths.
func startWith(t testing.TB, cfg node.Config) (socket string) {
	t.Helper()
	socket, _ = startNode(t, cfg)
	return socket
}

func startNode(t testing.TB, cfg node.Config) (socket string, _ *node.Node) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	cfg.Dir, cfg.Socket = filepath.Dir(socket), socket
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Check(); err != nil {
			t.Error("before the end:", err)
		}
		if err := n.Close(ctx); err != nil {
			t.Error("close the node:", err)
		}
	})
	return socket, n
}

// open returns a context of a new session, embedded unless an address is given.
func open(t testing.TB, opts ...weft.InitOption) context.Context {
	t.Helper()
	s, err := weft.Init(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
	t.Cleanup(cancel)
	return ctx
}

func end(t testing.TB, s *weft.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error("shutdown:", err)
	}
}

// each runs a test with an embedded node, with one that is joined, and with one
// that has no CPUs and a second that has.
func each(t *testing.T, cpus float64, test func(*testing.T, context.Context)) {
	t.Run("embedded", func(t *testing.T) { test(t, open(t, cpu(cpus))) })
	t.Run("joined", func(t *testing.T) { test(t, open(t, weft.Address(start(t, cpus)))) })
	t.Run("remote", func(t *testing.T) {
		sockets, _ := clusterOf(t, 0, cpus)
		test(t, open(t, weft.Address(sockets[0])))
	})
}

func cpu(n float64) weft.InitOption { return weft.Resources(map[string]float64{"CPU": n}) }

var (
	inc = weft.Task1("node_test.inc", func(_ context.Context, x int) (int, error) { return x + 1, nil })
	nap = weft.Task1("node_test.nap", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
)

// fifo makes a pipe. Whoever opens it to read waits until letGo.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func letGo(t *testing.T, pipe string) {
	t.Helper()
	f, err := os.OpenFile(pipe, os.O_RDWR, 0) // does not wait
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}
