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
	msgItem                            // task, attempt, returns, at: an item of a stream
	msgCredit                          // task, attempt, n: a producer of a stream may go on
	msgAdopt                           // records
)

func (k messageKind) String() string {
	return [...]string{"?", "own", "ask", "grant", "refuse", "give-back", "end", "push", "unqueue", "done", "failed",
		"fetch", "data", "view", "told", "handle", "actor", "stop", "call", "ref", "item", "credit", "adopt"}[k]
}

// message is what one node says to another.
type message struct {
	kind        messageKind
	fault       own.Fault
	n           int
	attempt     uint32
	incarnation uint32
	lease       dispatch.Lease
	task        id.Task
	object      id.Object
	spec        *spec.Task
	push        *push
	view        *place.Event
	actor       *actor.Event
	returns     []own.Return
	records     []own.Record
	own         own.Msg
	due         time.Duration // when it arrives
	ran         int64         // how long the task ran, in nanoseconds
	at          id.Node       // where the task ran, if not at the sender
	looked      id.Node       // where the lost argument was to be
}

// link carries messages of one node to another: numbered, in order, each once.
// What is lost is sent again and holds what is behind it; what meets a cut
// waits until it is healed.
type link struct {
	c         *Cluster
	src, dst  *node
	queue     []*message // from first on
	first     int
	scheduled bool
	cut       bool
	paused    bool // only deliver lets messages through
}

// pair names two nodes, the lower one first.
type pair struct{ a, b int32 }

func (c *Cluster) link(src, dst *node) *link {
	l := src.links[dst.index]
	if l == nil {
		l = &link{c: c, src: src, dst: dst, paused: c.manual, cut: c.separated(src, dst)}
		src.links[dst.index] = l
	}
	return l
}

// between returns the links that there are between two nodes.
func between(a, b *node) (out []*link) {
	if l := a.links[b.index]; l != nil {
		out = append(out, l)
	}
	if l := b.links[a.index]; l != nil {
		out = append(out, l)
	}
	return out
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
	m.due = l.c.now + l.c.transit()
	if n := len(l.queue); n > l.first {
		m.due = max(m.due, l.queue[n-1].due)
	}
	l.queue = append(l.queue, l.c.keep(&m))
	l.arm()
}

// keep copies a message to one that was delivered, or a new one.
func (c *Cluster) keep(m *message) *message {
	n := len(c.spare)
	if n == 0 {
		x := *m
		return &x
	}
	x := c.spare[n-1]
	c.spare = c.spare[:n-1]
	*x = *m
	return x
}

// waiting returns the messages that are under way.
func (l *link) waiting() []*message { return l.queue[l.first:] }

// take removes the first message.
func (l *link) take() *message {
	m := l.queue[l.first]
	l.queue[l.first] = nil
	if l.first++; l.first == len(l.queue) {
		l.clear()
	}
	return m
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
	if l.scheduled || l.cut || l.paused || len(l.waiting()) == 0 {
		return
	}
	l.scheduled = true
	l.c.work++
	l.c.schedule(event{at: max(l.waiting()[0].due, l.c.now), link: l})
}

// arrive hands the first message over.
func (l *link) arrive() {
	l.scheduled = false
	if l.cut || l.paused || len(l.waiting()) == 0 {
		return
	}
	if l.waiting()[0].due > l.c.now {
		l.arm() // it was held up since
		return
	}
	l.deliver()
	l.arm()
}

// deliver hands the first message over now.
func (l *link) deliver() {
	m := l.take()
	if l.dst.down && l.dst.heir != nil {
		l.src.redirect(l.dst.heir, m)
		return
	}
	if l.dst.down || l.dst.gone[l.src.index] {
		return
	}
	l.c.mix(uint64(m.kind)<<32 | uint64(l.src.index)<<16 ^ uint64(l.dst.index))
	l.dst.receive(l.src, m)
	*m = message{}
	l.c.spare = append(l.c.spare, m)
}

// redirect sends what a node that has left did not acknowledge to its heir, if
// it is about what the heir has now.
func (n *node) redirect(heir *node, m *message) {
	switch m.kind {
	case msgOwn, msgDone, msgFailed, msgItem:
	default:
		return
	}
	if heir == n {
		n.receive(n, m)
		return
	}
	n.send(heir.id, *m)
}

// drop loses the first message once: it is resent.
func (l *link) drop() {
	late := l.c.now + max(l.c.opts.Network.Resend, time.Millisecond)
	for _, m := range l.waiting() {
		m.due = max(m.due, late)
	}
}

// clear forgets what was under way: the state of a link to a dead node.
func (l *link) clear() { l.queue, l.first = l.queue[:0], 0 }

// setCut cuts or heals the links between two nodes, both ways.
func (c *Cluster) setCut(a, b *node, cut bool) {
	k := pair{min(a.index, b.index), max(a.index, b.index)}
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
	return len(c.cuts) > 0 && c.cuts[pair{min(a.index, b.index), max(a.index, b.index)}]
}
