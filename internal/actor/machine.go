package actor

import (
	"math/bits"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// Options tune a Machine. The zero value means the defaults.
type Options struct {
	Window int // calls that may be out at one actor, at least twice its concurrency; default 64
	Batch  int // calls of a dead actor that fail in one step; default 1024
	Story  int // events remembered for Story, of lives and of calls each; rounded up to a power of two; default 4096
}

func (o *Options) defaults() {
	if o.Window <= 0 {
		o.Window = 64
	}
	if o.Batch <= 0 {
		o.Batch = 1024
	}
	if o.Story <= 0 {
		o.Story = 4096
	}
	o.Story = 1 << bits.Len(uint(o.Story-1))
}

// patience is how long an owner may take to say that it retries a failed call.
const patience = time.Millisecond

// nameKey is a registered name.
type nameKey struct{ namespace, name string }

// Machine is the actors of one node: those whose record it keeps, and those
// its sessions call.
type Machine struct {
	self id.Node
	opts Options

	actors      map[id.Actor]*record
	first, last *record
	names       map[nameKey]*record

	parties  map[party]*partyState
	byKey    map[callerKey]*caller
	callers  []*caller // by caller.index; index 0 is unused
	spare    []*caller // for reuse
	draining []*caller // whose waiting calls fail, a portion in each step
	drained  int       // how many of draining are done
	loose    []*record // to be settled at settleAt: their calls may come Again before
	settleAt time.Duration
	now      time.Duration

	calls slab
	tasks index
	story stories
	stats Stats
}

// New returns the machine of node self.
func New(self id.Node, opts Options) *Machine {
	opts.defaults()
	return &Machine{
		self:    self,
		opts:    opts,
		actors:  map[id.Actor]*record{},
		names:   map[nameKey]*record{},
		parties: map[party]*partyState{},
		byKey:   map[callerKey]*caller{},
		callers: make([]*caller, 1),
		story:   newStories(opts.Story),
	}
}

// More reports whether a step left work behind: the shell steps Tick again.
func (m *Machine) More() bool { return len(m.draining) > 0 }

// Deadline returns when Tick is next needed, and whether it is at all.
func (m *Machine) Deadline() (time.Duration, bool) {
	if m.More() {
		return 0, true
	}
	return m.settleAt, len(m.loose) > 0
}

// Step takes in ev, which happened at now, and appends to fx what follows.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect {
	m.now = now
	if ev.Kind != Tick {
		m.story.add(now, ev)
	}
	switch ev.Kind {
	case Call:
		fx = m.call(ev, fx)
	case ArgsReady:
		fx = m.argsReady(ev, fx)
	case Finished:
		fx = m.finished(ev, fx)
	case CancelCall:
		fx = m.cancelCall(ev, fx)
	case Handle:
		fx = m.handle(ev, fx)
	case SessionEnd:
		fx = m.partyEnd(party{session: ev.Session}, fx)
	case Create:
		fx = m.create(ev, fx)
	case Tick:
		fx = m.tick(now, fx)
	default:
		fx = m.life(ev, fx)
	}
	if len(m.draining) > 0 {
		fx = m.drain(fx)
	}
	return fx
}

// life handles the events of one actor's life, and those of all of them.
func (m *Machine) life(ev *Event, fx []Effect) []Effect {
	switch ev.Kind {
	case Told:
		return m.told(ev, fx)
	case JobEnd:
		return m.jobEnd(ev, fx)
	case NodeDead:
		return m.nodeDead(ev, fx)
	case Adopt:
		return m.adopt(ev, fx)
	case Kept:
		return m.kept(ev, fx)
	}
	r := m.actors[ev.Actor]
	if r == nil || r.remote {
		return m.stray(ev, fx)
	}
	switch ev.Kind {
	case Placed, Started:
		return m.progress(r, ev, fx)
	case InitError:
		if m.current(r, ev) && r.state != Alive {
			return m.die(r, InitFailed, stopNothing, fx)
		}
	case Lost:
		if m.current(r, ev) {
			return m.lost(r, ev.Cause, stopNothing, fx)
		}
	case CannotPlace:
		if r.state != Dead && r.state != Alive {
			return m.die(r, ev.Cause, stopNothing, fx)
		}
	case Kill:
		return m.kill(r, ev, fx)
	case Exit:
		if m.current(r, ev) || ev.Incarnation == 0 && r.state != Dead {
			return m.die(r, Exited, stopGently, fx)
		}
	}
	return fx
}

// current reports whether ev speaks of the incarnation that r is at.
func (m *Machine) current(r *record, ev *Event) bool {
	return r.state != Dead && ev.Incarnation == r.incarnation
}

// stray answers events about actors that have no record here.
func (m *Machine) stray(ev *Event, fx []Effect) []Effect {
	if ev.Kind == Placed || ev.Kind == Started {
		return append(fx, stopStray(ev))
	}
	return fx
}

// stopStray ends an instance that should not be.
func stopStray(ev *Event) Effect {
	return Effect{Kind: Stop, Actor: ev.Actor, Incarnation: ev.Incarnation, Node: ev.Node, Worker: ev.Worker, Force: true}
}

// windowOf returns how many calls may be out at an actor.
func (m *Machine) windowOf(a *spec.Actor) int {
	n := max(a.Concurrency, 1)
	for _, g := range a.Groups {
		n += g
	}
	return max(m.opts.Window, 2*n)
}
