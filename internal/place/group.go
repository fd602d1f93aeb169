package place

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// NodeView is what planning knows of a node.
type NodeView struct {
	Node        id.Node
	Total, Free resource.Vector
	Labels      resource.Labels
}

// NoPlaceError says why a placement group has no place.
type NoPlaceError struct {
	// Never: not even if all nodes were empty. Otherwise waiting may help.
	Never bool
	// Bundle is the first that fits nowhere, -1 if it is all together.
	Bundle      int
	Resource    string // that it lacks where there is most of it
	Asked, Have resource.Amount
	Why         string
}

func (e *NoPlaceError) Error() string {
	when := "now"
	if e.Never {
		when = "ever"
	}
	return fmt.Sprintf("placement group: no place %s: %s", when, e.Why)
}

// PlanGroup returns a node for each bundle of g, or a *NoPlaceError.
func PlanGroup(nodes []NodeView, g *spec.Group) ([]id.Node, error) {
	free := func(n *NodeView) *resource.Vector { return &n.Free }
	total := func(n *NodeView) *resource.Vector { return &n.Total }
	at, ok, _ := plan(nodes, free, g)
	if ok {
		return at, nil
	}
	_, ever, sure := plan(nodes, total, g)
	if ever || !sure {
		return nil, explain(nodes, free, g, false)
	}
	return nil, explain(nodes, total, g, true)
}

// planner searches an assignment of bundles to nodes: the greedy choice of
// the group's layout first, others if that leads nowhere.
type planner struct {
	g      *spec.Group
	nodes  []NodeView
	left   []resource.Vector // by node
	count  []int             // bundles on it
	order  []int             // bundles, the largest first
	at     []int             // node of each bundle, -1 if none yet
	budget int               // of steps
}

// planSteps bounds the search: laying out bundles is a packing problem.
const planSteps = 20_000

// plan returns nodes for g's bundles and whether there are any; if not, sure
// says whether all ways were tried.
func plan(nodes []NodeView, have func(*NodeView) *resource.Vector, g *spec.Group) (at []id.Node, ok, sure bool) {
	p := planner{g: g, nodes: nodes, count: make([]int, len(nodes)), budget: planSteps}
	for i := range nodes {
		p.left = append(p.left, have(&nodes[i]).Clone())
	}
	for i := range g.Bundles {
		p.order = append(p.order, i)
		p.at = append(p.at, -1)
	}
	size := func(i int) float64 { return share(&g.Bundles[i].Resources, p.left) }
	slices.SortStableFunc(p.order, func(a, b int) int { return cmp.Compare(size(b), size(a)) })
	switch g.Layout {
	case spec.StrictPack:
		ok = p.together()
		sure = true
	case spec.StrictSpread:
		ok = p.match()
		sure = true
	default:
		ok = (g.Layout == spec.Pack && p.together()) || p.search(0)
		sure = p.budget > 0
	}
	if !ok {
		return nil, false, sure
	}
	for _, n := range p.at {
		at = append(at, nodes[n].Node)
	}
	return at, true, true
}

// share is the largest part of the best node that need takes.
func share(need *resource.Vector, left []resource.Vector) float64 {
	most := 0.0
	for name, a := range need.All {
		best := resource.Amount(1)
		for i := range left {
			best = max(best, left[i].Get(name))
		}
		most = max(most, float64(a)/float64(best))
	}
	return most
}

func (p *planner) fits(bundle, n int) bool {
	b := &p.g.Bundles[bundle]
	return b.Selector.Match(p.nodes[n].Labels) && p.left[n].Fits(&b.Resources)
}

func (p *planner) put(bundle, n int) {
	p.left[n].Sub(&p.g.Bundles[bundle].Resources)
	p.count[n]++
	p.at[bundle] = n
}

func (p *planner) undo(bundle int) {
	n := p.at[bundle]
	p.left[n].Add(&p.g.Bundles[bundle].Resources)
	p.count[n]--
	p.at[bundle] = -1
}

// together puts all bundles on the node that they fill best.
func (p *planner) together() bool {
	var need resource.Vector
	for i := range p.g.Bundles {
		need.Add(&p.g.Bundles[i].Resources)
	}
	best, fullest := -1, 0.0
	for n := range p.nodes {
		matches := p.left[n].Fits(&need)
		for i := range p.g.Bundles {
			matches = matches && p.g.Bundles[i].Selector.Match(p.nodes[n].Labels)
		}
		if s := share(&need, p.left[n:n+1]); matches && (best < 0 || s > fullest) {
			best, fullest = n, s
		}
	}
	if best < 0 {
		return false
	}
	for i := range p.at {
		p.put(i, best)
	}
	return true
}

// search places the bundles from the k-th on, largest first, going back when
// it gets stuck.
func (p *planner) search(k int) bool {
	if k == len(p.order) {
		return true
	}
	b := p.order[k]
	for _, c := range p.candidates(b) {
		if p.budget--; p.budget <= 0 {
			return false
		}
		p.put(b, c.node)
		if p.search(k + 1) {
			return true
		}
		p.undo(b)
	}
	return false
}

// candidate is a node where a bundle fits; those of lower rank come first.
type candidate struct {
	node, rank int
	share      float64 // of what the node has left
}

// candidates returns the nodes where a bundle fits, as the layout prefers
// them: packed, those in use and then the roomiest; spread, the least used.
func (p *planner) candidates(b int) []candidate {
	var out []candidate
	need := &p.g.Bundles[b].Resources
	for n := range p.nodes {
		if !p.fits(b, n) {
			continue
		}
		rank := p.count[n]
		if p.g.Layout == spec.Pack {
			rank = -min(rank, 1)
		}
		out = append(out, candidate{n, rank, share(need, p.left[n:n+1])})
	}
	slices.SortFunc(out, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.share, y.share), cmp.Compare(x.node, y.node))
	})
	return out
}

// matcher gives each bundle a node of its own by augmenting paths, which
// finds a way if there is one.
type matcher struct {
	can   [][]candidate // by bundle
	owner []int         // bundle on each node, plus 1
	at    []int
	seen  []int // by node: the last bundle for which it was considered, plus 1
}

func (p *planner) match() bool {
	m := matcher{owner: make([]int, len(p.nodes)), seen: make([]int, len(p.nodes)), at: p.at}
	for b := range p.at {
		m.can = append(m.can, p.candidates(b))
	}
	for _, b := range p.order {
		if !m.augment(b, b+1) {
			return false
		}
	}
	return true
}

// augment finds b a node, moving other bundles if it must.
func (m *matcher) augment(b, round int) bool {
	for _, c := range m.can[b] {
		if m.owner[c.node] == 0 {
			m.owner[c.node], m.at[b] = b+1, c.node
			return true
		}
	}
	for _, c := range m.can[b] {
		if m.seen[c.node] == round {
			continue
		}
		m.seen[c.node] = round
		if m.augment(m.owner[c.node]-1, round) {
			m.owner[c.node], m.at[b] = b+1, c.node
			return true
		}
	}
	return false
}

// explain finds the bundle that fits nowhere by itself, or says that they do
// not fit together.
func explain(nodes []NodeView, have func(*NodeView) *resource.Vector, g *spec.Group, never bool) error {
	for i := range g.Bundles {
		b := &g.Bundles[i]
		matching, fits := 0, false
		var most resource.Vector
		for k := range nodes {
			n := &nodes[k]
			if !b.Selector.Match(n.Labels) {
				continue
			}
			matching++
			fits = fits || have(n).Fits(&b.Resources)
			for name := range b.Resources.All {
				most.Set(name, max(most.Get(name), have(n).Get(name)))
			}
		}
		if fits {
			continue
		}
		e := &NoPlaceError{Never: never, Bundle: i}
		e.Resource, e.Asked, e.Have, _ = most.Missing(&b.Resources)
		switch {
		case matching == 0:
			e.Why = fmt.Sprintf("bundle %d: none of %d nodes matches the labels %s", i, len(nodes), b.Selector)
		case e.Resource != "":
			e.Why = fmt.Sprintf("bundle %d asks for %s %s, the most that a node has is %s", i, e.Asked, e.Resource, e.Have)
		default:
			e.Why = fmt.Sprintf("bundle %d: no node has all of %s at once", i, b.Resources)
		}
		return e
	}
	layout := [...]string{"", "", " on one node", " on a node of their own each"}[g.Layout]
	return &NoPlaceError{Never: never, Bundle: -1,
		Why: fmt.Sprintf("each of the %d bundles fits on one of %d nodes, but not all of them%s", len(g.Bundles), len(nodes), layout)}
}
