package own

import (
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/id"
)

// checker recomputes the counts that the machine keeps.
type checker struct {
	m      *Machine
	pins   map[id.Object]int32
	lin    map[id.Object]int32
	others map[id.Object]int32
	err    error
}

func (c *checker) failf(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("own: "+format, args...)
	}
}

// Check returns an error if an invariant does not hold. It looks at everything.
func (m *Machine) Check() error {
	c := checker{m: m, pins: map[id.Object]int32{}, lin: map[id.Object]int32{}, others: map[id.Object]int32{}}
	ids := m.allTasks()
	for _, tid := range ids {
		c.gather(m.task(tid))
	}
	for _, s := range m.sessions {
		for o, n := range s.holds {
			c.others[o] += n
		}
	}
	for _, b := range m.borrowed {
		c.gatherInner(&b.object)
	}
	for _, tid := range ids {
		c.task(m.task(tid))
	}
	for _, oid := range sortedObjects(m.early) {
		c.counts(oid, m.early[oid])
	}
	for _, oid := range sortedObjects(m.borrowed) {
		b := m.borrowed[oid]
		c.counts(oid, &b.object)
		if !b.used() {
			c.failf("borrowed object %v is not used", oid)
		}
	}
	c.dangling()
	c.tables(ids)
	return c.err
}

func (c *checker) gather(t *task) {
	if t.deps != nil {
		switch {
		case t.is(kept):
			for _, o := range t.deps.objs {
				c.lin[o]++
			}
		case t.state != done || t.mayRestart():
			for _, o := range t.deps.objs {
				c.pins[o]++
			}
		default:
			c.failf("task %v has ended and still has dependencies", t.id)
		}
	}
	for k := range t.count() {
		_, o := t.slot(k)
		c.gatherInner(o)
	}
}

func (c *checker) gatherInner(o *object) {
	if o.ext != nil {
		for _, in := range o.ext.inner {
			c.pins[in]++
		}
	}
}

func (c *checker) task(t *task) {
	for k := range t.count() {
		index, o := t.slot(k)
		oid := t.id.Return(index)
		c.counts(oid, o)
		c.value(t, oid, o)
	}
	if t.fam == nil && (t.sibNext != nil || t.sibPrev != nil) {
		c.failf("task %v is in a list of siblings without a family", t.id)
	}
	if t.state == Waiting {
		c.waits(t)
	}
	if t.is(kept) && (t.state != done || t.deps == nil) {
		c.failf("task %v is in the lineage in state %v", t.id, t.state)
	}
}

// value checks that a value is there exactly if something needs it.
func (c *checker) value(t *task, oid id.Object, o *object) {
	local := o.flags&objLocal != 0
	retained := o.flags&objRetained != 0
	switch {
	case o.state == objAvailable && !local && !o.needed() && (!retained || o.lin == 0):
		c.failf("object %v has a value that nothing needs", oid)
	case retained && (o.needed() || o.state != objAvailable):
		c.failf("object %v is kept for lineage only, but it is not so", oid)
	case o.state == objPending && t.state == done:
		c.failf("object %v is pending, but its task has ended", oid)
	case o.state == objAvailable && o.where == AtNode && o.node.IsZero():
		c.failf("object %v is at no node", oid)
	case o.state != objAvailable && o.ext != nil && len(o.ext.inner) > 0:
		c.failf("object %v has no value, but something is in it", oid)
	case t.is(sparse) && o.state == objNone && o.lin == 0 && !o.needed():
		c.failf("item %v is of no use", oid)
	}
}

// waits checks that what t waits for will wake it. An argument that is lost
// after t began to wait for another is noticed when that one comes.
func (c *checker) waits(t *task) {
	registered := 0
	if t.deps != nil {
		for _, a := range t.deps.objs[:t.deps.nargs] {
			o := c.m.find(a)
			if o == nil {
				c.failf("task %v waits for %v, which does not exist", t.id, a)
				return
			}
			if o.state == objPending && o.ext != nil && slices.ContainsFunc(o.ext.waiters, func(w waiter) bool { return w.task == t && w.valid() }) {
				registered++
			}
		}
	}
	if registered == 0 || registered != t.deps.missing {
		c.failf("task %v misses %d arguments, %d know of it", t.id, t.deps.missing, registered)
	}
}

func (c *checker) counts(oid id.Object, o *object) {
	if o.pins != c.pins[oid] || o.lin != c.lin[oid] || o.others != c.others[oid] || o.own < 0 {
		c.failf("object %v counts %d pins, %d lineage, %d holds, %d own; there are %d, %d, %d",
			oid, o.pins, o.lin, o.others, o.own, c.pins[oid], c.lin[oid], c.others[oid])
	}
	delete(c.pins, oid)
	delete(c.lin, oid)
	delete(c.others, oid)
	if o.ext == nil {
		return
	}
	positive := 0
	for i, h := range o.ext.holders {
		if h.count > 0 {
			positive++
		}
		if i > 0 && compareHolders(o.ext.holders[i-1], h) >= 0 {
			c.failf("the holders of object %v are not in order", oid)
		}
	}
	if positive != o.ext.positive {
		c.failf("object %v counts %d nodes that hold it, there are %d", oid, o.ext.positive, positive)
	}
}

// dangling checks that what is left of the gathered counts is about lineage
// that was evicted: its records are gone and other entries still name them.
func (c *checker) dangling() {
	for _, oid := range sortedObjects(c.pins) {
		c.failf("object %v is needed and has no record", oid)
	}
	for _, oid := range sortedObjects(c.others) {
		c.failf("object %v is held and has no record", oid)
	}
}

func (c *checker) tables(ids []id.Task) {
	m := c.m
	var states [done + 1]int
	var n int
	var bytes int64
	for _, tid := range ids {
		t := m.task(tid)
		states[t.state]++
		if t.is(kept) {
			n++
			bytes += t.cost()
		}
		for k := range t.count() {
			if _, o := t.slot(k); o.flags&objRetained != 0 {
				bytes += o.size
			}
		}
		if t.fam != nil && m.families[t.fam.parent] != t.fam {
			c.failf("task %v is in a family that is not listed", tid)
		}
	}
	if states != m.states {
		c.failf("tasks by state: %v, counted %v", m.states, states)
	}
	if n != m.lineage.n || bytes != m.lineage.bytes {
		c.failf("lineage has %d entries, %d bytes; counted %d, %d", m.lineage.n, m.lineage.bytes, n, bytes)
	}
	for p, f := range m.families {
		if f.parent != p || f.head == nil && f.over == 0 {
			c.failf("family of %v is of no use", p)
		}
	}
}
