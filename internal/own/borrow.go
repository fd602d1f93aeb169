package own

import (
	"github.com/weftrun/weft/internal/id"
)

// borrow makes the record of a foreign object.
func (m *Machine) borrow(oid id.Object) *borrow {
	b := m.borrowed[oid]
	if b == nil {
		b = m.pools.borrow()
		b.state = objPending
		if m.dead[m.Home(oid.Owner())] {
			b.state, b.gone = objGone, OwnerDied
		}
		m.borrowed[oid] = b
	}
	return b
}

// register borrows oid for a use that no sender has announced, as when a
// program kept the id in a file: this node registers itself.
func (m *Machine) register(oid id.Object) *borrow {
	b := m.token(oid, m.self)
	m.send(m.Home(oid.Owner()), Msg{Kind: RefAdd, Object: oid, Node: m.self, Via: m.self, N: 1})
	return b
}

// token records that from has registered this node once more as a holder.
func (m *Machine) token(oid id.Object, from id.Node) *borrow {
	b := m.borrow(oid)
	for i := range b.tokens {
		if b.tokens[i].from == from {
			b.tokens[i].n++
			return b
		}
	}
	b.tokens = append(b.tokens, tokens{from, 1})
	return b
}

// tokensFrom returns how many references this node has from a node.
func (b *borrow) tokensFrom(n id.Node) int {
	for _, t := range b.tokens {
		if t.from == n {
			return int(t.n)
		}
	}
	return 0
}

// giveBack tells the owner, by way of to, that this node has no tokens of b.
func (m *Machine) giveBack(oid id.Object, b *borrow, to id.Node) {
	for _, t := range b.tokens {
		m.send(to, Msg{Kind: RefDrop, Object: oid, Node: m.self, Via: t.from, N: int(t.n)})
	}
	if len(b.tokens) == 0 && b.subscribed {
		m.send(to, Msg{Kind: RefDrop, Object: oid, Node: m.self, Via: m.self})
	}
}

// returnTokens tells the owner that this node uses oid no more.
func (m *Machine) returnTokens(oid id.Object, b *borrow) {
	delete(m.borrowed, oid)
	m.clearValue(&b.object)
	if b.ext != nil {
		m.pools.putExt(b.ext)
	}
	m.giveBack(oid, b, m.Home(oid.Owner()))
	m.pools.putBorrow(b)
	m.emit(Effect{Kind: Unused, Object: oid})
}

func (m *Machine) subscribe(oid id.Object, b *borrow) {
	if b.subscribed {
		return
	}
	b.subscribed = true
	m.send(m.Home(oid.Owner()), Msg{Kind: Subscribe, Object: oid, Node: m.self})
}

// require reports whether o's value is there or will be; it starts what has to
// be done for that.
func (m *Machine) require(oid id.Object, o *object) bool {
	switch o.state {
	case objAvailable:
		return true
	case objGone:
		return false
	case objNone:
		return m.revive(oid, o)
	default: // objPending
		if b := m.borrowed[oid]; b != nil && &b.object == o {
			m.subscribe(oid, b)
		}
		return true
	}
}

// peer handles a message about an object or task of this node, or one that it
// handed over, or one that it borrowed.
func (m *Machine) peer(from id.Node, msg *Msg) {
	about := msg.Node
	if about.IsZero() {
		about = from
	}
	switch msg.Kind {
	case Resolved:
		m.resolvedMsg(about, msg)
		return
	case Release:
		m.emit(Effect{Kind: Free, Object: msg.Object, Attempt: msg.Attempt})
		return
	case StopTask:
		m.stopMsg(msg)
		return
	case Audit:
		m.audit(msg.Object, msg.Via)
		return
	}
	if !m.mine(msg.Object.Owner()) {
		m.forward(about, *msg)
		return
	}
	switch msg.Kind {
	case RefAdd:
		m.refAdd(msg.Object, about, msg.Via, msg.N)
	case RefDrop:
		m.refDrop(msg.Object, about, msg.Via, msg.N)
	case RefHeld:
		m.refHeld(msg.Object, about, msg.Via, msg.N)
	case Subscribe:
		m.subscribeMsg(msg.Object, about)
	case CopyMade:
		m.copyAdded(msg.Object, about)
	case CopyGone:
		m.copyLost(msg.Object, about)
	default:
		m.unexpected(msg.Task, msg.Object, "a message of an unknown kind")
	}
}

// forward passes a message on to the heir of what this node once owned.
func (m *Machine) forward(about id.Node, msg Msg) {
	home := m.Home(msg.Object.Owner())
	if home == m.self {
		m.unexpected(msg.Task, msg.Object, "a message about what this node does not own")
		return
	}
	msg.Node = about
	m.send(home, msg)
}

func (m *Machine) refAdd(oid id.Object, node, via id.Node, n int) {
	if m.dead[node] || m.dead[via] {
		return
	}
	o := m.find(oid)
	if o == nil && m.notYetKnown(oid) {
		o = m.obtain(oid)
	}
	if o == nil {
		return // its holder will hear so when it asks
	}
	if o.ext != nil {
		if i, ok := o.ext.entry(node, via); ok && o.ext.holders[i].settled {
			return
		}
	}
	m.using(o)
	m.count(o, node, via, int32(n))
}

func (m *Machine) refDrop(oid id.Object, node, via id.Node, n int) {
	o := m.find(oid)
	if o == nil || m.dead[node] {
		return
	}
	m.count(o, node, via, -int32(n))
	m.subscribed(o, node, false)
	m.release(oid)
}

// refHeld learns what node really had from via, which died: of what via had
// told this owner and what it had told node, either may have been lost.
func (m *Machine) refHeld(oid id.Object, node, via id.Node, n int) {
	o := m.find(oid)
	if o == nil || m.dead[node] {
		return
	}
	_, h := m.holder(o, node, via)
	h.settled = !m.dead[via]
	m.using(o)
	m.count(o, node, via, int32(n)-h.count)
	m.release(oid)
}

// audit answers an owner's question once via is dead for this node too, and
// nothing more can come from it.
func (m *Machine) audit(oid id.Object, via id.Node) {
	if !m.dead[via] {
		m.audits[via] = append(m.audits[via], oid)
		return
	}
	n := 0
	if b := m.borrowed[oid]; b != nil {
		n = b.tokensFrom(via)
	}
	m.send(m.Home(oid.Owner()), Msg{Kind: RefHeld, Object: oid, Node: m.self, Via: via, N: n})
}

func (m *Machine) subscribeMsg(oid id.Object, node id.Node) {
	o := m.find(oid)
	if o == nil && m.notYetKnown(oid) {
		o = m.obtain(oid)
	}
	if o == nil || o.flags&objLocal != 0 || o.state == objNone && !o.needed() {
		m.send(node, Msg{Kind: Resolved, Object: oid, Node: m.self, Gone: Freed})
		return
	}
	m.subscribed(o, node, true)
	m.require(oid, o)
	if o.state != objPending {
		m.tell(oid, o, node)
	}
}

// resolvedMsg learns from the owner where a borrowed object is.
func (m *Machine) resolvedMsg(from id.Node, msg *Msg) {
	oid := msg.Object
	b := m.borrowed[oid]
	for _, in := range msg.Return.Inner {
		m.arrived(in, from)
		m.later(opRelease, in) // unless b pins it
	}
	if b == nil {
		return
	}
	if msg.Gone != Present {
		m.vanish(oid, &b.object, msg.Gone)
		return
	}
	m.replaceInner(oid, &b.object, msg.Return.Inner)
	r := &msg.Return
	if r.Where == AtNode && m.dead[r.Node] {
		return // the owner does not know yet; it will tell
	}
	was := b.state
	b.state, b.gone, b.where, b.node, b.size = objAvailable, Present, r.Where, r.Node, r.Size
	if was != objAvailable {
		m.announce(oid, &b.object)
	}
}

// replaceInner makes o hold what its value contains now: a rebuilt value may
// contain other references than the lost one.
func (m *Machine) replaceInner(oid id.Object, o *object, inner []id.Object) {
	var old []id.Object
	if o.ext != nil {
		old, o.ext.inner = o.ext.inner, nil
	}
	m.contain(oid, o, inner)
	for _, in := range old {
		m.unpin(in)
	}
}
