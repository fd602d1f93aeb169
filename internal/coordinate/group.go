package coordinate

import (
	"errors"
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// group is a placement group on its way or in its place.
type group struct {
	GroupRecord

	attempt uint32
	parts   []part // of the plan that is being prepared
	queued  bool   // in Machine.waiting
	why     string // it waits
	told    []id.Node
}

// part is the bundles of a plan that one node is to prepare.
type part struct {
	node     id.Node
	bundles  []int
	answered bool
	ok       bool
}

func (g *group) resize() {
	if len(g.At) != len(g.Spec.Bundles) {
		g.At = make([]id.Node, len(g.Spec.Bundles))
	}
}

// lost lists the bundles that lie nowhere.
func (g *group) lost() (bundles []int) {
	for i, at := range g.At {
		if at.IsZero() {
			bundles = append(bundles, i)
		}
	}
	return bundles
}

func (g *group) need(bundles []int) (v resource.Vector) {
	for _, b := range bundles {
		v.Add(&g.Spec.Bundles[b].Resources)
	}
	return v
}

// tellOf adds a node to those that are told where g lies.
func (g *group) tellOf(node id.Node) {
	if !slices.Contains(g.told, node) {
		g.told = append(g.told, node)
	}
}

// createGroup begins to place a group, or answers again.
func (m *Machine) createGroup(ev *Event, fx []Effect) []Effect {
	if g := m.groups[ev.Group]; g != nil {
		return m.findGroup(ev, fx)
	}
	if len(ev.Spec.Bundles) == 0 || len(m.waiting) >= m.o.MaxGroups {
		return append(fx, Effect{Kind: Refused, Node: ev.Node, Group: ev.Group, Why: "a placement group without bundles, or too many that wait already"})
	}
	g := &group{GroupRecord: GroupRecord{Group: ev.Group, Asker: ev.Node, Spec: ev.Spec}}
	g.resize()
	g.tellOf(ev.Node)
	m.groups[g.Group] = g
	if m.phase != leading {
		m.queue(g)
		return fx
	}
	return m.place(g, fx)
}

// findGroup tells a node where a group lies, now and whenever that changes.
func (m *Machine) findGroup(ev *Event, fx []Effect) []Effect {
	g := m.groups[ev.Group]
	if g == nil {
		return m.after(fx, Effect{Kind: Placed, Node: ev.Node, Group: ev.Group})
	}
	g.tellOf(ev.Node)
	if len(g.lost()) > 0 {
		return fx
	}
	return m.after(fx, Effect{Kind: Placed, Node: ev.Node, Group: g.Group, At: slices.Clone(g.At)})
}

// place plans what of g lies nowhere and asks the nodes of the plan.
func (m *Machine) place(g *group, fx []Effect) []Effect {
	lost := g.lost()
	plan := &spec.Group{Layout: g.Spec.Layout}
	for _, b := range lost {
		plan.Bundles = append(plan.Bundles, g.Spec.Bundles[b])
	}
	m.stats.Plans++
	at, err := place.PlanGroup(m.candidates(g), plan)
	if err != nil {
		return m.noPlace(g, len(lost), err, fx)
	}
	g.attempt++
	g.why = ""
	for i, b := range lost {
		k := slices.IndexFunc(g.parts, func(p part) bool { return p.node == at[i] })
		if k < 0 {
			k = len(g.parts)
			g.parts = append(g.parts, part{node: at[i]})
		}
		g.parts[k].bundles = append(g.parts[k].bundles, b)
	}
	for _, p := range g.parts {
		need := g.need(p.bundles)
		m.members.byID[p.node].promised.Add(&need)
		fx = append(fx, Effect{Kind: Prepare, Node: p.node, Group: g.Group, Attempt: g.attempt, Spec: g.Spec, Bundles: p.bundles})
	}
	return fx
}

// candidates is what planning knows of the members.
func (m *Machine) candidates(g *group) []place.NodeView {
	m.views = m.views[:0]
	for _, n := range m.members.order {
		if !n.usable() || g.Spec.Layout == spec.StrictSpread && slices.Contains(g.At, n.id()) {
			continue
		}
		v := place.NodeView{Node: n.id(), Total: n.view.Total, Free: n.view.Free.Clone(), Labels: n.view.Labels}
		v.Free.Sub(&n.promised)
		m.views = append(m.views, v)
	}
	return m.views
}

// noPlace lets a group wait, or refuses one that never can be placed.
func (m *Machine) noPlace(g *group, lost int, err error, fx []Effect) []Effect {
	var no *place.NoPlaceError
	if errors.As(err, &no) && no.Never && m.o.Fixed && lost == len(g.At) {
		fx = append(fx, Effect{Kind: Refused, Node: g.Asker, Group: g.Group, Why: err.Error()})
		return m.removeGroup(g.Group, fx)
	}
	m.queue(g)
	if why := err.Error(); why != g.why {
		g.why = why
		fx = append(fx, Effect{Kind: Waiting, Node: g.Asker, Group: g.Group, Why: why})
	}
	return fx
}

func (m *Machine) queue(g *group) {
	if !g.queued {
		g.queued = true
		m.waiting = append(m.waiting, g)
	}
}

// room has the groups that wait tried again: something may fit now.
func (m *Machine) room() { m.toTry = len(m.waiting) }

// tries is how many groups are planned in one step.
const tries = 4

// retry plans some of the groups that wait, in turn.
func (m *Machine) retry(fx []Effect) []Effect {
	if m.phase != leading {
		return fx
	}
	for range min(tries, m.toTry, len(m.waiting)) {
		m.toTry--
		g := m.waiting[0]
		m.waiting = append(m.waiting[:0], m.waiting[1:]...)
		g.queued = false
		fx = m.place(g, fx)
	}
	return fx
}

// prepared takes a node's answer, and concludes with the last one.
func (m *Machine) prepared(ev *Event, fx []Effect) []Effect {
	if n := m.members.byID[ev.Node]; n != nil {
		m.figures(n, ev.Figures)
	}
	g := m.groups[ev.Group]
	if g == nil || g.attempt != ev.Attempt {
		return fx
	}
	all, ok := true, true
	for i := range g.parts {
		p := &g.parts[i]
		if p.node == ev.Node && !p.answered {
			p.answered, p.ok = true, ev.OK
			m.unpromise(g, p)
		}
		all, ok = all && p.answered, ok && (p.ok || !p.answered)
	}
	switch {
	case !all || len(g.parts) == 0:
		return fx
	case !ok:
		return m.abort(g, fx)
	}
	return m.commit(g, fx)
}

func (m *Machine) unpromise(g *group, p *part) {
	if n := m.members.byID[p.node]; n != nil {
		need := g.need(p.bundles)
		n.promised.Sub(&need)
	}
}

// commit makes a prepared plan the group's place.
func (m *Machine) commit(g *group, fx []Effect) []Effect {
	var then []Effect
	for _, p := range g.parts {
		for _, b := range p.bundles {
			g.At[b] = p.node
		}
		then = append(then, Effect{Kind: Commit, Node: p.node, Group: g.Group, Bundles: p.bundles})
	}
	g.parts = nil
	if len(g.lost()) == 0 {
		then = g.places(then)
	} else { // some were lost while these were prepared
		m.queue(g)
		m.toTry = len(m.waiting)
	}
	return m.write(Effect{Op: PutGroup, Group: g.Group}, fx, then...)
}

// places tells those who want to know where g lies.
func (g *group) places(fx []Effect) []Effect {
	at := slices.Clone(g.At)
	for _, n := range g.told {
		fx = append(fx, Effect{Kind: Placed, Node: n, Group: g.Group, At: at})
	}
	return fx
}

// abort gives up a plan and queues its group for another one.
func (m *Machine) abort(g *group, fx []Effect) []Effect {
	fx = m.release(g, fx)
	m.queue(g)
	m.toTry = min(m.toTry+1, len(m.waiting))
	return fx
}

// release gives back what a plan has reserved, or may have.
func (m *Machine) release(g *group, fx []Effect) []Effect {
	for i := range g.parts {
		p := &g.parts[i]
		if !p.answered {
			m.unpromise(g, p)
		}
		if p.ok || !p.answered {
			fx = append(fx, Effect{Kind: Release, Node: p.node, Group: g.Group, Bundles: p.bundles})
		}
	}
	g.parts = nil
	g.attempt++ // no late answer is of the next plan
	return fx
}

// removeGroup gives a group's bundles back when nobody can find it any more.
func (m *Machine) removeGroup(of id.Group, fx []Effect) []Effect {
	g := m.groups[of]
	if g == nil {
		return fx
	}
	delete(m.groups, of)
	if g.queued {
		m.waiting = slices.DeleteFunc(m.waiting, func(o *group) bool { return o == g })
		m.toTry = min(m.toTry, len(m.waiting))
	}
	fx = m.release(g, fx)
	var then []Effect
	for i, at := range g.At {
		k := slices.IndexFunc(then, func(e Effect) bool { return e.Node == at })
		switch {
		case at.IsZero():
		case k < 0:
			then = append(then, Effect{Kind: Release, Node: at, Group: of, Bundles: []int{i}})
		default:
			then[k].Bundles = append(then[k].Bundles, i)
		}
	}
	g.At = nil
	return m.write(Effect{Op: DropGroup, Group: of}, fx, g.places(then)...)
}

// groupsLose places anew what lay, or was to lie, on a node that is gone.
func (m *Machine) groupsLose(node id.Node, fx []Effect) []Effect {
	for _, g := range m.groupsIf(func(g *group) bool { return g.uses(node) }) {
		if len(g.parts) > 0 {
			fx = m.abort(g, fx)
		}
		if lose(g, node) {
			fx = m.write(Effect{Op: PutGroup, Group: g.Group}, fx)
		}
		g.told = slices.DeleteFunc(g.told, func(n id.Node) bool { return n == node })
		m.queue(g)
		m.room()
	}
	return fx
}

func (g *group) uses(node id.Node) bool {
	return slices.Contains(g.At, node) || slices.ContainsFunc(g.parts, func(p part) bool { return p.node == node })
}

// lose takes the bundles on a node for lost.
func lose(g *group, node id.Node) (some bool) {
	for i, at := range g.At {
		if at == node {
			g.At[i], some = id.Node{}, true
		}
	}
	return some
}

func (m *Machine) groupsIf(is func(*group) bool) []*group {
	var out []*group
	for _, g := range m.groups {
		if is(g) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *group) int { return slices.Compare(a.Group[:], b.Group[:]) })
	return out
}

// reconcileHolds compares what a member says it holds with the records: what
// no record has is released, what it has lost is lost.
func (m *Machine) reconcileHolds(n *member, fx []Effect) []Effect {
	for _, h := range n.holds {
		if g := m.groups[h.Group]; g == nil || h.Bundle >= len(g.At) || g.At[h.Bundle] != n.id() {
			fx = append(fx, Effect{Kind: Release, Node: n.id(), Group: h.Group, Bundles: []int{h.Bundle}})
		}
	}
	for _, g := range m.groups {
		for i, at := range g.At {
			if at == n.id() && !slices.Contains(n.holds, Held{g.Group, i}) {
				g.At[i] = id.Node{}
			}
		}
	}
	n.holds = nil
	return fx
}

// findLost queues the groups that have bundles on no member.
func (m *Machine) findLost() {
	for _, g := range m.groupsIf(func(g *group) bool { return len(g.parts) == 0 }) {
		for i, at := range g.At {
			if m.members.byID[at] == nil {
				g.At[i] = id.Node{}
			}
		}
		if len(g.lost()) > 0 {
			m.queue(g)
		}
	}
	m.room()
}
