package dispatch

import (
	"cmp"
	"iter"
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// pool is what leases reserve resources from: the node, or one bundle of a
// placement group. free may be below zero: a task that lent its CPU went on
// while another used it.
type pool struct {
	total resource.Vector
	free  resource.Vector
	idle  resource.Vector // of free's complement, what idle leases hold
	stuck resource.Vector // likewise, what no running task will give back: actors, bundles, blocked tasks

	devices []devices // by kind; as long as the kinds that the node has

	group  id.Group
	bundle int
	gone   bool // the bundle was removed; what comes back goes to the node
}

// group is a placement group's bundles on this node, by bundle number.
type group struct {
	bundles []*pool
}

func (g *group) find(bundle int) (int, bool) {
	return slices.BinarySearchFunc(g.bundles, bundle, func(p *pool, b int) int { return cmp.Compare(p.bundle, b) })
}

// shape is a need for resources that queues share: most programs have few.
type shape struct {
	id      int // order of making
	name    string
	need    resource.Vector
	grouped bool // from a bundle: of group; bundle -1 is any
	group   id.Group
	bundle  int
	zero    bool // asks for nothing, so it counts against a limit on such leases
	devices bool // asks for accelerators

	share   int64 // of the node, in 1/1024 of the resource it takes most of; at least 1
	refs    int   // queues
	waiting int   // of them, those that want a lease
}

// shapeOf is that of a bundle.
func shapeOf(need *resource.Vector) *shape { return &shape{need: *need, devices: needsDevices(need)} }

// shortage is a resource of which there is not enough.
type shortage struct {
	name        string
	asked, have resource.Amount
}

// GroupResource is the name of what is lacking where a bundle was removed.
const GroupResource = "placement group"

// never reports whether s can be satisfied even by an empty node, and if not
// what is missing.
func (m *Machine) never(s *shape) (shortage, bool) {
	if !s.grouped {
		name, asked, have, missing := m.node.total.Missing(&s.need)
		return shortage{name, asked, have}, missing && m.sized
	}
	lack := shortage{name: GroupResource, asked: resource.Unit}
	for total := range m.bundlesFor(s) {
		name, asked, have, missing := total.Missing(&s.need)
		if !missing {
			return shortage{}, false
		}
		lack = shortage{name, asked, have}
	}
	return lack, true
}

// bundlesFor calls yield with the size of each bundle that s may use, those
// that still wait for their resources included.
func (m *Machine) bundlesFor(s *shape) iter.Seq[*resource.Vector] {
	return func(yield func(*resource.Vector) bool) {
		if g := m.groups[s.group]; g != nil {
			for _, p := range g.bundles {
				if (s.bundle < 0 || p.bundle == s.bundle) && !yield(&p.total) {
					return
				}
			}
		}
		for i := range m.bundles {
			b := &m.bundles[i]
			if b.group == s.group && (s.bundle < 0 || b.number == s.bundle) && !yield(&b.need) {
				return
			}
		}
	}
}

// fit returns the pool that has room for s now, and nil if none has. What idle
// leases hold counts as room.
func (m *Machine) fit(s *shape) *pool {
	if s.zero && m.zeroFree+m.zeroIdle <= 0 {
		return nil
	}
	if !s.grouped {
		if m.node.has(s) {
			return &m.node
		}
		return nil
	}
	g := m.groups[s.group]
	if g == nil {
		return nil
	}
	for _, p := range g.bundles {
		if (s.bundle < 0 || s.bundle == p.bundle) && p.has(s) {
			return p
		}
	}
	return nil
}

// has reports whether s fits into what is free or idle.
func (p *pool) has(s *shape) bool {
	return p.covers(&s.need, &nothing) && (!s.devices || p.hasDevices(&s.need, true, nil))
}

var nothing resource.Vector

// covers reports whether need fits into what is free, idle or in extra.
func (p *pool) covers(need, extra *resource.Vector) bool {
	for name, a := range need.All {
		if p.free.Get(name)+p.idle.Get(name)+extra.Get(name) < a {
			return false
		}
	}
	return true
}

// attainable reports whether need would fit once every running task ended.
func (p *pool) attainable(need *resource.Vector) bool {
	for name, a := range need.All {
		if p.total.Get(name)-p.stuck.Get(name) < a {
			return false
		}
	}
	return true
}

// rivals reports whether need takes something that p lacks for first.
func (p *pool) rivals(first, need *resource.Vector) bool {
	for name, a := range first.All {
		if p.free.Get(name)+p.idle.Get(name) < a && need.Get(name) > 0 {
			return true
		}
	}
	return false
}

// take reserves s's need in p for l.
func (m *Machine) take(p *pool, s *shape, l *lease) {
	p.free.Sub(&s.need)
	if s.devices {
		l.parts = p.choose(&s.need, l.parts)
	}
	if s.zero {
		m.zeroFree--
	}
}

// give is the inverse of take.
func (m *Machine) give(p *pool, s *shape, l *lease) {
	p.free.Add(&s.need)
	p.putBack(l.parts)
	if s.zero {
		m.zeroFree++
	}
}

// resize follows a change of the node's resources.
func (m *Machine) resize(total *resource.Vector) {
	m.node.free.Sub(&m.node.total)
	m.node.total = total.Clone()
	m.node.free.Add(&m.node.total)
	m.node.number()
	m.sized = true
	for _, s := range m.shapes {
		s.share = m.shareOf(&s.need)
	}
}

// shareOf returns the largest fraction of the node's total that need takes,
// in 1/1024.
func (m *Machine) shareOf(need *resource.Vector) int64 {
	share := int64(1)
	for name, a := range need.All {
		if t := m.node.total.Get(name); t > 0 {
			share = max(share, int64(float64(a)/float64(t)*1024))
		}
	}
	return share
}
