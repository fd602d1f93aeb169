package client

import (
	"slices"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

type fakeHandler func(n *fakeNode, c *fakeConn, body []byte) error

// on decodes a message for f.
func on[M any, P interface {
	*M
	wire.Message
}](f func(n *fakeNode, c *fakeConn, m P) error,
) fakeHandler {
	return func(n *fakeNode, c *fakeConn, body []byte) error {
		m := P(new(M))
		if err := m.UnmarshalVT(body); err != nil {
			return err
		}
		return f(n, c, m)
	}
}

// ignore accepts a message, which is only counted.
func ignore(*fakeNode, *fakeConn, []byte) error { return nil }

var fakeHandlers map[sessionv1.Kind]fakeHandler

func init() {
	fakeHandlers = map[sessionv1.Kind]fakeHandler{
		sessionv1.Kind_KIND_HELLO:   on((*fakeNode).hello),
		sessionv1.Kind_KIND_ATTACH:  ignore,
		sessionv1.Kind_KIND_GOODBYE: ignore,
		sessionv1.Kind_KIND_TEMPLATE: on(func(_ *fakeNode, c *fakeConn, m *sessionv1.Template) error {
			c.templates[m.Id] = m
			return nil
		}),
		sessionv1.Kind_KIND_SUBMIT:      on((*fakeNode).submit),
		sessionv1.Kind_KIND_CREATE:      on((*fakeNode).create),
		sessionv1.Kind_KIND_PUT:         on((*fakeNode).put),
		sessionv1.Kind_KIND_RESERVE:     on((*fakeNode).reserve),
		sessionv1.Kind_KIND_SEAL:        on((*fakeNode).seal),
		sessionv1.Kind_KIND_ABORT:       on((*fakeNode).abort),
		sessionv1.Kind_KIND_GET:         on((*fakeNode).get),
		sessionv1.Kind_KIND_WATCH:       on((*fakeNode).watch),
		sessionv1.Kind_KIND_UNWANT:      on((*fakeNode).unwant),
		sessionv1.Kind_KIND_HOLD:        counts(wire.ReadObject, func(n *fakeNode) map[id.Object]int { return n.refs }, 1),
		sessionv1.Kind_KIND_DROP:        on((*fakeNode).drop),
		sessionv1.Kind_KIND_UNPIN:       counts(wire.ReadObject, func(n *fakeNode) map[id.Object]int { return n.pins }, -1),
		sessionv1.Kind_KIND_HANDLE:      counts(wire.ReadTask, func(n *fakeNode) map[id.Actor]int { return n.handles }, 1),
		sessionv1.Kind_KIND_CANCEL:      on((*fakeNode).cancel),
		sessionv1.Kind_KIND_KILL:        ignore,
		sessionv1.Kind_KIND_LOOKUP:      on((*fakeNode).lookup),
		sessionv1.Kind_KIND_GROUP:       on((*fakeNode).group),
		sessionv1.Kind_KIND_UNGROUP:     ignore,
		sessionv1.Kind_KIND_QUERY:       on((*fakeNode).query),
		sessionv1.Kind_KIND_CONSUME:     on((*fakeNode).consume),
		sessionv1.Kind_KIND_DROP_STREAM: on((*fakeNode).dropStream),
		sessionv1.Kind_KIND_BLOCKED:     ignore,
		sessionv1.Kind_KIND_UNBLOCKED:   ignore,
		sessionv1.Kind_KIND_BEGUN:       ignore,
		sessionv1.Kind_KIND_RESULT:      on((*fakeNode).result),
		sessionv1.Kind_KIND_ITEM:        on((*fakeNode).item),
		sessionv1.Kind_KIND_TAKEN_BACK:  on((*fakeNode).takenBack),
	}
}

func counts[K ~[16]byte | ~[20]byte](read func([]byte) (K, error), table func(*fakeNode) map[K]int, sign int) fakeHandler {
	return on(func(n *fakeNode, _ *fakeConn, m *sessionv1.Counts) error {
		var k K
		for i := 0; i*len(k) < len(m.Ids); i++ {
			count := 1
			if len(m.N) > 0 {
				count = int(m.N[i])
			}
			k, err := read(m.Ids[i*len(k) : (i+1)*len(k)])
			if err != nil {
				return err
			}
			table(n)[k] += sign * count
		}
		return nil
	})
}

func (n *fakeNode) drop(_ *fakeConn, m *sessionv1.Counts) error {
	objects, err := wire.UnpackObjects(nil, m.Ids)
	for _, o := range objects {
		if n.refs[o]--; n.refs[o] == 0 && n.objects[o] != nil && n.objects[o].ready {
			delete(n.refs, o)
			delete(n.objects, o)
		}
	}
	return err
}

func (n *fakeNode) hello(c *fakeConn, m *sessionv1.Hello) error {
	w := &sessionv1.Welcome{Version: wire.Version, Node: fakeNodeID[:], Job: fakeJob[:], Session: uint32(c.session), InlineLimit: fakeInline}
	if m.Role == wire.RoleWorker {
		c.worker = true
		w.Worker = uint32(c.session)
		n.workers = append(n.workers, c)
	}
	c.send(sessionv1.Kind_KIND_WELCOME, w)
	for _, t := range n.tasks {
		if t.worker == nil && t.missing == 0 {
			n.start(t)
		}
	}
	return nil
}

func (n *fakeNode) submit(c *fakeConn, m *sessionv1.Submit) error {
	t := &fakeTask{id: id.NewTask(fakeNodeID, m.Seq), m: m, tmpl: c.templates[m.Template], from: c}
	n.tasks[t.id] = t
	returns := t.tmpl.Returns
	if t.tmpl.Kind == uint32(spec.KindCreate) {
		returns = 1
	}
	for i := range returns {
		o := t.id.Return(i)
		n.refs[o]++
		if m.Await {
			e := n.object(o)
			e.awaits = append(e.awaits, c)
		}
	}
	for _, a := range m.Args {
		ids := a.Objects
		if len(a.Object) > 0 {
			ids = a.Object
		}
		objects, err := wire.UnpackObjects(nil, ids)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if n.refs[o] <= 0 {
				n.t.Errorf("fake node: argument %v has no reference left", o)
			}
			if e := n.object(o); !e.ready {
				t.missing++
				e.waiting = append(e.waiting, t)
			}
		}
	}
	if t.missing == 0 {
		n.start(t)
	}
	return nil
}

func (n *fakeNode) create(c *fakeConn, m *sessionv1.Submit) error {
	if n.silent {
		return nil
	}
	if err := n.submit(c, m); err != nil {
		return err
	}
	t := id.NewTask(fakeNodeID, m.Seq)
	c.send(sessionv1.Kind_KIND_FOUND, &sessionv1.Found{Request: m.Request, Actor: t[:], Class: "class"})
	return nil
}

// start sends a task whose arguments are there to a worker.
func (n *fakeNode) start(t *fakeTask) {
	if len(n.workers) == 0 || n.hold {
		return
	}
	t.worker = n.workers[n.turn%len(n.workers)]
	n.turn++
	switch t.tmpl.Kind {
	case uint32(spec.KindCreate):
		n.actors[t.id] = t.worker
	case uint32(spec.KindMethod):
		t.worker = n.actors[id.Actor(t.m.Actor)]
	}
	t.worker.queue = append(t.worker.queue, t)
	t.worker.feed()
}

// feed sends what a worker may be sent.
func (c *fakeConn) feed() {
	for len(c.queue) > 0 && c.out < fakeDepth {
		t := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.out++
		c.n.sendExecute(c, t)
	}
}

func (n *fakeNode) sendExecute(c *fakeConn, t *fakeTask) {
	m := &c.execute
	m.ResetVT()
	m.Task, m.Attempt, m.Lease, m.Job, m.Actor, m.Group = t.id[:], 1, uint64(c.session), fakeJob[:], t.m.Actor, t.m.Group
	m.Begun = c.out > 1
	if t.tmpl.Kind == uint32(spec.KindCreate) {
		m.Actor = t.id[:]
	}
	if len(m.Actor) > 0 {
		m.Incarnation = 1
	}
	number, known := c.known[t.tmpl]
	if !known {
		number = uint32(len(c.known) + 1)
		c.known[t.tmpl] = number
		m.Template = t.tmpl
	}
	m.TemplateId = number
	for _, a := range t.m.Args {
		p := &sessionv1.Arg{Value: a.Value, Object: a.Object, Objects: a.Objects, List: a.List}
		if len(a.Object) > 0 {
			p.Value = n.lend(c, id.Object(a.Object), n.objects[id.Object(a.Object)].value)
		}
		objects, _ := wire.UnpackObjects(nil, a.Objects)
		for _, o := range objects {
			p.Values = append(p.Values, n.lend(c, o, n.objects[o].value))
		}
		m.Args = append(m.Args, p)
	}
	c.send(sessionv1.Kind_KIND_EXECUTE, m)
}

func (n *fakeNode) result(c *fakeConn, m *sessionv1.Result) error {
	tid := id.Task(m.Task)
	t := n.tasks[tid]
	delete(n.tasks, tid)
	c.out--
	c.feed()
	if t == nil {
		return nil
	}
	if t.tmpl.Stream {
		t.ended = m
		n.tasks[tid] = t
		n.advance(t)
		return nil
	}
	for i := range max(t.tmpl.Returns, 1) {
		v := &sessionv1.Value{Error: m.Error}
		if m.Error == nil {
			v = m.Returns[i]
			if len(m.Reservations) > 0 && m.Reservations[i] != 0 {
				v.At = n.claim(m.Reservations[i], v.Size)
			}
		}
		n.ready(tid.Return(i), v)
	}
	return nil
}

func (n *fakeNode) item(_ *fakeConn, m *sessionv1.Item) error {
	tid := id.Task(m.Task)
	if m.Reservation != 0 {
		m.Value.At = n.claim(m.Reservation, m.Value.Size)
	}
	n.ready(tid.Return(m.Index), m.Value)
	if t := n.tasks[tid]; t != nil {
		t.items++
		n.advance(t)
	}
	return nil
}

// advance sends a stream's consumer what it has asked for, and gives the
// producer as much credit.
func (n *fakeNode) advance(t *fakeTask) {
	for t.sent < t.items && t.sent < t.asked {
		o := t.id.Return(uint32(t.sent))
		v := n.objects[o].value
		n.refs[o]++
		t.from.send(sessionv1.Kind_KIND_ITEM, &sessionv1.Item{Task: t.id[:], Index: uint32(t.sent), Value: n.lend(t.from, o, v)})
		t.worker.sendSide(sessionv1.Kind_KIND_CREDIT, &sessionv1.Credit{Task: t.id[:], N: 1, Bytes: v.Size})
		t.sent++
	}
	if t.ended != nil && t.sent == t.items {
		t.from.send(sessionv1.Kind_KIND_STREAM_END, &sessionv1.StreamEnd{Task: t.id[:], Count: uint32(t.items), Error: t.ended.Error})
		delete(n.tasks, t.id)
	}
}

func (n *fakeNode) consume(_ *fakeConn, m *sessionv1.Consume) error {
	if t := n.tasks[id.Task(m.Task)]; t != nil {
		t.asked += int(m.N)
		n.advance(t)
	}
	return nil
}

func (n *fakeNode) dropStream(_ *fakeConn, m *sessionv1.TaskRef) error {
	n.interrupt(id.Task(m.Task))
	return nil
}

func (n *fakeNode) interrupt(t id.Task) {
	if task := n.tasks[t]; task != nil && task.worker != nil {
		task.worker.sendSide(sessionv1.Kind_KIND_INTERRUPT, &sessionv1.Interrupt{Task: t[:], Attempt: 1})
	}
}

func (n *fakeNode) cancel(_ *fakeConn, m *sessionv1.Cancel) error {
	tid := id.Task(m.Task)
	t := n.tasks[tid]
	if t == nil || t.worker != nil {
		n.interrupt(tid)
		return nil
	}
	delete(n.tasks, tid)
	for i := range t.tmpl.Returns {
		n.ready(tid.Return(i), errorValue(wire.Cancelled, "before it began"))
	}
	return nil
}

func (n *fakeNode) put(_ *fakeConn, m *sessionv1.Put) error {
	o := id.NewTask(fakeNodeID, m.Seq).Return(0)
	n.refs[o]++
	n.ready(o, m.Value)
	return nil
}

func (n *fakeNode) reserve(c *fakeConn, m *sessionv1.Reserve) error {
	if n.silent {
		return nil
	}
	reply := &sessionv1.Reserved{Request: m.Request}
	if n.full || n.room+m.Size > fakeSlabSize {
		reply.Error = wire.ErrorToPB(&wire.Error{Code: wire.StoreFull, Message: "no room"})
	} else {
		reply.Reservation = uint64(len(n.reserved) + 1)
		reply.At = &sessionv1.Location{Slab: c.announce(true), Offset: n.room, Size: m.Size}
		n.room += (m.Size + 63) &^ 63
		n.reserved[reply.Reservation] = reply.At
	}
	c.send(sessionv1.Kind_KIND_RESERVED, reply)
	return nil
}

func (n *fakeNode) claim(reservation, size uint64) *sessionv1.Location {
	at := n.reserved[reservation]
	if at == nil {
		n.t.Errorf("fake node: reservation %d is not known", reservation)
		return &sessionv1.Location{Slab: 1}
	}
	n.reserved[reservation] = nil
	return &sessionv1.Location{Slab: at.Slab, Offset: at.Offset, Size: size}
}

func (n *fakeNode) seal(_ *fakeConn, m *sessionv1.Seal) error {
	o := id.NewTask(fakeNodeID, m.Seq).Return(0)
	n.refs[o]++
	n.ready(o, &sessionv1.Value{Tag: m.Tag, Refs: m.Refs, Size: m.Size, At: n.claim(m.Reservation, m.Size)})
	return nil
}

func (n *fakeNode) abort(_ *fakeConn, m *sessionv1.Abort) error {
	n.claim(m.Reservation, 0)
	return nil
}

func (n *fakeNode) get(c *fakeConn, m *sessionv1.Objects) error {
	objects, err := wire.UnpackObjects(nil, m.Objects)
	for _, o := range objects {
		if e := n.object(o); e.ready {
			n.push(c, o, e.value)
		} else {
			e.gets = append(e.gets, c)
		}
	}
	return err
}

func (n *fakeNode) watch(c *fakeConn, m *sessionv1.Objects) error {
	objects, err := wire.UnpackObjects(nil, m.Objects)
	for _, o := range objects {
		if e := n.object(o); e.ready {
			c.send(sessionv1.Kind_KIND_READY, &sessionv1.Objects{Objects: o[:]})
		} else {
			e.watches = append(e.watches, c)
		}
	}
	return err
}

func (n *fakeNode) unwant(c *fakeConn, m *sessionv1.Objects) error {
	objects, err := wire.UnpackObjects(nil, m.Objects)
	for _, o := range objects {
		mine := func(x *fakeConn) bool { return x == c }
		e := n.object(o)
		e.gets, e.watches = slices.DeleteFunc(e.gets, mine), slices.DeleteFunc(e.watches, mine)
	}
	return err
}

func (n *fakeNode) lookup(c *fakeConn, m *sessionv1.Lookup) error {
	if n.silent {
		return nil
	}
	reply := &sessionv1.Found{Request: m.Request, Error: wire.ErrorToPB(&wire.Error{Code: wire.NotFound, Message: m.Name})}
	for a := range n.actors {
		n.handles[a]++
		reply = &sessionv1.Found{Request: m.Request, Actor: a[:], Class: "class"}
	}
	c.send(sessionv1.Kind_KIND_FOUND, reply)
	return nil
}

func (n *fakeNode) group(c *fakeConn, m *sessionv1.Group) error {
	if !n.silent {
		c.send(sessionv1.Kind_KIND_GROUPED, &sessionv1.Grouped{Request: m.Request})
	}
	return nil
}

func (n *fakeNode) query(c *fakeConn, m *sessionv1.Query) error {
	if !n.silent {
		c.send(sessionv1.Kind_KIND_ANSWER, &sessionv1.Answer{Request: m.Request, Json: []byte(`"` + m.What + `"`)})
	}
	return nil
}

func (n *fakeNode) takenBack(c *fakeConn, m *sessionv1.TakenBack) error {
	tasks, err := wire.UnpackTasks(nil, m.Tasks)
	n.taken = append(n.taken, tasks...)
	c.out -= len(tasks)
	return err
}
