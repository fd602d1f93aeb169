package state

import "slices"

// Graph is who waits for whom: vertices by id. A vertex that is not in the
// graph waits for nothing.
type Graph map[string]Vertex

// Vertex is something that waits.
type Vertex struct {
	Label string // what people read, such as "task 0a…01 (square)"
	Needs []Need // it goes on when all of them are met
}

// Need is met when any of By goes on. A Need without By is met by something
// outside the graph, such as a timer or a driver.
type Need struct {
	What string // such as "its argument 0", "CPU=1 that is held by"
	By   []string
}

// Deadlocks returns the cycles of vertices that wait for each other and that
// nothing outside can resolve. Each is in the order of waiting and starts at
// its smallest id; the cycles share no vertex. What merely waits for a
// deadlocked vertex is in none.
func Deadlocks(g Graph) [][]string {
	ids := make([]string, 0, len(g))
	for id := range g {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	stuck := stuckIn(g, ids)
	var cycles [][]string
	seen := map[string]bool{}
	for _, id := range ids {
		if stuck[id] && !seen[id] {
			if cycle := followStuck(g, stuck, seen, id); cycle != nil {
				cycles = append(cycles, cycle)
			}
		}
	}
	return cycles
}

// stuckIn finds the vertices that can never go on: all, less those that can
// because each of their needs has someone who can.
func stuckIn(g Graph, ids []string) map[string]bool {
	stuck := make(map[string]bool, len(ids))
	users := map[string][]string{} // who needs this vertex
	for _, id := range ids {
		stuck[id] = true
		for _, need := range g[id].Needs {
			for _, by := range need.By {
				users[by] = append(users[by], id)
			}
		}
	}
	queue := slices.Clone(ids)
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		if stuck[id] && canGoOn(g[id], stuck) {
			stuck[id] = false
			queue = append(queue, users[id]...)
		}
	}
	return stuck
}

func canGoOn(v Vertex, stuck map[string]bool) bool {
	for i := range v.Needs {
		if v.Needs[i].unmet(stuck) {
			return false
		}
	}
	return true
}

// unmet reports whether everyone who could meet n is stuck.
func (n *Need) unmet(stuck map[string]bool) bool {
	return len(n.By) > 0 && !slices.ContainsFunc(n.By, func(by string) bool { return !stuck[by] })
}

// followStuck walks from one stuck vertex to the next. Each has one, so the
// walk ends in a cycle, or in vertices that an earlier walk has seen.
func followStuck(g Graph, stuck, seen map[string]bool, from string) []string {
	at := map[string]int{}
	var path []string
	for id := from; ; id = blocker(g[id], stuck) {
		if start, again := at[id]; again {
			return rotate(path[start:])
		}
		if seen[id] {
			return nil
		}
		seen[id] = true
		at[id] = len(path)
		path = append(path, id)
	}
}

// blocker is the first one that a stuck vertex waits for.
func blocker(v Vertex, stuck map[string]bool) string {
	for i := range v.Needs {
		if v.Needs[i].unmet(stuck) {
			return v.Needs[i].By[0]
		}
	}
	panic("state: a stuck vertex whose needs are met")
}

// rotate puts the smallest id first.
func rotate(cycle []string) []string {
	i := slices.Index(cycle, slices.Min(cycle))
	return slices.Concat(cycle[i:], cycle[:i])
}

// MarkDeadlocks finds the cycles of g and names them in the reasons of the
// tree that belong to one.
func MarkDeadlocks(root *Reason, g Graph) {
	of := map[string][]string{}
	for _, cycle := range Deadlocks(g) {
		for i, id := range cycle {
			labels := make([]string, 0, len(cycle))
			for _, member := range slices.Concat(cycle[i:], cycle[:i]) {
				labels = append(labels, label(g, member))
			}
			of[id] = labels
		}
	}
	if len(of) > 0 {
		root.mark(of)
	}
}

func (r *Reason) mark(of map[string][]string) {
	r.Deadlock = of[r.ID]
	for _, child := range r.WaitsFor {
		child.mark(of)
	}
}

func label(g Graph, id string) string {
	if l := g[id].Label; l != "" {
		return l
	}
	return id
}
