package node

import (
	"fmt"
	"strings"

	"github.com/weftrun/weft/internal/guard"
)

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

// Starving is how many sessions have no credit to submit with.
func (n *Node) Starving() (starving int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		if s.conn != nil && s.account.left <= 0 {
			starving++
		}
	}
	return starving
}

// StoreTarget is how much memory the store may use for now.
func (n *Node) StoreTarget() int64 { return n.store.Stats().Policy.Target }

// EndDriver ends the session of a driver, as its connection's end does, and
// returns how many tasks were there before the lock was first taken for it and
// each time that it was released.
func (n *Node) EndDriver() (tasks []int) {
	count := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		tasks = append(tasks, len(n.tasks))
	}
	var driver *session
	n.mu.Lock()
	for _, s := range n.sessions {
		if s.worker == nil {
			driver = s
		}
	}
	n.mu.Unlock()
	count()
	more := n.beginEnd(driver)
	count()
	for ; more; count() {
		n.lock()
		more = n.endTasks(driver)
		n.unlock()
	}
	return tasks
}

// EndedAtOnce is how many tasks end in one critical section.
const EndedAtOnce = endedAtOnce

// Tasks is how many tasks the node has.
func (n *Node) Tasks() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.tasks)
}

// Sees is how many other nodes' figures the node has.
func (n *Node) Sees() (known int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.view.Node == p.id {
			known++
		}
	}
	return known
}

// Guests is how many tasks the node runs for others.
func (n *Node) Guests() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.guests)
}

// Hosts is how many actors of other nodes' records live here.
func (n *Node) Hosts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.hosts)
}

// Left names the tables in which something is left; "" if nothing is.
func (n *Node) Left() string {
	var left strings.Builder
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range []struct {
		name string
		n    int
	}{
		{"tasks", len(n.tasks)}, {"streams", len(n.streams)}, {"objects", len(n.objects)}, {"sessions", len(n.sessions)},
		{"leases", len(n.leases)}, {"groups", len(n.groups)}, {"workers", len(n.workers)}, {"jobs", len(n.jobs)},
		{"unwatch", len(n.unwatch)}, {"waitsOn", len(n.waitsOn)}, {"deaths", len(n.deaths)}, {"instances", len(n.instances)},
		{"away", len(n.away)}, {"coming", len(n.coming)}, {"guests", len(n.guests)}, {"hosts", len(n.hosts)}, {"meeting", len(n.meeting)}, {"elsewhere", len(n.elsewhere)},
		{"borrowed", n.own.Stats().Borrowed}, {"verdicts", len(n.memory.verdicts)}, {"waiting for memory", len(n.memory.waits.number)},
		{"stored objects", n.store.Stats().Objects}, {"owned", n.own.Stats().Ended}, {"early", n.own.Stats().Early},
		{"queued", n.dispatch.Queued()}, {"actors", n.actors.Stats().Calls},
	} {
		if t.n > 0 {
			fmt.Fprint(&left, t.name, " ", t.n, " ")
		}
	}
	if free := n.dispatch.Free(); free.String() != n.total.String() {
		fmt.Fprint(&left, "free ", free.String(), " of ", n.total.String())
	}
	return left.String()
}
