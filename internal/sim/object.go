package sim

import (
	"slices"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
)

// copyOf is a copy of an object in a node's store.
type copyOf struct {
	size    int64
	attempt uint32 // that made it; 0 is fetched or put
}

// fetch is an object on its way here.
type fetch struct {
	from  *node
	keep  bool // though nobody here uses it: its place is here from now on
	after []func(ok bool)
}

func (n *node) has(o id.Object) bool { _, ok := n.store[o]; return ok }

// fetch brings the bytes of an object here and then calls after.
func (n *node) fetch(r *own.Return, after func(ok bool)) {
	if f := n.fetches[r.Object]; f != nil {
		f.after = append(f.after, after)
		return
	}
	from := n.c.byID[r.Node]
	if from == n || from == nil || n.gone[from.index] {
		n.c.after(0, func() {
			if !n.down {
				after(n.has(r.Object))
			}
		})
		return
	}
	n.fetches[r.Object] = &fetch{from: from, after: []func(bool){after}}
	n.send(from.id, message{kind: msgFetch, object: r.Object})
}

// asked sends an object's bytes.
func (n *node) asked(to *node, o id.Object) {
	c, ok := n.store[o]
	if !ok {
		n.send(to.id, message{kind: msgData, object: o, n: -1})
		return
	}
	d := time.Duration(float64(c.size) / float64(n.c.opts.Bandwidth) * float64(time.Second))
	n.c.after(d, func() {
		if !n.down {
			n.send(to.id, message{kind: msgData, object: o, n: int(c.size)})
		}
	})
}

// arrived ends a fetch.
func (n *node) arrived(o id.Object, size int) {
	f := n.fetches[o]
	if f == nil {
		return
	}
	delete(n.fetches, o)
	if size >= 0 && !n.ownerless(o) && (f.keep || n.own.Known(o).Is != own.Never) {
		n.store[o] = copyOf{size: int64(size)}
		n.stepOwn(&own.Event{Kind: own.CopyAdded, Object: o, Node: n.id})
	}
	for _, after := range f.after {
		after(size >= 0)
	}
}

// discard drops the values of a result that nobody will take.
func (n *node) discard(rs []own.Return) {
	for i := range rs {
		delete(n.store, rs[i].Object)
	}
}

// free drops the bytes of an object here.
func (n *node) discardCopy(e *own.Effect) {
	c, ok := n.store[e.Object]
	if e.Attempt == 0 {
		n.c.oracle.freed(n, e.Object)
	}
	if ok && (e.Attempt == 0 || e.Attempt == c.attempt) {
		delete(n.store, e.Object)
	}
}

// await calls do once o has a value, an error, or never will.
func (n *node) await(o id.Object, do func()) {
	n.waits[o] = append(n.waits[o], do)
	n.stepOwn(&own.Event{Kind: own.Want, Object: o})
}

func (n *node) ready(o id.Object) {
	ws := n.waits[o]
	delete(n.waits, o)
	for _, do := range ws {
		do()
	}
}

// hold adds a reference of a session.
func (n *node) hold(s *session, o id.Object) {
	s.holds[o]++
	n.c.oracle.ref(n, o, 1)
	n.stepOwn(&own.Event{Kind: own.Hold, Object: o, Session: s.id, N: 1})
}

// drop takes a reference of a session away.
func (n *node) drop(s *session, o id.Object) {
	if s.holds[o] == 0 {
		return // its session has ended
	}
	if s.holds[o]--; s.holds[o] == 0 {
		delete(s.holds, o)
	}
	n.c.oracle.ref(n, o, -1)
	n.stepOwn(&own.Event{Kind: own.Drop, Object: o, Session: s.id, N: 1})
}

// give sends a reference to another node's driver.
func (n *node) give(o id.Object, to *node) {
	n.stepOwn(&own.Event{Kind: own.SendRef, Object: o, Node: to.id})
	n.send(to.id, message{kind: msgRef, object: o})
}

// given takes a reference for the driver's session.
func (n *node) given(from *node, o id.Object) {
	n.stepOwn(&own.Event{Kind: own.GotRef, Object: o, Node: from.id})
	n.hold(n.sessionOf(driver), o)
	n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1})
}

// sorted lists a session's references.
func (s *session) sorted() []id.Object {
	out := make([]id.Object, 0, len(s.holds))
	for o := range s.holds {
		out = append(out, o)
	}
	sortObjects(out)
	return out
}

// sortedStore lists the objects that lie here.
func (n *node) sortedStore() []id.Object {
	out := make([]id.Object, 0, len(n.store))
	for o := range n.store {
		out = append(out, o)
	}
	sortObjects(out)
	return out
}

func sortObjects(all []id.Object) {
	slices.SortFunc(all, func(a, b id.Object) int { return slices.Compare(a[:], b[:]) })
}
