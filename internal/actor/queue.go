package actor

import (
	"encoding/binary"
)

// callerOf returns p's use of r, made if need be.
func (m *Machine) callerOf(r *record, p party) *caller {
	key := callerKey{r.actor, p}
	if c := m.byKey[key]; c != nil {
		return c
	}
	ps := m.parties[p]
	if ps == nil {
		ps = &partyState{party: p}
		m.parties[p] = ps
	}
	var c *caller
	if n := len(m.spare); n > 0 {
		c, m.spare = m.spare[n-1], m.spare[:n-1]
		*c = caller{index: c.index}
	} else {
		c = &caller{index: uint32(len(m.callers))}
		m.callers = append(m.callers, c)
	}
	c.rec, c.party = r, ps
	r.callers.push(c)
	ps.push(c)
	m.byKey[key] = c
	return c
}

// releaseCaller forgets a caller that holds nothing and waits for nothing.
func (m *Machine) releaseCaller(c *caller) {
	if c.handles != 0 || c.total() > 0 || c.draining {
		return
	}
	if c.inTurn {
		c.rec.turn.remove(c)
	}
	c.rec.callers.remove(c)
	c.party.remove(c)
	delete(m.byKey, callerKey{c.rec.actor, c.party.party})
	if c.party.head == nil {
		delete(m.parties, c.party.party)
	}
	c.rec, c.party = nil, nil
	m.spare = append(m.spare, c)
}

// handle changes how many handles a party holds. A count below zero is an add
// of a node's that is still under way and is waited for: it keeps its entry.
func (m *Machine) handle(ev *Event, fx []Effect) []Effect {
	r := m.actors[ev.Actor]
	if r == nil || ev.N == 0 {
		return fx
	}
	p := party{ev.Node, ev.Session}
	if p.node == m.self {
		p.node = party{}.node
	}
	c := m.callerOf(r, p)
	if p.node.IsZero() { // nothing of a session's is under way: it returns what it has
		ev.N = max(ev.N, -c.handles)
	}
	if !p.node.IsZero() && c.handles <= 0 && ev.N > 0 {
		fx = append(fx, tell(r, p.node))
	}
	c.handles += ev.N
	r.handles += ev.N
	m.releaseCaller(c)
	return m.settle(r, fx)
}

// partyEnd drops what a session or node held and the calls it had not sent.
func (m *Machine) partyEnd(p party, fx []Effect) []Effect {
	ps := m.parties[p]
	if ps == nil {
		return fx
	}
	for c := ps.head; c != nil; {
		next := c.nextOfParty
		r := c.rec
		r.handles -= c.handles
		c.handles = 0
		m.startDrain(c)
		m.releaseCaller(c)
		fx = m.settle(r, fx)
		c = next
	}
	return fx
}

// call queues a method call and sends what can be sent.
func (m *Machine) call(ev *Event, fx []Effect) []Effect {
	c := m.byKey[callerKey{ev.Actor, party{session: ev.Session}}]
	var r *record
	if c != nil {
		r = c.rec
	} else if r = m.actors[ev.Actor]; r == nil {
		return append(fx, Effect{Kind: FailCall, Actor: ev.Actor, Task: ev.Task, Cause: Unknown})
	}
	if r.state == Dead {
		return append(fx, Effect{Kind: FailCall, Actor: ev.Actor, Task: ev.Task, Cause: r.cause})
	}
	if m.tasks.find(&m.calls, &ev.Task) != 0 {
		return fx // it is here already: once in an incarnation is enough
	}
	if c == nil {
		c = m.callerOf(r, party{session: ev.Session})
	}
	if most := r.spec.Actor.MaxPending; most > 0 && c.total() >= most && !ev.Again {
		m.releaseCaller(c)
		return append(fx, Effect{Kind: Refuse, Actor: r.actor, Task: ev.Task, N: most})
	}
	m.enqueue(c, ev)
	m.offer(c)
	return m.pump(r, fx)
}

// enqueue puts a new call where its turn is.
func (m *Machine) enqueue(c *caller, ev *Event) {
	at, k := m.calls.alloc()
	k.task, k.caller, k.ready, k.again = ev.Task, c.index, ev.ArgsReady, ev.Again
	m.tasks.insert(&m.calls, at)
	c.rec.calls++
	m.line(c, at, k)
}

// line puts a call that is in no list where its turn is.
func (m *Machine) line(c *caller, at ref, k *call) {
	switch {
	case !k.ready && c.rec.spec.Actor.OutOfOrder:
		k.state = parked
		c.parked.push(&m.calls, at)
	case k.again:
		m.insertAgain(c, at)
	default:
		k.state = waiting
		c.unsent.push(&m.calls, at)
	}
}

// insertAgain puts a retry behind the retries that were submitted before it.
func (m *Machine) insertAgain(c *caller, at ref) {
	k := m.calls.at(at)
	k.state = waiting
	seq := binary.BigEndian.Uint64(k.task[8:])
	after := c.again
	for after != 0 && binary.BigEndian.Uint64(m.calls.at(after).task[8:]) > seq {
		after = m.calls.at(after).prev
	}
	c.unsent.insertAfter(&m.calls, after, at)
	if after == c.again {
		c.again = at
	}
}

// offer gives c a turn if its first waiting call can be sent, and takes it
// away if not.
func (m *Machine) offer(c *caller) {
	can := c.unsent.head != 0 && m.calls.at(c.unsent.head).ready && !c.draining
	switch {
	case can && !c.inTurn:
		c.rec.turn.push(c)
	case !can && c.inTurn:
		c.rec.turn.remove(c)
	}
}

// pump sends calls while the actor takes them.
func (m *Machine) pump(r *record, fx []Effect) []Effect {
	if r.state != Alive {
		return fx
	}
	for r.out < r.window && r.turn.head != nil {
		c := r.turn.pop()
		at := c.unsent.head
		k := m.calls.at(at)
		m.unlinkUnsent(c, at, k)
		k.state, k.again = sent, false
		c.out.push(&m.calls, at)
		r.out++
		m.stats.Sent++
		fx = append(fx, Effect{Kind: Deliver, Actor: r.actor, Incarnation: r.incarnation,
			Task: k.task, Node: r.node, Worker: r.worker})
		m.offer(c)
	}
	return fx
}

func (m *Machine) unlinkUnsent(c *caller, at ref, k *call) {
	if at == c.again {
		c.again = k.prev // 0, or a retry: they come first
	}
	c.unsent.remove(&m.calls, at)
}

func (m *Machine) argsReady(ev *Event, fx []Effect) []Effect {
	at := m.tasks.find(&m.calls, &ev.Task)
	if at == 0 {
		return fx // cancelled, or its actor died
	}
	k := m.calls.at(at)
	c := m.callers[k.caller]
	k.ready = true
	if k.state == parked {
		c.parked.remove(&m.calls, at)
		m.line(c, at, k)
	}
	m.offer(c)
	return m.pump(c.rec, fx)
}

// finished ends a call that was answered and makes room for the next.
func (m *Machine) finished(ev *Event, fx []Effect) []Effect {
	at := m.tasks.find(&m.calls, &ev.Task)
	if at == 0 {
		return fx
	}
	k := m.calls.at(at)
	c := m.callers[k.caller]
	r := c.rec
	if k.state != sent || r.incarnation != ev.Incarnation {
		return fx // an answer from an incarnation that was given up
	}
	m.stats.Finished++
	if ev.Again {
		c.out.remove(&m.calls, at)
		r.out--
		k.again, k.ready = true, ev.ArgsReady
		m.line(c, at, k)
		m.offer(c)
		return m.pump(r, fx)
	}
	m.discard(c, at, k)
	m.releaseCaller(c)
	if r.calls == 0 {
		return m.settle(r, fx)
	}
	return m.pump(r, fx)
}

// discard takes a call out of every list.
func (m *Machine) discard(c *caller, at ref, k *call) {
	switch k.state {
	case waiting:
		m.unlinkUnsent(c, at, k)
	case parked:
		c.parked.remove(&m.calls, at)
	case sent:
		c.out.remove(&m.calls, at)
		c.rec.out--
	}
	c.rec.calls--
	m.tasks.remove(&m.calls, at)
	m.calls.release(at)
	if m.calls.live == 0 && m.calls.shrink() {
		m.tasks = index{}
	}
}

func (m *Machine) cancelCall(ev *Event, fx []Effect) []Effect {
	at := m.tasks.find(&m.calls, &ev.Task)
	if at == 0 {
		return fx
	}
	k := m.calls.at(at)
	if k.state == sent {
		return fx // the shell interrupts it; Finished or Lost will come
	}
	c := m.callers[k.caller]
	r := c.rec
	m.discard(c, at, k)
	m.offer(c)
	m.releaseCaller(c)
	fx = m.pump(r, fx)
	return m.settle(r, fx)
}

// failSent gives up the calls that are out, caller by caller, in order.
func (m *Machine) failSent(r *record, cause Cause, fx []Effect) []Effect {
	for c := r.callers.head; c != nil; {
		next := c.nextOfActor
		for c.out.head != 0 {
			at := c.out.head
			k := m.calls.at(at)
			fx = append(fx, Effect{Kind: FailCall, Actor: r.actor, Incarnation: r.incarnation,
				Task: k.task, Cause: cause, MaybeRan: true})
			m.discard(c, at, k)
		}
		m.releaseCaller(c)
		c = next
	}
	return fx
}

// startDrain begins to fail what c has not sent.
func (m *Machine) startDrain(c *caller) {
	if c.draining || c.unsent.n+c.parked.n == 0 {
		return
	}
	c.draining = true
	m.offer(c)
	m.draining = append(m.draining, c)
}

// drain fails a portion of the calls whose actor or session has gone.
func (m *Machine) drain(fx []Effect) []Effect {
	left := m.opts.Batch
	for ; m.drained < len(m.draining); m.drained++ {
		c := m.draining[m.drained]
		r := c.rec
		cause := SessionGone
		if r.state == Dead {
			cause = r.cause
		}
		for c.unsent.n+c.parked.n > 0 {
			if left == 0 {
				return fx
			}
			left--
			at := c.unsent.head
			if at == 0 {
				at = c.parked.head
			}
			k := m.calls.at(at)
			fx = append(fx, Effect{Kind: FailCall, Actor: r.actor, Task: k.task, Cause: cause})
			m.discard(c, at, k)
		}
		c.draining = false
		m.releaseCaller(c)
		fx = m.settle(r, fx)
	}
	clear(m.draining)
	m.draining, m.drained = m.draining[:0], 0
	return fx
}
