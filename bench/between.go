package main

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/weftrun/weft"
)

var betweenNodes = &topic{
	name: "between",
	rows: []row{
		{name: "between/call", what: "task on another node (Go worker), call and get", asked: "≤ 120 µs",
			limit: "a frame to another thread and back over TCP", unit: nanoseconds, reached: atMost(120_000)},
		{name: "between/pipelined", what: "task on another node (Go worker), pipelined", unit: rate},
		{name: "between/object", what: "object of 1 GiB to another node", asked: "≥ 70% of one TCP stream",
			limit: "1 GiB from memory to memory over one TCP stream, not encrypted", unit: bytesPerSecond, reached: ofLimit(0.7)},
	},
	rounds:  5,
	timeout: 10 * time.Minute,
	measure: func(ctx context.Context, m *meter) error {
		wire, err := startStream(ctx)
		if err != nil {
			return err
		}
		defer wire.stop()
		room := []string{"--store-bytes", "3GiB"}
		return m.withNode(ctx, func(head *node) (err error) {
			other, err := m.startNode(ctx, append(room, "--address", head.Cluster)...)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, other.stop()) }()
			return m.alternate(
				func() error { return m.callBetween(ctx, weft.OnNode(other.Node, false)) },
				func() error { return m.moveBetween(ctx, weft.OnNode(other.Node, false)) },
				func() error { return m.bareTCP(wire) },
			)
		}, append(room, "--head", "--listen", "127.0.0.1:0")...)
	},
}

func (m *meter) callBetween(ctx context.Context, there weft.Option) error {
	ns, err := m.each(1, func() error { return callTask(ctx, there) })
	if err != nil {
		return err
	}
	m.subject("between/call", ns)
	ns, err = m.each(window, func() error { return pipelineTasks(ctx, there) })
	if err != nil {
		return err
	}
	m.subject("between/pipelined", 1e9/ns)
	return nil
}

// length has its argument brought to its node, and does not look at it.
var length = weft.Task1("bench.length", func(_ context.Context, b []byte) (int, error) { return len(b), nil })

func (m *meter) moveBetween(ctx context.Context, there weft.Option) error {
	size := m.pick(gib, 64*mib)
	ref, err := weft.Put(ctx, pattern(m.round, size))
	if err != nil {
		return err
	}
	if _, err := square.Call(ctx, 1, there); err != nil { // a worker is there
		return err
	}
	ns, err := took(func() error {
		n, err := length.RemoteOf(ctx, ref, there).Get(ctx)
		return right(n == size, err)
	})
	m.subject("between/object", perSecond(size, ns))
	settle()
	return err
}

// stream is a TCP connection of this process with itself.
type stream struct{ from, to net.Conn }

func startStream(ctx context.Context) (*stream, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	s := &stream{}
	if s.from, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, err
	}
	if s.to, err = l.Accept(); err != nil {
		return nil, errors.Join(err, s.from.Close())
	}
	return s, nil
}

func (s *stream) stop() {
	_ = s.from.Close()
	_ = s.to.Close()
}

// move sends from and reads as much into to.
func (s *stream) move(from, to []byte) error {
	sent := make(chan error, 1)
	go func() { _, err := s.from.Write(from); sent <- err }()
	_, err := io.ReadFull(s.to, to)
	return errors.Join(err, <-sent)
}

// bounce has a frame go there and back.
func (s *stream) bounce(frame []byte) error {
	echoed := make(chan error, 1)
	go func() {
		b := make([]byte, len(frame))
		_, err := io.ReadFull(s.to, b)
		if err == nil {
			_, err = s.to.Write(b)
		}
		echoed <- err
	}()
	_, err := s.from.Write(frame)
	if err == nil {
		_, err = io.ReadFull(s.from, frame)
	}
	return errors.Join(err, <-echoed)
}

func (m *meter) bareTCP(s *stream) error {
	frame := make([]byte, 64)
	ns, err := m.each(1, func() error { return s.bounce(frame) })
	if err != nil {
		return err
	}
	m.limit("between/call", ns)
	size := m.pick(gib, 64*mib)
	from, to := pattern(1, size), make([]byte, size)
	copy(to, from) // its pages are there
	ns, err = took(func() error { return s.move(from, to) })
	m.limit("between/object", perSecond(size, ns))
	return err
}
