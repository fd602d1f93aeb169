package peer

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/weftrun/weft/internal/id"
)

// station is a node on loopback.
func station(b *testing.B, n byte, ports map[id.Node]string, change func(*Config)) *Peers {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	cfg := Config{Self: id.Node{n}, Address: func(n id.Node) (string, bool) { return ports[n], true }}
	change(&cfg)
	p := New(cfg)
	ports[cfg.Self] = l.Addr().String()
	done := make(chan error)
	go func() { done <- p.Serve(l) }()
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return p
}

// One message there and one back.
func BenchmarkRoundTrip(b *testing.B) {
	ports, back := map[id.Node]string{}, make(chan struct{}, 1)
	one := station(b, 1, ports, func(c *Config) {
		c.Receive = func(id.Node, []byte) error { back <- struct{}{}; return nil }
	})
	var two *Peers
	two = station(b, 2, ports, func(c *Config) {
		c.Receive = func(from id.Node, m []byte) error { two.Send(from, m); return nil }
	})
	m := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		one.Send(id.Node{2}, m)
		<-back
	}
}

// Messages of 100 bytes one way, as fast as they go with 10,000 on their way.
func BenchmarkMessages(b *testing.B) {
	ports := map[id.Node]string{}
	one := station(b, 1, ports, func(*Config) {})
	var last atomic.Uint64
	room := make(chan struct{}, 10_000)
	_ = station(b, 2, ports, func(c *Config) {
		c.Receive = func(_ id.Node, m []byte) error { last.Store(binary.BigEndian.Uint64(m)); <-room; return nil }
	})
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		m := make([]byte, 100)
		binary.BigEndian.PutUint64(m, n)
		room <- struct{}{}
		one.Send(id.Node{2}, m)
	}
	for range cap(room) {
		room <- struct{}{} // until all have come
	}
	if last.Load() != n {
		b.Error(last.Load(), "came last of", n)
	}
}

const gib = 1 << 30

// 1 GiB from one node to another, beside the same over one TCP connection.
func BenchmarkPull(b *testing.B) {
	ports := map[id.Node]string{}
	data, to := make([]byte, gib), make([]byte, gib)
	var open atomic.Int32
	one := station(b, 1, ports, func(*Config) {})
	_ = station(b, 2, ports, serving(data, &open))
	b.SetBytes(gib)
	for b.Loop() {
		r, err := one.Pull(context.Background(), id.Node{2}, "object")
		if err == nil {
			_, err = io.ReadFull(r, to)
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}

func BenchmarkPullRaw(b *testing.B) {
	data, to := make([]byte, gib), make([]byte, gib)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(data)
			_ = c.Close()
		}
	}()
	b.SetBytes(gib)
	for b.Loop() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, err = io.ReadFull(c, to)
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
	_ = l.Close()
}
