package node

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	proto "github.com/weftrun/weft/internal/session"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// pushCredit is how many unread bytes a session may leave in its socket's
// queue before values that it asked for are held back.
const pushCredit = 4 << 20

// conn is the way out to a session. Messages are queued under the node's lock,
// in the order of the effects that caused them, and encoded and written by one
// goroutine at a time without it.
type conn struct {
	n *Node
	s *session
	c *proto.Conn

	mu       sync.Mutex
	queue    []outgoing
	draining bool
	again    bool   // drain was called meanwhile
	over     bool   // the session has ended
	after    func() // to be called once nobody drains
	due      bool   // in the current batch; under the node's lock

	held []outgoing // values past the credit

	// Who drains has the rest to itself.
	templates map[*spec.Task]uint32
	execute   sessionv1.Execute
	value     sessionv1.ObjectValue
	args      []*sessionv1.Arg // made so far, used again from message to message
	values    []*sessionv1.Value
	usedArgs  int // by the current message
	usedVals  int
	announced map[store.FileID]bool
	written   []*task // of calls in this process, whose arguments were read
	packing   *pack   // of the first message, which has to wait for it
}

func newConn(n *Node, s *session, c *proto.Conn) *conn {
	return &conn{n: n, s: s, c: c, templates: map[*spec.Task]uint32{}, announced: map[store.FileID]bool{}}
}

// outgoing is one message: ready-made, or what to make it of.
type outgoing struct {
	kind        sessionv1.Kind
	msg         wire.Message
	task        *task     // KIND_EXECUTE
	args        []*object // the objects among its arguments, in order
	attempt     uint32    // or incarnation, as the worker is told
	lease       dispatch.Lease
	incarnation uint32
	begun       bool
	devices     []*sessionv1.Devices
	obj         *object // KIND_VALUE, and KIND_ITEM with its index
	index       int
	room        store.Location      // KIND_RESERVED: to be announced
	reserved    *sessionv1.Reserved // msg, if room is set
	loading     *atomic.Int32       // arguments that are being brought back from disk
	pack        *pack               // arguments that go through shared memory
}

// send queues o; the current batch drains it.
func (s *session) send(n *Node, o outgoing) {
	c := s.conn
	if c == nil || s.ended {
		return
	}
	c.mu.Lock()
	c.queue = append(c.queue, o)
	c.mu.Unlock()
	if !c.due {
		c.due = true
		n.out.conns = append(n.out.conns, c)
	}
}

// drain writes what is queued, unless another goroutine is at it, which then
// does so. It stops at a message whose arguments are still on disk.
func (c *conn) drain() {
	c.mu.Lock()
	if c.draining || c.over {
		c.again = true
		c.mu.Unlock()
		return
	}
	c.draining = true
	c.drainOn()
}

// drainOn does the work of drain, with the lock, which it releases.
func (c *conn) drainOn() {
	for {
		c.again = false
		batch := c.queue
		c.queue = nil
		c.mu.Unlock()
		done := c.writeAll(batch)
		c.c.Flush()
		c.mu.Lock()
		if done < len(batch) {
			c.queue = append(batch[done:], c.queue...)
		}
		if p := c.packing; p != nil {
			c.packing = nil
			c.mu.Unlock()
			c.n.spawnHere(func() { // which may wait
				c.pack(p)
				c.mu.Lock()
				c.drainOn()
			})
			return
		}
		if !c.again && (done < len(batch) || len(c.queue) == 0) {
			break
		}
	}
	c.draining = false
	after, written := c.after, c.written
	c.after, c.written = nil, nil
	c.mu.Unlock()
	if len(written) > 0 {
		c.n.unread(written)
	}
	if after != nil {
		after()
	}
}

// unread notes that nobody reads the arguments of tasks any more to send them.
func (n *Node) unread(ts []*task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range ts {
		if t.readers--; t.readers == 0 && n.task(t.id) != t {
			t.dropArguments()
		}
	}
}

// end has nothing more written, and calls f once nobody is at it: what draining
// pins for the session must not outlive it.
func (c *conn) end(f func()) {
	c.mu.Lock()
	c.over = true
	if c.draining {
		c.after, f = f, nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// newArg returns an empty Arg for the message that is being made.
func (c *conn) newArg() *sessionv1.Arg {
	if c.usedArgs == len(c.args) {
		c.args = append(c.args, new(sessionv1.Arg))
	}
	a := c.args[c.usedArgs]
	c.usedArgs++
	a.Value, a.Object, a.Objects, a.Values, a.List = nil, nil, nil, a.Values[:0], false
	return a
}

// newValue returns v as a part of the message that is being made.
func (c *conn) newValue(v wire.Value) *sessionv1.Value {
	if c.usedVals == len(c.values) {
		c.values = append(c.values, new(sessionv1.Value))
	}
	p := c.values[c.usedVals]
	c.usedVals++
	p.At, p.Refs, p.Error = nil, nil, nil
	wire.FillValue(p, v)
	return p
}

// maxReused bounds the parts of messages that are kept for the next one.
const maxReused = 64

// writeAll sends messages in order and returns how many.
func (c *conn) writeAll(batch []outgoing) int {
	for i := range batch {
		o := &batch[i]
		c.usedArgs, c.usedVals = 0, 0
		if len(c.args) > maxReused || len(c.values) > maxReused {
			c.args, c.values = nil, nil
		}
		switch {
		case o.task != nil:
			if !c.loaded(o) {
				return i
			}
			if !c.writeExecute(o) {
				return i
			}
		case o.obj != nil:
			if !c.writeValue(o) {
				return i
			}
		default:
			if o.reserved != nil {
				o.reserved.At = c.announce(o.room, true)
			}
			c.c.Send(o.kind, o.msg)
		}
	}
	return len(batch)
}

// loaded has the located arguments of o pinned for the session, and reports
// whether all of them are in place.
func (c *conn) loaded(o *outgoing) bool {
	if o.loading != nil {
		return o.loading.Load() == 0
	}
	for _, e := range o.args {
		if !e.at {
			continue
		}
		if _, ok, err := c.n.store.TryPin(c.s.id, e.id); ok || err != nil {
			continue // what is lost is found out when it is to be written
		}
		if o.loading == nil {
			o.loading = new(atomic.Int32)
		}
		loading := o.loading
		loading.Add(1)
		c.n.store.Pin(c.s.id, e.id, func(store.Location, error) {
			if loading.Add(-1) == 0 {
				c.n.spawnHere(c.drain)
			}
		})
	}
	return o.loading == nil || o.loading.Load() == 0
}

// maxTemplates bounds the templates that a worker is told of; after that the
// numbers begin anew.
const maxTemplates = 4096

// template is the number under which the worker knows s, and s itself if it is
// to be told.
func (c *conn) template(s *spec.Task) (uint32, *sessionv1.Template) {
	if number, known := c.templates[s]; known {
		return number, nil
	}
	if len(c.templates) == maxTemplates {
		clear(c.templates)
	}
	number := uint32(len(c.templates) + 1)
	c.templates[s] = number
	return number, wire.TemplateToPB(number, s)
}

// writeExecute sends the task to the worker. It reports false if some of the
// arguments have to be packed first.
func (c *conn) writeExecute(o *outgoing) bool {
	t, m := o.task, &c.execute
	err := error(nil)
	if o.pack == nil {
		err = c.makeExecute(m, o)
		if err == nil {
			o.pack = c.unpackable(m, t)
		}
		if c.packing = o.pack; o.pack != nil {
			return false // m stays as it is: it is the next message
		}
	} else if o.pack.err != nil {
		err = o.pack.err
	}
	if err == nil && !wire.Fits(m) {
		err = &wire.Error{Code: wire.Encode, Op: t.spec.Name, Message: "its arguments are too many to be sent together",
			Hint: "Put them as fewer, larger values and pass their refs"}
	}
	if t.call != nil {
		c.written = append(c.written, t)
	}
	if err != nil {
		attempt, lease := o.attempt, o.lease
		c.n.spawnHere(func() { c.n.unsent(c.s, t, attempt, lease, err) })
		return true
	}
	m.TemplateId, m.Template = c.template(t.spec)
	c.c.Send(sessionv1.Kind_KIND_EXECUTE, m)
	return true
}

// makeExecute fills m, but for the template.
func (c *conn) makeExecute(m *sessionv1.Execute, o *outgoing) error {
	t := o.task
	m.Template, m.Args, m.Actor = nil, m.Args[:0], nil
	m.Task, m.Attempt, m.Lease, m.Begun = t.id[:], o.attempt, uint64(o.lease), o.begun
	m.Job, m.Incarnation, m.Devices = t.spec.Job[:], o.incarnation, o.devices
	if owner := t.owner(); !owner.IsZero() {
		m.Actor = owner[:]
	}
	m.Group = t.group()
	return c.fillArgs(m, o)
}

// fillArgs gives m the argument values.
func (c *conn) fillArgs(m *sessionv1.Execute, o *outgoing) error {
	objects := o.args
	next := func() *object {
		e := objects[0]
		objects = objects[1:]
		return e
	}
	if o.task.call == nil {
		for i := range o.task.enc.args {
			p, err := c.encodedArg(&o.task.enc.args[i], next)
			if err != nil {
				return err
			}
			m.Args = append(m.Args, p)
		}
		return nil
	}
	call := o.task.call
	for i := range call.Args {
		p, err := c.callArg(call, i)
		if err != nil {
			return argumentError(call.Fn, i, err)
		}
		m.Args = append(m.Args, p)
	}
	return nil
}

func (c *conn) encodedArg(a *arg, next func() *object) (*sessionv1.Arg, error) {
	switch {
	case a.many:
		p := c.newArg()
		p.List, p.Objects = true, wire.PackObjects(nil, a.list...)
		for range a.list {
			v, err := c.objectValue(next())
			if err != nil {
				return nil, err
			}
			p.Values = append(p.Values, v)
		}
		return p, nil
	case !a.obj.IsZero():
		v, err := c.objectValue(next())
		return c.valueArg(v, a.obj[:]), err
	}
	return c.valueArg(c.newValue(a.val), nil), nil
}

// valueArg is an Arg of one value, that of object if it is not nil.
func (c *conn) valueArg(v *sessionv1.Value, object []byte) *sessionv1.Arg {
	p := c.newArg()
	p.Value, p.Object = v, object
	return p
}

// callArg encodes an argument of an embedded call.
func (c *conn) callArg(call *client.Call, i int) (*sessionv1.Arg, error) {
	a, codec := &call.Args[i], call.Fn.Args[i]
	list, many := a.Val.(client.List)
	switch {
	case many:
		p := c.newArg()
		p.List = true
		elem := codec.(client.Collector).Element()
		for _, f := range list {
			v, err := c.futureValue(f, elem)
			if err != nil {
				return nil, err
			}
			p.Values = append(p.Values, v)
		}
		return p, nil
	case a.Fut != nil:
		v, err := c.futureValue(a.Fut, codec)
		return c.valueArg(v, nil), err
	}
	v, err := codec.Encode(c.n.local, a.Val)
	return c.valueArg(c.newValue(v), nil), err
}

// futureValue encodes the value of an object of this process.
func (c *conn) futureValue(f *client.Future, codec client.Codec) (*sessionv1.Value, error) {
	res := f.Result()
	if res.Enc != nil {
		return c.newValue(res.Enc.Value), res.Err
	}
	v, err := codec.Encode(c.n.local, res.Val)
	return c.newValue(v), err
}

// objectValue is an object's value for this session: inline, or where it is
// pinned for the session.
func (c *conn) objectValue(e *object) (*sessionv1.Value, error) {
	switch {
	case e.lost:
		return nil, &lostError{e.id, &wire.Error{Code: wire.ObjectLost, Op: "read " + e.id.String(), Message: "it was lost before it was read"}}
	case e.at:
		return c.locatedValue(e)
	case e.res.Err != nil:
		return &sessionv1.Value{Error: wire.ErrorToPB(wire.AsError(e.res.Err, wire.Internal))}, nil //nolint:nilerr // the error is the value
	case e.res.Enc != nil:
		return c.newValue(e.res.Enc.Value), nil
	case e.codec == nil:
		return &sessionv1.Value{}, nil
	}
	v, err := e.codec.Encode(c.n.local, e.res.Val)
	return c.newValue(v), err
}

// locatedValue describes a pinned object.
func (c *conn) locatedValue(e *object) (*sessionv1.Value, error) {
	at, ok, err := c.n.store.TryPin(c.s.id, e.id)
	if err != nil || !ok {
		e := &lostError{e.id, &wire.Error{Code: wire.ObjectLost, Op: "read " + e.id.String(), Err: err}}
		return nil, e
	}
	c.n.store.Unpin(c.s.id, e.id, 1)
	return &sessionv1.Value{Tag: uint32(e.tag), Size: uint64(e.size), At: c.announce(at, false), Refs: wire.PackObjects(nil, e.refs...)}, nil
}

// announce sends the file of a location to the session, the first time.
func (c *conn) announce(at store.Location, writable bool) *sessionv1.Location {
	if !c.announced[at.File] {
		if f, size, err := c.n.store.File(at.File, writable); err == nil {
			c.announced[at.File] = true
			c.c.SendSlab(uint32(at.File), uint64(size), writable, int(f.Fd()))
			_ = f.Close()
		}
	}
	return &sessionv1.Location{Slab: uint32(at.File), Offset: uint64(at.Offset), Size: uint64(at.Size)}
}

// writeValue pushes a value that the session asked for. Past its credit it is
// held back; while its bytes are on disk it is not written, and false returned.
func (c *conn) writeValue(o *outgoing) bool {
	if c.c.Buffered() > pushCredit {
		c.hold(*o)
		return true
	}
	if o.obj.at {
		o.args = []*object{o.obj}
		if !c.loaded(o) {
			return false
		}
	}
	v, err := c.objectValue(o.obj)
	if err != nil && o.kind == sessionv1.Kind_KIND_VALUE && c.getAgain(err) {
		return true
	}
	if err != nil {
		v = &sessionv1.Value{Error: wire.ErrorToPB(wire.AsError(err, wire.Encode))}
	}
	if o.kind == sessionv1.Kind_KIND_ITEM {
		t := o.obj.id.Task()
		c.c.Send(o.kind, &sessionv1.Item{Task: t[:], Index: uint32(o.index), Value: v})
		return true
	}
	c.value.Object, c.value.Value = o.obj.id[:], v
	c.c.Send(sessionv1.Kind_KIND_VALUE, &c.value)
	return true
}

// hold keeps a value until the socket has drained.
func (c *conn) hold(o outgoing) {
	c.mu.Lock()
	c.held = append(c.held, o)
	first := len(c.held) == 1
	c.mu.Unlock()
	if first && !c.c.OnDrain(pushCredit/2, c.release) {
		c.release()
	}
}

// release has the values written that were held back. Not by the goroutine that
// calls it: that may be the session server's, which may have the lock.
func (c *conn) release() {
	c.n.spawnHere(func() {
		c.n.lock()
		defer c.n.unlock()
		c.mu.Lock()
		held := c.held
		c.held = nil
		c.mu.Unlock()
		for _, o := range held {
			c.s.send(c.n, o)
		}
	})
}

// execute queues a task for its process worker.
func (n *Node) execute(t *task, begun bool) {
	p := n.workers[t.worker]
	if p == nil {
		return
	}
	if !begun {
		p.begins(t, n.now)
	}
	p.tasks[t.id] = t // if p's session is over, p will be gone soon, and with it t's attempt
	s := n.workerSession(t.worker)
	if t.unsent = s == nil; t.unsent {
		return
	}
	o := outgoing{kind: sessionv1.Kind_KIND_EXECUTE, task: t, attempt: t.number(), incarnation: t.incarnation, lease: t.lease, begun: begun, devices: n.devicesOf(t)}
	if t.enc != nil {
		for i := range t.enc.args {
			a := &t.enc.args[i]
			for _, oid := range a.list {
				o.args = append(o.args, n.argumentOf(oid))
			}
			if !a.obj.IsZero() {
				o.args = append(o.args, n.argumentOf(a.obj))
			}
		}
	}
	if t.call != nil {
		t.readers++
	}
	s.send(n, o)
	if slices.ContainsFunc(o.args, func(e *object) bool { return e.at }) {
		n.readAhead(t)
	}
}

// argumentOf is the entry of an argument, or one that says that its value is
// not here any more.
func (n *Node) argumentOf(o id.Object) *object {
	if n.missing(o) {
		return &object{id: o, lost: true}
	}
	return n.objects[o]
}

// aheadTasks is how many of the tasks that come after one have their arguments
// brought back from disk while it runs, aheadShare the part of the store that
// these may take.
const (
	aheadTasks = 4
	aheadShare = 8
)

// readAhead has the disk work for the tasks that come after t.
func (n *Node) readAhead(t *task) {
	var next [aheadTasks]id.Task
	var objects []id.Object
	room := n.cfg.StoreBytes / aheadShare
	for _, tid := range n.dispatch.Next(t.lease, aheadTasks, next[:0]) {
		t := n.task(tid)
		if t == nil || t.enc == nil {
			continue
		}
		for i := range t.enc.args {
			e := n.objects[t.enc.args[i].obj]
			if e == nil || !e.at || e.size > room {
				continue
			}
			room -= e.size
			objects = append(objects, e.id)
		}
	}
	if len(objects) > 0 {
		n.later(func() { n.store.Prefetch(objects...) })
	}
}

// pushValue queues the value of a ready object.
func (n *Node) pushValue(s *session, e *object) {
	s.send(n, outgoing{kind: sessionv1.Kind_KIND_VALUE, obj: e})
}

// pushReady queues the news that an object is ready.
func (n *Node) pushReady(s *session, o id.Object) {
	s.send(n, outgoing{kind: sessionv1.Kind_KIND_READY, msg: &sessionv1.Objects{Objects: o[:]}})
}
