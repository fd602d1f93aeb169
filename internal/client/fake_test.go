package client

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

const (
	fakeInline   = 1 << 10
	fakeSlabSize = 8 << 20
	fakeDepth    = 64 // jobs sent ahead to a worker
)

var (
	fakeNodeID = id.Node{0xfa, 0xce}
	fakeJob    = id.Job{7}
)

// A fakeNode speaks the node's side of the session protocol in the test's own
// process. It schedules in the simplest way: tasks go to the workers in turn,
// under one lease each, and to an actor's worker. What clients say about
// references, pins and handles is counted.
type fakeNode struct {
	t       testing.TB
	readers sync.WaitGroup

	mu       sync.Mutex
	all      []*fakeConn
	workers  []*fakeConn
	objects  map[id.Object]*fakeObject
	tasks    map[id.Task]*fakeTask
	actors   map[id.Actor]*fakeConn
	refs     map[id.Object]int
	pins     map[id.Object]int
	handles  map[id.Actor]int
	seen     map[sessionv1.Kind]int
	taken    []id.Task // given back after Revoke
	next     uint32
	turn     int
	slab     int // memfd
	reserved map[uint64]*sessionv1.Location
	room     uint64
	hold     bool // tasks are not sent to workers
	silent   bool // requests are not answered
	full     bool // nothing can be reserved
	changed  sync.Cond
}

type fakeObject struct {
	ready   bool
	value   *sessionv1.Value
	gets    []*fakeConn
	watches []*fakeConn
	awaits  []*fakeConn
	waiting []*fakeTask
}

type fakeTask struct {
	id      id.Task
	m       *sessionv1.Submit
	tmpl    *sessionv1.Template
	from    *fakeConn
	worker  *fakeConn
	missing int
	// Of a stream: what its consumer has asked for and what it has been sent.
	items, sent, asked int
	ended              *sessionv1.Result
}

type fakeConn struct {
	n          *fakeNode
	session    id.Session
	worker     bool
	call, side *wire.Socket
	templates  map[uint32]*sessionv1.Template
	known      map[*sessionv1.Template]uint32 // of a worker
	slabs      map[bool]bool                  // announced: writable or not
	queue      []*fakeTask
	out        int // sent and not answered
	execute    sessionv1.Execute

	wmu sync.Mutex
	buf []byte
}

func newFakeNode(t testing.TB) *fakeNode {
	n := &fakeNode{t: t, objects: map[id.Object]*fakeObject{}, tasks: map[id.Task]*fakeTask{},
		actors: map[id.Actor]*fakeConn{}, refs: map[id.Object]int{}, pins: map[id.Object]int{}, handles: map[id.Actor]int{},
		seen: map[sessionv1.Kind]int{}, reserved: map[uint64]*sessionv1.Location{}, slab: -1}
	n.changed.L = &n.mu
	t.Cleanup(n.close)
	return n
}

// close ends all connections, as a node that dies does.
func (n *fakeNode) close() {
	n.mu.Lock()
	conns := n.all
	n.all = nil
	n.mu.Unlock()
	for _, c := range conns {
		c.call.Shutdown()
		if c.side != nil {
			c.side.Shutdown()
		}
	}
	n.readers.Wait()
	for _, c := range conns {
		_ = c.call.Close()
		if c.side != nil {
			_ = c.side.Close()
		}
	}
	if n.slab >= 0 {
		_ = unix.Close(n.slab)
		n.slab = -1
	}
}

// pair connects two sockets.
func pair(t testing.TB) (a, b *wire.Socket) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = wire.NewSocket(fds[0], 0); err == nil {
		b, err = wire.NewSocket(fds[1], 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// driver connects a driver.
func (n *fakeNode) driver() *Remote { return n.join(wire.RoleDriver) }

// worker starts a worker, whose functions are those that the test registers.
func (n *fakeNode) worker() *Remote { return n.join(wire.RoleWorker) }

func (n *fakeNode) join(role string) *Remote {
	n.t.Helper()
	call, mine := pair(n.t)
	side, mySide := pair(n.t)
	n.serve(mine, mySide)
	r, err := joinWith(role, call, side)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = r.Close(n.t.Context()) })
	return r
}

// joinWith does what Dial and ServeWorker do, with sockets that are connected.
func joinWith(role string, call, side *wire.Socket) (*Remote, error) {
	if role == wire.RoleWorker {
		return joinAsWorker(call, side)
	}
	r := newRemote(call)
	r.side, r.sideUp = side, newOutbox(side, false)
	if err := r.greet(&sessionv1.Hello{Role: role}); err != nil {
		return nil, err
	}
	return r, r.start()
}

// serve reads a connection's lanes until they end.
func (n *fakeNode) serve(call, side *wire.Socket) *fakeConn {
	c := n.connection(call)
	c.side = side
	n.readers.Go(func() { n.read(wire.NewReader(call), c) })
	n.readers.Go(func() { n.read(wire.NewReader(side), c) })
	return c
}

func (n *fakeNode) connection(call *wire.Socket) *fakeConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	c := &fakeConn{n: n, session: id.Session(n.next), call: call, templates: map[uint32]*sessionv1.Template{},
		known: map[*sessionv1.Template]uint32{}, slabs: map[bool]bool{}}
	n.all = append(slices.Clip(n.all), c)
	return c
}

func (n *fakeNode) read(r *wire.Reader, c *fakeConn) {
	for {
		kind, body, err := r.Next()
		if err != nil {
			return
		}
		n.mu.Lock()
		n.seen[kind]++
		if err := n.handle(c, kind, body); err != nil {
			n.t.Errorf("fake node: %s: %v", kind, err)
		}
		n.changed.Broadcast()
		n.mu.Unlock()
		if !r.Buffered() {
			n.flush()
		}
	}
}

// set switches a fault on.
func (n *fakeNode) set(fault *bool) {
	n.mu.Lock()
	*fault = true
	n.mu.Unlock()
}

// release ends hold.
func (n *fakeNode) release() {
	n.mu.Lock()
	n.hold = false
	for _, t := range n.tasks {
		if t.missing == 0 {
			n.start(t)
		}
	}
	n.mu.Unlock()
	n.flush()
}

func (n *fakeNode) takenSoFar() []id.Task {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]id.Task(nil), n.taken...)
}

// flush writes what the handlers have said to all.
func (n *fakeNode) flush() {
	n.mu.Lock()
	conns := n.all
	n.mu.Unlock()
	for _, c := range conns {
		c.flush()
	}
}

// until waits for a condition on what the node has seen.
func (n *fakeNode) until(cond func() bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for !cond() {
		n.changed.Wait()
	}
}

func (c *fakeConn) send(kind sessionv1.Kind, m wire.Message) {
	c.wmu.Lock()
	c.buf = wire.AppendFrame(c.buf, kind, m)
	c.wmu.Unlock()
}

func (c *fakeConn) flush() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if len(c.buf) > 0 {
		_, _ = c.call.Write(c.buf)
		c.buf = c.buf[:0]
	}
}

func (c *fakeConn) sendSide(kind sessionv1.Kind, m wire.Message) {
	_, _ = c.side.Write(wire.AppendFrame(nil, kind, m))
}

// announce sends the slab, once for reading and once for writing.
func (c *fakeConn) announce(writable bool) uint32 {
	number := uint32(1)
	if writable {
		number = 2
	}
	if c.slabs[writable] {
		return number
	}
	c.slabs[writable] = true
	if c.n.slab < 0 {
		fd, err := unix.MemfdCreate("fake", unix.MFD_CLOEXEC)
		if err == nil {
			err = unix.Ftruncate(fd, fakeSlabSize)
		}
		if err != nil {
			c.n.t.Error(err)
		}
		c.n.slab = fd
	}
	frame := wire.AppendFrame(nil, sessionv1.Kind_KIND_SLAB, &sessionv1.Slab{Slab: number, Size: fakeSlabSize, Writable: writable})
	if err := unix.Sendmsg(c.side.FD(), frame, unix.UnixRights(c.n.slab), nil, 0); err != nil {
		c.n.t.Error(err)
	}
	return number
}

func (n *fakeNode) object(o id.Object) *fakeObject {
	e := n.objects[o]
	if e == nil {
		e = &fakeObject{}
		n.objects[o] = e
	}
	return e
}

// ready gives an object its value and tells all who wait for it.
func (n *fakeNode) ready(o id.Object, v *sessionv1.Value) {
	e := n.object(o)
	e.ready, e.value = true, v
	for _, c := range e.gets {
		n.push(c, o, v)
	}
	for _, c := range e.awaits {
		if v.At == nil {
			n.push(c, o, v)
		} else {
			c.send(sessionv1.Kind_KIND_READY, &sessionv1.Objects{Objects: o[:]})
		}
	}
	for _, c := range e.watches {
		c.send(sessionv1.Kind_KIND_READY, &sessionv1.Objects{Objects: o[:]})
	}
	waiting := e.waiting
	e.gets, e.awaits, e.watches, e.waiting = nil, nil, nil, nil
	for _, t := range waiting {
		if t.missing--; t.missing == 0 {
			n.start(t)
		}
	}
}

// lend returns a value as c gets it, pinned for it if it is in the slab.
func (n *fakeNode) lend(c *fakeConn, o id.Object, v *sessionv1.Value) *sessionv1.Value {
	if v.At == nil {
		return v
	}
	n.pins[o]++
	at := &sessionv1.Location{Slab: c.announce(false), Offset: v.At.Offset, Size: v.At.Size}
	return &sessionv1.Value{Tag: v.Tag, At: at, Refs: v.Refs, Size: v.Size}
}

func (n *fakeNode) push(c *fakeConn, o id.Object, v *sessionv1.Value) {
	c.send(sessionv1.Kind_KIND_VALUE, &sessionv1.ObjectValue{Object: o[:], Value: n.lend(c, o, v)})
}

func errorValue(code wire.Code, message string) *sessionv1.Value {
	return &sessionv1.Value{Error: wire.ErrorToPB(&wire.Error{Code: code, Message: message})}
}

// handle does what a message asks for.
func (n *fakeNode) handle(c *fakeConn, kind sessionv1.Kind, body []byte) error {
	h := fakeHandlers[kind]
	if h == nil {
		return errors.New("unexpected")
	}
	return h(n, c, body)
}

func dup(t testing.TB, fd uintptr) int {
	got, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// serveLanes serves a driver that connects its side lane after its call lane
// has been welcomed.
func (n *fakeNode) serveLanes(call *wire.Socket, side func() *wire.Socket) {
	c := n.connection(call)
	n.readers.Go(func() { n.read(wire.NewReader(call), c) })
	s := side()
	n.mu.Lock()
	c.side = s
	n.mu.Unlock()
	if s != nil {
		n.readers.Go(func() { n.read(wire.NewReader(s), c) })
	}
}
