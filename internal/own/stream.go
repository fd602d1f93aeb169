package own

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
)

// stream is what a generator's task has made and what of it has been read.
// Each item's object starts with one hold of the task's session.
type stream struct {
	made     uint32  // items delivered to this owner
	consumed uint32  // of them, read
	base     uint32  // made when the current attempt began: below, nothing was charged to its window
	sizes    []int64 // of items consumed..made, if the window counts
	ended    bool
	dropped  bool // nobody will read on
}

func (t *task) stream() *stream {
	if t.wide == nil {
		return nil
	}
	return t.wide.stream
}

// delivered returns how many items a new attempt need not send again.
func (t *task) delivered() int {
	s := t.stream()
	if s == nil {
		return 0
	}
	s.base = s.made
	for _, it := range t.wide.items {
		if it.state == objPending && it.index < s.made {
			return int(it.index)
		}
	}
	return int(s.made)
}

func (m *Machine) item(ev *Event) {
	t := m.current(ev)
	oid := ev.Return.Object
	if t == nil || t.stream() == nil || t.stream().dropped {
		m.discardCopy(oid, ev.Attempt, m.find(oid), &ev.Return)
		return
	}
	s := t.stream()
	switch index := oid.Index(); {
	case oid.Task() != t.id || index > s.made:
		m.unexpected(t.id, oid, "a stream's item out of order")
	case index < s.made:
		m.replayed(t, oid, ev)
	default:
		s.made++
		s.sizes = append(s.sizes, ev.Return.Size)
		m.newItem(t, oid, &ev.Return)
	}
}

func (m *Machine) newItem(t *task, oid id.Object, r *Return) {
	m.emit(Effect{Kind: ItemReady, Task: t.id, Object: oid})
	if t.is(unshared) && m.early[oid] == nil {
		return
	}
	o := m.addItem(t, oid.Index())
	o.state, o.own = objPending, 1
	m.claim(oid, o)
	m.fill(oid, o, r)
	m.announce(oid, o)
}

// replayed takes an item that a retry made again: it is news only if its
// value had been lost.
func (m *Machine) replayed(t *task, oid id.Object, ev *Event) {
	if o := t.object(oid.Index()); o != nil && o.state == objPending {
		m.fill(oid, o, &ev.Return)
		m.announce(oid, o)
		if !o.needed() { // its last reference went while it was lost
			m.later(opRelease, oid)
		}
	} else {
		m.discardCopy(oid, t.attempt, o, &ev.Return)
	}
	m.credit(t, 1, ev.Return.Size)
}

func (m *Machine) credit(t *task, n int, bytes int64) {
	m.emit(Effect{Kind: Credit, Task: t.id, Attempt: t.attempt, Node: t.node, N: n, Bytes: bytes})
}

func (m *Machine) addItem(t *task, index uint32) *object {
	k, _ := t.itemAt(index)
	it := &item{index: index}
	t.wide.items = slices.Insert(t.wide.items, k, it)
	return &it.object
}

// removeItem forgets an item that nothing needs. Items go roughly in order, so
// the first is cut off without moving the others.
func (m *Machine) removeItem(t *task, index uint32) {
	k, ok := t.itemAt(index)
	if !ok {
		return
	}
	if e := t.wide.items[k].ext; e != nil {
		m.pools.putExt(e)
	}
	if k == 0 {
		t.wide.items[0] = nil
		t.wide.items = t.wide.items[1:]
		return
	}
	t.wide.items = slices.Delete(t.wide.items, k, k+1)
}

func (m *Machine) consume(ev *Event) {
	t := m.task(ev.Task)
	if t == nil || t.stream() == nil || t.stream().dropped {
		return // nobody waits for credit any more
	}
	s := t.stream()
	if ev.N < 0 || int64(ev.N) > int64(s.made-s.consumed) {
		m.unexpected(t.id, id.Object{}, "more items were taken from a stream than it had")
		return
	}
	var n int
	var bytes int64
	for range ev.N {
		if s.consumed >= s.base {
			n++
			bytes += s.sizes[0]
		}
		s.sizes = s.sizes[1:]
		s.consumed++
	}
	if n > 0 && !t.node.IsZero() { // else the next attempt begins with a whole window
		m.credit(t, n, bytes)
	}
	m.reap(t)
}

// streamDone ends a stream whose execution says that it made ev.N items.
func (m *Machine) streamDone(t *task, s *stream, ev *Event) {
	switch made := int64(s.made); {
	case int64(ev.N) > made:
		m.failed(t, ShortResult, id.Object{})
		return
	case int64(ev.N) < made:
		m.orphan(t, t.attempt)
		m.fail(t, ReplayMismatch, id.Object{})
		return
	}
	m.leave(t)
	m.setState(t, done)
	m.part(t)
	m.endStream(t, s, 0)
	for _, it := range t.wide.items {
		if it.state == objPending { // lost after this attempt had passed it
			m.later(opRebuild, t.id.Return(it.index))
			break
		}
	}
	m.settle(t) // t may be gone after this
}

func (m *Machine) endStream(t *task, s *stream, fault Fault) {
	if s.ended {
		return // a rebuild of it
	}
	s.ended = true
	m.emit(Effect{Kind: StreamEnd, Task: t.id, N: int(s.made), Fault: fault})
}

func (m *Machine) dropStream(tid id.Task) {
	t := m.task(tid)
	if t == nil || t.stream() == nil || t.stream().dropped {
		return
	}
	m.dropUnread(t)
	if t.state != done {
		m.cancel(t.id, false, true)
		return
	}
	m.reap(t)
}

// dropUnread lets go of the items that will not be read.
func (m *Machine) dropUnread(t *task) {
	s := t.stream()
	if s == nil || s.dropped {
		return
	}
	s.dropped = true
	s.sizes = nil
	for _, it := range t.wide.items {
		if it.index >= s.consumed && it.own > 0 {
			it.own--
			m.later(opRelease, t.id.Return(it.index))
		}
	}
}
