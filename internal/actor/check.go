package actor

import (
	"errors"
	"fmt"
)

// Check walks everything and reports the first broken invariant.
func (m *Machine) Check() error {
	var states [Dead + 1]int
	calls, records, callers := 0, 0, 0
	for r := m.first; r != nil; r = r.next {
		records++
		states[r.state]++
		calls += r.calls
		n, err := m.checkRecord(r)
		if err != nil {
			return fmt.Errorf("actor %s (%s): %w", r.actor, r.state, err)
		}
		callers += n
	}
	switch {
	case records != len(m.actors):
		return fmt.Errorf("actor: %d records in order, %d by id", records, len(m.actors))
	case callers != len(m.byKey):
		return fmt.Errorf("actor: %d callers at actors, %d by key", callers, len(m.byKey))
	case calls != m.calls.live || calls != m.tasks.n:
		return fmt.Errorf("actor: %d calls at actors, %d live, %d indexed", calls, m.calls.live, m.tasks.n)
	case states != m.stats.States:
		return fmt.Errorf("actor: states are %v, counted %v", states, m.stats.States)
	}
	return nil
}

func (m *Machine) checkRecord(r *record) (callers int, err error) {
	handles, calls, out, turns := 0, 0, 0, 0
	for c := r.turn.head; c != nil; c = c.nextTurn {
		turns++
	}
	for c := r.callers.head; c != nil; c = c.nextOfActor {
		callers++
		handles += c.handles
		calls += c.total()
		out += c.out.n
		if c.inTurn {
			turns--
		}
		if err := m.checkCaller(c); err != nil {
			return 0, fmt.Errorf("caller %d: %w", c.party.party.session, err)
		}
	}
	switch {
	case m.actors[r.actor] != r:
		err = errors.New("not found by its id")
	case handles != r.handles || calls != r.calls || out != r.out:
		err = fmt.Errorf("counts %d handles, %d calls, %d out; has %d, %d, %d", r.handles, r.calls, r.out, handles, calls, out)
	case turns != 0:
		err = fmt.Errorf("%+d callers in turn", turns)
	case out > r.window:
		err = fmt.Errorf("%d calls out, window %d", out, r.window)
	case out > 0 && r.state != Alive:
		err = fmt.Errorf("%d calls out", out)
	case r.state == Alive && r.turn.head != nil && out < r.window:
		err = errors.New("calls wait though the window has room")
	case r.named && m.names[nameKey{r.spec.Actor.Namespace, r.spec.Actor.Name}] != r:
		err = errors.New("its name is another's")
	case r.callers.head == nil && !r.loose && !r.remote && (r.state == Dead || !r.spec.Actor.Detached):
		err = errors.New("nobody holds it, and it is still here")
	}
	return callers, err
}

func (m *Machine) checkCaller(c *caller) error {
	k := callerKey{c.rec.actor, c.party.party}
	switch {
	case m.byKey[k] != c || m.callers[c.index] != c || m.parties[c.party.party] != c.party:
		return errors.New("not found by its key")
	case c.handles == 0 && c.total() == 0 && !c.draining:
		return errors.New("empty")
	case c.inTurn != (c.unsent.head != 0 && m.calls.at(c.unsent.head).ready && !c.draining):
		return fmt.Errorf("in turn: %v", c.inTurn)
	case c.rec.state == Dead && c.unsent.n+c.parked.n > 0 && !c.draining:
		return fmt.Errorf("%d calls wait for the dead", c.unsent.n+c.parked.n)
	}
	for _, l := range []struct {
		list  list
		state callState
	}{{c.unsent, waiting}, {c.parked, parked}, {c.out, sent}} {
		if err := m.checkList(c, l.list, l.state); err != nil {
			return err
		}
	}
	return m.checkRetries(c)
}

func (m *Machine) checkList(c *caller, l list, state callState) error {
	n, prev := 0, ref(0)
	for at := l.head; at != 0; at = m.calls.at(at).next {
		k := m.calls.at(at)
		if k.state != state || k.prev != prev || m.callers[k.caller] != c || m.tasks.find(&m.calls, &k.task) != at {
			return fmt.Errorf("call %s: state %d in list %d", k.task, k.state, state)
		}
		prev = at
		n++
	}
	if n != l.n || prev != l.tail {
		return fmt.Errorf("list %d has %d calls, counts %d", state, n, l.n)
	}
	return nil
}

// checkRetries verifies that retries come first and in order.
func (m *Machine) checkRetries(c *caller) error {
	last, fresh := ref(0), false
	for at := c.unsent.head; at != 0; at = m.calls.at(at).next {
		k := m.calls.at(at)
		if !k.again {
			fresh = true
			continue
		}
		if fresh || last != 0 && m.calls.at(last).task.Seq() > k.task.Seq() {
			return fmt.Errorf("retry %s is out of order", k.task)
		}
		last = at
	}
	if last != c.again {
		return fmt.Errorf("last retry is %d, noted %d", last, c.again)
	}
	return nil
}
