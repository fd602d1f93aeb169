package own

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

// drain makes another node the owner of all that one owns. The records travel
// behind what is on that link.
func (m *model) drain() {
	n, to := m.aNode(), m.aNode()
	if n == to || m.home(n) != n || m.home(to) != to || len(m.heir) > 0 {
		return
	}
	for m.deliverOne(n, to) {
	}
	fmt.Fprintf(&m.out, "  %s drains to %s\n", nodeName(n), nodeName(to))
	recs, fx, err := m.nodes[n].Drain(to, nil)
	if err != nil {
		m.rt.Fatal(err)
	}
	m.heir[n] = to
	m.run(n, fx)
	m.step(to, &Event{Kind: Adopt, Node: n, Records: recs})
}

// leave ends a drained node, once its sessions have ended and its links are
// flushed.
func (m *model) leave() {
	for n, to := range m.heir {
		if m.nodes[n] == nil {
			return
		}
		m.flush()
		for s := range id.Session(3) {
			m.step(n, &Event{Kind: SessionEnd, Session: s})
		}
		for h := range m.held {
			if h.node == n {
				delete(m.held, h)
			}
		}
		m.flush()
		if s := m.nodes[n].Stats(); s.Borrowed+s.Ended+s.Queued+s.Waiting+s.Running != 0 {
			m.rt.Fatalf("%s leaves with %+v\n%s", nodeName(n), s, &m.out)
		}
		m.remove(n)
		m.lossy = true // copies that lay there
		for _, other := range m.names() {
			m.step(other, &Event{Kind: Heir, Node: n, To: to})
		}
	}
}

// kill ends a node and everything on it. What it has sent may still arrive
// where its death is not known.
func (m *model) kill() {
	if len(m.nodes) < 3 {
		return
	}
	m.dead = m.aNode()
	fmt.Fprintf(&m.out, "  %s dies\n", nodeName(m.dead))
	for o, why := range m.needed() {
		if m.touches(o, why) {
			m.tainted[o] = true
		}
	}
	out := map[[2]id.Node][]Msg{}
	for l, msgs := range m.links {
		if l[0] == m.dead {
			out[l] = msgs
			delete(m.links, l)
		}
	}
	m.remove(m.dead)
	maps.Copy(m.links, out)
	m.queued = slices.DeleteFunc(m.queued, func(r run) bool { return r.task.Owner() == m.dead })
	for t := range m.deps {
		if t.Owner() == m.dead {
			delete(m.deps, t)
		}
	}
	m.unaware = m.names()
}

// touches reports whether the dead node had to do with o: the owner of a
// reference that only the dead node had passed on may hear of it too late.
func (m *model) touches(o id.Object, _ string) bool {
	if o.Owner() == m.dead || m.held[holding{m.dead, 1, o}]+m.held[holding{m.dead, 2, o}]+m.flying[o] > 0 {
		return true
	}
	for t, deps := range m.deps {
		if t.Owner() == m.dead && slices.Contains(deps, o) {
			return true
		}
	}
	for outer, in := range m.inner {
		if slices.Contains(in, o) && (outer.Owner() == m.dead || m.touches(outer, "")) {
			return true
		}
	}
	return false
}

// declare tells one more node of the death; what was under way to it is lost.
func (m *model) declare() {
	if len(m.unaware) == 0 {
		return
	}
	n := rapid.SampledFrom(m.unaware).Draw(m.rt, "declared at")
	m.unaware = slices.DeleteFunc(m.unaware, func(o id.Node) bool { return o == n })
	l := [2]id.Node{m.dead, n}
	m.lose(m.links[l])
	delete(m.links, l)
	m.step(n, &Event{Kind: NodeDead, Node: m.dead})
}

func (m *model) lose(msgs []Msg) {
	for _, msg := range msgs {
		if msg.Kind >= carry {
			for _, o := range msg.Return.Inner {
				m.flying[o]--
			}
		}
	}
}

// remove takes n, its links and what its sessions hold out of the world.
func (m *model) remove(n id.Node) {
	delete(m.nodes, n)
	for l, msgs := range m.links {
		if l[0] != n && l[1] != n {
			continue
		}
		m.lose(msgs)
		delete(m.links, l)
	}
	for h := range m.held {
		if h.node == n {
			delete(m.held, h)
		}
	}
}

// startSome says that a task began.
func (m *model) startSome() {
	if r, ok := m.aRun(); ok {
		m.step(m.home(r.task.Owner()), &Event{Kind: Started, Task: r.task, Attempt: r.attempt, Node: m.aNode()})
	}
}

// TestDrainAgainstModel: one of the owners drains to another in the middle.
func TestDrainAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt, rapid.Bool().Draw(rt, "lossy"))
		m.play(append(m.ops(), m.drain, m.leave))
		m.end()
	})
}

// TestDeathAgainstModel: a node dies in the middle, with all that it had told
// nobody. Nothing may stay for its sake.
func TestDeathAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt, true)
		m.play(append(m.ops(), m.kill, m.declare, m.startSome))
		m.end()
	})
}

// TestRefsAgainstModel: three owners exchange references, tasks and results
// over ordered links with any delay. Nothing that can be reached is freed, and
// nothing stays once all references are gone.
func TestRefsAgainstModel(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		t.Run(fmt.Sprintf("lossy=%v", lossy), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := newModel(rt, lossy)
				m.play(m.ops())
				m.end()
			})
		})
	}
}
