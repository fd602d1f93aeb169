package node

import "github.com/weftrun/weft/internal/guard"

// Meter is where a node's guard reads memory.
type Meter = meter

// SetMeter has a node that was not started read memory elsewhere.
func (n *Node) SetMeter(m Meter, o guard.Options) { n.memory.meter, n.memory.machine = m, guard.New(o) }

// Guard shows the node's memory guard to f.
func (n *Node) Guard(f func(*guard.Machine)) {
	n.lock()
	defer n.unlock()
	f(n.memory.machine)
}

// WaitForMemory is how many tasks the guard holds back.
func (n *Node) WaitForMemory() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.memory.waits.number)
}

// StoreTarget is how much memory the store may use for now.
func (n *Node) StoreTarget() int64 { return n.store.Stats().Policy.Target }
