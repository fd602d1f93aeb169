package node

import "errors"

// Check reports broken invariants of the machines and the store.
func (n *Node) Check() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return errors.Join(n.own.Check(), n.place.Check(), n.dispatch.Check(), n.actors.Check(), n.memory.machine.Check(), n.store.Check())
}
