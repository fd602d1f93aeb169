package node

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/coordinate"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// group is a placement group of one of this node's sessions.
type group struct {
	id       id.Group
	spec     *spec.Group
	session  id.Session
	reserved int
	at       []id.Node // where the bundles lie, if a coordinator placed them
	why      string    // the coordinator has no place for it yet
	failed   bool
	answer   func(error)
}

// placed reports whether all of its bundles are reserved.
func (g *group) placed() bool { return g.reserved == len(g.spec.Bundles) }

// bundleNode is where a bundle of g lies; zero while it lies nowhere.
func (n *Node) bundleNode(g *group, bundle int) id.Node {
	switch {
	case !g.placed():
		return id.Node{}
	case g.at != nil:
		return g.at[bundle]
	}
	return n.id
}

// fail answers who waits for the group with an error.
func (g *group) fail(err error) {
	if !g.failed && !g.placed() {
		g.failed = true
		g.answer(err)
	}
}

func errGroupRemoved() *wire.Error {
	return &wire.Error{Code: wire.Cancelled, Op: "placement group", Message: "it was removed before it had its resources"}
}

// createGroup has g's bundles reserved, here or by the coordinator, and answers
// once all of them are.
func (n *Node) createGroup(g id.Group, s *spec.Group, by id.Session, answer func(error)) {
	if s := n.sessions[by]; n.closed || s == nil || s.ended {
		answer(errClosed())
		return
	}
	if n.groups[g] != nil {
		answer(&wire.Error{Code: wire.AlreadyExists, Op: "placement group", Message: "there is a group of this id"})
		return
	}
	if n.cfg.Cluster != nil {
		n.groups[g] = &group{id: g, spec: s, session: by, answer: answer}
		n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.CreateGroup, Node: n.id, Group: g, Spec: s})
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
	if n.bundleAnswer(e) {
		return
	}
	g := n.groups[e.Group]
	if g == nil || g.failed {
		return
	}
	if e.Kind == dispatch.Unreservable {
		g.fail(&wire.Error{Code: wire.Unschedulable, Op: "placement group",
			Message: fmt.Sprintf("bundle %d asks for %s=%s; there is %s", e.Bundle, e.Resource, e.Asked, e.Have)})
		n.removeGroup(g.id)
		return
	}
	if g.reserved++; g.placed() {
		n.groupRecord(g, false)
		g.answer(nil)
	}
}

// removeGroup gives a group's resources back.
func (n *Node) removeGroup(g id.Group) {
	if n.cfg.Cluster != nil {
		n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.RemoveGroup, Node: n.id, Group: g})
	}
	old := n.groups[g]
	if old == nil {
		return
	}
	old.fail(errGroupRemoved())
	n.forgetGroup(old)
	n.stepPlace(&place.Event{Kind: place.GroupAt, Group: g})
	if n.cfg.Cluster == nil { // else the coordinator has it released where it lies
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Unreserve, Group: g, Bundle: -1})
		n.endActorsOf(g)
		n.endProcessesOf(g)
	}
}

// endActorsOf ends this node's actors that live in a group which has been removed.
func (n *Node) endActorsOf(g id.Group) {
	n.eachOwnActor(func(a *actor.Info) {
		if a.Spec.Strategy.In(g) {
			n.deaths[a.Actor] = &wire.Error{Code: wire.ActorDied, Op: a.Spec.Name, Node: n.id, Message: endedWithGroup}
			n.kill(a.Actor, true)
		}
	})
}

// endProcessesOf kills the processes that a task or actor in a group which has
// been removed has to itself. Others share theirs, and go on.
func (n *Node) endProcessesOf(g id.Group) {
	in := map[id.Worker]bool{}
	for _, h := range n.hosts {
		if h.spec.Strategy.In(g) {
			in[h.worker] = true
		}
	}
	for _, p := range n.workers {
		for _, t := range p.tasks {
			if t.spec.Kind == spec.KindTask && t.spec.Strategy.In(g) {
				in[p.id] = true
			}
		}
		if in[p.id] && p.class.Isolated && p.proc != nil {
			p.ending = endedWithGroup
			n.later(p.proc.Kill)
		}
	}
}

const endedWithGroup = "its placement group was removed"

func (n *Node) forgetGroup(g *group) {
	n.groupRecord(g, true)
	delete(n.groups, g.id)
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
