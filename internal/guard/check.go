package guard

import (
	"fmt"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// Stats are a guard's figures. Sizes are bytes.
type Stats struct {
	Level     Level
	Used      int64
	Limit     int64 // the smaller of what the node may use and what it could get
	Allowed   int64 // what it may use
	Store     int64
	Node      int64
	Workers   int64 // sum of all
	Growth    int64 // what admitted tasks are expected to need yet
	Limited   bool  // the store has a target
	Target    int64
	Tasks     int // with processes of their own, admitted or running
	Functions int // whose peaks are known
	Ends      uint64
	Victim    id.Worker // whose memory is awaited; 0 is none
	Stuck     bool      // a task should be ended and none can be
}

// Stats returns m's figures.
func (m *Machine) Stats() Stats {
	return Stats{Level: m.level, Used: m.use, Limit: m.limit, Allowed: m.now.Limit, Store: m.now.Store, Node: m.now.Node,
		Workers: m.use - m.now.Store - m.now.Node, Growth: m.growth, Limited: m.limited, Target: m.target,
		Tasks: m.tasks.len(), Functions: len(m.peaks.index), Ends: m.ends, Victim: m.victim.worker, Stuck: m.stuck}
}

// Level says how short of memory the node was when it was last sampled.
func (m *Machine) Level() Level { return m.level }

// Peak is what a task of fn is expected to need, and of how many runs that was
// learned.
func (m *Machine) Peak(fn Function) (bytes int64, runs uint64) {
	e := &m.peaks.at[m.peaks.index[fn]]
	return e.bytes, e.runs
}

// Explain says how the node's memory is used and what follows.
func (m *Machine) Explain() string {
	if m.limit == 0 {
		return "memory has not been looked at yet"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s of memory are in use: ", m.usage())
	m.writeConsumers(&b)
	switch m.level {
	case StopAdmitting:
		fmt.Fprintf(&b, "; nothing new begins until it is below %s", Size(m.endsAt(StopAdmitting)))
	case SpillObjects:
		fmt.Fprintf(&b, "; nothing new begins and the store spills down to %s", Size(m.target))
	case EndTasks:
		b.WriteString("; tasks are ended")
		if m.stuck {
			b.WriteString(", but there is none with a process of its own")
		}
	}
	return b.String()
}

// Check reports a broken invariant.
func (m *Machine) Check() error {
	if err := m.checkTasks(); err != nil {
		return err
	}
	if err := m.checkPeaks(); err != nil {
		return err
	}
	if len(m.ended.count) > m.o.MaxEnded || len(m.ended.count) != len(m.ended.order) {
		return fmt.Errorf("guard: %d ended tasks are remembered in %d places, of at most %d", len(m.ended.count), len(m.ended.order), m.o.MaxEnded)
	}
	for t, n := range m.ended.count {
		if n > m.o.MaxEnds {
			return fmt.Errorf("guard: task %v was ended %d times, over %d", t, n, m.o.MaxEnds)
		}
	}
	switch {
	case m.limit == 0:
	case m.level < EndTasks && m.use >= m.begins(m.level+1):
		return fmt.Errorf("guard: %d bytes are used and the level is only %v", m.use, m.level)
	case m.level > None && m.use < m.endsAt(m.level):
		return fmt.Errorf("guard: %d bytes are used and the level is still %v", m.use, m.level)
	case m.level >= SpillObjects && !m.limited:
		return fmt.Errorf("guard: the level is %v and the store has no target", m.level)
	case m.limited && (m.target < 0 || m.target > m.now.StoreLimit):
		return fmt.Errorf("guard: the store's target is %d of %d bytes", m.target, m.now.StoreLimit)
	}
	return nil
}

func (m *Machine) checkTasks() error {
	var growth int64
	n, before := 0, int32(0)
	for i := m.tasks.oldest(); i != 0; i = m.tasks.get(i).next {
		t := m.tasks.get(i)
		growth += t.grow
		n++
		if t.prev != before || m.tasks.index[t.id] != i || t.grow < 0 {
			return fmt.Errorf("guard: task %v is out of order", t.id)
		}
		before = i
	}
	if n != len(m.tasks.index) || growth != m.growth {
		return fmt.Errorf("guard: %d tasks in order, %d by id; growth %d, they sum to %d", n, len(m.tasks.index), m.growth, growth)
	}
	return nil
}

func (m *Machine) checkPeaks() error {
	n := 0
	for i := m.peaks.at[0].next; i != 0; i = m.peaks.at[i].next {
		e := &m.peaks.at[i]
		if m.peaks.index[e.fn] != i || e.bytes <= 0 {
			return fmt.Errorf("guard: the peak of %v is not found by its name", e.fn)
		}
		n++
	}
	if n != len(m.peaks.index) || n > m.o.MaxFunctions {
		return fmt.Errorf("guard: %d peaks in order, %d by name, at most %d", n, len(m.peaks.index), m.o.MaxFunctions)
	}
	return nil
}
