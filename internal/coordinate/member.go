package coordinate

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// member is a node of the cluster.
type member struct {
	view     View
	heard    time.Duration // attended time
	reported bool          // to this coordinator
	suspect  bool
	draining bool
	isDirty  bool

	// What was asked for with Prepare and not answered: its figures may or may
	// not have it.
	promised resource.Vector

	sees   []*member // in its view; itself not among them
	seenBy []*member
	news   []*View // to be sent in this flush

	holds []Held // as reported, until reconciled

	prev, next *member // by when they were last heard, the longest silent first
}

func (n *member) id() id.Node { return n.view.Node }

// state is what others are told of it.
func (n *member) state() NodeState {
	switch {
	case n.draining:
		return Draining
	case n.suspect:
		return Suspect
	}
	return Alive
}

// membership is the members, by id and by silence.
type membership struct {
	byID        map[id.Node]*member
	order       []*member // by id
	first, last *member
	reported    int
	suspects    int
}

func compareMembers(n *member, to id.Node) int {
	id := n.id()
	return slices.Compare(id[:], to[:])
}

// add returns the member with an id, made if it is new.
func (s *membership) add(node id.Node) *member {
	if n := s.byID[node]; n != nil {
		return n
	}
	n := &member{view: View{Node: node}}
	s.byID[node] = n
	i, _ := slices.BinarySearchFunc(s.order, node, compareMembers)
	s.order = slices.Insert(s.order, i, n)
	s.push(n)
	return n
}

func (s *membership) remove(n *member) {
	delete(s.byID, n.id())
	i, _ := slices.BinarySearchFunc(s.order, n.id(), compareMembers)
	s.order = slices.Delete(s.order, i, i+1)
	s.unlink(n)
	s.doubt(n, false)
	if n.reported {
		s.reported--
	}
}

func (s *membership) push(n *member) {
	n.prev, n.next = s.last, nil
	if s.last == nil {
		s.first = n
	} else {
		s.last.next = n
	}
	s.last = n
}

func (s *membership) unlink(n *member) {
	if n.prev == nil {
		s.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		s.last = n.prev
	} else {
		n.next.prev = n.prev
	}
}

// doubt makes a member suspect, or not any more, and reports a change.
func (s *membership) doubt(n *member, suspect bool) (changed bool) {
	if n.suspect == suspect {
		return false
	}
	n.suspect = suspect
	if suspect {
		s.suspects++
	} else {
		s.suspects--
	}
	return true
}

// joined takes a node in that reports, as a new member or as the one it was.
func (m *Machine) joined(now time.Duration, ev *Event, fx []Effect) []Effect {
	n := m.members.byID[ev.Node]
	switch {
	case n == nil && ev.Again:
		return append(fx, Effect{Kind: Expel, Node: ev.Node})
	case n == nil:
		n = m.members.add(ev.Node)
		n.view.Address, n.view.Figures = ev.Address, *ev.Figures
		m.introduce(n)
		fx = m.write(Effect{Op: PutNode, Node: ev.Node}, fx, Effect{Kind: Welcome, Node: ev.Node})
	default:
		fx = m.after(fx, Effect{Kind: Welcome, Node: ev.Node})
	}
	if !n.reported {
		n.reported = true
		m.members.reported++
		if n.holds = ev.Holds; m.phase == leading {
			fx = m.reconcileHolds(n, fx)
			fx = m.adoptAgain(ev.Node, fx)
			m.findLost()
		}
	}
	fx = m.alive(now, n, fx)
	m.figures(n, ev.Figures)
	for _, o := range n.sees {
		n.news = append(n.news, &o.view)
	}
	fx = m.tell(n, fx)
	for _, o := range m.members.order {
		if s := o.state(); s != Alive {
			fx = append(fx, Effect{Kind: Announce, To: n.id(), Node: o.id(), State: s})
		}
	}
	return fx
}

// heard takes a sign of life.
func (m *Machine) heard(now time.Duration, ev *Event, fx []Effect) []Effect {
	n := m.members.byID[ev.Node]
	if ev.Figures != nil {
		m.figures(n, ev.Figures)
	}
	return m.alive(now, n, fx)
}

func (m *Machine) alive(now time.Duration, n *member, fx []Effect) []Effect {
	n.heard = m.attended(now)
	m.members.unlink(n)
	m.members.push(n)
	if m.members.doubt(n, false) {
		m.room()
		fx = append(fx, Effect{Kind: Announce, Node: n.id(), State: n.state()})
	}
	return fx
}

// listen looks for those that have been silent for too long. A member is
// declared dead by a coordinator that has listened for all that time itself.
func (m *Machine) listen(now time.Duration, fx []Effect) []Effect {
	at := m.attended(now)
	for n := m.members.first; n != nil && at >= n.heard+m.o.SuspectAfter; {
		next := n.next
		if at >= n.heard+m.o.DeadAfter {
			fx = m.die(n, fx)
		} else if m.members.doubt(n, true) {
			fx = append(fx, Effect{Kind: Announce, Node: n.id(), State: Suspect})
		}
		n = next
	}
	return fx
}

// leaving handles what is known about a member's end.
func (m *Machine) leaving(ev *Event, fx []Effect) []Effect {
	n := m.members.byID[ev.Node]
	if n == nil {
		if heir, left := m.heirs[ev.Node]; left && ev.Kind == Left {
			return m.after(fx, Effect{Kind: Announce, To: ev.Node, Node: ev.Node, State: Gone, Heir: heir})
		}
		return fx
	}
	switch ev.Kind {
	case Broken:
		return m.die(n, fx)
	case Left:
		return m.leave(n, ev.Heir, fx)
	}
	if n.draining {
		return fx
	}
	n.draining = true
	return m.write(Effect{Op: PutNode, Node: n.id()}, fx, Effect{Kind: Announce, Node: n.id(), State: Draining})
}

// die declares a member dead. It is told to the others when it is written, so
// that no later coordinator takes it for a member.
func (m *Machine) die(n *member, fx []Effect) []Effect {
	m.forget(n)
	m.stats.Deaths++
	fx = m.write(Effect{Op: DropNode, Node: n.id()}, fx, Effect{Kind: Announce, Node: n.id(), State: Dead})
	for _, a := range m.ownedBy(n.id()) {
		fx = m.orphaned(a, Dead, fx)
	}
	for _, j := range m.jobsOf(n.id()) {
		fx = m.endJob(j, fx)
	}
	return m.groupsLose(n.id(), fx)
}

// leave lets a drained member go; its heir owns what it had owned. An heir that
// died in the meantime takes it into its grave.
func (m *Machine) leave(n *member, heir id.Node, fx []Effect) []Effect {
	m.forget(n)
	if len(m.heirs) < m.o.MaxHeirs {
		m.heirs[n.id()] = heir
		fx = m.write(Effect{Op: PutHeir, Node: n.id(), Heir: heir}, fx)
	}
	for _, a := range m.ownedBy(n.id()) {
		fx = m.orphaned(a, Gone, fx)
	}
	fx = m.write(Effect{Op: DropNode, Node: n.id()}, fx, Effect{Kind: Announce, Node: n.id(), State: Gone, Heir: heir})
	for _, j := range m.jobsOf(n.id()) {
		fx = m.endJob(j, fx)
	}
	return m.groupsLose(n.id(), fx)
}

// findNode says where a node is, or what became of it. Of one that is unknown
// while the members are still reporting it says nothing: ask again.
func (m *Machine) findNode(ev *Event, fx []Effect) []Effect {
	if n := m.members.byID[ev.Other]; n != nil {
		return append(fx, Effect{Kind: Views, Node: ev.Node, Views: []*View{&n.view}})
	}
	if m.phase != leading {
		return fx
	}
	answer := Effect{Kind: Announce, To: ev.Node, Node: ev.Other, State: Dead}
	for heir, left := m.heirs[ev.Other]; left; heir, left = m.heirs[heir] {
		if m.members.byID[heir] != nil {
			answer.State, answer.Heir = Gone, heir
			break
		}
	}
	return m.after(fx, answer)
}

// forget takes a member out of everything that is about views.
func (m *Machine) forget(n *member) {
	m.members.remove(n)
	if n.isDirty {
		m.dirty = slices.DeleteFunc(m.dirty, func(o *member) bool { return o == n })
	}
	for _, o := range n.sees {
		o.seenBy = without(o.seenBy, n)
	}
	for _, o := range n.seenBy {
		o.sees = without(o.sees, n)
		m.sample(o)
	}
}

// without takes n out of a list whose order does not matter to anybody.
func without(list []*member, n *member) []*member {
	if i := slices.Index(list, n); i >= 0 {
		last := len(list) - 1
		list[i], list[last] = list[last], nil
		return list[:last]
	}
	return list
}
