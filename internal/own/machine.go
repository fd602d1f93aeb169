package own

import (
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// Options bound a Machine. A zero field means its default.
type Options struct {
	LineageBytes int64 // finished tasks, their payloads and the puts kept for rebuilding; 256 MiB
	MaxRebuilds  int   // rebuilds of one task; 16, at most 255
	OOMRetries   int   // runs after the memory guard ended one; 15, at most 255
	Tombstones   int   // tasks whose dead attempts are remembered; 4096
	StoryLength  int   // recent events kept; 4096
	Pool         int   // unused records of each kind kept for reuse; 4096
}

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if o.LineageBytes == 0 {
		o.LineageBytes = 256 << 20
	}
	def(&o.MaxRebuilds, 16)
	def(&o.OOMRetries, 15)
	def(&o.Tombstones, 4096)
	def(&o.StoryLength, 4096)
	def(&o.Pool, 4096)
	o.MaxRebuilds = min(o.MaxRebuilds, 255)
	o.OOMRetries = min(o.OOMRetries, 255)
	return o
}

// Machine is the owner's state. It is not safe for concurrent use.
type Machine struct {
	self id.Node
	opts Options

	tasks    map[uint64]*task        // this node's, by sequence number
	adopted  map[id.Task]*task       // those of nodes that drained to this one
	early    map[id.Object]*object   // known by reference, not yet submitted
	borrowed map[id.Object]*borrow   // other nodes' objects in use here
	families map[id.Task]*family     // children, by parent
	sessions map[id.Session]*session // those that have not ended
	heirs    map[id.Node]id.Node     // who took over from nodes that left
	dead     map[id.Node]bool        // nodes declared dead
	audits   map[id.Node][]id.Object // questions about references from nodes that are not dead yet
	drained  bool                    // ownership has been handed to heirs[self]
	last     *session                // the session of the latest submit
	highest  id.Session              // the highest session number seen
	tombs    ring[id.Task]           // families with dead attempts, oldest first
	lineage  lineage                 // finished tasks kept for rebuilding, oldest first
	waits    uint64                  // numbers each time a task begins to wait
	states   [done + 1]int           // tasks by state, puts included
	peak     int                     // most tasks since the table was last made
	story    ring[Entry]             // recent events and effects
	now      time.Duration           // of the current step
	fx       []Effect                // of the current step
	todo     []work                  // what the current step still has to do
	pools    pools
}

// New returns an empty owner for node self.
func New(self id.Node, opts Options) *Machine {
	opts = opts.withDefaults()
	return &Machine{
		self:     self,
		opts:     opts,
		tasks:    map[uint64]*task{},
		adopted:  map[id.Task]*task{},
		early:    map[id.Object]*object{},
		borrowed: map[id.Object]*borrow{},
		families: map[id.Task]*family{},
		sessions: map[id.Session]*session{},
		heirs:    map[id.Node]id.Node{},
		dead:     map[id.Node]bool{},
		audits:   map[id.Node][]id.Object{},
		tombs:    ring[id.Task]{limit: opts.Tombstones},
		story:    ring[Entry]{limit: opts.StoryLength},
		pools:    pools{limit: opts.Pool},
	}
}

// op is a consequence that is carried out after what caused it, so that chains
// of consequences are loops and not recursion.
type op uint8

const (
	opRelease op = iota // Object: free it if nothing needs it
	opRebuild           // Object's task: run it again
	opGone              // Object: fail the tasks that wait for it
	opCancel            // Object's task
	opEvict             // a lineage entry, if there is too much
	opAwait             // Object's task: look at its arguments again
)

type work struct {
	op        op
	force     bool
	recursive bool
	object    id.Object
}

// Step applies ev at time now and appends what the shell must do to fx.
// It keeps neither ev nor its slices.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect {
	m.now, m.fx = now, fx
	m.noteEvent(ev)
	m.apply(ev)
	return m.end()
}

// end does what is left to do and returns the step's effects.
func (m *Machine) end() []Effect {
	for i := 0; i < len(m.todo); i++ {
		m.run(m.todo[i])
	}
	if cap(m.todo) > 1<<16 {
		m.todo = nil
	}
	m.todo = m.todo[:0]
	fx := m.fx
	m.fx = nil
	return fx
}

func (m *Machine) run(w work) {
	switch w.op {
	case opRelease:
		m.release(w.object)
	case opRebuild:
		m.rebuild(w.object.Task())
	case opGone:
		m.failWaiters(w.object)
	case opCancel:
		m.cancel(w.object.Task(), w.force, w.recursive)
	case opAwait:
		m.awaitAgain(w.object.Task())
	case opEvict:
		m.evict()
	}
}

func (m *Machine) later(o op, obj id.Object) {
	m.todo = append(m.todo, work{op: o, object: obj})
}

func (m *Machine) apply(ev *Event) {
	switch ev.Kind {
	case Submit:
		m.submit(ev)
	case Done:
		m.finished(ev)
	case Started:
		m.started(ev)
	case Item:
		m.item(ev)
	case Failed:
		m.failedEvent(ev)
	case Put, Hold, Drop, Share, SendRef, GotRef, Want:
		m.applyRef(ev)
	case Cancel:
		m.cancelEvent(ev.Task, ev.Force, ev.Recursive)
	case Consume:
		m.consume(ev)
	case DropStream:
		m.dropStream(ev.Task)
	case SessionStart:
		m.session(ev.Session)
	case SessionEnd:
		m.sessionEnd(ev.Session, ev.Force, ev.N)
	case Retire:
		m.retire(ev.Task)
	case CopyAdded:
		m.copyAdded(ev.Object, ev.Node)
	case CopyLost:
		m.copyLost(ev.Object, ev.Node)
	case NodeDead:
		m.nodeDead(ev.Node)
	case Heir:
		m.heir(ev.Node, ev.To)
	case Peer:
		m.peer(ev.Node, ev.Msg)
	case Adopt:
		m.adopt(ev.Node, ev.Records)
	case Tick:
	default:
		m.emit(Effect{Kind: Unexpected, Why: fmt.Sprintf("own: event kind %d", ev.Kind)})
	}
}

func (m *Machine) applyRef(ev *Event) {
	switch ev.Kind {
	case Put:
		m.put(ev)
	case Hold:
		m.hold(ev.Session, ev.Object, ev.N)
	case Drop:
		m.drop(ev.Session, ev.Object, ev.N)
	case Share:
		m.share(ev)
	case SendRef:
		m.sendRef(ev.Object, ev.Node)
	case GotRef:
		m.gotRef(ev.Object, ev.Node)
	default: // Want
		m.want(ev.Object)
	}
}

func (m *Machine) emit(e Effect) {
	m.noteEffect(&e)
	m.fx = append(m.fx, e)
}

func (m *Machine) send(to id.Node, msg Msg) {
	if m.dead[to] {
		return
	}
	m.emit(Effect{Kind: Send, Node: to, Object: msg.Object, Task: msg.Task, Msg: &msg})
}

func (m *Machine) unexpected(t id.Task, o id.Object, why string) {
	m.emit(Effect{Kind: Unexpected, Task: t, Object: o, Why: why})
}

// task returns the record of t if this node owns it.
func (m *Machine) task(t id.Task) *task {
	if t.Owner() == m.self {
		return m.tasks[t.Seq()]
	}
	if len(m.adopted) == 0 {
		return nil
	}
	return m.adopted[t]
}

// Home returns the node that owns what n owned first.
func (m *Machine) Home(n id.Node) id.Node {
	for range len(m.heirs) {
		to, ok := m.heirs[n]
		if !ok {
			break
		}
		n = to
	}
	return n
}

// mine reports whether this node owns what n owned first.
func (m *Machine) mine(n id.Node) bool {
	if n == m.self {
		return !m.drained
	}
	return len(m.heirs) > 0 && m.Home(n) == m.self
}
