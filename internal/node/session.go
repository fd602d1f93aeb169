package node

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/evict"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// session is what the node keeps of one connection, or of the embedded session,
// which has no conn. Its holds, pins and reservations go with it.
type session struct {
	id        id.Session
	job       id.Job
	namespace string
	conn      *conn
	worker    *process // nil for a driver
	program   string
	pid       int

	templates map[uint32]*spec.Task
	account   account // what it may ask for
	ended     bool
}

// newSession registers a session; its number is never used again.
func (n *Node) newSession() *session {
	n.nextSess++
	s := &session{id: n.nextSess, templates: map[uint32]*spec.Task{}}
	n.sessions[s.id] = s
	n.stepOwn(&own.Event{Kind: own.SessionStart, Session: s.id})
	return s
}

// taskID composes the id of a session's own sequence number.
func (s *session) taskID(n *Node, seq uint64) (id.Task, error) {
	if got, _ := id.SplitSeq(seq); got != s.id {
		return id.Task{}, &wire.Error{Code: wire.Protocol,
			Message: fmt.Sprintf("sequence number %#x is not of session %d", seq, s.id)}
	}
	return id.NewTask(n.id, seq), nil
}

// template registers what later submits refer to.
func (n *Node) template(s *session, m *sessionv1.Template) error {
	if _, again := s.templates[m.Id]; !again && len(s.templates) == maxSessionTemplates {
		return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("more than %d templates", maxSessionTemplates)}
	}
	t, err := wire.TemplateFromPB(m, s.job)
	if err != nil {
		return err
	}
	if t.Actor != nil && t.Actor.Namespace == "" {
		t.Actor.Namespace = s.namespace
	}
	s.templates[m.Id] = t
	return nil
}

// submitted makes a task of a Submit.
func (n *Node) submitted(s *session, m *sessionv1.Submit, size int) (*task, error) {
	tid, err := s.taskID(n, m.Seq)
	if err != nil {
		return nil, err
	}
	tmpl := s.templates[m.Template]
	if tmpl == nil {
		return nil, &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("submit with unknown template %d", m.Template)}
	}
	enc := &encoded{await: m.Await, parentAttempt: m.ParentAttempt, group: strings.Clone(m.Group)}
	t := &task{id: tid, session: s.id, spec: tmpl, enc: enc}
	if enc.args, err = argsFromPB(m.Args); err != nil {
		return nil, err
	}
	for i := range enc.args {
		enc.inner = append(enc.inner, enc.args[i].val.Refs...)
	}
	if enc.parent, err = wire.ReadOptionalTask(m.Parent); err != nil {
		return nil, err
	}
	if t.actor, err = wire.ReadOptionalTask(m.Actor); err != nil {
		return nil, err
	}
	if tmpl.Stream {
		t.stream = newStream(n, t)
		t.stream.sess = s
	}
	enc.cost, err = n.admit(s, size)
	return t, err
}

// submitRemote starts what a Submit asks for.
func (n *Node) submitRemote(s *session, m *sessionv1.Submit, size int) error {
	t, err := n.submitted(s, m, size)
	if err != nil {
		return err
	}
	if t.spec.Kind == spec.KindCreate {
		_, err := n.createActor(t, s)
		return err
	}
	ev := n.submission(t)
	return n.submit(t, &ev)
}

// createRemote is submitRemote for a named actor: it answers with Found.
func (n *Node) createRemote(s *session, m *sessionv1.Submit, size int) error {
	t, err := n.submitted(s, m, size)
	if err != nil {
		return err
	}
	if t.spec.Kind != spec.KindCreate {
		return &wire.Error{Code: wire.Protocol, Message: "create of something that is no actor"}
	}
	if err := s.ask(); err != nil {
		return err
	}
	request := m.Request
	n.createRegistered(t, s, func(found id.Actor, err error) {
		info := client.ActorInfo{Actor: found}
		if known, ok := n.actors.Get(found); ok {
			info = actorInfo(found, known.Spec)
		}
		n.answerFound(s, request, info, err)
	})
	return nil
}

// answerFound answers a question for an actor.
func (n *Node) answerFound(s *session, request uint64, info client.ActorInfo, err error) {
	reply := &sessionv1.Found{Request: request, Actor: info.Actor[:], Class: info.Class, Meta: info.Meta, Language: info.Language}
	if err != nil {
		reply = &sessionv1.Found{Request: request, Error: wire.ErrorToPB(wire.AsError(err, wire.Internal))}
	}
	s.answer(n, outgoing{kind: sessionv1.Kind_KIND_FOUND, msg: reply})
}

func argsFromPB(args []*sessionv1.Arg) ([]arg, error) {
	out := make([]arg, len(args))
	for i, p := range args {
		a := &out[i]
		var err error
		switch {
		case p.List:
			a.many = true
			a.list, err = wire.UnpackObjects(nil, p.Objects)
		case len(p.Object) > 0:
			a.obj, err = wire.ReadObject(p.Object)
		case p.Value != nil:
			a.val, err = wire.ValueFromPB(p.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// deps lists the objects that the arguments wait for.
func (e *encoded) deps(n *Node) []id.Object {
	deps := n.scratch[:0]
	for i := range e.args {
		if a := &e.args[i]; a.many {
			deps = append(deps, a.list...)
		} else if !a.obj.IsZero() {
			deps = append(deps, a.obj)
		}
	}
	n.scratch = deps
	return deps
}

// put makes an inline value an object of s.
func (n *Node) put(s *session, m *sessionv1.Put, size int) error {
	t, err := s.taskID(n, m.Seq)
	if err != nil {
		return err
	}
	cost, err := n.admitPut(s, size)
	if err != nil {
		return err
	}
	v, err := wire.ValueFromPB(m.Value)
	if err != nil {
		return err
	}
	o := t.Return(0)
	length := int64(len(v.Data))
	if err := n.putObject(s, own.Return{Object: o, Node: n.id, Size: length, Inner: v.Refs}); err != nil {
		return err
	}
	e := n.object(o)
	e.ready, e.res = true, client.Result{Enc: &client.Encoded{Value: v}}
	e.size, e.tag, e.refs, e.putBy, e.cost = length, v.Tag, v.Refs, s.id, cost
	return nil
}

// putObject tells own of a put; an id that was used before is refused.
func (n *Node) putObject(s *session, r own.Return) error {
	mark := len(n.fx.own)
	n.stepOwn(&own.Event{Kind: own.Put, Object: r.Object, Session: s.id, Return: r})
	for i := range n.fx.own[mark:] {
		if e := &n.fx.own[mark+i]; e.Kind == own.Ready && e.Object == r.Object {
			return nil
		}
	}
	return usedTwice(r.Object.Task())
}

// reserve asks the store for room on behalf of s; the answer comes when there is.
func (n *Node) reserve(s *session, m *sessionv1.Reserve) error {
	t, err := wire.ReadOptionalTask(m.Task)
	if err != nil {
		return err
	}
	if err := s.ask(); err != nil {
		return err
	}
	req := store.Request{Job: s.job, Session: s.id, Task: t, Size: int64(m.Size)}
	request := m.Request
	n.later(func() {
		n.store.Reserve(req, func(r store.Reservation, err error) {
			n.spawnHere(func() { n.reserved(s, request, r, n.noRoom(&req, err)) })
		})
	})
	return nil
}

func (n *Node) reserved(s *session, request uint64, r store.Reservation, err error) {
	n.lock()
	defer n.unlock()
	reply := &sessionv1.Reserved{Request: request, Reservation: uint64(r.ID)}
	out := outgoing{kind: sessionv1.Kind_KIND_RESERVED, msg: reply}
	if err != nil {
		reply.Error = wire.ErrorToPB(wire.AsError(err, wire.StoreFull))
	} else {
		out.room, out.reserved = r.At, reply
	}
	s.answer(n, out)
}

// noRoom says where and for whom there was no room, and notes it.
func (n *Node) noRoom(req *store.Request, err error) error {
	if err == nil {
		return nil
	}
	if _, full := errors.AsType[*store.FullError](err); full {
		n.events.Note(time.Since(n.start), event.Record{Kind: event.StoreFull, Job: req.Job, Bytes: req.Size}, err.Error())
	}
	e := *wire.AsError(err, wire.StoreFull)
	e.Op, e.Task, e.Node = "put", req.Task, n.id
	return &e
}

// sealPut makes a reservation that s has filled an object.
func (n *Node) sealPut(s *session, m *sessionv1.Seal) error {
	t, err := s.taskID(n, m.Seq)
	if err != nil {
		return err
	}
	o := t.Return(0)
	refs, err := wire.UnpackObjects(nil, m.Refs)
	if err != nil {
		return err
	}
	if err := n.store.Seal(s.id, evict.Res(m.Reservation), o, int64(m.Size)); err != nil {
		return err
	}
	if err := n.putObject(s, own.Return{Object: o, Where: own.AtNode, Node: n.id, Size: int64(m.Size), Inner: refs}); err != nil {
		n.later(func() { n.store.Free(o) })
		return err
	}
	e := n.object(o)
	e.ready, e.at, e.size, e.tag, e.refs = true, true, int64(m.Size), wire.Tag(m.Tag), refs
	return nil
}

// count changes the references that s holds.
func (n *Node) count(s *session, kind own.EventKind, m *sessionv1.Counts) error {
	return eachCount(m, len(id.Object{}), func(b []byte, count int) error {
		o, err := wire.ReadObject(b)
		if err = errors.Join(err, positive(count)); err != nil {
			return err
		}
		n.stepOwn(&own.Event{Kind: kind, Object: o, Session: s.id, N: count})
		return nil
	})
}

// handles changes the actor handles that s holds.
func (n *Node) handles(s *session, m *sessionv1.Counts) error {
	return eachCount(m, len(id.Task{}), func(b []byte, count int) error {
		a, err := wire.ReadTask(b)
		if err != nil {
			return err
		}
		n.toActor(&actor.Event{Kind: actor.Handle, Actor: a, Session: s.id, N: count})
		return nil
	})
}

// unpin returns pins that s was given with located values.
func (n *Node) unpin(s *session, m *sessionv1.Counts) error {
	return eachCount(m, len(id.Object{}), func(b []byte, count int) error {
		o, err := wire.ReadObject(b)
		if err = errors.Join(err, positive(count)); err != nil {
			return err
		}
		n.later(func() { n.store.Unpin(s.id, o, count) })
		return nil
	})
}

// positive refuses a count that would take where it says that it gives.
func positive(count int) error {
	if count > 0 {
		return nil
	}
	return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("a count of %d references", count)}
}

// eachCount calls f for each id of m, of size bytes, with its count.
func eachCount(m *sessionv1.Counts, size int, f func(id []byte, n int) error) error {
	ids := m.Ids
	if len(ids)%size != 0 || len(m.N) != 0 && len(m.N) != len(ids)/size {
		return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("%d bytes of ids with %d counts", len(ids), len(m.N))}
	}
	for i := 0; len(ids) > 0; i++ {
		count := 1
		if len(m.N) > 0 {
			count = int(m.N[i])
		}
		if err := f(ids[:size], count); err != nil {
			return err
		}
		ids = ids[size:]
	}
	return nil
}

// get has the values of objects pushed to s as they become available.
func (n *Node) get(s *session, m *sessionv1.Objects) error {
	objects, err := wire.UnpackObjects(nil, m.Objects)
	for _, o := range objects {
		n.wait(o, func(e *object) { e.gets = appendOnce(e.gets, s) })
	}
	return err
}

// watch has s told when objects become available.
func (n *Node) watch(s *session, m *sessionv1.Objects) error {
	objects, err := wire.UnpackObjects(nil, m.Objects)
	for _, o := range objects {
		n.wait(o, func(e *object) { e.watches = appendOnce(e.watches, s) })
	}
	return err
}

func appendOnce(list []*session, s *session) []*session {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// unwant ends what get and watch began.
func (n *Node) unwant(s *session, m *sessionv1.Objects) error {
	objects, err := wire.UnpackObjects(nil, m.Objects)
	mine := func(x *session) bool { return x == s }
	for _, o := range objects {
		if e := n.objects[o]; e != nil {
			n.unwait(e, mine)
		}
	}
	return err
}

// endedAtOnce is how many tasks of a session that ends are cancelled in one
// critical section: a session may have a million, and others go on meanwhile.
const endedAtOnce = 256

// endSession takes everything back that a session had: references, pins,
// reservations, handles, and, for a driver, its tasks, actors and groups.
func (n *Node) endSession(s *session) {
	if n.beginEnd(s) {
		n.endRest(s)
	}
}

// beginEnd ends s, if nobody has, but for tasks beyond the first few; it reports
// whether there are such.
func (n *Node) beginEnd(s *session) (more bool) {
	n.lock()
	defer n.unlock()
	if s.ended {
		return false
	}
	s.ended = true
	n.dropStreams(s)
	n.stepActor(&actor.Event{Kind: actor.SessionEnd, Session: s.id})
	return n.endTasks(s)
}

// endRest is what beginEnd leaves. It takes a while, and others the lock.
func (n *Node) endRest(s *session) {
	for more := true; more; {
		runtime.Gosched()
		n.lock()
		more = n.endTasks(s)
		n.unlock()
	}
}

// endTasks lets go of some of s's tasks. It reports whether there are more, and
// forgets the session if not.
func (n *Node) endTasks(s *session) (more bool) {
	n.stepOwn(&own.Event{Kind: own.SessionEnd, Session: s.id, Force: s.worker == nil, N: endedAtOnce})
	if n.own.HasSession(s.id) {
		n.settle()
		return true
	}
	n.dropSession(s)
	return false
}

// dropSession forgets a session that has no tasks any more.
func (n *Node) dropSession(s *session) {
	n.removeGroupsOf(s.id)
	if s.worker == nil {
		n.endJob(s)
	}
	n.settle()
	delete(n.sessions, s.id)
	n.ledger.close(&s.account)
	mine := func(x *session) bool { return x == s }
	for _, e := range n.objects {
		if len(e.gets) > 0 || len(e.watches) > 0 {
			n.unwait(e, mine)
		}
	}
	end := func() { n.store.EndSession(s.id) }
	if c := s.conn; c != nil {
		n.later(func() { c.end(end) })
	} else {
		n.later(end)
	}
}

// unwait takes sessions off those who wait for e, and forgets e if that was all
// there was to it.
func (n *Node) unwait(e *object, gone func(*session) bool) {
	e.gets, e.watches = slices.DeleteFunc(e.gets, gone), slices.DeleteFunc(e.watches, gone)
	if !e.ready && !e.at && len(e.futures)+len(e.gets)+len(e.watches) == 0 {
		delete(n.objects, e.id)
	}
}

// dropStreams ends the streams that s was reading.
func (n *Node) dropStreams(s *session) {
	var mine []*stream
	for _, x := range n.streams {
		if x.sess == s {
			mine = append(mine, x)
		}
	}
	slices.SortFunc(mine, func(a, b *stream) int { return bytes.Compare(a.t.id[:], b.t.id[:]) })
	for _, x := range mine {
		x.drop()
	}
}
