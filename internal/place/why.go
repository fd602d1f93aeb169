package place

import (
	"fmt"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// Stats are a placer's figures.
type Stats struct {
	Nodes  int
	Queued int // tasks that wait for a lease of another node
	Parked int // tasks that no node can run now
	Leases int // held
	Idle   int // of them, those that run nothing
	Asked  int // leases asked for and not answered
}

// Stats returns m's figures.
func (m *Machine) Stats() Stats {
	s := Stats{Nodes: len(m.nodes), Queued: m.queued, Leases: len(m.leases), Idle: len(m.idle)}
	for _, w := range m.parked {
		s.Parked += w.parked.len()
	}
	s.Queued -= s.Parked
	for _, t := range m.sites {
		s.Asked += t.asked + t.wanted
	}
	return s
}

// Queued returns how many tasks wait here.
func (m *Machine) Queued() int { return m.queued }

// Demand is tasks of one kind that no node can run now.
type Demand struct {
	Spec *spec.Task // of one of them
	N    int
	Why  string
}

// Parked returns what the cluster should grow by: the tasks that wait for a
// node that can run them, by kind.
func (m *Machine) Parked() []Demand {
	var out []Demand
	for _, w := range m.parked {
		out = append(out, Demand{w.spec, w.parked.len(), w.why})
	}
	return out
}

// Waiting says what a task that is here waits for. It looks through all of
// them: it is for people who ask, not for the path of a task.
func (m *Machine) Waiting(t id.Task) (why string, ok bool) {
	has := func(q *entries) bool {
		for _, e := range q.at[q.head:] {
			attempt, out := m.tombs[t]
			if e.task == t && (!out || e.attempt > attempt) {
				return true
			}
		}
		return false
	}
	for _, w := range m.parked {
		if has(&w.parked) {
			return w.why, true
		}
	}
	for _, s := range m.sites {
		switch {
		case has(&s.settled):
			return fmt.Sprintf("waits for a lease at node %s; others had no room either", s.n.id), true
		case has(&s.fresh):
			return fmt.Sprintf("waits for a lease at node %s", s.n.id), true
		}
	}
	return "", false
}

// Check reports a broken invariant.
func (m *Machine) Check() error {
	queued, leases, idle := 0, 0, 0
	per := map[*work]int{}
	for _, s := range m.sites {
		n := s.queued()
		queued += n
		per[s.w] += n
		leases += len(s.leases)
		if s.unused() {
			return fmt.Errorf("place: an unused site of node %s is kept", s.n.id)
		}
		if n > 0 && s.asked+s.wanted == 0 && len(s.leases) == 0 {
			return fmt.Errorf("place: %d tasks for node %s wait for nothing", n, s.n.id)
		}
		for i, h := range s.leases {
			idle += b2i(h.n == 0)
			if h.site != s || h.at != i || m.leases[heldName{s.n.id, h.lease}] != h {
				return fmt.Errorf("place: lease %d of node %s is not its site's", h.lease, s.n.id)
			}
			if h.n == 0 && !h.over && n > 0 {
				return fmt.Errorf("place: lease %d of node %s is idle and tasks wait", h.lease, s.n.id)
			}
		}
	}
	for w, n := range per {
		if w.queued != n {
			return fmt.Errorf("place: %d tasks of %s at sites, counted %d", n, w.spec.Function, w.queued)
		}
	}
	for _, w := range m.parked {
		queued += w.parked.len()
		if w.version == m.version && (len(w.nodes) > 0 || w.never) {
			return fmt.Errorf("place: %s is parked and has a place", w.spec.Function)
		}
	}
	if queued != m.queued || leases != len(m.leases) || idle != len(m.idle) {
		return fmt.Errorf("place: queued %d/%d leases %d/%d idle %d/%d",
			queued, m.queued, leases, len(m.leases), idle, len(m.idle))
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
