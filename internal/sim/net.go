package sim

import (
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
)

// Network is how messages behave. Zero fields are a perfect, instant network.
type Network struct {
	Delay  time.Duration // least time a message takes
	Jitter time.Duration // and up to so much more
	Loss   float64       // share of transmissions that are lost and resent
	Resend time.Duration // after this time
}

// messageKind says which fields of a message matter.
type messageKind uint8

const (
	msgOwn      messageKind = iota + 1 // own: between ownership machines
	msgAsk                             // spec, n: leases wanted
	msgGrant                           // lease, key
	msgRefuse                          // key, n, view
	msgGiveBack                        // lease
	msgEnd                             // lease
	msgPush                            // push: a task to run
	msgUnqueue                         // task, attempt: take it out if it has not begun
	msgDone                            // task, attempt, lease, returns
	msgFailed                          // task, attempt, lease, fault, object
	msgFetch                           // object: send me its bytes
	msgData                            // object, size; n < 0: there are none here
	msgView                            // view
	msgTold                            // actor event Told
	msgHandle                          // actor, n
	msgActor                           // actor event about an incarnation: Placed, Started, InitError, Lost
	msgStop                            // actor, incarnation, n (force)
	msgCall                            // push: a method call, incarnation
	msgRef                             // object: a reference
	msgAdopt                           // records
)

func (k messageKind) String() string {
	return [...]string{"?", "own", "ask", "grant", "refuse", "give-back", "end", "push", "unqueue", "done", "failed",
		"fetch", "data", "view", "told", "handle", "actor", "stop", "call", "ref", "adopt"}[k]
}

// message is what one node says to another.
type message struct {
	kind        messageKind
	fault       own.Fault
	n           int
	attempt     uint32
	incarnation uint32
	lease       dispatch.Lease
	key         spec.Key
	task        id.Task
	object      id.Object
	spec        *spec.Task
	push        *push
	view        *place.Event
	actor       *actor.Event
	returns     []own.Return
	records     []own.Record
	own         own.Msg
	at          id.Node // where the task ran, if not at the sender
}

// link carries messages of one node to another: numbered, in order, each once.
// What is lost is sent again and holds what is behind it; what meets a cut
// waits until it is healed.
type link struct {
	c         *Cluster
	src, dst  *node
	queue     []message
	due       []time.Duration // of queue: when each arrives
	scheduled bool
	cut       bool
	paused    bool // only deliver lets messages through
}

type linkKey struct{ src, dst int32 }

func (c *Cluster) link(src, dst *node) *link {
	k := linkKey{src.index, dst.index}
	l := c.links[k]
	if l == nil {
		l = &link{c: c, src: src, dst: dst, paused: c.manual, cut: c.separated(src, dst)}
		c.links[k] = l
	}
	return l
}

// send puts a message on its way.
func (n *node) send(to id.Node, m message) {
	dst := n.c.byID[to]
	switch {
	case dst == nil:
		n.c.fail("node %s sends %s to %s, which never was", n, m.kind, to)
	case dst == n:
		n.c.fail("node %s sends %s to itself", n, m.kind)
	case n.down || n.gone[dst.index]:
		return // nobody hears it
	default:
		n.c.messages++
		n.c.link(n, dst).add(m)
	}
}

func (l *link) add(m message) {
	at := l.c.now + l.c.transit()
	if n := len(l.due); n > 0 {
		at = max(at, l.due[n-1])
	}
	l.queue = append(l.queue, m)
	l.due = append(l.due, at)
	l.arm()
}

// transit draws how long a message is under way.
func (c *Cluster) transit() time.Duration {
	d := c.opts.Network.Delay
	if j := c.opts.Network.Jitter; j > 0 {
		d += time.Duration(c.rng.Int64N(int64(j)))
	}
	for p := c.opts.Network.Loss; p > 0 && c.rng.Float64() < p; {
		d += c.opts.Network.Resend
	}
	return d
}

// arm schedules the arrival of the first message.
func (l *link) arm() {
	if l.scheduled || l.cut || l.paused || len(l.queue) == 0 {
		return
	}
	l.scheduled = true
	l.c.work++
	l.c.schedule(event{at: max(l.due[0], l.c.now), link: l})
}

// arrive hands the first message over.
func (l *link) arrive() {
	l.scheduled = false
	if l.cut || l.paused || len(l.queue) == 0 {
		return
	}
	if l.due[0] > l.c.now {
		l.arm() // it was held up since
		return
	}
	l.deliver()
	l.arm()
}

// deliver hands the first message over now.
func (l *link) deliver() {
	m := l.queue[0]
	l.queue[0] = message{}
	l.queue, l.due = l.queue[1:], l.due[1:]
	if len(l.queue) == 0 {
		l.queue, l.due = nil, nil
	}
	if l.dst.down || l.dst.gone[l.src.index] {
		return
	}
	l.c.mix(uint64(m.kind)<<32 | uint64(l.src.index)<<16 ^ uint64(l.dst.index))
	l.dst.receive(l.src, &m)
}

// drop loses the first message once: it is resent.
func (l *link) drop() {
	if len(l.due) == 0 {
		return
	}
	late := l.c.now + max(l.c.opts.Network.Resend, time.Millisecond)
	for i := range l.due {
		l.due[i] = max(l.due[i], late)
	}
}

// clear forgets what was under way: the state of a link to a dead node.
func (l *link) clear() { l.queue, l.due = nil, nil }

// setCut cuts or heals the links between two nodes, both ways.
func (c *Cluster) setCut(a, b *node, cut bool) {
	k := linkKey{min(a.index, b.index), max(a.index, b.index)}
	if cut {
		c.cuts[k] = true
	} else {
		delete(c.cuts, k)
	}
	for _, l := range []*link{c.link(a, b), c.link(b, a)} {
		l.cut = cut
		l.arm()
	}
}

func (c *Cluster) separated(a, b *node) bool {
	return len(c.cuts) > 0 && c.cuts[linkKey{min(a.index, b.index), max(a.index, b.index)}]
}
