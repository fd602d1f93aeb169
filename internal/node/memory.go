package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/guard"
	"github.com/weftrun/weft/internal/guard/meminfo"
	"github.com/weftrun/weft/internal/id"
)

// assumedMemory is the limit where the machine does not tell any.
const assumedMemory = 8 << 30

// memoryLimit is how many bytes of memory this process may use: the smaller of
// the machine's and its cgroups'.
func memoryLimit() int64 {
	m, err := meminfo.New(nil).Read()
	if err != nil {
		return assumedMemory
	}
	return m.Limit
}

// residentBytes is how much memory this process occupies, without what it
// shares.
func residentBytes() int64 {
	n, _ := meminfo.New(nil).Process(0)
	return n
}

// meter reads figures of memory; tests have their own.
type meter interface {
	Read() (meminfo.Memory, error)
	Process(pid int) (int64, error) // 0 is this one
}

// How often memory is looked at: when nothing could use much, when something
// could, and when there is little left.
const (
	idlePeriod   = time.Second
	busyPeriod   = 250 * time.Millisecond
	urgentPeriod = 50 * time.Millisecond
)

// memory is a node's memory guard. The machine and what is held back are under
// the node's lock; the rest is of the goroutine that samples.
type memory struct {
	machine  *guard.Machine
	fx       []guard.Effect
	waits    backlog
	verdicts map[id.Task]verdict // of victims whose processes are not gone yet

	meter   meter
	limit   int64 // that was asked for; 0 is what the meter reads
	workers []guard.Worker
	pids    []int
	store   storeMeter
	before  int64 // used when it was looked at before
}

// verdict is why a task was ended.
type verdict struct {
	text     string
	tooLarge bool
}

// newMemory makes a guard for a node that may use limit bytes; 0 follows the
// machine's and the cgroups' limits.
func newMemory(limit int64) *memory {
	return &memory{machine: guard.New(guard.Options{}), verdicts: map[id.Task]verdict{}, meter: meminfo.New(nil), limit: limit}
}

// watchMemory samples until the node ends.
func (n *Node) watchMemory() {
	timer := time.NewTimer(busyPeriod)
	defer timer.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-timer.C:
			timer.Reset(n.sampleMemory())
		}
	}
}

// sampleMemory looks at the memory once, does what follows, and returns when to
// look again.
func (n *Node) sampleMemory() time.Duration {
	mem := n.memory
	n.listWorkers()
	s := mem.read(n)
	n.lock()
	defer n.unlock()
	if n.closed {
		return idlePeriod
	}
	n.runningTasks()
	mem.step(n, &guard.Event{Kind: guard.Sampled, Sample: s})
	n.admitWaiting()
	return mem.period(len(n.workers))
}

// period is when to look again: soon, if use is high or on its way there.
func (m *memory) period(workers int) time.Duration {
	st := m.machine.Stats()
	next := st.Used + max(0, st.Used-m.before)
	m.before = st.Used
	switch {
	case st.Level > guard.None || next > st.Limit*3/4:
		return urgentPeriod
	case workers > 0 || st.Used > st.Limit/2:
		return busyPeriod
	}
	return idlePeriod
}

// listWorkers notes whose memory to read.
func (n *Node) listWorkers() {
	mem := n.memory
	mem.workers, mem.pids = mem.workers[:0], mem.pids[:0]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.workers {
		if p.proc != nil {
			mem.workers = append(mem.workers, guard.Worker{ID: p.id, Job: p.class.Job, Name: n.occupant(p), Bytes: int64(p.proc.PID())})
		}
	}
	slices.SortFunc(mem.workers, func(a, b guard.Worker) int { return cmp.Compare(a.ID, b.ID) })
	for i := range mem.workers {
		mem.pids = append(mem.pids, int(mem.workers[i].Bytes))
	}
}

// occupant says what runs on p.
func (n *Node) occupant(p *process) string {
	if t := n.runningOn(p); t != nil {
		return t.spec.Name
	}
	for _, a := range n.actors.On(n.id, p.id) {
		if info, ok := n.actors.Get(a); ok && info.Spec != nil && info.Spec.Actor != nil {
			return info.Spec.Actor.Class
		}
	}
	return ""
}

// runningOn is the task that p runs, if it runs one at a time.
func (n *Node) runningOn(p *process) *task {
	if !p.class.Isolated {
		return nil
	}
	for _, t := range p.tasks {
		if len(p.tasks) == 1 {
			return t
		}
		if r, ok := n.dispatch.Waiting(t.id); ok && (r.Phase == dispatch.Running || r.Phase == dispatch.Lent) {
			return t
		}
	}
	return nil
}

// read takes a sample. It is called without the lock: it takes some 30 µs for
// each process.
func (m *memory) read(n *Node) guard.Sample {
	s := guard.Sample{Limit: m.limit, Available: meminfo.Unknown, StoreLimit: n.cfg.StoreBytes}
	if have, err := m.meter.Read(); err == nil {
		s.Available = have.Available
		if s.Limit == 0 || have.Limit < s.Limit {
			s.Limit = have.Limit
		}
	}
	if s.Limit == 0 {
		s.Limit = assumedMemory
	}
	s.Node, _ = m.meter.Process(0)
	s.Store = m.store.bytes(n)
	live := m.workers[:0]
	for i, w := range m.workers {
		var err error
		if w.Bytes, err = m.meter.Process(m.pids[i]); err == nil { // else it is gone
			live = append(live, w)
		}
	}
	s.Workers = live
	return s
}

// storeMeter reads how much memory the store takes. The store counts all its
// objects to tell, so with very many it is asked less often.
type storeMeter struct {
	last int64
	next time.Time
}

// storeShare bounds the part of the time that goes into asking the store.
const storeShare = 100

func (m *storeMeter) bytes(n *Node) int64 {
	began := time.Now()
	if began.Before(m.next) {
		return m.last
	}
	m.last = n.store.Stats().Slab.Populated
	m.next = began.Add(storeShare * time.Since(began))
	return m.last
}
