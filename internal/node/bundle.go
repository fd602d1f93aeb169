package node

import (
	"github.com/weftrun/weft/internal/coordinate"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/place"
)

// preparing is the bundles of a group that the coordinator wants reserved here,
// all or none.
type preparing struct {
	attempt uint32
	bundles []int
	left    int
	refused bool
}

// prepareBundles reserves bundles of a group, at once or not.
func (n *Node) prepareBundles(e *coordinate.Effect) {
	if p := n.seek.prepare[e.Group]; p != nil && p.attempt == e.Attempt {
		return
	}
	p := &preparing{attempt: e.Attempt, bundles: e.Bundles, left: len(e.Bundles)}
	n.seek.prepare[e.Group] = p
	for _, b := range e.Bundles {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Reserve, Group: e.Group, Bundle: b, Total: e.Spec.Bundles[b].Resources, NoWait: true})
	}
}

// bundleAnswer counts the answers of dispatch to prepareBundles. It reports
// whether there was such a question.
func (n *Node) bundleAnswer(e *dispatch.Effect) bool {
	p := n.seek.prepare[e.Group]
	if p == nil {
		return false
	}
	if e.Kind == dispatch.Reserved {
		held := n.held[e.Group]
		if held == nil {
			held = map[int]bool{}
			n.held[e.Group] = held
		}
		held[e.Bundle] = true
	} else {
		p.refused = true
	}
	if p.left--; p.left > 0 {
		return true
	}
	delete(n.seek.prepare, e.Group)
	if p.refused {
		n.releaseBundles(e.Group, p.bundles)
	}
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.Prepared, Node: n.id, Group: e.Group, Attempt: p.attempt,
		OK: !p.refused, Figures: n.ownFigures()})
	return true
}

// releaseBundles gives bundles back. With the last of a group what runs there ends.
func (n *Node) releaseBundles(g id.Group, bundles []int) {
	delete(n.seek.prepare, g)
	for _, b := range bundles {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Unreserve, Group: g, Bundle: b})
		delete(n.held[g], b)
	}
	if len(n.held[g]) == 0 {
		delete(n.held, g)
		n.endProcessesOf(g)
	}
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.Heard, Figures: n.ownFigures()}) // a group may wait for them
}

// groupPlaced learns where a group lies; nil: that there is none.
func (n *Node) groupPlaced(g id.Group, at []id.Node) {
	n.stepPlace(&place.Event{Kind: place.GroupAt, Group: g, Nodes: at})
	own := n.groups[g]
	if at == nil {
		delete(n.seek.groups, g)
		if own != nil {
			own.fail(errGroupRemoved())
			n.forgetGroup(own)
		}
		n.endActorsOf(g)
		return
	}
	if own == nil {
		return
	}
	own.at = at
	if !own.placed() {
		own.reserved = len(own.spec.Bundles)
		n.groupRecord(own, false)
		own.answer(nil)
	}
}

// seekGroup asks where a group lies in which somebody here wants to run something.
func (n *Node) seekGroup(g id.Group) {
	if n.cfg.Cluster == nil || n.groups[g] != nil || n.seek.groups[g] {
		return
	}
	n.seek.groups[g] = true
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.FindGroup, Node: n.id, Group: g})
}
