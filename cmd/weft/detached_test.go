package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/state"
)

// count is an actor that says how often it was called, and where it lives.
type count struct{ n int }

type counted struct {
	N    int
	Node string
}

func (c *count) Add(ctx context.Context) (counted, error) {
	c.n++
	return counted{c.n, weft.Runtime(ctx).Node}, nil
}

var (
	counts   = weft.Actor0("weft_test.count", func(context.Context) (*count, error) { return &count{}, nil }, weft.MaxTaskRetries(1))
	countAdd = weft.Method0(counts, (*count).Add)
)

// index is the node's in m.nodes.
func (m *many) index(t *testing.T, node string) int {
	t.Helper()
	for i := range m.nodes {
		if m.nodes[i].Node == node {
			return i
		}
	}
	t.Fatalf("no node %s", node)
	return 0
}

// hasProgram waits until a node has a copy of the program of another's driver:
// then what the program has made can start there.
func (m *many) hasProgram(t *testing.T, i int) {
	t.Helper()
	m.until(t, "a copy of the program", i, func([]state.Node) bool {
		files, _ := filepath.Glob("/proc/" + strconv.Itoa(m.nodes[i].PID) + "/fd/*")
		return slices.ContainsFunc(files, func(f string) bool {
			to, _ := os.Readlink(f)
			return strings.Contains(to, "/program-") && strings.HasSuffix(to, "(deleted)") // it is whole
		})
	})
}

func living(n int) func([]state.Node) bool {
	return func(nodes []state.Node) bool { return len(nodes) == n }
}

// A detached actor outlives the program that made it, the node that it was made
// at, and where it lived; who has a handle goes on, and so does who finds it.
func TestDetachedOutlivesItsNodes(t *testing.T) {
	m := newMany(t, 3)
	m.until(t, "a cluster of four", 0, living(4))
	ns := weft.Namespace("n")
	maker, err := weft.Init(context.Background(), weft.Address(m.nodes[1].Address))
	if err != nil {
		t.Fatal(err)
	}
	ctx := maker.Context(t.Context())
	a := counts.New(ctx, weft.Named("c"), ns, weft.Detached(), weft.MaxRestarts(2), weft.CPU(0.1), weft.OnNode(m.nodes[2].Node, true))
	got, err := countAdd.Call(ctx, a)
	if err != nil || got != (counted{1, m.nodes[2].Node}) {
		t.Fatal(got, err)
	}
	nameless := counts.New(ctx, weft.Detached(), weft.CPU(0.1), weft.OnNode(m.nodes[2].Node, true))
	for want := 1; want <= 2; want++ { // its death would have reached this node by the second
		if got, err := countAdd.Call(ctx, nameless); err != nil || got.N != want {
			t.Fatal(got, err)
		}
	}
	weft.Kill(nameless, false)
	if err := maker.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx = m.drive(t, 3)
	if a, err = weft.LookupIn(ctx, counts, "n", "c"); err != nil {
		t.Fatal(err)
	}
	add := func(what string, want int) string {
		t.Helper()
		got, err := countAdd.Call(ctx, a)
		if err != nil || got.N != want {
			t.Fatal(what, got, err)
		}
		return got.Node
	}
	add("after its program's end", 2)
	m.hasProgram(t, 0)
	m.hasProgram(t, 3)
	_ = syscall.Kill(m.nodes[1].PID, syscall.SIGKILL)
	add("while its keeper dies", 3)
	m.until(t, "a cluster without the keeper", 0, living(3))
	if at := add("after its keeper's death", 4); at != m.nodes[2].Node {
		t.Fatal(at)
	}
	other := m.drive(t, 0)
	found, err := weft.LookupIn(other, counts, "n", "c")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := countAdd.Call(other, found); err != nil || got.N != 5 {
		t.Fatal(got, err)
	}
	_ = syscall.Kill(m.nodes[2].PID, syscall.SIGKILL)
	at := add("after the death of where it lived", 1)
	add("once more", 2)
	m.start(t, "--address", m.nodes[0].Cluster)
	m.until(t, "a cluster of three again", 0, living(3))
	if i := m.index(t, at); i == 3 {
		m.want(t, "drain", at, "--address", m.nodes[0].Dir)
		ctx, a = other, found
		add("after it was drained", 1)
	}
	weft.Kill(a, false)
	_, err = weft.LookupIn(other, counts, "n", "c")
	for err == nil {
		_, err = weft.LookupIn(other, counts, "n", "c")
	}
	if !errors.Is(err, weft.NotFound) {
		t.Fatal(err)
	}
}
