package own

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// family lists the pending children that a task has on this node, wherever the
// task is owned, and is the tombstone of its attempts that are over.
type family struct {
	parent id.Task
	head   *task
	over   uint32 // attempts up to this one are dead: what they submit is cancelled
}

// join enters t into its parent's family. It reports whether that attempt of
// the parent is dead.
func (m *Machine) join(t *task, parent id.Task, attempt uint32) (dead bool) {
	if parent.IsZero() {
		return false
	}
	f := m.family(parent)
	t.parentAttempt = attempt
	f.add(t)
	return f.over > 0 && attempt <= f.over || m.dead[m.Home(parent.Owner())]
}

func (m *Machine) family(parent id.Task) *family {
	f := m.families[parent]
	if f == nil {
		f = m.pools.family()
		f.parent = parent
		m.families[parent] = f
	}
	return f
}

func (f *family) add(t *task) {
	t.fam, t.sibPrev, t.sibNext = f, nil, f.head
	if f.head != nil {
		f.head.sibPrev = t
	}
	f.head = t
}

func (f *family) remove(t *task) {
	if t.sibPrev != nil {
		t.sibPrev.sibNext = t.sibNext
	} else {
		f.head = t.sibNext
	}
	if t.sibNext != nil {
		t.sibNext.sibPrev = t.sibPrev
	}
	t.fam, t.sibNext, t.sibPrev = nil, nil, nil
}

// part takes a finished task out of its parent's family. Its own children
// become the parent's, so that a later cancel still reaches them.
func (m *Machine) part(t *task) {
	f := t.fam
	if f == nil {
		return
	}
	f.remove(t)
	if own := m.families[t.id]; own != nil && own != f && own.head != nil {
		for c := own.head; c != nil; c = own.head {
			own.remove(c)
			c.parentAttempt = t.parentAttempt
			f.add(c)
		}
		m.prune(own)
	}
	m.prune(f)
}

// prune removes a family that says nothing.
func (m *Machine) prune(f *family) {
	if f.head == nil && f.over == 0 {
		delete(m.families, f.parent)
		m.pools.putFamily(f)
	}
}

// bury marks attempts of parent as over and cancels what they started here.
func (m *Machine) bury(parent id.Task, attempt uint32, force bool) {
	f := m.family(parent)
	if f.over == 0 {
		if old, displaced := m.tombs.push(parent); displaced {
			if o := m.families[old]; o != nil && o != f {
				o.over = 0
				m.prune(o)
			}
		}
	}
	f.over = max(f.over, attempt)
	for c := f.head; c != nil; c = c.sibNext {
		if c.parentAttempt <= attempt {
			m.todo = append(m.todo, work{op: opCancel, force: force, recursive: true, object: c.id.Return(0)})
		}
	}
}

// orphan cancels what an attempt of t started, here and where it ran.
func (m *Machine) orphan(t *task, attempt uint32) {
	if t.node.IsZero() {
		return // it has not run
	}
	m.bury(t.id, attempt, true)
	if t.node != m.self {
		m.send(t.node, Msg{Kind: StopTask, Task: t.id, Node: m.self, Attempt: attempt, Force: true, Recursive: true})
	}
}

func (m *Machine) cancelEvent(t id.Task, force, recursive bool) {
	if !m.mine(t.Owner()) {
		m.send(m.Home(t.Owner()), Msg{Kind: StopTask, Task: t, Node: m.self, Force: force, Recursive: recursive})
		return
	}
	m.cancel(t, force, recursive)
}

// cancel ends a task that is queued and interrupts one that runs. Of one that
// has ended it reaches, if recursive, what it left running.
func (m *Machine) cancel(tid id.Task, force, recursive bool) {
	t := m.task(tid)
	if t == nil || t.state == done {
		if f := m.families[tid]; recursive && f != nil && f.head != nil {
			m.bury(tid, 1<<32-1, force)
		}
		return
	}
	ask := cancelled
	if recursive {
		ask |= cascade
	}
	if force {
		ask |= forced
	}
	if t.flags&ask == ask {
		return // asked already
	}
	t.flags |= ask
	if t.state != Running {
		m.emit(Effect{Kind: Unqueue, Task: t.id, Attempt: t.attempt})
		if recursive {
			m.bury(t.id, t.attempt, force)
		}
		m.fail(t, Cancelled, id.Object{})
		return
	}
	if recursive {
		m.bury(t.id, t.attempt, force)
	}
	m.interrupt(t, force)
}

func (m *Machine) interrupt(t *task, force bool) {
	if t.node == m.self || t.node.IsZero() {
		m.emit(Effect{Kind: Interrupt, Task: t.id, Attempt: t.attempt, Node: m.self, Force: force})
		return
	}
	m.send(t.node, Msg{Kind: StopTask, Task: t.id, Node: m.self, Attempt: t.attempt, Force: force, Recursive: t.is(cascade)})
}

// stopMsg is a cancel from another node: of a task that this node owns, or of
// one that it runs for its owner.
func (m *Machine) stopMsg(msg *Msg) {
	switch owner := msg.Task.Owner(); {
	case m.mine(owner):
		m.cancel(msg.Task, msg.Force, msg.Recursive)
	case owner == m.self:
		m.send(m.Home(owner), *msg)
	default:
		m.emit(Effect{Kind: Interrupt, Task: msg.Task, Attempt: msg.Attempt, Node: m.self, Force: msg.Force})
		if msg.Recursive && msg.Attempt > 0 {
			m.bury(msg.Task, msg.Attempt, msg.Force)
		}
	}
}

// sessionEnd drops what a session held; with force, a driver's, it cancels
// what the session submitted. With a limit it does so for that many tasks, the
// latest, and the session ends with the step that reaches the first.
func (m *Machine) sessionEnd(n id.Session, force bool, limit int) {
	s := m.sessions[n]
	if s == nil {
		m.highest = max(m.highest, n)
		return
	}
	var tasks []*task
	more := s.head
	for t := s.head; t != nil && (limit == 0 || len(tasks) < limit); t = t.sesNext {
		more = t.sesNext
		tasks = append(tasks, t)
		if force && !t.detached() { // the latest first: they wait for the others
			m.todo = append(m.todo, work{op: opCancel, force: true, recursive: true, object: t.id.Return(0)})
		}
	}
	slices.Reverse(tasks)
	for _, t := range tasks {
		s.unlink(t)
		m.dropOwn(t)
	}
	if more != nil {
		return
	}
	for _, o := range sortedObjects(s.holds) {
		if obj := m.find(o); obj != nil {
			obj.others -= s.holds[o]
			m.later(opRelease, o)
		}
	}
	delete(m.sessions, n)
	m.last = nil
	m.endEarly(n)
}

// dropOwn lets go of what t's session held of t.
func (m *Machine) dropOwn(t *task) {
	m.dropUnread(t)
	for k := range t.count() {
		if index, o := t.slot(k); o.own > 0 {
			o.own = 0
			m.later(opRelease, t.id.Return(index))
		}
	}
}

// endEarly resolves what was awaited of a session that will not make it.
func (m *Machine) endEarly(n id.Session) {
	var ids []id.Object
	for o := range m.early {
		if s, _ := id.SplitSeq(o.Task().Seq()); s == n && m.task(o.Task()) == nil {
			ids = append(ids, o)
		}
	}
	sortObjects(ids)
	for _, o := range ids {
		obj := m.early[o]
		obj.own = 0
		m.vanish(o, obj, Unknown)
	}
}

// detached reports whether t makes an actor that outlives its driver.
func (t *task) detached() bool {
	return t.spec != nil && t.spec.Kind == spec.KindCreate && t.spec.Actor != nil && t.spec.Actor.Detached
}
