package node

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// group is a placement group on this node.
type group struct {
	id       id.Group
	spec     *spec.Group
	session  id.Session
	reserved int
	failed   bool
	answer   func(error)
}

// createGroup reserves g's bundles and answers once all of them are.
func (n *Node) createGroup(g id.Group, s *spec.Group, by id.Session, answer func(error)) {
	if s := n.sessions[by]; n.closed || s == nil || s.ended {
		answer(errClosed())
		return
	}
	if n.groups[g] != nil {
		answer(&wire.Error{Code: wire.AlreadyExists, Op: "placement group", Message: "there is a group of this id"})
		return
	}
	view := place.NodeView{Node: n.id, Total: n.total, Free: n.total, Labels: n.cfg.Labels}
	if _, err := place.PlanGroup([]place.NodeView{view}, s); err != nil {
		answer(&wire.Error{Code: wire.Unschedulable, Op: "placement group", Message: err.Error(),
			Hint: "ask for less, or start the node with more"})
		return
	}
	n.groups[g] = &group{id: g, spec: s, session: by, answer: answer}
	for i := range s.Bundles {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Reserve, Group: g, Bundle: i, Total: s.Bundles[i].Resources})
	}
	nodes := make([]id.Node, len(s.Bundles))
	for i := range nodes {
		nodes[i] = n.id
	}
	n.stepPlace(&place.Event{Kind: place.GroupAt, Group: g, Nodes: nodes})
}

// groupAnswer notes a bundle that is reserved, or can never be.
func (n *Node) groupAnswer(e *dispatch.Effect) {
	g := n.groups[e.Group]
	if g == nil || g.failed {
		return
	}
	if e.Kind == dispatch.Unreservable {
		g.failed = true
		g.answer(&wire.Error{Code: wire.Unschedulable, Op: "placement group",
			Message: fmt.Sprintf("bundle %d asks for %s=%s; there is %s", e.Bundle, e.Resource, e.Asked, e.Have)})
		n.removeGroup(g.id)
		return
	}
	if g.reserved++; g.reserved == len(g.spec.Bundles) {
		n.groupRecord(g, false)
		g.answer(nil)
	}
}

// removeGroup gives a group's resources back.
func (n *Node) removeGroup(g id.Group) {
	old := n.groups[g]
	if old == nil {
		return
	}
	if !old.failed && old.reserved < len(old.spec.Bundles) {
		old.answer(&wire.Error{Code: wire.Cancelled, Op: "placement group", Message: "it was removed before it had its resources"})
	}
	n.groupRecord(old, true)
	delete(n.groups, g)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Unreserve, Group: g, Bundle: -1})
	n.stepPlace(&place.Event{Kind: place.GroupAt, Group: g})
}

// removeGroupsOf removes the groups of a session that ended: first those that
// wait, so that none gets what another gives back, each in order of id.
func (n *Node) removeGroupsOf(s id.Session) {
	var gone []*group
	for _, g := range n.groups {
		if g.session == s && !g.spec.Detached {
			gone = append(gone, g)
		}
	}
	slices.SortFunc(gone, func(a, b *group) int {
		return cmp.Or(a.reserved-len(a.spec.Bundles)-(b.reserved-len(b.spec.Bundles)), bytes.Compare(a.id[:], b.id[:]))
	})
	for _, g := range gone {
		n.removeGroup(g.id)
	}
}
