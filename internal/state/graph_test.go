package state

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// graph reads "a: b c|d" as: a needs b, and c or d. A "!" is met from outside.
func graph(script string) Graph {
	g := Graph{}
	for line := range strings.SplitSeq(script, ";") {
		id, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		v := Vertex{Label: "task " + id}
		for need := range strings.FieldsSeq(needs) {
			n := Need{What: "its argument"}
			if need != "!" {
				n.By = strings.Split(need, "|")
			}
			v.Needs = append(v.Needs, n)
		}
		g[id] = v
	}
	return g
}

func TestDeadlocks(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"nobody waits":                       {"a:; b:", ""},
		"a chain ends":                       {"a: b; b: c; c:", ""},
		"two wait for each other":            {"a: b; b: a", "a b"},
		"one waits for itself":               {"a: a", "a"},
		"the order is that of waiting":       {"c: a; a: b; b: c", "a b c"},
		"who waits for a deadlock is not it": {"z: a; a: b; b: a", "a b"},
		"one of two holders can go on":       {"a: b|c; b: a; c:", ""},
		"all holders are stuck":              {"a: b|c; b: a; c: a", "a b"},
		"a driver may yet act":               {"a: b; b: a !; c: !", "a b"},
		"outside alone is no deadlock":       {"a: !; b: a", ""},
		"an unknown one goes on":             {"a: b; b: x", ""},
		"two cycles":                         {"a: b; b: a; c: d; d: c", "a b, c d"},
		"a cycle behind a cycle":             {"a: b; b: a c; c: d; d: c", "a b, c d"},
		"nested get with one CPU": {
			// The parent runs and waits for its child; the child waits for the
			// CPU that another waiting parent holds.
			"parent: child; child: other; other: grandchild; grandchild: parent|other", "child other grandchild parent",
		},
	} {
		var got []string
		for _, cycle := range Deadlocks(graph(c.script)) {
			got = append(got, strings.Join(cycle, " "))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %s\ngot  %q\nwant %q", name, c.script, strings.Join(got, ", "), c.want)
		}
	}
}

// Of any graph: each cycle is one of needs that only stuck ones could meet, no
// two share a vertex, and without a cycle everything can finish.
func TestDeadlocksAreReal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		g := Graph{}
		for i := range n {
			var v Vertex
			for range rapid.IntRange(0, 2).Draw(t, "needs") {
				var need Need
				for range rapid.IntRange(1, 3).Draw(t, "by") {
					need.By = append(need.By, strconv.Itoa(rapid.IntRange(0, n).Draw(t, "id")))
				}
				v.Needs = append(v.Needs, need)
			}
			g[strconv.Itoa(i)] = v
		}
		cycles := Deadlocks(g)
		free := runToEnd(g)
		seen := map[string]bool{}
		for _, cycle := range cycles {
			for i, id := range cycle {
				next := cycle[(i+1)%len(cycle)]
				waits := slices.ContainsFunc(g[id].Needs, func(need Need) bool { return slices.Contains(need.By, next) })
				if free[id] || seen[id] || !waits {
					t.Fatalf("%v of cycle %v: free %v, seen %v, waits for the next %v", id, cycle, free[id], seen[id], waits)
				}
				seen[id] = true
			}
		}
		if len(cycles) == 0 && len(free) != n {
			t.Fatalf("%d of %d can finish, and there is no deadlock", len(free), n)
		}
	})
}

// runToEnd lets whatever can finish do so, one after the other.
func runToEnd(g Graph) map[string]bool {
	done := map[string]bool{}
	for before := -1; before != len(done); {
		before = len(done)
		for id, v := range g {
			met := func(n Need) bool {
				return slices.ContainsFunc(n.By, func(by string) bool { _, inside := g[by]; return done[by] || !inside })
			}
			if !slices.ContainsFunc(v.Needs, func(n Need) bool { return !met(n) }) {
				done[id] = true
			}
		}
	}
	return done
}

func TestMarkDeadlocks(t *testing.T) {
	root := &Reason{ID: "z", WaitsFor: []*Reason{{ID: "b", WaitsFor: []*Reason{{ID: "a", WaitsFor: []*Reason{{ID: "b", Again: true}}}}}}}
	MarkDeadlocks(root, graph("z: b; a: b; b: a"))
	b := root.WaitsFor[0]
	if root.Deadlock != nil || !slices.Equal(b.Deadlock, []string{"task b", "task a"}) || !slices.Equal(b.WaitsFor[0].Deadlock, []string{"task a", "task b"}) {
		t.Errorf("z %q, b %q, a %q", root.Deadlock, b.Deadlock, b.WaitsFor[0].Deadlock)
	}
}

// A long chain is no long recursion, and costs its length once.
func BenchmarkDeadlocks(b *testing.B) {
	g := Graph{}
	for i := range 10_000 {
		g[strconv.Itoa(i)] = Vertex{Needs: []Need{{By: []string{strconv.Itoa(i + 1)}}}}
	}
	for b.Loop() {
		if got := Deadlocks(g); got != nil {
			b.Fatal(got)
		}
	}
}
