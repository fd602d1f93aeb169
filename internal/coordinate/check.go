package coordinate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/resource"
)

// Check walks everything and reports the first broken invariant.
func (m *Machine) Check() error {
	for _, check := range []func() error{m.checkMembers, m.checkViews, m.checkNames, m.checkGroups} {
		if err := check(); err != nil {
			return fmt.Errorf("coordinate: %w", err)
		}
	}
	return nil
}

func (m *Machine) checkMembers() error {
	s := &m.members
	count, reported, suspects := 0, 0, 0
	for n := s.first; n != nil; n = n.next {
		count++
		if n.next != nil && n.next.heard < n.heard {
			return fmt.Errorf("%s was heard at %v, and %s after it at %v", n.id(), n.heard, n.next.id(), n.next.heard)
		}
		if n.reported {
			reported++
		}
		if n.suspect {
			suspects++
		}
		if len(n.news) > 0 {
			return fmt.Errorf("%s has news that were not told", n.id())
		}
	}
	if count != len(s.byID) || count != len(s.order) || reported != s.reported || suspects != s.suspects {
		return fmt.Errorf("%d members in order of silence, %d by id, %d in order; %d reported, counted %d; %d suspects, counted %d",
			count, len(s.byID), len(s.order), reported, s.reported, suspects, s.suspects)
	}
	return nil
}

func (m *Machine) checkViews() error {
	for _, n := range m.members.order {
		for _, o := range n.sees {
			if o == n || m.members.byID[o.id()] != o || !slices.Contains(o.seenBy, n) {
				return fmt.Errorf("%s sees %s, which does not know", n.id(), o.id())
			}
		}
		for _, o := range n.seenBy {
			if !slices.Contains(o.sees, n) {
				return fmt.Errorf("%s is seen by %s, which does not know", n.id(), o.id())
			}
		}
		if n.isDirty != slices.Contains(m.dirty, n) {
			return fmt.Errorf("%s is dirty: %t", n.id(), n.isDirty)
		}
		if others := len(m.members.order) - 1; len(n.sees) < min(others, m.o.Sample/2) {
			return fmt.Errorf("%s sees %d of %d others", n.id(), len(n.sees), others)
		}
	}
	return nil
}

func (m *Machine) checkNames() error {
	for name, a := range m.names {
		if m.actors[a.Actor] != a || nameOf(a) != name {
			return fmt.Errorf("the name %v is of an actor that is gone", name)
		}
	}
	for _, a := range m.actors {
		if a.Name != "" && m.names[nameOf(a)] != a {
			return fmt.Errorf("actor %s has a name that is another's", a.Actor)
		}
		if m.phase == leading && m.members.byID[a.Owner] == nil && !slices.ContainsFunc(m.orphans, func(o orphan) bool { return o.ActorRecord == a }) {
			return fmt.Errorf("actor %s is owned by nobody", a.Actor)
		}
	}
	return nil
}

func (m *Machine) checkGroups() error {
	promised := map[*member]*resource.Vector{}
	for _, g := range m.groups {
		if err := m.checkGroup(g); err != nil {
			return fmt.Errorf("group %s: %w", g.Group, err)
		}
		for _, p := range g.parts {
			n := m.members.byID[p.node]
			if p.answered || n == nil {
				continue
			}
			if promised[n] == nil {
				promised[n] = &resource.Vector{}
			}
			need := g.need(p.bundles)
			promised[n].Add(&need)
		}
	}
	for _, n := range m.members.order {
		want := promised[n]
		if want == nil {
			want = &resource.Vector{}
		}
		if !n.promised.Equal(want) {
			return fmt.Errorf("%s has promised %v, its groups wait for %v", n.id(), n.promised, *want)
		}
	}
	if m.toTry < 0 || m.toTry > len(m.waiting) {
		return fmt.Errorf("%d groups to try of %d that wait", m.toTry, len(m.waiting))
	}
	return nil
}

func (m *Machine) checkGroup(g *group) error {
	lost := len(g.lost())
	switch {
	case g.queued != slices.Contains(m.waiting, g):
		return fmt.Errorf("queued: %t", g.queued)
	case len(g.parts) > 0 && g.queued:
		return errors.New("waits and is being prepared")
	case m.phase != leading:
		return nil
	case lost > 0 && len(g.parts) == 0 && !g.queued:
		return errors.New("has no place, and nothing is done about it")
	case lost == 0 && g.queued:
		return errors.New("has its place, and waits for one")
	}
	for _, at := range g.At {
		if !at.IsZero() && m.members.byID[at] == nil {
			return fmt.Errorf("lies on %s, which is no member", at)
		}
	}
	return nil
}
