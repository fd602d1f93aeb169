package actor

import (
	"cmp"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// stopping says how a dying incarnation is ended.
type stopping uint8

const (
	stopNothing stopping = iota // it is gone already
	stopGently
	stopHard
)

func (m *Machine) create(ev *Event, fx []Effect) []Effect {
	if m.actors[ev.Actor] != nil {
		return fx // told twice
	}
	a := ev.Spec.Actor
	key := nameKey{a.Namespace, a.Name}
	if a.Name != "" {
		if r := m.names[key]; r != nil {
			return m.nameHeld(r, ev, fx)
		}
	}
	r := m.add(ev.Actor, ev.Spec, ev.Job)
	r.state, r.incarnation = Pending, 1
	m.stats.States[Pending]++
	if a.Name != "" {
		m.names[key], r.named = r, true
	}
	c := m.callerOf(r, party{session: ev.Session})
	c.handles, r.handles = 1, 1
	fx = append(fx, Effect{Kind: Changed, Actor: r.actor, State: Pending, Incarnation: 1})
	return append(fx, Effect{Kind: Begin, Actor: r.actor, Incarnation: 1})
}

func (m *Machine) nameHeld(r *record, ev *Event, fx []Effect) []Effect {
	if !ev.Spec.Actor.GetIfExists {
		return append(fx, Effect{Kind: NameTaken, Actor: ev.Actor, Existing: r.actor})
	}
	c := m.callerOf(r, party{session: ev.Session})
	c.handles++
	r.handles++
	return append(fx, Effect{Kind: Found, Actor: ev.Actor, Existing: r.actor})
}

// add makes an empty record, the last in order.
func (m *Machine) add(actor id.Actor, s *spec.Task, job id.Job) *record {
	r := &record{actor: actor, spec: s, job: job, window: m.windowOf(s.Actor), prev: m.last}
	if m.last == nil {
		m.first = r
	} else {
		m.last.next = r
	}
	m.last = r
	m.actors[actor] = r
	return r
}

// remove takes a record out. Its callers are gone.
func (m *Machine) remove(r *record) {
	if r.prev == nil {
		m.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		m.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	m.stats.States[r.state]--
	delete(m.actors, r.actor)
}

// setState changes r's state and tells everyone who should know.
func (m *Machine) setState(r *record, s State, fx []Effect) []Effect {
	m.stats.States[r.state]--
	m.stats.States[s]++
	r.state = s
	fx = append(fx, Effect{Kind: Changed, Actor: r.actor, State: s, Cause: r.cause,
		Incarnation: r.incarnation, Node: r.node, Worker: r.worker})
	for c := r.callers.head; c != nil; c = c.nextOfActor {
		if to := c.party.party.node; !to.IsZero() {
			fx = append(fx, tell(r, to))
		}
	}
	return fx
}

// tell says to another node what r is.
func tell(r *record, to id.Node) Effect {
	return Effect{Kind: Tell, To: to, Actor: r.actor, State: r.state, Cause: r.cause,
		Incarnation: r.incarnation, Node: r.node, Worker: r.worker}
}

// progress handles Placed and Started.
func (m *Machine) progress(r *record, ev *Event, fx []Effect) []Effect {
	if !m.current(r, ev) {
		return append(fx, stopStray(ev))
	}
	if ev.Kind == Placed {
		r.node, r.worker = ev.Node, ev.Worker
		return fx
	}
	if r.state == Alive {
		return fx
	}
	fx = m.setState(r, Alive, fx)
	return m.pump(r, fx)
}

// lost starts the next incarnation, or ends the actor if none is left. What
// was sent and not answered fails as maybe having run.
func (m *Machine) lost(r *record, cause Cause, stop stopping, fx []Effect) []Effect {
	counted := cause != NodeLeft
	if most := r.spec.Actor.MaxRestarts; most == 0 || most > 0 && counted && r.restarts >= most {
		return m.die(r, cause, stop, fx)
	}
	fx = m.end(r, stop, fx)
	fx = m.failSent(r, cause, fx)
	if counted {
		r.restarts++
	}
	r.incarnation++
	r.cause = cause
	r.node, r.worker = id.Node{}, 0
	m.stats.Restarts++
	fx = m.setState(r, Restarting, fx)
	m.loosen(r)
	return append(fx, Effect{Kind: Begin, Actor: r.actor, Incarnation: r.incarnation})
}

func (m *Machine) kill(r *record, ev *Event, fx []Effect) []Effect {
	switch {
	case r.state == Dead:
		return fx
	case ev.NoRestart:
		return m.die(r, Killed, stopHard, fx)
	case r.node.IsZero():
		return fx // nothing runs that could be killed, and it shall run again
	}
	return m.lost(r, Killed, stopHard, fx)
}

// end tells the shell to stop the current incarnation.
func (m *Machine) end(r *record, stop stopping, fx []Effect) []Effect {
	if stop == stopNothing {
		return fx
	}
	return append(fx, Effect{Kind: Stop, Actor: r.actor, Incarnation: r.incarnation,
		Node: r.node, Worker: r.worker, Force: stop == stopHard})
}

// die ends an actor for good.
func (m *Machine) die(r *record, cause Cause, stop stopping, fx []Effect) []Effect {
	if r.state == Dead {
		return fx
	}
	r.cause = cause
	m.unname(r)
	fx = m.end(r, stop, fx)
	fx = m.setState(r, Dead, fx)
	fx = m.failSent(r, cause, fx)
	for c := r.callers.head; c != nil; c = c.nextOfActor {
		m.startDrain(c)
	}
	return m.settle(r, fx)
}

func (m *Machine) unname(r *record) {
	if r.named {
		delete(m.names, nameKey{r.spec.Actor.Namespace, r.spec.Actor.Name})
		r.named = false
	}
}

// settle ends what nobody holds any more. r may be gone afterwards.
func (m *Machine) settle(r *record, fx []Effect) []Effect {
	if r.callers.head != nil || m.actors[r.actor] != r {
		return fx
	}
	switch {
	case r.remote:
		m.remove(r)
		return append(fx, Effect{Kind: Release, Actor: r.actor})
	case r.state != Dead && !r.spec.Actor.Detached:
		return m.die(r, OutOfScope, stopGently, fx)
	case r.state == Dead:
		m.remove(r)
		return append(fx, Effect{Kind: Forget, Actor: r.actor})
	}
	return fx
}

// loosen has r settled a little later. Its failed calls may be retried, and
// until their owner had the time to say so they keep it.
func (m *Machine) loosen(r *record) {
	if !r.loose {
		r.loose = true
		m.loose = append(m.loose, r)
		m.settleAt = m.now + patience
	}
}

func (m *Machine) tick(now time.Duration, fx []Effect) []Effect {
	if now < m.settleAt {
		return fx
	}
	for i := 0; i < len(m.loose); i++ {
		r := m.loose[i]
		r.loose = false
		if m.actors[r.actor] == r {
			fx = m.settle(r, fx)
		}
	}
	clear(m.loose)
	m.loose = m.loose[:0]
	return fx
}

// told takes over what the owner of a record elsewhere says.
func (m *Machine) told(ev *Event, fx []Effect) []Effect {
	r := m.actors[ev.Actor]
	if r == nil {
		if ev.Spec == nil {
			return fx // let go in the meantime
		}
		r = m.add(ev.Actor, ev.Spec, ev.Job)
		r.remote, r.state, r.from = true, Pending, ev.From
		m.stats.States[Pending]++
	}
	if !r.remote || r.state == Dead || ev.Incarnation < r.incarnation {
		return fx
	}
	if ev.Incarnation > r.incarnation || ev.State == Dead {
		fx = m.failSent(r, ev.Cause, fx)
		m.loosen(r)
	}
	r.incarnation, r.node, r.worker, r.cause = ev.Incarnation, ev.Node, ev.Worker, ev.Cause
	if ev.State != r.state {
		fx = m.setState(r, ev.State, fx)
	}
	switch r.state {
	case Alive:
		return m.pump(r, fx)
	case Dead:
		for c := r.callers.head; c != nil; c = c.nextOfActor {
			m.startDrain(c)
		}
	}
	return fx
}

func (m *Machine) jobEnd(ev *Event, fx []Effect) []Effect {
	for r := m.first; r != nil; {
		next := r.next
		if r.job == ev.Job && !r.remote && !r.spec.Actor.Detached {
			fx = m.die(r, JobEnded, stopHard, fx)
		}
		r = next
	}
	return fx
}

func (m *Machine) nodeDead(ev *Event, fx []Effect) []Effect {
	cause := cmp.Or(ev.Cause, NodeDied)
	for r := m.first; r != nil; {
		next := r.next
		switch {
		case r.state == Dead:
		case r.remote && r.spec.Actor.Detached && (r.from == ev.Node || r.from.IsZero()):
			fx = m.orphaned(r, ev.Node, cause, fx)
		case r.remote && r.from == ev.Node:
			fx = m.told(&Event{Actor: r.actor, State: Dead, Incarnation: r.incarnation, Cause: cause}, fx)
		case !r.remote && r.node == ev.Node:
			fx = m.lost(r, cause, stopNothing, fx)
		}
		r = next
	}
	return m.partyEnd(party{node: ev.Node}, fx)
}
