package coordinate

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
)

// Node returns a member's record.
func (m *Machine) Node(node id.Node) (r NodeRecord, ok bool) {
	n := m.members.byID[node]
	if n == nil {
		return r, false
	}
	return NodeRecord{Node: node, Address: n.view.Address, Draining: n.draining, Figures: &n.view.Figures}, true
}

// State returns how a member is; Dead if it is none.
func (m *Machine) State(node id.Node) NodeState {
	if n := m.members.byID[node]; n != nil {
		return n.state()
	}
	return Dead
}

// Nodes lists the members by id.
func (m *Machine) Nodes() []id.Node {
	out := make([]id.Node, 0, len(m.members.order))
	for _, n := range m.members.order {
		out = append(out, n.id())
	}
	return out
}

// Actor returns an actor's record.
func (m *Machine) Actor(a id.Actor) (r ActorRecord, ok bool) {
	if x := m.actors[a]; x != nil {
		return *x, true
	}
	return r, false
}

// Job returns a job's record.
func (m *Machine) Job(j id.Job) (r JobRecord, ok bool) {
	if x := m.jobs[j]; x != nil {
		return *x, true
	}
	return r, false
}

// Group returns a placement group's record, and why it waits, if it does.
func (m *Machine) Group(g id.Group) (r GroupRecord, why string, ok bool) {
	x := m.groups[g]
	if x == nil {
		return r, "", false
	}
	r = x.GroupRecord
	r.At = slices.Clone(r.At)
	switch {
	case m.phase != leading:
		why = "a new coordinator hears from the nodes first"
	case len(x.parts) > 0:
		why = "its nodes reserve its bundles"
	default:
		why = x.why
	}
	return r, why, true
}
