package own

import (
	"sort"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// State is how far a task is.
type State uint8

// States of a task.
const (
	Waiting State = iota // for its arguments
	Queued               // runnable: in place's, dispatch's or an actor's queue
	Running              // an execution has said that it began
	Ended                // with values or an error; what remains is its objects
)

const done = Ended

type flag uint16

const (
	unshared  flag = 1 << iota // no counts, no lineage
	cancelled                  // never retried
	failed                     // its values are an error
	kept                       // in the lineage list
	evicted                    // was in it, and had to go
	sparse                     // its objects are in wide.items only: streams, shared leftovers
	payload                    // the shell still keeps its arguments
	retired                    // the actor it created is gone
	cascade                    // cancelled with its children
	forced                     // cancelled by force
	spared                     // was a bystander of a crash that others may have caused
	apart                      // has a process of its own from now on: it may have caused one
)

// task is the record of a task or a put. A million of them may wait, so what
// few tasks have lives behind pointers. TestRecordSize watches its size.
type task struct {
	id               id.Task
	spec             *spec.Task // nil: a put
	fam              *family    // its parent's
	sibNext, sibPrev *task
	sesNext, sesPrev *task
	deps             *deps
	wide             *wide
	ret              object // return 0
	node             id.Node
	ses              id.Session
	attempt          uint32
	parentAttempt    uint32
	systemUsed       uint16
	userUsed         uint16
	oomUsed          uint8
	rebuilds         uint8
	state            State
	flags            flag
}

func (t *task) is(f flag) bool { return t.flags&f != 0 }

// deps is what a task needs, and its place in the lineage.
type deps struct {
	objs             []id.Object // the awaited first, then those only held
	nargs            int
	missing          int    // awaited ones that are not available
	wait             uint64 // number of the current wait; 0: none. waiters with another number are stale
	bytes            int64  // of the payload
	linNext, linPrev *task
}

// wide is what tasks with several returns or a stream have.
type wide struct {
	rets   []object // returns 1 and up
	items  []*item  // by index
	stream *stream
}

type item struct {
	index uint32
	object
}

// count returns how many objects t has a slot for.
func (t *task) count() int {
	switch {
	case t.is(sparse):
		return len(t.wide.items)
	case t.spec == nil:
		return 1
	}
	return t.spec.Returns
}

// slot returns t's k-th object and its index.
func (t *task) slot(k int) (uint32, *object) {
	switch {
	case t.is(sparse):
		it := t.wide.items[k]
		return it.index, &it.object
	case k == 0:
		return 0, &t.ret
	}
	return uint32(k), &t.wide.rets[k-1]
}

// object returns t's object with the given index, or nil.
func (t *task) object(index uint32) *object {
	if t.is(sparse) {
		if k, ok := t.itemAt(index); ok {
			return &t.wide.items[k].object
		}
		return nil
	}
	if int64(index) >= int64(t.count()) {
		return nil
	}
	_, o := t.slot(int(index))
	return o
}

func (t *task) itemAt(index uint32) (int, bool) {
	items := t.wide.items
	k := sort.Search(len(items), func(i int) bool { return items[i].index >= index })
	return k, k < len(items) && items[k].index == index
}

// objState is what there is of an object's value.
type objState uint8

const (
	objNone      objState = iota // none and none expected
	objPending                   // a run will make it
	objAvailable                 // there, or an error stands for it
	objGone                      // lost; object.gone says why
)

type objFlag uint8

const (
	objLocal    objFlag = 1 << iota // lives in the submitting process, which does not count it
	objRetained                     // its value is only kept for lineage and counts against its limit
)

// object is one value and the counts that keep it.
type object struct {
	ext    *ext
	size   int64
	node   id.Node // a copy's, if where is AtNode
	own    int32   // holds of the session that made the id
	others int32   // holds of other sessions of this node
	pins   int32   // pending tasks and live outer values that need it
	lin    int32   // lineage entries that list it
	state  objState
	where  Where
	gone   Gone
	flags  objFlag
}

// ext is what few objects have.
type ext struct {
	waiters  []waiter // tasks; some may be stale
	stale    int
	holders  []holder // by node and via
	positive int      // of them, those with a positive count
	inner    []id.Object
	copies   []id.Node // besides object.node
}

type waiter struct {
	task *task
	wait uint64
}

// valid reports whether the task still waits; the numbers of waits are never
// reused, so a recycled record cannot be mistaken.
func (w waiter) valid() bool { return w.task.deps != nil && w.task.deps.wait == w.wait }

// holder is what a node holds and had from via. A subscription is an entry
// without a via and without a count.
type holder struct {
	node, via  id.Node
	count      int32 // signed: its drop may overtake via's add
	subscribed bool
	settled    bool // node has said what it has of via, which died: via's adds are late
}

// needed reports whether anything needs the value itself.
func (o *object) needed() bool {
	return o.own+o.others+o.pins > 0 || o.ext != nil && o.ext.positive > 0
}

// borrow is another node's object that something here uses.
type borrow struct {
	object
	tokens     []tokens // what its owner counts, or will count, for this node
	subscribed bool
}

// tokens are references that a node has sent.
type tokens struct {
	from id.Node
	n    int32
}

func (b *borrow) used() bool { return b.others+b.pins+b.lin > 0 }

// session is what the machine knows of a connection.
type session struct {
	id    id.Session
	high  uint64 // the highest sequence number it has used
	head  *task  // its tasks and puts, latest first
	holds map[id.Object]int32
}

// link puts t on its session's list.
func (s *session) link(t *task) {
	t.sesNext = s.head
	if s.head != nil {
		s.head.sesPrev = t
	}
	s.head = t
}

func (s *session) unlink(t *task) {
	if t.sesPrev != nil {
		t.sesPrev.sesNext = t.sesNext
	} else if s != nil && s.head == t {
		s.head = t.sesNext
	}
	if t.sesNext != nil {
		t.sesNext.sesPrev = t.sesPrev
	}
	t.sesNext, t.sesPrev = nil, nil
}

func (m *Machine) session(n id.Session) *session {
	if m.last != nil && m.last.id == n {
		return m.last
	}
	s := m.sessions[n]
	if s == nil {
		s = &session{id: n}
		if n <= m.highest {
			s.high = 1<<40 - 1 // it may have ended: what it made is not to come
		}
		m.sessions[n] = s
		m.highest = max(m.highest, n)
	}
	return s
}

// find returns what is known of o, or nil.
func (m *Machine) find(o id.Object) *object {
	if t := m.task(o.Task()); t != nil {
		if obj := t.object(o.Index()); obj != nil {
			return obj
		}
	}
	if len(m.early) > 0 {
		if obj := m.early[o]; obj != nil {
			return obj
		}
	}
	if len(m.borrowed) > 0 {
		if b := m.borrowed[o]; b != nil {
			return &b.object
		}
	}
	return nil
}

// obtain is find for somebody who will use o: it borrows a foreign object and
// makes room for one that is not yet known. It returns nil for a freed one.
func (m *Machine) obtain(o id.Object) *object {
	if obj := m.find(o); obj != nil {
		return obj
	}
	if !m.mine(o.Owner()) {
		return &m.register(o).object
	}
	if !m.notYetKnown(o) {
		return nil
	}
	obj := m.pools.object()
	obj.state = objPending
	m.early[o] = obj
	return obj
}

// notYetKnown reports whether o may still be submitted: its id is above what
// its session has used so far, or it is a stream's future item.
func (m *Machine) notYetKnown(o id.Object) bool {
	if t := m.task(o.Task()); t != nil {
		return t.is(sparse) && t.state != done && o.Index() >= t.wide.stream.made
	}
	if o.Owner() != m.self {
		return false
	}
	s, n := id.SplitSeq(o.Task().Seq())
	if ses := m.sessions[s]; ses != nil {
		return n > ses.high
	}
	return s > m.highest
}

// claim moves what was known early of o into its slot.
func (m *Machine) claim(o id.Object, slot *object) {
	e := m.early[o]
	if e == nil {
		return
	}
	delete(m.early, o)
	slot.ext, slot.others, slot.pins, slot.lin = e.ext, e.others, e.pins, e.lin
	slot.own += e.own
	m.pools.putObject(e)
}

func (o *object) more(p *pools) *ext {
	if o.ext == nil {
		o.ext = p.ext()
	}
	return o.ext
}
