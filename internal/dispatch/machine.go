package dispatch

import (
	"math"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// embedded is the worker that is the node's own process.
const embedded id.Worker = 1

// Options are a dispatcher's settings; zero fields mean their defaults.
type Options struct {
	// MaxDepth bounds the tasks sent behind a running one of the same lease;
	// EmbeddedDepth does so for worker 1, the node's own process, which needs
	// none since asking for the next task costs it nothing. 64 and 0.
	MaxDepth, EmbeddedDepth int
	// Ahead bounds the expected work of those tasks. 200 µs.
	Ahead time.Duration
	// Quantum is how far a job or key may get ahead of another that waits
	// before a lease changes hands. 1 ms.
	Quantum time.Duration
	// StarveAfter is how long a task may see smaller ones overtake it before
	// they have to leave it what it needs. 100 ms.
	StarveAfter time.Duration
	// ZeroTasks bounds the running tasks that ask for no resources. Blocked
	// ones do not count. 1024.
	ZeroTasks int
	// SpawnTries is how often in a row starting a worker may fail before the
	// tasks that need it do. 3.
	SpawnTries int
	// WarmWorkers isolated workers of a class are kept however long they are
	// idle, others for WorkerIdle. 0 and 10 s.
	WarmWorkers int
	WorkerIdle  time.Duration
	// StoryLen is how many recent events Story looks through. 1024.
	StoryLen int
}

func (o Options) withDefaults() Options {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	wait := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.MaxDepth, 64)
	set(&o.ZeroTasks, 1024)
	set(&o.SpawnTries, 3)
	set(&o.StoryLen, 1024)
	wait(&o.Ahead, 200*time.Microsecond)
	wait(&o.Quantum, time.Millisecond)
	wait(&o.StarveAfter, 100*time.Millisecond)
	wait(&o.WorkerIdle, 10*time.Second)
	return o
}

// Machine is a node's dispatcher.
type Machine struct {
	o      Options
	sized  bool // Capacity came
	labels resource.Labels

	node     pool
	groups   map[id.Group]*group
	bundles  []bundle // that wait for resources, in order of asking
	zeroFree int      // leases without resources that may still be opened
	zeroIdle int      // idle ones of them

	lastSpec     *spec.Task
	lastTemplate template
	templates    map[*spec.Task]template
	functions    functions

	queues  map[queueName]*queue
	inOrder []*queue // of making
	vacants []*queue // unused ones, roughly by time
	spares  spares
	tombs   map[id.Task]uint32 // waiting tasks that were taken out, and their attempts

	shapes      []*shape
	shapeByName map[string]*shape

	byJob   map[id.Job]*job
	jobs    []*job // heap of those that wait
	virtual int64  // virtual time of the job served last

	classes   map[Class]*class
	classList []*class
	workers   map[id.Worker]*worker

	leases   leaseTable
	actors   map[id.Task]*lease
	restList restList

	seq      uint64 // of arrivals
	order    int    // of queues, jobs and shapes
	queued   int    // entries in queues
	waiting  int    // queues that want leases
	starting int    // leases that wait for workers
	running  int    // leases that compute
	blocked  int    // leases that lent their CPU
	pressure bool
	freed    bool          // something may fit that did not
	withheld bool          // what fits leaves its place to a larger one: that may change at any time
	reapable bool          // a job that ended may have no use for its workers any more
	untidy   bool          // classes and jobs may have become useless
	wake     time.Duration // when Tick has something to do

	story story
}

// New returns a dispatcher without workers or resources.
func New(o Options) *Machine {
	o = o.withDefaults()
	return &Machine{
		o:           o,
		groups:      map[id.Group]*group{},
		zeroFree:    o.ZeroTasks,
		templates:   map[*spec.Task]template{},
		functions:   functions{index: map[fnName]uint32{}},
		queues:      map[queueName]*queue{},
		tombs:       map[id.Task]uint32{},
		shapeByName: map[string]*shape{},
		byJob:       map[id.Job]*job{},
		classes:     map[Class]*class{},
		workers:     map[id.Worker]*worker{},
		actors:      map[id.Task]*lease{},
		wake:        math.MaxInt64,
		story:       story{ring: make([]record, o.StoryLen)},
	}
}

// Step handles ev at now and appends what the shell must do to fx.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect {
	m.story.happened(now, ev)
	switch ev.Kind {
	case Enqueue:
		fx = m.enqueue(now, ev, fx)
	case Finished:
		fx = m.finished(now, ev, fx)
	default:
		fx = m.stepOther(now, ev, fx)
	}
	if m.freed || m.withheld || m.pressure {
		fx = m.schedule(now, fx)
	}
	if m.reapable {
		fx = m.reapAll(fx)
	}
	return fx
}

func (m *Machine) stepOther(now time.Duration, ev *Event, fx []Effect) []Effect {
	switch ev.Kind {
	case Begun:
		m.begun(now, ev)
	case Blocked:
		fx = m.block(ev, fx)
	case Unblocked:
		fx = m.unblocked(now, ev, fx)
	case Unqueue:
		fx = m.unqueue(now, ev, fx)
	case TakenBack:
		fx = m.takenBack(now, ev, fx)
	case WorkerUp:
		fx = m.workerUp(now, ev, fx)
	case WorkerGone:
		fx = m.workerGone(now, ev, fx)
	case SpawnFailed:
		fx = m.spawnFailed(now, ev, fx)
	case Capacity:
		fx = m.capacity(now, ev, fx)
	case Pressure:
		m.pressure, m.freed = ev.N > 0, true
	case Share:
		m.jobOf(ev.Class.Job).weight = int64(max(1, ev.N))
	case JobEnd:
		fx = m.jobEnd(now, ev, fx)
	case Release:
		fx = m.actorGone(now, ev, fx)
	case Tick:
		fx = m.tick(now, fx)
	default:
		fx = m.stepRemote(now, ev, fx)
	}
	return fx
}

func (m *Machine) stepRemote(now time.Duration, ev *Event, fx []Effect) []Effect {
	switch ev.Kind {
	case Reserve:
		fx = m.reserve(ev, fx)
	case Unreserve:
		fx = m.unreserve(now, ev, fx)
	case Request:
		fx = m.request(now, ev, fx)
	case Extend:
		m.extend(now, ev)
	case Return:
		fx = m.giveBack(now, ev, fx)
	case HolderGone:
		fx = m.holderGone(now, ev, fx)
	case Recall:
		fx = m.giveUp(now, ev, fx)
	}
	return fx
}

// wakeAt makes sure that Tick comes at t.
func (m *Machine) wakeAt(t time.Duration) {
	if t < m.wake {
		m.wake = t
	}
}

// Deadline returns when Tick is next needed, and whether it is at all.
func (m *Machine) Deadline() (time.Duration, bool) { return m.wake, m.wake != math.MaxInt64 }

// capacity takes note of what the node has and turns away what it can no
// longer run.
func (m *Machine) capacity(now time.Duration, ev *Event, fx []Effect) []Effect {
	m.resize(&ev.Total)
	m.labels = ev.Labels
	m.freed = true
	return m.rejudge(now, fx)
}

// rejudge turns away the tasks that can never run any more.
func (m *Machine) rejudge(now time.Duration, fx []Effect) []Effect {
	for _, q := range m.inOrder {
		if m.judge(q); q.denied {
			fx = m.turnAway(now, q, fx)
		}
	}
	return fx
}

// turnAway empties the queue of what this node can never run.
func (m *Machine) turnAway(now time.Duration, q *queue, fx []Effect) []Effect {
	if q.remote() && q.n > 0 {
		fx = append(fx, Effect{Kind: Refuse, Node: q.name.node, Key: q.name.key, N: q.n,
			Resource: q.lack.name, Asked: q.lack.asked, Have: q.lack.have})
	}
	m.drop(now, q, func(e *entry) { fx = append(fx, q.infeasible(e.task, e.attempt)) })
	return fx
}

func (q *queue) infeasible(t id.Task, attempt uint32) Effect {
	return Effect{Kind: Infeasible, Task: t, Attempt: attempt, Key: q.name.key,
		Resource: q.lack.name, Asked: q.lack.asked, Have: q.lack.have}
}
