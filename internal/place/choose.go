package place

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// spentFor is how long placements count against a node's last figures.
const spentFor = 200 * time.Millisecond

// Loads are in 1/1024 of what a node has; from full on, its queue decides.
const (
	halfLoad = 512
	fullLoad = 1 << 20
)

// choose returns the node for a task of w. There is at least one.
func (m *Machine) choose(now time.Duration, w *work, e *entry, local []NodeBytes) *node {
	if len(w.nodes) == 1 {
		return w.nodes[0]
	}
	if w.spec.Strategy.Kind == spec.Spread {
		return m.spread(now, w, e)
	}
	need := &w.spec.Resources
	if n := m.nearArguments(w, local); n != nil && n.id != e.avoid && m.load(now, n, need) < fullLoad {
		return n
	}
	if w.here && m.self.id != e.avoid && m.load(now, m.self, need) <= halfLoad {
		return m.self
	}
	return m.sample(now, w, e)
}

func (w *work) has(n *node) bool {
	return slices.Contains(w.nodes, n)
}

// nearArguments returns the node with most argument bytes if it has many more
// than this one.
func (m *Machine) nearArguments(w *work, local []NodeBytes) *node {
	var best, here int64
	var at id.Node
	for _, l := range local {
		if l.Node == m.self.id {
			here = l.Bytes
		}
		if l.Bytes > best {
			best, at = l.Bytes, l.Node
		}
	}
	if best < m.o.LocalBytes || best-here < m.o.LocalBytes {
		return nil
	}
	if n := m.byID[at]; n != nil && w.has(n) {
		return n
	}
	return nil
}

// sample compares a few nodes, and this one, and returns the least loaded.
func (m *Machine) sample(now time.Duration, w *work, e *entry) *node {
	var best *node
	var least int64
	consider := func(n *node) {
		if n.id == e.avoid {
			return
		}
		if l := m.load(now, n, &w.spec.Resources); best == nil || l < least {
			best, least = n, l
		}
	}
	if w.here {
		consider(m.self)
	}
	if len(w.nodes) <= m.o.Sample {
		for _, n := range w.nodes {
			consider(n)
		}
	} else {
		for range m.o.Sample {
			consider(w.nodes[m.draw(len(w.nodes))])
		}
	}
	if best == nil {
		return w.nodes[m.draw(len(w.nodes))]
	}
	return best
}

// draw returns a number below n that looks random and is not.
func (m *Machine) draw(n int) int {
	m.counter += 0x9e3779b97f4a7c15
	z := m.counter
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

// spread takes nodes in turn, passing over full ones if it can.
func (m *Machine) spread(now time.Duration, w *work, e *entry) *node {
	const looks = 16
	first := w.turn
	for i := range min(looks, len(w.nodes)) {
		n := w.nodes[(first+i)%len(w.nodes)]
		if n.id != e.avoid && m.load(now, n, &w.spec.Resources) < fullLoad {
			w.turn = first + i + 1
			return n
		}
	}
	w.turn++
	return w.nodes[first%len(w.nodes)]
}

// load says how full n will be of what need asks, once need is placed there.
func (m *Machine) load(now time.Duration, n *node, need *resource.Vector) int64 {
	if !n.known {
		return halfLoad
	}
	if now-n.spentAt > spentFor {
		n.spent, n.spentAt = resource.Vector{}, now
	}
	load := int64(0)
	for name, a := range need.All {
		total := n.total.Get(name)
		left := n.free.Get(name) - n.spent.Get(name) - a
		if total <= 0 || left < 0 {
			return fullLoad + int64(n.queued)*1024 - int64(left/resource.Unit)
		}
		load = max(load, int64(float64(total-left)/float64(total)*1024))
	}
	if need.IsZero() {
		load = int64(n.queued)
		if n.total.CPU > 0 {
			load += int64(float64(n.total.CPU-n.free.CPU) / float64(n.total.CPU) * 1024)
		}
	}
	return load
}

// spend counts a placement against n's figures.
func (m *Machine) spend(now time.Duration, n *node, need *resource.Vector) {
	if now-n.spentAt > spentFor {
		n.spent, n.spentAt = resource.Vector{}, now
	}
	n.spent.Add(need)
}

// credit is the inverse of spend, when a task is known to be over.
func (n *node) credit(need *resource.Vector) {
	if n.spent.Fits(need) {
		n.spent.Sub(need)
	}
}
