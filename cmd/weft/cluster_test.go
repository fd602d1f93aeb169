package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/state"
)

// many is a cluster of processes on this machine.
type many struct {
	*terminal
	nodes    []readyReport // the head first
	patience time.Duration // of programs
}

// newMany starts a head and others that join it.
func newMany(t *testing.T, others int) *many {
	t.Helper()
	m := &many{terminal: newTerminal(t), patience: time.Minute}
	m.start(t, "--head", "--listen", "127.0.0.1:0")
	for range others {
		m.start(t, "--address", m.nodes[0].Cluster)
	}
	return m
}

// start starts another node, with one CPU.
func (m *many) start(t *testing.T, args ...string) {
	t.Helper()
	dir := filepath.Join(m.parent, fmt.Sprintf("n%d", len(m.nodes)))
	out := m.want(t, append([]string{"start", "--format", "json", "--detach", "--cpus", "1", "--dir", dir}, args...)...)
	var r readyReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err, out)
	}
	m.nodes = append(m.nodes, r)
	node := &terminal{m.parent, dir}
	t.Cleanup(func() {
		_ = syscall.Kill(r.PID, syscall.SIGKILL)
		node.waitGone(t)
	})
}

// stop ends a node as its user does.
func (m *many) stop(t *testing.T, i int) {
	t.Helper()
	m.want(t, "stop", "--address", m.nodes[i].Dir)
}

// until waits for a condition of what a node lists.
func (m *many) until(t *testing.T, what string, i int, f func(nodes []state.Node) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	var nodes []state.Node
	for time.Now().Before(deadline) {
		nodes = nil
		for line := range strings.Lines(m.want(t, "list", "nodes", "--format", "json", "--address", m.nodes[i].Dir)) {
			var n state.Node
			if err := json.Unmarshal([]byte(line), &n); err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
		}
		if f(nodes) {
			return
		}
	}
	t.Fatalf("there never was %s: %v", what, nodes)
}

// drive runs a program at a node.
func (m *many) drive(t *testing.T, i int) context.Context {
	t.Helper()
	s, err := weft.Init(context.Background(), weft.Address(m.nodes[i].Address))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), m.patience)
	t.Cleanup(func() {
		cancel()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return ctx
}

// spin takes a while, and has one right answer.
var spin = weft.Task1("weft_test.spin", func(_ context.Context, n int) (int, error) {
	x := uint32(n)
	for range 2_000_000 {
		x = x*1664525 + 1013904223
	}
	return int(x), nil
}, weft.CPU(1))

// A node whose process is killed costs no task of another node's driver.
func TestNodeProcessDies(t *testing.T) {
	m := newMany(t, 2)
	m.until(t, "a cluster of three", 0, func(nodes []state.Node) bool { return len(nodes) == 3 })
	ctx := m.drive(t, 0)
	const tasks = 300
	refs := make([]weft.Ref[int], tasks)
	for i := range refs {
		refs[i] = spin.Remote(ctx, i)
	}
	for i, r := range refs {
		if i == tasks/4 {
			if err := syscall.Kill(m.nodes[2].PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		x := uint32(i)
		for range 2_000_000 {
			x = x*1664525 + 1013904223
		}
		if got, err := r.Get(ctx); err != nil || got != int(x) {
			t.Fatal(i, got, err)
		}
	}
	m.until(t, "a cluster of two", 0, func(nodes []state.Node) bool { return len(nodes) == 2 })
	m.start(t, "--address", m.nodes[0].Cluster)
	m.until(t, "a cluster of three again", 1, func(nodes []state.Node) bool { return len(nodes) == 3 })
	m.stop(t, 3)
	m.until(t, "a cluster without the one that was stopped", 1, func(nodes []state.Node) bool { return len(nodes) == 2 })
	if got, err := spin.Call(ctx, 1); err != nil || got == 0 {
		t.Fatal(got, err)
	}
}

// With three heads the one that coordinates may die: names are given and found again soon.
func TestHeadProcessDies(t *testing.T) {
	m := newMany(t, 0)
	m.start(t, "--head", "--address", m.nodes[0].Cluster)
	m.start(t, "--head", "--address", m.nodes[0].Cluster)
	m.until(t, "a cluster of three", 1, func(nodes []state.Node) bool { return len(nodes) == 3 })
	ctx := m.drive(t, 1)
	before := box.New(ctx, 1, weft.Named("before"), weft.Namespace("n"), weft.CPU(0.1))
	if err := before.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(m.nodes[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := box.New(ctx, 2, weft.Named("after"), weft.Namespace("n"), weft.CPU(0.1))
	if err := after.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"before", "after"} {
		if _, err := weft.LookupIn(ctx, box, "n", name); err != nil {
			t.Fatal(name, err)
		}
	}
}

// Heads can be stopped one after the other, the last ones with too few left to write.
func TestHeadsStop(t *testing.T) {
	m := newMany(t, 0)
	m.start(t, "--head", "--address", m.nodes[0].Cluster)
	m.start(t, "--head", "--address", m.nodes[0].Cluster)
	m.until(t, "a cluster of three", 0, func(nodes []state.Node) bool { return len(nodes) == 3 })
	for i := range m.nodes {
		m.stop(t, i)
	}
}

// An address that nobody can dial is refused before anything is started.
func TestListenEverywhere(t *testing.T) {
	m := newTerminal(t)
	for _, args := range [][]string{{"--head", "--listen", "0.0.0.0:0"}, {"--head", "--listen", ":0"}, {"--address", "127.0.0.1:1", "--listen", "[::]:0"}} {
		status, _, errs := m.run(append([]string{"start", "--dir", filepath.Join(m.parent, "n")}, args...)...)
		if status != exitUsage || !strings.Contains(errs, "--advertise") {
			t.Error(args, status, errs)
		}
	}
}

type boxed struct{ n int }

var box = weft.Actor1("weft_test.box", func(_ context.Context, n int) (*boxed, error) { return &boxed{n}, nil })

// A token lets one node in.
func TestTokenCommands(t *testing.T) {
	m := newMany(t, 0)
	head := m.nodes[0]
	line := m.want(t, "token", "create", "--address", head.Dir)
	_, token, ok := strings.Cut(strings.TrimSpace(line), "--token ")
	if !ok {
		t.Fatal(line)
	}
	m.start(t, "--address", head.Cluster, "--token", token)
	status, _, errs := m.run("start", "--address", head.Cluster, "--token", token, "--dir", filepath.Join(m.parent, "late"))
	if status == exitOK || !strings.Contains(errs, "has been used or revoked") {
		t.Fatal(status, errs)
	}
	if status, _, errs := m.run("token", "create", "--address", m.nodes[1].Dir); status == exitOK || !strings.Contains(errs, "no head") {
		t.Fatal(status, errs)
	}
	if list := m.want(t, "token", "list", "--address", head.Dir); strings.Count(list, "\n") != 1 {
		t.Fatal(list) // this machine's own
	}
	if status, _, errs := m.run("start", "--address", "127.0.0.1:1", "--dir", filepath.Join(m.parent, "lost")); status == exitOK || !strings.Contains(errs, "no head of this user") {
		t.Fatal(status, errs)
	}
}
