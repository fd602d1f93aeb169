package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/environ"
	"github.com/weftrun/weft/internal/event"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
	proto "github.com/weftrun/weft/internal/session"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
	"github.com/weftrun/weft/internal/worker"
)

// inProcess is the worker that stands for goroutines of this process.
const inProcess id.Worker = 1

// Node is one node. New makes it, Start has it work, Close ends everything.
type Node struct {
	cfg   Config
	id    id.Node
	start time.Time
	total resource.Vector

	store    *store.Store
	server   *proto.Server
	environs *environ.Cache
	events   *event.Log
	meta     *metadata
	where    string          // this process, for errors
	dir      string          // of the node's files
	ctx      context.Context // ends with the node
	cancel   context.CancelFunc
	running  sync.WaitGroup // goroutines that the node started
	ending   sync.Once
	quiet    chan struct{} // closed when nothing of the node is left
	packs    atomic.Uint32 // numbers packs

	gate gate // the session server's

	mu       sync.Mutex
	now      time.Duration // of the current critical section
	own      *own.Machine
	place    *place.Machine
	dispatch *dispatch.Machine
	actors   *actor.Machine
	ledger   *ledger
	fx       effects
	out      *batch

	tasks    map[id.Task]*task
	streams  map[id.Task]*stream // that have not been read to their end
	objects  map[id.Object]*object
	sessions map[id.Session]*session
	leases   map[dispatch.Lease]*runner
	groups   map[id.Group]*group
	workers  map[id.Worker]*process
	peers    map[id.Node]*peer
	dead     map[id.Node]bool // declared so
	zygotes  worker.Zygotes
	jobs     map[id.Job]*job
	hot      *task // the last of tasks that was asked for
	scratch  []id.Object
	returns  []own.Return
	lastSpec *spec.Task // of which lastName is the name
	lastName event.Name
	callees  map[event.Name]callee // of tasks of which there are records
	counts   counts
	failures failures

	// What few tasks have.
	unwatch   map[id.Task]func() bool // ends the watch of its submitter's context
	waitsOn   map[id.Task][]id.Object // what a blocked one waits for, if that is known
	deaths    map[id.Actor]*wire.Error
	away      map[id.Object]*away // ready, with its bytes at another node
	coming    map[id.Task]*arguments
	hosts     map[id.Actor]*host         // actors of other nodes' records that live here
	arrivals  map[id.Object]*arrival     // that are being copied here
	trees     map[id.Object]*tree        // of this node's, for those who read them
	meeting   map[id.Actor][]actor.Event // what waits for the state of such an actor
	keepers   map[id.Actor]id.Node       // of actors whose record is not their owner's any more
	guests    map[id.Task]*guest         // that run here for another node
	elsewhere map[id.Task]id.Node        // that run there for this one

	draining   bool               // it takes no more work, and is to leave
	conditions []*condition       // that somebody waits for
	moving     map[id.Object]bool // copies that the heir is to make
	adopting   []*nodev1.Record   // of a node that leaves, until all have come

	seek seekers
	held map[id.Group]map[int]bool // bundles that a coordinator has had reserved here

	memory     *memory // the guard of it
	instances  map[id.Actor]*instance
	local      *Local
	nextSess   id.Session
	nextWorker id.Worker
	closed     bool
	wake       time.Duration // when the timer will go off; 0 is never
	timer      *time.Timer
}

// effects are what the machines want done in the current critical section, with
// how far each list has been handled.
type effects struct {
	own        []own.Effect
	place      []place.Effect
	dispatch   []dispatch.Effect
	actor      []actor.Effect
	ownAt      int
	placeAt    int
	dispatchAt int
	actorAt    int
}

// lock begins a critical section.
func (n *Node) lock() {
	n.mu.Lock()
	n.now = time.Since(n.start)
}

// unlock settles, ends the critical section and runs what it wants outside.
func (n *Node) unlock() {
	n.settle()
	n.armTimer()
	n.noteConditions()
	out := n.out
	if out.empty() {
		n.mu.Unlock()
		return
	}
	for _, c := range out.conns {
		c.due = false
	}
	for _, p := range out.peers {
		p.due = false
	}
	n.out = batches.Get().(*batch)
	n.mu.Unlock()
	out.run(n)
}

// settle handles effects until no machine wants anything.
func (n *Node) settle() {
	f := &n.fx
	for {
		switch {
		case f.ownAt < len(f.own):
			e := f.own[f.ownAt]
			f.ownAt++
			n.ownEffect(&e)
		case f.actorAt < len(f.actor):
			e := f.actor[f.actorAt]
			f.actorAt++
			n.actorEffect(&e)
		case f.placeAt < len(f.place):
			e := f.place[f.placeAt]
			f.placeAt++
			n.placeEffect(&e)
		case f.dispatchAt < len(f.dispatch):
			e := f.dispatch[f.dispatchAt]
			f.dispatchAt++
			n.dispatchEffect(&e)
		default:
			f.own, f.actor, f.place, f.dispatch = f.own[:0], f.actor[:0], f.place[:0], f.dispatch[:0]
			f.ownAt, f.actorAt, f.placeAt, f.dispatchAt = 0, 0, 0, 0
			return
		}
	}
}

func (n *Node) stepOwn(ev *own.Event)     { n.fx.own = n.own.Step(n.now, ev, n.fx.own) }
func (n *Node) stepPlace(ev *place.Event) { n.fx.place = n.place.Step(n.now, ev, n.fx.place) }
func (n *Node) stepDispatch(ev *dispatch.Event) {
	n.fx.dispatch = n.dispatch.Step(n.now, ev, n.fx.dispatch)
}
func (n *Node) stepActor(ev *actor.Event) { n.fx.actor = n.actors.Step(n.now, ev, n.fx.actor) }

// armTimer has tick called when a machine next needs to know the time.
func (n *Node) armTimer() {
	at, set := n.dispatch.Deadline()
	if a, ok := n.actors.Deadline(); ok && (!set || a < at) {
		at, set = a, true
	}
	if a, ok := n.place.Deadline(); ok && (!set || a < at) {
		at, set = a, true
	}
	if !set || n.closed || n.wake != 0 && n.wake <= at {
		return
	}
	n.wake = max(at, n.now+1)
	n.timer.Reset(n.wake - n.now)
}

// tick tells the machines the time.
func (n *Node) tick() {
	n.lock()
	n.wake = 0
	if !n.closed {
		n.stepOwn(&own.Event{Kind: own.Tick})
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Tick})
		n.stepActor(&actor.Event{Kind: actor.Tick})
		n.stepPlace(&place.Event{Kind: place.Tick})
	}
	n.unlock()
}

// batch is what a critical section wants done without the lock.
type batch struct {
	starts []start
	conns  []*conn
	peers  []*peer
	funcs  []func()
}

var batches = sync.Pool{New: func() any { return &batch{} }}

func (b *batch) empty() bool {
	return len(b.starts) == 0 && len(b.conns) == 0 && len(b.peers) == 0 && len(b.funcs) == 0
}

// run does it and recycles b.
func (b *batch) run(n *Node) {
	for _, s := range b.starts {
		n.running.Add(1)
		go n.launch(s)
	}
	for _, c := range b.conns {
		c.drain()
	}
	for _, p := range b.peers {
		p.flush(n)
	}
	for _, f := range b.funcs {
		f()
	}
	clear(b.starts)
	clear(b.conns)
	clear(b.peers)
	clear(b.funcs)
	b.starts, b.conns, b.peers, b.funcs = b.starts[:0], b.conns[:0], b.peers[:0], b.funcs[:0]
	batches.Put(b)
}

func (n *Node) launch(s start) {
	defer n.running.Done()
	s.r.run(s.first, s.at)
}

// later has f run after the lock is released.
func (n *Node) later(f func()) { n.out.funcs = append(n.out.funcs, f) }
