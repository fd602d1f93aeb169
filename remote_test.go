package weft

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/node"
)

func TestMain(m *testing.M) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	os.Exit(m.Run())
}

func startNode(t testing.TB) string {
	dir := t.TempDir()
	n, err := node.New(node.Config{Dir: dir, Socket: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error("close", err)
		}
	})
	return filepath.Join(dir, "s")
}

func TestRemoteSmoke(t *testing.T) {
	addr := startNode(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connect(t, Address(addr))
	if v, err := square.Call(ctx, 7); v != 49 || err != nil {
		t.Fatal(v, err)
	}
	a := square.Remote(ctx, 3)
	b := addTask.RemoteOf(ctx, a, Val(4))
	if v, err := b.Get(ctx); v != 13 || err != nil {
		t.Fatal(v, err)
	}
	if _, err := boom.Call(ctx, "panic"); !errors.Is(err, UserError) {
		t.Fatal(err)
	} else {
		t.Log(err)
	}
	if v, err := fib.Call(ctx, 10); v != 55 || err != nil {
		t.Fatal(v, err)
	}
	c := counters.New(ctx, 10)
	for i := 1; i <= 100; i++ {
		if v, err := incr.Call(ctx, c, 1); v != 10+i || err != nil {
			t.Fatal(i, v, err)
		}
	}
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i)
	}
	p, err := Put(ctx, big)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Get(ctx)
	if err != nil || len(got) != len(big) || got[77777] != big[77777] {
		t.Fatal(err, len(got))
	}
}

func BenchmarkRemoteCall(b *testing.B) {
	ctx := context.Background()
	connect(b, Address(startNode(b)))
	if _, err := square.Call(ctx, 7); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := square.Call(ctx, 7); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRemotePipelined(b *testing.B) {
	ctx := context.Background()
	connect(b, Address(startNode(b)))
	if _, err := square.Call(ctx, 7); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	pipelined(b, func() Ref[int] { return square.Remote(ctx, 7) })
}
