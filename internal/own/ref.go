package own

import (
	"bytes"
	"slices"

	"github.com/weftrun/weft/internal/id"
)

// using is called before a count of o grows.
func (m *Machine) using(o *object) {
	if o.flags&objRetained != 0 {
		o.flags &^= objRetained
		m.lineage.bytes -= o.size
	}
}

// pin makes o's value needed by a task or an outer value. It returns false if
// o has been freed.
func (m *Machine) pin(oid id.Object) bool {
	o := m.obtain(oid)
	if o == nil {
		return false
	}
	m.using(o)
	o.pins++
	return true
}

func (m *Machine) unpin(oid id.Object) {
	o := m.find(oid)
	if o == nil {
		return // lineage that was evicted
	}
	if o.pins--; o.pins == 0 {
		m.later(opRelease, oid)
	}
}

// first reports whether s made o's id here: its holds are counted in the object.
func (m *Machine) first(s id.Session, o id.Object) bool {
	if o.Owner() != m.self || m.drained {
		return false
	}
	maker, _ := id.SplitSeq(o.Task().Seq())
	return maker == s
}

func (m *Machine) hold(s id.Session, oid id.Object, n int) {
	if n <= 0 {
		m.unexpected(id.Task{}, oid, "a hold of no reference")
		return
	}
	o := m.obtain(oid)
	if o == nil || o.flags&objLocal != 0 {
		m.unexpected(id.Task{}, oid, "a hold of an object that has been freed or is not shared")
		return
	}
	m.using(o)
	if m.first(s, oid) {
		o.own += int32(n)
	} else {
		m.session(s).add(oid, int32(n))
		o.others += int32(n)
	}
	if o.state == objNone {
		m.revive(oid, o)
	}
}

func (s *session) add(o id.Object, n int32) {
	if s.holds == nil {
		s.holds = map[id.Object]int32{}
	}
	if s.holds[o] += n; s.holds[o] == 0 {
		delete(s.holds, o)
	}
}

func (m *Machine) drop(s id.Session, oid id.Object, n int) {
	o := m.find(oid)
	if o == nil {
		m.unexpected(id.Task{}, oid, "a drop of an object that has been freed")
		return
	}
	if m.first(s, oid) {
		if int(o.own) < n {
			m.unexpected(id.Task{}, oid, "a session dropped more references than it held")
			return
		}
		o.own -= int32(n)
	} else {
		ses := m.sessions[s]
		if ses == nil || int(ses.holds[oid]) < n {
			m.unexpected(id.Task{}, oid, "a session dropped more references than it held")
			return
		}
		ses.add(oid, -int32(n))
		o.others -= int32(n)
	}
	m.release(oid)
}

// release frees oid's value if nothing needs it, and its record if nothing
// can ask for it.
func (m *Machine) release(oid id.Object) {
	if t := m.task(oid.Task()); t != nil {
		if o := t.object(oid.Index()); o != nil {
			m.releaseOwned(t, oid, o)
			return
		}
	}
	if o := m.early[oid]; o != nil {
		if !o.needed() && o.lin == 0 && (o.ext == nil || len(o.ext.holders) == 0) {
			m.deleteEarly(oid, o)
		}
		return
	}
	if b := m.borrowed[oid]; b != nil && !b.used() {
		m.returnTokens(oid, b)
	}
}

func (m *Machine) deleteEarly(oid id.Object, o *object) {
	delete(m.early, oid)
	if o.ext != nil {
		m.pools.putExt(o.ext)
	}
	m.pools.putObject(o)
}

func (m *Machine) releaseOwned(t *task, oid id.Object, o *object) {
	if o.needed() {
		return
	}
	if o.state == objAvailable && o.flags&objLocal == 0 {
		if o.lin > 0 && !t.canRebuild() {
			m.retain(o)
			return
		}
		m.dropValue(oid, o)
	}
	if t.is(sparse) && o.lin == 0 && o.state != objPending && o.state != objAvailable {
		m.removeItem(t, oid.Index())
	}
	m.reap(t)
}

// retain keeps the value of what cannot be made again for those whose lineage
// needs it, within the lineage's limit.
func (m *Machine) retain(o *object) {
	if o.flags&objRetained != 0 {
		return
	}
	o.flags |= objRetained
	m.lineage.bytes += o.size
	m.fitLineage()
}

// dropValue frees every copy of o's value, and what the value contained.
func (m *Machine) dropValue(oid id.Object, o *object) {
	m.using(o)
	m.emit(Effect{Kind: Free, Object: oid})
	if o.where == AtNode {
		if o.node != m.self {
			m.freeCopy(oid, 0, o.node)
		}
		if o.ext != nil {
			for _, n := range o.ext.copies {
				if n != m.self {
					m.freeCopy(oid, 0, n)
				}
			}
		}
	}
	m.clearValue(o)
	o.state = objNone
}

// clearValue forgets where o's value is and lets go of what it contained.
func (m *Machine) clearValue(o *object) {
	o.node = id.Node{}
	if o.ext == nil {
		return
	}
	o.ext.copies = o.ext.copies[:0]
	for _, in := range o.ext.inner {
		m.unpin(in)
	}
	o.ext.inner = o.ext.inner[:0]
}

func (m *Machine) freeCopy(oid id.Object, attempt uint32, at id.Node) {
	if at == m.self || at.IsZero() {
		m.emit(Effect{Kind: Free, Object: oid, Attempt: attempt})
		return
	}
	m.send(at, Msg{Kind: Release, Object: oid, Node: m.self, Attempt: attempt})
}

// share begins to count an unshared object: its session holds it once.
func (m *Machine) share(ev *Event) {
	oid := ev.Object
	maker, n := id.SplitSeq(oid.Task().Seq())
	ses := m.sessions[maker]
	if !m.mine(oid.Owner()) || oid.Owner() != m.self || maker != ev.Session || ses == nil || n > ses.high {
		m.unexpected(id.Task{}, oid, "shared by a session that did not make it")
		return
	}
	t := m.task(oid.Task())
	if t == nil {
		t = m.leftover(oid.Task(), ses)
	}
	o := t.object(oid.Index())
	if o == nil && t.is(sparse) && (t.stream() == nil || oid.Index() < t.stream().made) {
		o = m.addItem(t, oid.Index())
		o.flags = objLocal
		m.claim(oid, o)
		m.fill(oid, o, &ev.Return)
	}
	if o == nil || o.flags&objLocal == 0 {
		m.unexpected(id.Task{}, oid, "shared, but it is counted already")
		return
	}
	o.flags &^= objLocal
	o.own++
	t.flags &^= unshared
	if o.state == objAvailable && o.where != ByError {
		m.fill(oid, o, &ev.Return) // now with what it contains
		if o.ext != nil {
			m.announce(oid, o) // to those who knew of it early
		}
	}
}

// leftover makes a record for objects of a task whose own has gone.
func (m *Machine) leftover(t id.Task, ses *session) *task {
	r := m.insert(t, ses)
	r.flags |= sparse
	r.wide = &wide{}
	m.setState(r, done)
	return r
}

func (m *Machine) sendRef(oid id.Object, to id.Node) {
	if to == m.self || m.dead[to] {
		return
	}
	if b := m.borrowed[oid]; b != nil {
		if home := m.Home(oid.Owner()); home != to {
			m.send(home, Msg{Kind: RefAdd, Object: oid, Node: to, Via: m.self, N: 1})
		}
		return
	}
	o := m.find(oid)
	if o == nil || o.flags&objLocal != 0 {
		m.unexpected(id.Task{}, oid, "a reference to an object that has been freed or is not shared was sent")
		return
	}
	m.using(o)
	m.count(o, to, m.self, 1)
}

// count adds n to what node has of o from via.
func (m *Machine) count(o *object, node, via id.Node, n int32) {
	e, h := m.holder(o, node, via)
	was := h.count > 0
	h.count += n
	if is := h.count > 0; is && !was {
		e.positive++
	} else if was && !is {
		e.positive--
	}
	e.tidy(node, via)
}

// holder returns the entry of node and via, a new one if there is none.
func (m *Machine) holder(o *object, node, via id.Node) (*ext, *holder) {
	e := o.more(&m.pools)
	i, ok := e.entry(node, via)
	if !ok {
		e.holders = slices.Insert(e.holders, i, holder{node: node, via: via})
	}
	return e, &e.holders[i]
}

func (e *ext) entry(node, via id.Node) (int, bool) {
	return slices.BinarySearchFunc(e.holders, holder{node: node, via: via}, compareHolders)
}

func compareHolders(a, b holder) int {
	if c := bytes.Compare(a.node[:], b.node[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.via[:], b.via[:])
}

// tidy removes the entry of node and via if it says nothing.
func (e *ext) tidy(node, via id.Node) {
	if i, ok := e.entry(node, via); ok && e.holders[i].count == 0 && !e.holders[i].subscribed && !e.holders[i].settled {
		e.holders = slices.Delete(e.holders, i, i+1)
	}
}

// subscribed records whether node wants to hear of o.
func (m *Machine) subscribed(o *object, node id.Node, yes bool) {
	if !yes && o.ext == nil {
		return
	}
	e, h := m.holder(o, node, id.Node{})
	h.subscribed = yes
	e.tidy(node, id.Node{})
}

func (m *Machine) gotRef(oid id.Object, from id.Node) {
	m.arrived(oid, from)
	m.hold(0, oid, 1)
}

// arrived records a reference that from has sent.
func (m *Machine) arrived(oid id.Object, from id.Node) {
	if !m.mine(oid.Owner()) {
		m.token(oid, from)
		return
	}
	// To the owner a sender need not announce it. But of what this node has
	// adopted from might not have known, and have told the old owner.
	if o := m.find(oid); o != nil && oid.Owner() != m.self {
		m.count(o, m.self, from, -1)
	}
}

func (m *Machine) want(oid id.Object) {
	o := m.find(oid)
	switch {
	case o == nil && m.notYetKnown(oid):
		m.obtain(oid)
	case o == nil && m.mine(oid.Owner()):
		m.emit(Effect{Kind: Ready, Object: oid, Gone: Freed, Why: whyFreed})
	case o == nil:
		m.emit(Effect{Kind: Ready, Object: oid, Gone: Unknown, Why: "nothing on this node holds a reference to it"})
	case o.state == objAvailable:
		m.emit(Effect{Kind: Ready, Object: oid})
	case !m.require(oid, o):
		m.emit(Effect{Kind: Ready, Object: oid, Gone: o.gone, Why: m.whyGone(oid, o)})
	}
}
