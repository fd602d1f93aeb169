package node

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/evict"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	proto "github.com/weftrun/weft/internal/session"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// lockSpan is how many messages are handled before others get the lock.
const lockSpan = 128

// handler handles one session's messages. The session server calls all handlers
// from one goroutine, which holds the node's lock through the gate from the first
// message of a batch to its end.
type handler struct {
	n *Node
	s *session
	// welcomed is called once the peer has its Welcome; nothing may be sent before.
	welcomed func()
}

var _ proto.Handler = (*handler)(nil)

// gate is whether the session server's goroutine holds the node's lock, and for
// how many more messages it may. It belongs to that goroutine.
type gate struct {
	held   bool
	budget int
}

// enter takes the lock for a message.
func (h *handler) enter() {
	g := &h.n.gate
	if g.held && g.budget > 0 {
		g.budget--
		return
	}
	h.n.leave()
	h.n.lock()
	g.held, g.budget = true, lockSpan
}

// leave gives the lock up if the session server's goroutine, which calls, holds it.
func (n *Node) leave() {
	if n.gate.held {
		n.gate.held = false
		n.unlock()
	}
}

// in runs f with the lock.
func (h *handler) in(f func() error) error {
	h.enter()
	err := f()
	h.n.settle()
	return err
}

// BatchEnd implements proto.Handler.
func (h *handler) BatchEnd() {
	h.n.leave()
	if f := h.welcomed; f != nil {
		h.welcomed = nil
		f()
	}
}

// Closed implements proto.Handler.
func (h *handler) Closed(error) {
	h.n.leave()
	if h.n.beginEnd(h.s) { // other sessions' messages come on this goroutine
		h.n.spawnHere(func() { h.n.endRest(h.s) })
	}
}

// Template implements proto.Handler.
func (h *handler) Template(m *sessionv1.Template) error {
	return h.in(func() error { return h.n.template(h.s, m) })
}

// Submit implements proto.Handler.
func (h *handler) Submit(m *sessionv1.Submit, size int) error {
	h.enter()
	err := h.n.submitRemote(h.s, m, size)
	h.n.settle()
	return err
}

// Create implements proto.Handler.
func (h *handler) Create(m *sessionv1.Submit, size int) error {
	return h.in(func() error { return h.n.createRemote(h.s, m, size) })
}

// Cancel implements proto.Handler.
func (h *handler) Cancel(m *sessionv1.Cancel) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	return h.in(func() error {
		h.n.stepOwn(&own.Event{Kind: own.Cancel, Task: t, Force: m.Force, Recursive: m.Recursive})
		return nil
	})
}

// Consume implements proto.Handler.
func (h *handler) Consume(m *sessionv1.Consume) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	return h.in(func() error {
		if s := h.n.streams[t]; s != nil && s.sess == h.s {
			s.ask(int(m.N))
		}
		return nil
	})
}

// DropStream implements proto.Handler.
func (h *handler) DropStream(m *sessionv1.TaskRef) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	return h.in(func() error {
		if s := h.n.streams[t]; s != nil && s.sess == h.s {
			s.drop()
		}
		return nil
	})
}

// Blocked implements proto.Handler.
func (h *handler) Blocked(m *sessionv1.TaskRef) error { return h.block(m, dispatch.Blocked) }

// Unblocked implements proto.Handler.
func (h *handler) Unblocked(m *sessionv1.TaskRef) error { return h.block(m, dispatch.Unblocked) }

func (h *handler) block(m *sessionv1.TaskRef, kind dispatch.EventKind) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	objects, err := wire.UnpackObjects(nil, m.Objects)
	if err != nil {
		return err
	}
	return h.in(func() error {
		if task := h.runs(t); task != nil {
			if kind == dispatch.Blocked && h.n.allHere(objects) {
				return nil // it is told at once, and lends nothing
			}
			if kind == dispatch.Blocked && len(objects) > 0 {
				h.n.waitsOn[t] = objects
			}
			h.n.block(task, kind)
			if kind == dispatch.Blocked {
				h.n.unstall()
			}
		}
		return nil
	})
}

// maxWaits is how many objects a worker names that waits for them, at least.
const maxWaits = 1000

// allHere reports whether a worker waits for objects that are all here already.
func (n *Node) allHere(objects []id.Object) bool {
	if len(objects) == 0 || len(objects) >= maxWaits { // there may be more
		return false
	}
	return !slices.ContainsFunc(objects, n.missing)
}

// runs is the task of that id if the session's worker has it.
func (h *handler) runs(t id.Task) *task {
	if task := h.n.task(t); task != nil && h.s.worker != nil && task.worker == h.s.worker.id {
		return task
	}
	return nil
}

// Put implements proto.Handler.
func (h *handler) Put(m *sessionv1.Put, size int) error {
	return h.in(func() error { return h.n.put(h.s, m, size) })
}

// Reserve implements proto.Handler.
func (h *handler) Reserve(m *sessionv1.Reserve) error {
	return h.in(func() error { return h.n.reserve(h.s, m) })
}

// Seal implements proto.Handler.
func (h *handler) Seal(m *sessionv1.Seal) error {
	return h.in(func() error { return h.n.sealPut(h.s, m) })
}

// Abort implements proto.Handler.
func (h *handler) Abort(m *sessionv1.Abort) error {
	res := evict.Res(m.Reservation)
	return h.in(func() error {
		h.n.later(func() { _ = h.n.store.Abort(h.s.id, res) })
		return nil
	})
}

// Get implements proto.Handler.
func (h *handler) Get(m *sessionv1.Objects) error {
	return h.in(func() error { return h.n.get(h.s, m) })
}

// Watch implements proto.Handler.
func (h *handler) Watch(m *sessionv1.Objects) error {
	return h.in(func() error { return h.n.watch(h.s, m) })
}

// Unwant implements proto.Handler.
func (h *handler) Unwant(m *sessionv1.Objects) error {
	return h.in(func() error { return h.n.unwant(h.s, m) })
}

// Hold implements proto.Handler.
func (h *handler) Hold(m *sessionv1.Counts) error {
	return h.in(func() error { return h.n.count(h.s, own.Hold, m) })
}

// Drop implements proto.Handler.
func (h *handler) Drop(m *sessionv1.Counts) error {
	return h.in(func() error { return h.n.count(h.s, own.Drop, m) })
}

// Unpin implements proto.Handler.
func (h *handler) Unpin(m *sessionv1.Counts) error {
	return h.in(func() error { return h.n.unpin(h.s, m) })
}

// Kill implements proto.Handler.
func (h *handler) Kill(m *sessionv1.Kill) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	return h.in(func() error {
		h.n.kill(a, m.NoRestart)
		return nil
	})
}

// Lookup implements proto.Handler.
func (h *handler) Lookup(m *sessionv1.Lookup) error {
	namespace, name := strings.Clone(m.Namespace), strings.Clone(m.Name)
	if namespace == "" {
		namespace = h.s.namespace
	}
	a, err := wire.ReadOptionalTask(m.Actor)
	if err != nil {
		return err
	}
	request := m.Request
	return h.in(func() error {
		if err := h.s.ask(); err != nil {
			return err
		}
		then := func(info client.ActorInfo, err error) { h.n.answerFound(h.s, request, info, err) }
		if a.IsZero() {
			h.n.lookup(h.s.id, namespace, name, then)
		} else {
			then(h.n.describeActor(a))
		}
		return nil
	})
}

// Handle implements proto.Handler.
func (h *handler) Handle(m *sessionv1.Counts) error {
	return h.in(func() error { return h.n.handles(h.s, m) })
}

// Group implements proto.Handler.
func (h *handler) Group(m *sessionv1.Group) error {
	g, s, err := wire.GroupFromPB(m, h.s.job)
	if err != nil {
		return err
	}
	request := m.Request
	return h.in(func() error {
		if err := h.s.ask(); err != nil {
			return err
		}
		h.n.createGroup(g, s, h.s.id, func(err error) {
			reply := &sessionv1.Grouped{Request: request}
			if err != nil {
				reply.Error = wire.ErrorToPB(wire.AsError(err, wire.Internal))
			}
			h.s.answer(h.n, outgoing{kind: sessionv1.Kind_KIND_GROUPED, msg: reply})
		})
		return nil
	})
}

// Ungroup implements proto.Handler.
func (h *handler) Ungroup(m *sessionv1.Group) error {
	g, err := wire.ReadTask(m.Group)
	if err != nil {
		return err
	}
	return h.in(func() error {
		h.n.removeGroup(g)
		return nil
	})
}

// Query implements proto.Handler. The answer is made by a goroutine of its own,
// since it looks at all of the state.
func (h *handler) Query(m *sessionv1.Query) error {
	request, what, ids := m.Request, strings.Clone(m.What), append([]byte(nil), m.Id...)
	if err := h.in(h.s.ask); err != nil {
		return err
	}
	h.n.spawnHere(func() {
		reply := &sessionv1.Answer{Request: request}
		json, err := h.n.query(context.Background(), what, ids)
		if reply.Json = json; err != nil {
			reply.Error = wire.ErrorToPB(wire.AsError(err, wire.Internal))
		}
		h.n.lock()
		defer h.n.unlock()
		h.s.answer(h.n, outgoing{kind: sessionv1.Kind_KIND_ANSWER, msg: reply})
	})
	return nil
}

// Result implements proto.Handler.
func (h *handler) Result(m *sessionv1.Result) error {
	h.enter()
	err := h.n.result(h.s, m)
	h.n.settle()
	return err
}

// Item implements proto.Handler.
func (h *handler) Item(m *sessionv1.Item) error {
	return h.in(func() error { return h.n.item(h.s, m) })
}

// Begun implements proto.Handler.
func (h *handler) Begun(m *sessionv1.TaskRef) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	return h.in(func() error {
		if task := h.runs(t); task != nil {
			task.began = true
			h.s.worker.begins(task, h.n.now)
			h.n.stepDispatch(&dispatch.Event{Kind: dispatch.Begun, Task: t, Lease: task.lease})
		}
		return nil
	})
}

// TakenBack implements proto.Handler.
func (h *handler) TakenBack(m *sessionv1.TakenBack) error {
	tasks, err := wire.UnpackTasks(nil, m.Tasks)
	if err != nil {
		return err
	}
	lease := dispatch.Lease(m.Lease)
	return h.in(func() error {
		h.n.takenBack(h, lease, tasks)
		return nil
	})
}

// takenBack queues tasks again that a worker had not begun. One that was
// cancelled meanwhile ends: the worker had it no more when it was told.
func (n *Node) takenBack(h *handler, lease dispatch.Lease, tasks []id.Task) {
	var cancelled []*task
	for _, tid := range tasks {
		t := h.runs(tid)
		delete(h.s.worker.tasks, tid)
		if t == nil {
			continue
		}
		if t.worker = 0; t.cancelled {
			cancelled = append(cancelled, t)
		}
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.TakenBack, Lease: lease, Tasks: tasks})
	for _, t := range cancelled {
		n.withdrawQueued(t)
	}
}

// result ends an attempt that ran in a process worker.
func (n *Node) result(s *session, m *sessionv1.Result) error {
	tid, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	if s.worker == nil {
		return &wire.Error{Code: wire.Protocol, Message: "a result from a session that is no worker"}
	}
	t, o := n.task(tid), &outcome{exits: m.Exits, final: m.Final, ran: int64(m.Ran)}
	wanted := t != nil && t.worker == s.worker.id && t.number() == m.Attempt
	switch {
	case !wanted:
		n.abortAll(s, m.Reservations)
	case m.Error != nil:
		o.err = wire.ErrorFromPB(m.Error)
		o.err.Node = n.id
		n.abortAll(s, m.Reservations)
	default:
		if err := n.results(s, t, m, o); err != nil {
			return err // the worker is ended, and the task runs again
		}
	}
	if wanted || t == nil || t.worker != s.worker.id {
		delete(s.worker.tasks, tid)
	}
	if m.Lease != 0 && (t == nil || t.spec.Kind == spec.KindTask) {
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Finished, Task: tid, Attempt: m.Attempt,
			Lease: dispatch.Lease(m.Lease), Ran: int64(m.Ran)})
	}
	if wanted {
		t.ran(time.Duration(min(m.Ran, math.MaxInt64)), n.now)
		n.ended(t, o)
	}
	return nil
}

// ended passes an attempt's outcome on to the machine that waits for it.
func (n *Node) ended(t *task, o *outcome) {
	switch {
	case t.spec.Kind == spec.KindMethod:
		n.answered(t, o)
	case t.spec.Kind == spec.KindCreate && n.guests[t.id] != nil:
		n.hostEnded(t, o)
	case t.spec.Kind == spec.KindTask:
		n.finish(t, o)
	case o.err != nil:
		n.initFailed(t, o.err)
	default:
		n.constructed(t)
	}
}

// results takes the return values of m: inline ones by copy, sealed ones by name.
func (n *Node) results(s *session, t *task, m *sessionv1.Result, o *outcome) error {
	if t.stream != nil && t.stream.made != int(m.Items) {
		return &wire.Error{Code: wire.Protocol, Message: "a stream's end does not match its items"}
	}
	o.results = o.one[:0]
	for i, p := range m.Returns {
		var res uint64
		if i < len(m.Reservations) {
			res = m.Reservations[i]
		}
		r, err := n.received(s, t.id.Return(uint32(i)), p, res)
		if err != nil {
			return err
		}
		o.results = append(o.results, r)
	}
	return nil
}

// received takes one value from a worker.
func (n *Node) received(s *session, oid id.Object, p *sessionv1.Value, res uint64) (client.Result, error) {
	v, err := wire.ValueFromPB(p)
	if err != nil {
		return client.Result{}, err
	}
	if res == 0 {
		return client.Result{Enc: &client.Encoded{Value: v}}, nil
	}
	if e := n.objects[oid]; e != nil && (e.ready || e.at) { // made again by another attempt: the first stays
		n.abortAll(s, []uint64{res})
		return client.Result{}, nil
	}
	if err := n.store.Seal(s.id, evict.Res(res), oid, int64(p.Size)); err != nil {
		return client.Result{}, err
	}
	e := n.object(oid)
	e.at, e.size, e.tag, e.refs = true, int64(p.Size), v.Tag, v.Refs
	return client.Result{}, nil
}

// abortAll gives up the reservations of a result that nobody takes.
func (n *Node) abortAll(s *session, reservations []uint64) {
	for _, r := range reservations {
		if r != 0 {
			n.later(func() { _ = n.store.Abort(s.id, evict.Res(r)) })
		}
	}
}

// item takes one item of a stream from a worker.
func (n *Node) item(s *session, m *sessionv1.Item) error {
	tid, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	t := n.task(tid)
	if t == nil || t.stream == nil || s.worker == nil || t.worker != s.worker.id || t.number() != m.Attempt {
		n.abortAll(s, []uint64{m.Reservation})
		return nil
	}
	if int(m.Index) != t.stream.made {
		return &wire.Error{Code: wire.Protocol, Message: "items of a stream out of order"}
	}
	oid := tid.Return(m.Index)
	res, err := n.received(s, oid, m.Value, m.Reservation)
	if err != nil {
		return err
	}
	ret := own.Return{Node: n.id}
	if e := n.objects[oid]; e != nil && e.at {
		ret.Where, ret.Size, ret.Inner = own.AtNode, e.size, e.refs
	} else if res.Enc != nil {
		ret.Size, ret.Inner = int64(len(res.Enc.Data)), res.Enc.Refs
	}
	n.made(t.stream, res, ret)
	return nil
}
