package place

import (
	"time"

	"github.com/weftrun/weft/internal/spec"
)

// Tasks that were placed at this node wait in its dispatcher's queue, of which
// this machine knows the length only. When another node has room meanwhile, the
// dispatcher is asked for as many of them as fit there.

// isLocal notes that tasks of w may wait here.
func (m *Machine) isLocal(w *work) {
	if !w.local {
		w.local = true
		m.local = append(m.local, w)
	}
}

// recall asks for tasks that wait here and for which another node has room: n,
// whose figures came, or any once this node's own came. It looks at few works at a
// time; those that turn out to have none to give are not looked at again.
func (m *Machine) recall(now time.Duration, n *node, fx []Effect) []Effect {
	const looks = 8
	if n.draining || m.self.queued == 0 {
		return fx
	}
	first := len(fx)
	for range min(looks, len(m.local)) {
		w := m.local[0]
		m.local = append(m.local[:0], m.local[1:]...)
		w.local = false
		fx = m.renew(now, w, fx)
		to := n
		if n == m.self {
			to = m.roomFor(now, w)
		}
		k := m.fits(now, w, to)
		if k == 0 {
			m.isLocal(w)
			continue
		}
		fx = append(fx, Effect{Kind: Recall, Node: to.id, N: k, Spec: w.spec})
	}
	for _, e := range fx[first:] { // there may be fewer than asked for: each counts when it has come
		if e.Kind == Recall {
			for range e.N {
				m.byID[e.Node].credit(&e.Spec.Resources)
			}
		}
	}
	return fx
}

// roomFor looks at some of the other nodes for one with room for a task of w, and
// returns this one if it finds none.
func (m *Machine) roomFor(now time.Duration, w *work) *node {
	const looks = 16
	if len(w.nodes) == 0 {
		return m.self
	}
	first := m.draw(len(w.nodes))
	for i := range min(looks, len(w.nodes)) {
		n := w.nodes[(first+i)%len(w.nodes)]
		if n != m.self && m.load(now, n, &w.spec.Resources) < fullLoad {
			return n
		}
	}
	return m.self
}

// fits counts, up to a batch, the tasks of w for which n has room, and takes that
// so that no other work is told of it. Of bundles' room the figures do not tell.
func (m *Machine) fits(now time.Duration, w *work, n *node) (k int) {
	need := &w.spec.Resources
	if n == m.self || !w.has(n) || need.IsZero() || w.spec.Strategy.Kind == spec.InGroup {
		return 0
	}
	for k < m.o.Batch && m.load(now, n, need) < fullLoad {
		m.spend(now, n, need)
		k++
	}
	return k
}

// recalled sends a task to the node for which it was asked back. If that refuses
// it, it settles there, from where others with room relieve it.
func (m *Machine) recalled(now time.Duration, ev *Event, fx []Effect) []Effect {
	w := m.workOf(ev.Spec)
	fx = m.renew(now, w, fx)
	m.isLocal(w)
	e := entry{task: ev.Task, attempt: ev.Attempt, refusals: maxRefusals, avoid: m.self.id}
	if n := m.byID[ev.Node]; n != nil && !n.draining && w.has(n) {
		m.spend(now, n, &w.spec.Resources)
		return m.send(w, n, e, fx)
	}
	return m.place(now, w, e, nil, fx)
}
