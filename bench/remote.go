package main

import (
	"context"
)

var remoteTasks = &topic{
	name: "process",
	rows: []row{
		{name: "process/call", what: "task in another process (Go worker), call and get", asked: "≤ 30 µs",
			limit: frameAndBack, unit: nanoseconds, reached: atMost(30_000)},
		{name: "process/pipelined", what: "task in another process (Go worker), pipelined", asked: "≥ 250,000/s",
			limit: "frames to a process and back, streamed", unit: rate, reached: atLeast(250_000)},
	},
	measure: func(ctx context.Context, m *meter) error {
		peer, err := startEcho(ctx)
		if err != nil {
			return err
		}
		defer peer.stop()
		return m.withNode(ctx, func(*node) error {
			return m.alternate(
				func() error { return m.remoteTasks(ctx) },
				func() error { return m.bareSocket(peer) },
			)
		})
	},
}

func (m *meter) remoteTasks(ctx context.Context) error {
	ns, err := m.each(1, func() error { return callTask(ctx) })
	if err != nil {
		return err
	}
	m.subject("process/call", ns)
	ns, err = m.each(window, func() error { return pipelineTasks(ctx) })
	if err != nil {
		return err
	}
	m.subject("process/pipelined", 1e9/ns)
	return nil
}

func (m *meter) bareSocket(peer *echo) error {
	ns, err := m.each(1, peer.ping)
	if err != nil {
		return err
	}
	m.limit("process/call", ns)
	const frames = 100_000
	ns, err = m.each(frames, func() error { return peer.stream(frames) })
	if err != nil {
		return err
	}
	m.limit("process/pipelined", 1e9/ns)
	return nil
}
