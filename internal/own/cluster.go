package own

import (
	"bytes"
	"slices"

	"github.com/weftrun/weft/internal/id"
)

// nodeDead drops everything that was at n.
func (m *Machine) nodeDead(n id.Node) {
	if n == m.self || m.dead[n] {
		return
	}
	m.dead[n] = true
	m.loseBorrowed(n)
	ids := m.allTasks()
	for _, tid := range ids {
		m.loseAt(m.task(tid), n)
	}
	for _, tid := range ids {
		if t := m.task(tid); t != nil && t.state == Running && t.node == n {
			m.failed(t, NodeDied, id.Object{})
		}
	}
	m.loseEarly(n)
	m.loseParents(n)
}

// loseAt drops the copies at n of t's objects and what n held of them.
func (m *Machine) loseAt(t *task, n id.Node) {
	for k := range t.count() {
		index, o := t.slot(k)
		oid := t.id.Return(index)
		m.loseHolder(oid, o, n)
		if o.isAt(n) || o.ext != nil && slices.Contains(o.ext.copies, n) {
			m.loseCopy(t, oid, o, n)
		}
	}
}

// loseHolder drops what n held of o, and asks others what they really had
// from it.
func (m *Machine) loseHolder(oid id.Object, o *object, n id.Node) {
	if o.ext == nil {
		return
	}
	for _, h := range slices.Clone(o.ext.holders) {
		if h.node == n {
			m.dropHolder(o, h)
			m.later(opRelease, oid)
		} else if h.via == n {
			m.question(oid, o, h)
		}
	}
}

func (m *Machine) dropHolder(o *object, h holder) {
	_, e := m.holder(o, h.node, h.via)
	e.subscribed, e.settled = false, false
	m.count(o, h.node, h.via, -h.count)
}

// question asks h's node about references from h's via, which is dead, unless
// it has told already.
func (m *Machine) question(oid id.Object, o *object, h holder) {
	if h.node == m.self { // it inherited o since; what via sent it has come, or never will
		m.dropHolder(o, h)
		m.later(opRelease, oid)
		return
	}
	if !h.settled {
		m.send(h.node, Msg{Kind: Audit, Object: oid, Node: m.self, Via: h.via})
		return
	}
	_, e := m.holder(o, h.node, h.via)
	e.settled = false
	o.ext.tidy(h.node, h.via)
}

func (m *Machine) loseEarly(n id.Node) {
	for _, oid := range sortedObjects(m.early) {
		m.loseHolder(oid, m.early[oid], n)
	}
}

// loseBorrowed handles foreign objects that n owned, held or had sent us.
func (m *Machine) loseBorrowed(n id.Node) {
	for _, oid := range sortedObjects(m.borrowed) {
		b := m.borrowed[oid]
		home := m.Home(oid.Owner())
		if home == n {
			m.vanish(oid, &b.object, OwnerDied)
			continue
		}
		if k := b.tokensFrom(n); k > 0 {
			// It may have died before it told the owner of them.
			m.send(home, Msg{Kind: RefHeld, Object: oid, Node: m.self, Via: n, N: k})
		}
		m.unresolve(oid, b, n)
	}
	for _, oid := range m.audits[n] {
		m.audit(oid, n)
	}
	delete(m.audits, n)
}

// loseParents cancels the children of tasks whose owner died.
func (m *Machine) loseParents(n id.Node) {
	var parents []id.Task
	for p := range m.families {
		if m.Home(p.Owner()) == n {
			parents = append(parents, p)
		}
	}
	sortTasks(parents)
	for _, p := range parents {
		m.bury(p, 1<<32-1, true)
	}
}

// heir records that to has taken over what from owned, and that from is gone.
func (m *Machine) heir(from, to id.Node) {
	if from == m.self {
		m.unexpected(id.Task{}, id.Object{}, "this node was told that it has left")
		return
	}
	m.heirs[from] = to
	m.nodeDead(from)
}

// allTasks returns the ids of every record, sorted.
func (m *Machine) allTasks() []id.Task {
	ids := make([]id.Task, 0, len(m.tasks)+len(m.adopted))
	for _, t := range m.tasks {
		ids = append(ids, t.id)
	}
	for _, t := range m.adopted {
		ids = append(ids, t.id)
	}
	sortTasks(ids)
	return ids
}

func sortTasks(ids []id.Task) {
	slices.SortFunc(ids, func(a, b id.Task) int { return bytes.Compare(a[:], b[:]) })
}

func sortObjects(ids []id.Object) {
	slices.SortFunc(ids, func(a, b id.Object) int { return bytes.Compare(a[:], b[:]) })
}

func sortedObjects[V any](set map[id.Object]V) []id.Object {
	ids := make([]id.Object, 0, len(set))
	for o := range set {
		ids = append(ids, o)
	}
	sortObjects(ids)
	return ids
}
