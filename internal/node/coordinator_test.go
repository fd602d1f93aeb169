package node_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

// cluster opens a session at each of nodes with so many CPUs.
func cluster(t *testing.T, cpus ...float64) (nodes []*node.Node, at []context.Context) {
	sockets, nodes := clusterOf(t, cpus...)
	for _, s := range sockets {
		at = append(at, open(t, weft.Address(s)))
	}
	return nodes, at
}

// The bundles of a group lie on the nodes that its layout says, and tasks run there.
func TestGroupOverNodes(t *testing.T) {
	nodes, at := cluster(t, 1, 1, 1)
	ctx := at[0]
	bundle := map[string]float64{"CPU": 1}
	g, err := weft.NewGroup(ctx, weft.StrictSpread, bundle, bundle, bundle)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := nodes[0].State().Groups(ctx, state.Query{})
	if err != nil || len(rows.Rows) != 1 {
		t.Fatal(rows, err)
	}
	seen := map[string]bool{}
	for i, b := range rows.Rows[0].Bundles {
		seen[b.Node] = true
		if got, err := inc.Call(ctx, i, weft.In(g, i)); err != nil || got != i+1 {
			t.Fatal(got, err)
		}
	}
	if len(seen) != 3 {
		t.Fatalf("three bundles lie at %v", seen)
	}
	if _, err := weft.NewGroup(ctx, weft.StrictPack, bundle, bundle); !errors.Is(err, weft.Unschedulable) {
		t.Fatal(err)
	}
	g.Remove()
	again, err := weft.NewGroup(at[1], weft.Pack, bundle, bundle, bundle)
	if err != nil {
		t.Fatal(err)
	}
	again.Remove()
}

// A name is one actor's in the whole cluster, and every node finds it.
func TestNameInCluster(t *testing.T) {
	_, at := cluster(t, 1, 1, 1)
	made := make(chan error, len(at))
	for _, ctx := range at {
		go func() {
			_, err := add.Call(ctx, tallies.New(ctx, 7, weft.Named("one"), weft.Namespace("all")), 0)
			made <- err
		}()
	}
	taken := 0
	for range at {
		if err := <-made; errors.Is(err, weft.AlreadyExists) {
			taken++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if taken != 2 {
		t.Fatalf("of three that wanted one name %d were refused", taken)
	}
	for i, ctx := range at {
		a, err := weft.LookupIn(ctx, tallies, "all", "one")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := add.Call(ctx, a, 1); err != nil || got != 8+i {
			t.Fatal(got, err)
		}
	}
	if _, err := weft.LookupIn(at[1], tallies, "all", "other"); !errors.Is(err, weft.NotFound) {
		t.Fatal(err)
	}
}

// Any node lists what all have, and explains what another owns.
func TestStateOfAll(t *testing.T) {
	nodes, at := cluster(t, 1, 1, 0)
	a := tallies.New(at[0], 1, weft.Named("shown"), weft.Namespace("all"))
	if err := a.Ready(at[0]); err != nil {
		t.Fatal(err)
	}
	waits := inc.Remote(at[1], 1, weft.CPU(2))
	pending := state.Query{Filters: []state.Filter{{Field: "state", Op: state.Is, Value: state.TaskPendingPlacement}}}
	until(at[1], t, "the task that waits", func() bool {
		rows, err := nodes[1].State().Tasks(at[1], pending)
		return err == nil && len(rows.Rows) == 1
	})
	for i, n := range nodes {
		s := n.State()
		if rows, err := s.Nodes(at[i], state.Query{}); err != nil || len(rows.Rows) != 3 || rows.Total != 3 {
			t.Fatal(rows, err)
		}
		if rows, err := s.Nodes(at[i], state.Query{Limit: 2}); err != nil || len(rows.Rows) != 2 || !rows.Truncated || rows.Rows[0].ID > rows.Rows[1].ID {
			t.Fatal(rows, err)
		}
		if rows, err := s.Actors(at[i], state.Query{}); err != nil || len(rows.Rows) != 1 || rows.Rows[0].Name != "shown" {
			t.Fatal(rows, err)
		}
		if rows, err := s.Jobs(at[i], state.Query{}); err != nil || len(rows.Rows) != 3 {
			t.Fatal(rows, err)
		}
		tasks, err := s.Tasks(at[i], pending)
		if err != nil || len(tasks.Rows) != 1 {
			t.Fatal(tasks, err)
		}
		why, err := s.Why(at[i], tasks.Rows[0].ID)
		if err != nil || why.ID != tasks.Rows[0].ID {
			t.Fatal(why, err)
		}
		if _, err := s.Why(at[i], "00112233445566778899aabbccddeeff"); !errors.Is(err, state.ErrNotFound) {
			t.Fatal(err)
		}
	}
	weft.Cancel(waits)
}
