package own

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// carry and result are messages of programs, on the same links as the owners'
// own: a reference, and a task's result with references inside.
const (
	carry MsgKind = iota + 200
	result
)

type run struct {
	task    id.Task
	attempt uint32
}

type holding struct {
	node    id.Node
	session id.Session
	object  id.Object
}

// model is the naive truth beside a world: who really has which reference.
type model struct {
	*world
	rt      *rapid.T
	next    map[id.Node]uint64
	held    map[holding]int
	flying  map[id.Object]int         // references in messages under way
	deps    map[id.Task][]id.Object   // of pending tasks
	made    map[id.Task][]id.Object   // deps of all tasks, ended or not
	inner   map[id.Object][]id.Object // of values that were made
	specs   map[id.Task]*spec.Task
	queued  []run // runnable, as the effects say
	objects []id.Object
	lossy   bool                // values may be lost
	heir    map[id.Node]id.Node // drained nodes
	dead    id.Node             // the node that died
	unaware []id.Node           // who does not know that
	tainted map[id.Object]bool  // what the dead node had to do with
}

func newModel(rt *rapid.T, lossy bool) *model {
	m := &model{world: newWorld(rt, Options{LineageBytes: 4000}, "A", "B", "C"), rt: rt, lossy: lossy,
		next: map[id.Node]uint64{}, held: map[holding]int{}, flying: map[id.Object]int{}, deps: map[id.Task][]id.Object{},
		made: map[id.Task][]id.Object{}, inner: map[id.Object][]id.Object{}, specs: map[id.Task]*spec.Task{}, heir: map[id.Node]id.Node{}, tainted: map[id.Object]bool{}}
	m.trace = true
	m.seen = m.effect
	return m
}

// effect follows what becomes of tasks.
func (m *model) effect(_ id.Node, f *Effect) {
	switch f.Kind {
	case Runnable:
		m.unqueue(f.Task)
		m.queued = append(m.queued, run{f.Task, f.Attempt})
	case Retry, Unqueue:
		m.unqueue(f.Task)
	case FailTask:
		m.unqueue(f.Task)
		delete(m.deps, f.Task)
	case Unexpected:
		if m.tainted[f.Object] {
			return
		}
		m.rt.Fatalf("unexpected: %s %s %s\n%s", taskName(f.Task), objectName(f.Object), f.Why, &m.out)
	default:
	}
}

func (m *model) unqueue(t id.Task) {
	m.queued = slices.DeleteFunc(m.queued, func(r run) bool { return r.task == t })
}

func (m *model) home(n id.Node) id.Node {
	for m.heir[n] != (id.Node{}) {
		n = m.heir[n]
	}
	return n
}

func (m *model) aNode() id.Node { return rapid.SampledFrom(m.names()).Draw(m.rt, "node") }

// working returns a node that takes submits.
func (m *model) working() id.Node {
	n := m.aNode()
	if m.heir[n] != (id.Node{}) {
		return m.home(n)
	}
	return n
}

func (m *model) holdings(n id.Node, s id.Session) []id.Object {
	var out []id.Object
	for h, k := range m.held {
		if h.node == n && (s == 0 || h.session == s) && k > 0 {
			out = append(out, h.object)
		}
	}
	sortObjects(out)
	return slices.Compact(out)
}

func (m *model) some(from []id.Object, label string) []id.Object {
	if len(from) == 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, 3).Draw(m.rt, label)
}

func (m *model) one(from []id.Object) (id.Object, bool) {
	if len(from) == 0 {
		return id.Object{}, false
	}
	return rapid.SampledFrom(from).Draw(m.rt, "object"), true
}

func (m *model) aSession() id.Session { return id.Session(rapid.IntRange(1, 2).Draw(m.rt, "session")) }

func (m *model) newTask(n id.Node, s id.Session) id.Task {
	m.next[n]++
	return id.NewTask(n, id.Seq(s, m.next[n]))
}

func (m *model) submit() {
	n, s := m.working(), m.aSession()
	t := m.newTask(n, s)
	mine := m.holdings(n, s)
	args, in := m.some(mine, "args"), m.some(mine, "inner")
	sp := &spec.Task{Function: "f", Returns: rapid.IntRange(0, 3).Draw(m.rt, "returns"), MaxRetries: rapid.IntRange(0, 2).Draw(m.rt, "retries")}
	m.specs[t] = sp
	m.deps[t] = append(slices.Clone(args), in...)
	m.made[t] = m.deps[t]
	for k := range sp.Returns {
		m.objects = append(m.objects, t.Return(uint32(k)))
		m.held[holding{n, s, t.Return(uint32(k))}]++
	}
	m.step(n, &Event{Kind: Submit, Task: t, Session: s, Spec: sp, Args: args, Inner: in, Bytes: 100})
}

func (m *model) put() {
	n, s := m.working(), m.aSession()
	o := m.newTask(n, s).Return(0)
	in := m.some(m.holdings(n, s), "inner")
	m.objects = append(m.objects, o)
	m.held[holding{n, s, o}]++
	m.inner[o] = in
	m.step(n, &Event{Kind: Put, Object: o, Session: s, Return: m.aReturn(o, in)})
}

func (m *model) aReturn(o id.Object, inner []id.Object) Return {
	r := Return{Object: o, Size: 10, Inner: inner}
	if rapid.Bool().Draw(m.rt, "stored") {
		r.Where, r.Node = AtNode, m.aNode()
	}
	return r
}

func (m *model) drop() {
	n, s := m.aNode(), m.aSession()
	if o, ok := m.one(m.holdings(n, s)); ok {
		m.dropOne(n, s, o)
	}
}

func (m *model) dropOne(n id.Node, s id.Session, o id.Object) {
	m.held[holding{n, s, o}]--
	m.step(n, &Event{Kind: Drop, Object: o, Session: s, N: 1})
}

// hold gives another session of the node a reference.
func (m *model) hold() {
	n, s := m.aNode(), m.aSession()
	o, ok := m.one(m.holdings(n, 0))
	if !ok {
		return
	}
	m.held[holding{n, s, o}]++
	m.step(n, &Event{Kind: Hold, Object: o, Session: s, N: 1})
}

func (m *model) want() {
	n := m.aNode()
	if o, ok := m.one(m.holdings(n, 0)); ok {
		m.step(n, &Event{Kind: Want, Object: o})
	}
}

// sendRef puts a reference that n holds into a message to another node.
func (m *model) sendRef() {
	n := m.aNode()
	to := m.aNode()
	if o, ok := m.one(m.holdings(n, 0)); ok && to != n {
		m.post(n, to, carry, run{}, o)
	}
}

// post sends a program's message that contains refs.
func (m *model) post(from, to id.Node, kind MsgKind, r run, refs ...id.Object) {
	for _, o := range refs {
		m.flying[o]++
		m.step(from, &Event{Kind: SendRef, Object: o, Node: to})
	}
	msg := Msg{Kind: kind, Task: r.task, Attempt: r.attempt, Return: Return{Inner: refs}}
	l := [2]id.Node{from, to}
	m.links[l] = append(m.links[l], msg)
}

func (m *model) deliverSome() {
	var busy [][2]id.Node
	for _, a := range m.names() {
		for _, b := range append(m.names(), m.dead) {
			if l := [2]id.Node{b, a}; len(m.links[l]) > 0 {
				busy = append(busy, l)
			}
		}
	}
	if len(busy) > 0 {
		l := rapid.SampledFrom(busy).Draw(m.rt, "link")
		m.deliverOne(l[0], l[1])
	}
}

func (m *model) deliverOne(from, to id.Node) bool {
	l := [2]id.Node{from, to}
	if len(m.links[l]) == 0 || m.links[l][0].Kind < carry {
		return m.deliver(from, to)
	}
	msg := m.links[l][0]
	m.links[l] = m.links[l][1:]
	refs := msg.Return.Inner
	for _, o := range refs {
		m.step(to, &Event{Kind: GotRef, Object: o, Node: from})
	}
	if r := (run{msg.Task, msg.Attempt}); msg.Kind == result && m.home(to) != to {
		m.post(to, m.home(to), result, r, refs...)
	} else if msg.Kind == result {
		m.finish(to, from, r, refs)
	}
	for _, o := range refs {
		m.flying[o]--
		if msg.Kind == carry {
			m.held[holding{to, 1, o}]++
			m.step(to, &Event{Kind: Hold, Object: o, Session: 1, N: 1})
		}
		m.step(to, &Event{Kind: Drop, Object: o, Session: 0, N: 1})
	}
	return true
}

func (m *model) flush() {
	for again := true; again; {
		again = false
		for _, a := range m.names() {
			for _, b := range m.names() {
				again = m.deliverOne(a, b) || again
			}
		}
	}
}

func (m *model) aRun() (run, bool) {
	if len(m.queued) == 0 {
		return run{}, false
	}
	return rapid.SampledFrom(m.queued).Draw(m.rt, "run"), true
}

// done runs a task somewhere; its result comes by message, with references
// that its executor holds.
func (m *model) done() {
	r, ok := m.aRun()
	if !ok {
		return
	}
	owner := m.home(r.task.Owner())
	at := m.aNode()
	refs := m.some(m.acyclic(r, m.holdings(at, 0)), "inner")
	if at == owner {
		m.finish(owner, at, r, refs)
		return
	}
	m.post(at, owner, result, r, refs...)
}

// acyclic leaves of refs those that do not lead to r's results: a cycle of
// values is never freed, as in any counting of references.
func (m *model) acyclic(r run, refs []id.Object) []id.Object {
	if r.attempt > 1 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(refs), func(o id.Object) bool { return m.leadsTo(o, r.task) })
}

func (m *model) leadsTo(o id.Object, t id.Task) bool {
	further := func(in id.Object) bool { return m.leadsTo(in, t) }
	return o.Task() == t || slices.ContainsFunc(m.inner[o], further) || slices.ContainsFunc(m.made[o.Task()], further)
}

func (m *model) finish(owner, at id.Node, r run, refs []id.Object) {
	sp := m.specs[r.task]
	ev := Event{Kind: Done, Task: r.task, Attempt: r.attempt, Node: at}
	if !slices.Contains(m.queued, r) {
		refs = nil // it is over; the result is ignored
	}
	refs = m.acyclic(r, refs)
	for k := range sp.Returns {
		o := r.task.Return(uint32(k))
		ret := Return{Object: o, Size: 10}
		if k == 0 {
			ret.Inner = refs
			if m.nodes[owner].Known(o).Is == Pending {
				m.inner[o] = refs
			}
		}
		if m.lossy || k == 1 {
			ret.Where, ret.Node = AtNode, at
		}
		ev.Returns = append(ev.Returns, ret)
	}
	if slices.Contains(m.queued, r) {
		delete(m.deps, r.task)
		m.unqueue(r.task)
	}
	m.step(owner, &ev)
}

func (m *model) fail() {
	r, ok := m.aRun()
	if !ok {
		return
	}
	f := rapid.SampledFrom([]Fault{User, WorkerDied, OutOfMemory, TooLarge, Bystander}).Draw(m.rt, "fault")
	m.unqueue(r.task)
	m.step(m.home(r.task.Owner()), &Event{Kind: Failed, Task: r.task, Attempt: r.attempt, Node: m.aNode(), Fault: f})
}

func (m *model) cancelSome() {
	r, ok := m.aRun()
	if !ok {
		return
	}
	m.step(m.home(r.task.Owner()), &Event{Kind: Cancel, Task: r.task, Recursive: true})
}

func (m *model) copies() {
	if len(m.objects) == 0 {
		return
	}
	o := rapid.SampledFrom(m.objects).Draw(m.rt, "object")
	owner := m.home(o.Owner())
	if m.nodes[owner] == nil {
		return
	}
	at := m.nodes[owner].Locations(o, nil)
	n := m.aNode()
	switch {
	case len(at) == 0:
	case !slices.Contains(at, n):
		m.step(n, &Event{Kind: CopyAdded, Object: o, Node: n})
	case m.lossy || len(at) > 1:
		m.step(owner, &Event{Kind: CopyLost, Object: o, Node: n})
	}
}

// needed reports which objects somebody can still get at.
func (m *model) needed() map[id.Object]string {
	need := map[id.Object]string{}
	var mark func(o id.Object, why string)
	mark = func(o id.Object, why string) {
		if need[o] != "" {
			return
		}
		need[o] = why
		if m.nodes[m.home(o.Owner())] == nil {
			return
		}
		if s := m.nodes[m.home(o.Owner())].Known(o); s.Is == Available && !s.Error {
			for _, in := range m.inner[o] {
				mark(in, "in "+objectName(o))
			}
		}
	}
	for h, k := range m.held {
		if k > 0 {
			mark(h.object, fmt.Sprintf("held by session %d of %s", h.session, nodeName(h.node)))
		}
	}
	for o, k := range m.flying {
		if k > 0 {
			mark(o, "in a message")
		}
	}
	for t, deps := range m.deps {
		for _, o := range deps {
			mark(o, "needed by "+taskName(t))
		}
	}
	return need
}

// check: what somebody can still get at has not been freed.
func (m *model) check() {
	for o, why := range m.needed() {
		if m.nodes[m.home(o.Owner())] == nil || m.tainted[o] {
			continue
		}
		s := m.nodes[m.home(o.Owner())].Known(o)
		if s.Is == Never && (!m.lossy || s.Gone != Lost) {
			m.rt.Fatalf("%s is gone (%v, %s) though it is %s\n%s", objectName(o), s.Gone, s.Why, why, &m.out)
		}
	}
}

// end drops everything; nothing may be left.
func (m *model) end() {
	for len(m.unaware) > 0 {
		m.declare()
	}
	m.flush()
	for len(m.queued) > 0 {
		r := m.queued[0]
		m.finish(m.home(r.task.Owner()), m.home(r.task.Owner()), r, nil)
		m.flush()
	}
	for _, n := range m.names() {
		for s := range id.Session(3) {
			m.step(n, &Event{Kind: SessionEnd, Session: s})
		}
	}
	clear(m.held)
	m.flush()
	for len(m.queued) > 0 { // rebuilds that nobody waits for
		r := m.queued[0]
		m.finish(m.home(r.task.Owner()), m.home(r.task.Owner()), r, nil)
		m.flush()
	}
	for _, n := range m.names() {
		s := m.nodes[n].Stats()
		s.Families = 0 // tombstones
		if s != (Stats{}) {
			m.rt.Fatalf("node %s keeps %+v\n%s", nodeName(n), s, &m.out)
		}
	}
}

// ops are what may happen, some of them more often.
func (m *model) ops() []func() {
	return []func(){
		m.submit, m.put, m.drop, m.drop, m.hold, m.want, m.sendRef, m.sendRef, m.deliverSome, m.deliverSome, m.deliverSome,
		m.done, m.done, m.fail, m.cancelSome, m.copies,
	}
}

// play does a number of ops. One that does not apply does nothing.
func (m *model) play(ops []func()) {
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(ops)-1), 30, 200).Draw(m.rt, "ops") {
		ops[i]()
		m.check()
	}
}
