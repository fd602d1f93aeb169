package actor

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// record is one actor as this node knows it.
type record struct {
	actor       id.Actor
	spec        *spec.Task
	job         id.Job
	node        id.Node // of the current incarnation; zero until placed
	worker      id.Worker
	incarnation uint32
	restarts    int
	state       State
	cause       Cause
	remote      bool    // the record is another node's; only the calls are here
	from        id.Node // that node; zero while orphaned: it is gone, and its heir not known
	loose       bool    // in Machine.loose
	named       bool    // holds its name

	handles int // of all callers
	calls   int // of all callers: waiting, parked and sent
	out     int // sent and not answered
	window  int // most that may be out

	callers    callerList // all of them, in order of appearance
	turn       turns      // those whose first waiting call can be sent
	prev, next *record    // of the machine, in order of creation
}

// party is whoever can hold a handle: a session of this node, or another node.
type party struct {
	node    id.Node
	session id.Session
}

// callerKey names a caller.
type callerKey struct {
	actor id.Actor
	party party
}

// caller is what one party is to one actor.
type caller struct {
	rec     *record
	party   *partyState
	index   uint32 // in Machine.callers
	handles int

	unsent list // in the order in which they will be sent; retries first
	parked list
	out    list // in the order in which they were sent
	again  ref  // the last retry in unsent

	inTurn   bool
	draining bool // its unsent calls are failing, a portion in each step
	nextTurn *caller

	prevOfActor, nextOfActor *caller
	prevOfParty, nextOfParty *caller
}

func (c *caller) total() int { return c.unsent.n + c.parked.n + c.out.n }

// partyState lists a party's callers in order of appearance.
type partyState struct {
	party      party
	head, tail *caller
}

// callerList is the callers of one record.
type callerList struct{ head, tail *caller }

func (l *callerList) push(c *caller) {
	c.prevOfActor, c.nextOfActor = l.tail, nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.nextOfActor = c
	}
	l.tail = c
}

func (l *callerList) remove(c *caller) {
	if c.prevOfActor == nil {
		l.head = c.nextOfActor
	} else {
		c.prevOfActor.nextOfActor = c.nextOfActor
	}
	if c.nextOfActor == nil {
		l.tail = c.prevOfActor
	} else {
		c.nextOfActor.prevOfActor = c.prevOfActor
	}
}

func (p *partyState) push(c *caller) {
	c.prevOfParty, c.nextOfParty = p.tail, nil
	if p.tail == nil {
		p.head = c
	} else {
		p.tail.nextOfParty = c
	}
	p.tail = c
}

func (p *partyState) remove(c *caller) {
	if c.prevOfParty == nil {
		p.head = c.nextOfParty
	} else {
		c.prevOfParty.nextOfParty = c.nextOfParty
	}
	if c.nextOfParty == nil {
		p.tail = c.prevOfParty
	} else {
		c.nextOfParty.prevOfParty = c.prevOfParty
	}
}

// turns is the queue in which callers of one actor take turns.
type turns struct{ head, tail *caller }

func (t *turns) push(c *caller) {
	c.inTurn, c.nextTurn = true, nil
	if t.tail == nil {
		t.head = c
	} else {
		t.tail.nextTurn = c
	}
	t.tail = c
}

func (t *turns) pop() *caller {
	c := t.head
	t.head = c.nextTurn
	if t.head == nil {
		t.tail = nil
	}
	c.inTurn, c.nextTurn = false, nil
	return c
}

// remove takes c out, wherever it is. Only cancels and ends need it.
func (t *turns) remove(c *caller) {
	var prev *caller
	for x := t.head; x != nil; prev, x = x, x.nextTurn {
		if x != c {
			continue
		}
		if prev == nil {
			t.head = c.nextTurn
		} else {
			prev.nextTurn = c.nextTurn
		}
		if t.tail == c {
			t.tail = prev
		}
		c.inTurn, c.nextTurn = false, nil
		return
	}
}
