package guard

import (
	"time"

	"github.com/weftrun/weft/internal/id"
)

// Options are a guard's settings; zero fields mean their defaults.
type Options struct {
	// StopAt, SpillAt and EndAt are where the levels begin, as fractions of
	// the limit: 0.85, 0.90 and 0.95. Margin is how far below they end: 0.05.
	StopAt, SpillAt, EndAt, Margin float64
	// CriticalAt is the fraction from which a task is ended although the store
	// could still spill: 0.98. Below it spilling gets SpillFirst to help: 500 ms.
	CriticalAt float64
	SpillFirst time.Duration
	// Settle is how long a victim's memory may take to be free before there is
	// another: 2 s.
	Settle time.Duration
	// Patience is how long nothing may begin or end before a task that seems
	// to have no room is admitted all the same, lest all wait for it: 2 s.
	Patience time.Duration
	// MaxEnds is how often a task is ended at most: 16, one more than it is
	// run again.
	MaxEnds int
	// MaxFunctions bounds the functions whose peaks are remembered, MaxEnded
	// the tasks of which it is known that they were ended. 4096 and 1024.
	MaxFunctions, MaxEnded int
	// StoryLen is how many recent events Story looks through. 512.
	StoryLen int
}

func (o Options) withDefaults() Options {
	number := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	part := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	wait := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	part(&o.StopAt, 0.85)
	part(&o.SpillAt, 0.90)
	part(&o.EndAt, 0.95)
	part(&o.Margin, 0.05)
	part(&o.CriticalAt, 0.98)
	wait(&o.SpillFirst, 500*time.Millisecond)
	wait(&o.Settle, 2*time.Second)
	wait(&o.Patience, 2*time.Second)
	number(&o.MaxEnds, 16)
	number(&o.MaxFunctions, 4096)
	number(&o.MaxEnded, 1024)
	number(&o.StoryLen, 512)
	return o
}

// Machine is the guard of one node. Make it with [New].
type Machine struct {
	o Options

	now     Sample // the last one; its Workers are the machine's own
	use     int64  // sum of it
	limit   int64  // effective; 0 before the first sample
	indexOf map[id.Worker]int32
	tasks   table
	growth  int64 // what the tasks are expected to need beyond what they hold
	peaks   peaks
	ended   ends
	moved   time.Duration // a task began or ended

	level      Level
	limited    bool // the store has a target
	target     int64
	spillSince time.Duration
	victim     victim // of which the memory is not seen free
	stuck      bool   // a task should be ended and none can be

	ends  uint64 // in all
	jobs  []jobUse
	story story
}

// victim is the task that was ended last.
type victim struct {
	worker id.Worker // 0 is none
	at     time.Duration
}

// New returns a guard that knows nothing yet.
func New(o Options) *Machine {
	o = o.withDefaults()
	return &Machine{
		o:       o,
		indexOf: map[id.Worker]int32{},
		tasks:   newTable(),
		peaks:   newPeaks(o.MaxFunctions),
		ended:   ends{max: o.MaxEnded, count: map[id.Task]int{}},
		story:   story{ring: make([]record, o.StoryLen)},
	}
}

// Step handles ev at now and appends what the shell must do to fx.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect {
	mark := len(fx)
	switch ev.Kind {
	case Sampled:
		fx = m.sampled(now, &ev.Sample, fx)
	case TaskStarted:
		m.started(now, ev)
	case TaskEnded:
		m.taskEnded(now, ev)
	}
	for i := mark; i < len(fx); i++ {
		m.story.did(now, &fx[i])
	}
	return fx
}

func (m *Machine) started(now time.Duration, ev *Event) {
	i := m.tasks.find(ev.Task)
	t := m.tasks.get(i)
	switch {
	case i == 0:
		i = m.tasks.add(ev.Task)
		t = m.tasks.get(i)
	case t.attempt == ev.Attempt && t.worker == ev.Worker:
		return
	case t.attempt == ev.Attempt:
		t.worker = ev.Worker
		m.story.event(now, ev)
		m.reckon(t)
		return
	default:
		m.growth -= t.grow
		m.tasks.youngest(i)
	}
	t.attempt, t.worker, t.fn, t.peak, t.grow, t.doomed = ev.Attempt, ev.Worker, ev.Function, 0, 0, false
	t.retriable, t.shared, t.declared = ev.Retriable, ev.Shared, ev.Declared
	m.moved = now
	m.reckon(t)
	m.story.event(now, ev)
}

// reckon says what t is expected to need yet.
func (m *Machine) reckon(t *task) {
	m.growth -= t.grow
	t.grow = 0
	if !t.shared {
		t.grow = max(0, max(t.declared, m.peaks.of(t.fn))-m.held(t.worker))
	}
	m.growth += t.grow
}

// held is what a worker held when the last sample was taken.
func (m *Machine) held(w id.Worker) int64 {
	if i, ok := m.indexOf[w]; ok {
		return m.now.Workers[i].Bytes
	}
	return 0
}

func (m *Machine) taskEnded(now time.Duration, ev *Event) {
	i := m.tasks.find(ev.Task)
	if i == 0 || m.tasks.get(i).attempt != ev.Attempt {
		return
	}
	t := m.tasks.get(i)
	if peak := max(t.peak, ev.Bytes); peak > 0 && !t.shared {
		m.peaks.learn(t.fn, peak)
	}
	m.growth -= t.grow
	m.tasks.remove(i)
	m.moved = now
	m.story.event(now, ev)
}

// sampled takes new figures and decides.
func (m *Machine) sampled(now time.Duration, s *Sample, fx []Effect) []Effect {
	m.take(s)
	if m.limit <= 0 {
		return fx
	}
	if _, there := m.indexOf[m.victim.worker]; !there || now-m.victim.at > m.o.Settle {
		m.victim = victim{}
	}
	fx = m.judge(now, fx)
	fx = m.limitStore(fx)
	return m.relieve(now, fx)
}

// take keeps s and what follows from it.
func (m *Machine) take(s *Sample) {
	own := m.now.Workers[:0]
	own = append(own, s.Workers...)
	m.now = *s
	m.now.Workers = own
	m.use = s.Store + s.Node
	clear(m.indexOf)
	for i := range own {
		m.use += own[i].Bytes
		m.indexOf[own[i].ID] = int32(i)
	}
	m.limit = s.Limit
	if s.Available >= 0 && s.Limit > 0 {
		// Of what others leave, the last hundredth of the limit is not for us.
		m.limit = max(1, s.Limit/100, min(s.Limit, m.use+s.Available-s.Limit/100))
	}
	for i := m.tasks.oldest(); i != 0; i = m.tasks.get(i).next {
		t := m.tasks.get(i)
		t.peak = max(t.peak, m.held(t.worker))
		m.reckon(t)
	}
}
