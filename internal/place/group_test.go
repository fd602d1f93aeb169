package place

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// plain makes nodes of 8 CPUs with so many of them free, in zones a and b.
func plain(free ...int) (nodes []NodeView) {
	for i, f := range free {
		nodes = append(nodes, NodeView{Node: nodeID(i), Total: cpus(8), Free: cpus(f), Labels: resource.Labels{"zone": string(rune('a' + i%2))}})
	}
	return nodes
}

func groupOf(layout spec.PackKind, bundles ...int) *spec.Group {
	g := &spec.Group{Layout: layout}
	for _, b := range bundles {
		g.Bundles = append(g.Bundles, spec.Bundle{Resources: cpus(b)})
	}
	return g
}

func TestPlanGroup(t *testing.T) {
	inB := groupOf(spec.Pack, 1, 1)
	inB.Bundles[1].Selector = resource.Selector{{Key: "zone", Values: []string{"b"}}}
	inX := groupOf(spec.SpreadOut, 1)
	inX.Bundles[0].Selector = resource.Selector{{Key: "zone", Values: []string{"x"}}}
	for _, c := range []struct {
		name  string
		nodes []NodeView
		group *spec.Group
		want  string // node numbers of the bundles, or part of the error
	}{
		{"pack on one", plain(4, 8, 8), groupOf(spec.Pack, 2, 2), "0 0"},
		{"pack on the fullest that will do", plain(8, 6, 3), groupOf(spec.Pack, 3, 3), "1 1"},
		{"pack on two", plain(4, 4, 4), groupOf(spec.Pack, 3, 3, 1), "0 1 0"},
		{"pack by label", plain(8, 8), inB, "1 1"},
		{"strict pack", plain(4, 8), groupOf(spec.StrictPack, 3, 3), "1 1"},
		{"strict pack, not now", plain(4, 4), groupOf(spec.StrictPack, 3, 3), "no place now: each of the 2 bundles fits on one of 2 nodes, but not all of them on one node"},
		{"strict pack, never", plain(8, 8), groupOf(spec.StrictPack, 5, 5), "no place ever"},
		{"spread", plain(8, 8, 8), groupOf(spec.SpreadOut, 1, 1, 1), "0 1 2"},
		{"spread over fewer", plain(8, 8), groupOf(spec.SpreadOut, 1, 1, 1), "0 1 0"},
		{"strict spread", plain(8, 8, 8), groupOf(spec.StrictSpread, 1, 1), "0 1"},
		{"strict spread, too few nodes", plain(8, 8), groupOf(spec.StrictSpread, 1, 1, 1), "no place ever: each of the 3 bundles fits on one of 2 nodes, but not all of them on a node of their own each"},
		{"strict spread, not now", plain(8, 0), groupOf(spec.StrictSpread, 1, 1), "no place now"},
		{"too large", plain(8, 8), groupOf(spec.Pack, 1, 9), "no place ever: bundle 1 asks for 9 CPU, the most that a node has is 8"},
		{"too large now", plain(3, 2), groupOf(spec.Pack, 1, 4), "no place now: bundle 1 asks for 4 CPU, the most that a node has is 3"},
		{"no such label", plain(8, 8), inX, "no place ever: bundle 0: none of 2 nodes matches the labels zone=x"},
		{"no nodes", nil, groupOf(spec.Pack, 1), "no place ever"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := PlanGroup(c.nodes, c.group)
			got := fmt.Sprint(err)
			if err == nil {
				var s []string
				for _, n := range at {
					s = append(s, strconv.Itoa(int(n[0])-1))
				}
				got = strings.Join(s, " ")
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestPlanGroupAgreesWithTrying compares with all assignments there are.
func TestPlanGroupAgreesWithTrying(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := plain(rapid.SliceOfN(rapid.IntRange(0, 8), 1, 4).Draw(t, "free")...)
		g := groupOf(spec.PackKind(rapid.IntRange(0, 3).Draw(t, "layout")), rapid.SliceOfN(rapid.IntRange(1, 9), 1, 5).Draw(t, "bundles")...)
		now := exists(nodes, g, func(n *NodeView) resource.Vector { return n.Free }, make([]int, 0, len(g.Bundles)))
		ever := exists(nodes, g, func(n *NodeView) resource.Vector { return n.Total }, make([]int, 0, len(g.Bundles)))
		at, err := PlanGroup(nodes, g)
		var e *NoPlaceError
		if (err == nil) != now || (errors.As(err, &e) && e.Never == ever) {
			t.Fatalf("%v, but now=%v ever=%v", err, now, ever)
		}
		if err != nil {
			return
		}
		var chosen []int
		for _, n := range at {
			chosen = append(chosen, int(n[0])-1)
		}
		if !valid(nodes, g, func(n *NodeView) resource.Vector { return n.Free }, chosen) {
			t.Fatalf("%v is not a plan", chosen)
		}
	})
}

func exists(nodes []NodeView, g *spec.Group, have func(*NodeView) resource.Vector, at []int) bool {
	if len(at) == len(g.Bundles) {
		return valid(nodes, g, have, at)
	}
	for n := range nodes {
		if exists(nodes, g, have, append(at, n)) {
			return true
		}
	}
	return false
}

func valid(nodes []NodeView, g *spec.Group, have func(*NodeView) resource.Vector, at []int) bool {
	used := map[int]int{}
	left := map[int]resource.Amount{}
	for i, n := range at {
		if used[n] == 0 {
			h := have(&nodes[n])
			left[n] = h.CPU
		}
		used[n]++
		left[n] -= g.Bundles[i].Resources.CPU
		if left[n] < 0 {
			return false
		}
	}
	switch g.Layout {
	case spec.StrictPack:
		return len(used) == 1
	case spec.StrictSpread:
		return len(used) == len(at)
	}
	return true
}

// BenchmarkPlanGroup lays 100 bundles over a thousand nodes.
func BenchmarkPlanGroup(b *testing.B) {
	var nodes []NodeView
	for i := range 1000 {
		nodes = append(nodes, NodeView{Node: id.Node{1, byte(i), byte(i >> 8)}, Total: cpus(64), Free: cpus(i % 64)})
	}
	for _, layout := range []spec.PackKind{spec.Pack, spec.SpreadOut, spec.StrictSpread} {
		b.Run(fmt.Sprint(layout), func(b *testing.B) {
			g := groupOf(layout)
			for i := range 100 {
				g.Bundles = append(g.Bundles, spec.Bundle{Resources: cpus(1 + i%4)})
			}
			for b.Loop() {
				if _, err := PlanGroup(nodes, g); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
