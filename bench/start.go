package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/weftrun/weft"
)

var initEmbedded = &topic{
	name: "init",
	rows: []row{
		{name: "init/embedded", what: "`Init` embedded, in a new process", asked: "≤ 5 ms", unit: nanoseconds, reached: atMost(5e6)},
	},
	measure: func(ctx context.Context, m *meter) error {
		return m.alternate(func() error {
			out, err := exec.CommandContext(ctx, "/proc/self/exe", "-peer", "init").Output()
			if err != nil {
				return err
			}
			ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
			m.subject("init/embedded", ns)
			return err
		})
	},
}

// timeInit is what the new process does.
func timeInit() error {
	ctx := context.Background()
	var s *weft.Session
	ns, err := took(func() (err error) { s, err = weft.Init(ctx); return err })
	if err != nil {
		return err
	}
	fmt.Println(ns)
	return s.Shutdown(ctx)
}

var startNodes = &topic{
	name: "start",
	rows: []row{
		{name: "start/ready", what: "`weft start` until it is ready", asked: "≤ 100 ms",
			limit: "`weft version`, start to end", unit: nanoseconds, reached: atMost(100e6)},
		{name: "start/resident", what: "idle node, resident", asked: "≤ 40 MB", unit: sizeInBytes, reached: atMost(40e6)},
	},
	measure: func(ctx context.Context, m *meter) error {
		return m.alternate(
			func() error { return m.startIdle(ctx) },
			func() error {
				ns, err := took(func() error { return exec.CommandContext(ctx, m.weft, "version").Run() })
				m.limit("start/ready", ns)
				return err
			},
		)
	},
}

// idleFor is how long a node is left alone before its memory is read.
const idleFor = time.Second

func (m *meter) startIdle(ctx context.Context) error {
	var n *node
	ns, err := took(func() (err error) { n, err = m.startNode(ctx); return err })
	if err != nil {
		return err
	}
	m.subject("start/ready", ns)
	time.Sleep(idleFor)
	resident, err := n.resident()
	m.subject("start/resident", float64(resident))
	if stopped := n.stop(); err == nil {
		err = stopped
	}
	return err
}
