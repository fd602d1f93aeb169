package client

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Remote is a session with a node in another process. Two goroutines read its
// lanes and one writes what others have queued; all end with it.
type Remote struct {
	info        Info
	inlineLimit int
	call, side  *wire.Socket
	reader      *wire.Reader // of the call lane
	secret      []byte       // by which the node finds the session of the side lane
	out, sideUp *outbox
	slabs       *slabs
	role        *workerRole // nil in a driver
	seq         atomic.Uint64
	request     atomic.Uint64
	readers     sync.WaitGroup
	gone        chan struct{} // closed when the session is over

	mu       sync.Mutex
	pending  map[id.Object]*Future // awaited: completed by a Value
	watched  map[id.Object][]func()
	streams  map[id.Task]*remoteStream
	requests map[uint64]chan any
	err      error // why the session is over

	templates sync.Map // *spec.Task -> uint32
	numbers   atomic.Uint32
	tmplMu    sync.Mutex

	tidyMu sync.Mutex
	drops  []id.Object // references that became garbage
	unpins []id.Object
}

var _ Session = (*Remote)(nil)

// Options of Dial.
type Options struct {
	Namespace string // of named actors; "" is the job's own
}

// Dial joins the node that serves at a Unix socket.
func Dial(ctx context.Context, address string, o Options) (Session, error) {
	call, err := wire.DialSocket(address, wire.PollFor)
	if err != nil {
		return nil, dialError(address, err)
	}
	r := newRemote(call)
	stop := context.AfterFunc(ctx, func() { call.Shutdown() })
	defer stop()
	err = r.greet(wire.RoleDriver, o.Namespace)
	if err == nil {
		r.side, err = wire.DialSocket(address, 0)
	}
	if err == nil {
		r.sideUp = newOutbox(r.side, false)
		r.sideUp.add(sessionv1.Kind_KIND_ATTACH, &sessionv1.Attach{Attach: r.secret})
		err = r.start()
	}
	if err != nil {
		r.abandon()
		if ctx.Err() != nil {
			err = wire.AsError(context.Cause(ctx), wire.Cancelled)
		}
		return nil, dialError(address, err)
	}
	r.info.Address = address
	return r, nil
}

func dialError(address string, err error) error {
	e := *wire.AsError(err, wire.Closed)
	e.Op = "join " + address
	if e.Hint == "" {
		e.Hint = "is a node running there? `weft start` starts one and prints its address"
	}
	return &e
}

func newRemote(call *wire.Socket) *Remote {
	return &Remote{call: call, out: newOutbox(call, true), slabs: newSlabs(), gone: make(chan struct{}),
		pending: map[id.Object]*Future{}, watched: map[id.Object][]func(){},
		streams: map[id.Task]*remoteStream{}, requests: map[uint64]chan any{}}
}

// greet says Hello and reads the Welcome.
func (r *Remote) greet(role, namespace string) error {
	hello := &sessionv1.Hello{Version: wire.Version, Role: role, Language: "go", Pid: uint32(os.Getpid()),
		Name: filepath.Base(os.Args[0]), Namespace: namespace, Registry: RegistryHash()}
	r.out.add(sessionv1.Kind_KIND_HELLO, hello)
	r.out.flush()
	r.reader = wire.NewReader(r.call)
	kind, body, err := r.reader.Next()
	if err != nil {
		return &wire.Error{Code: wire.Closed, Message: "the node closed the connection", Err: err}
	}
	if kind == sessionv1.Kind_KIND_GOODBYE {
		return goodbye(body)
	}
	var w sessionv1.Welcome
	if err := w.UnmarshalVT(body); err != nil || kind != sessionv1.Kind_KIND_WELCOME {
		return &wire.Error{Code: wire.Protocol, Message: "the answer to Hello was no Welcome"}
	}
	if err := wire.CheckVersion(w.Version); err != nil {
		return err
	}
	r.secret, r.inlineLimit = w.Attach, int(w.InlineLimit)
	r.info = Info{Session: id.Session(w.Session), Worker: id.Worker(w.Worker)}
	if r.info.Node, err = wire.ReadNode(w.Node); err != nil {
		return err
	}
	r.info.Job, err = wire.ReadJob(w.Job)
	return err
}

func goodbye(body []byte) error {
	var g sessionv1.Goodbye
	if err := g.UnmarshalVT(body); err != nil || g.Error == nil {
		return &wire.Error{Code: wire.Closed, Message: "the node ended the session"}
	}
	return wire.ErrorFromPB(g.Error)
}

// start begins to read.
func (r *Remote) start() error {
	fds, err := newFDReader(r.side)
	if err != nil {
		return err
	}
	r.readers.Go(r.readCalls)
	r.readers.Go(func() { r.readSide(fds) })
	r.readers.Go(r.out.flusher)
	return nil
}

// abandon gives up a session that was not established.
func (r *Remote) abandon() {
	_ = r.call.Close()
	if r.side != nil {
		_ = r.side.Close()
	}
}

// Info implements Session.
func (r *Remote) Info() Info { return r.info }

// NewTask implements Session.
func (r *Remote) NewTask() id.Task {
	return id.NewTask(r.info.Node, id.Seq(r.info.Session, r.seq.Add(1)))
}

// fail ends the session: everything that waits gets err.
func (r *Remote) fail(err error) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	r.err = err
	pending, streams, requests, watched := r.pending, r.streams, r.requests, r.watched
	r.pending, r.streams, r.requests = map[id.Object]*Future{}, map[id.Task]*remoteStream{}, map[uint64]chan any{}
	r.watched = map[id.Object][]func(){}
	r.mu.Unlock()
	close(r.gone)
	r.out.close(err)
	r.call.Shutdown()
	r.side.Shutdown()
	r.slabs.stop()
	for _, f := range pending {
		f.Complete(Result{Err: err})
	}
	for _, s := range streams {
		s.end(0, err)
	}
	for _, ch := range requests {
		ch <- err
	}
	for _, fns := range watched {
		for _, fn := range fns {
			fn()
		}
	}
}

// over is the error of a session that has ended, or nil.
func (r *Remote) over() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close implements Session.
func (r *Remote) Close(context.Context) error {
	r.out.add(sessionv1.Kind_KIND_GOODBYE, &sessionv1.Goodbye{})
	r.out.flush()
	r.fail(&wire.Error{Code: wire.Closed, Message: "the session has been shut down", Hint: "call weft.Init again"})
	r.out.mu.Lock()
	if r.out.poke != nil {
		close(r.out.poke)
		r.out.poke = nil
	}
	r.out.mu.Unlock()
	r.readers.Wait()
	r.slabs.close()
	_ = r.side.Close()
	return r.call.Close()
}

// template returns the number under which the node knows t, telling it first.
func (r *Remote) template(t *spec.Task) uint32 {
	if n, ok := r.templates.Load(t); ok {
		return n.(uint32)
	}
	r.tmplMu.Lock()
	defer r.tmplMu.Unlock()
	if n, ok := r.templates.Load(t); ok {
		return n.(uint32)
	}
	n := r.numbers.Add(1)
	r.out.add(sessionv1.Kind_KIND_TEMPLATE, wire.TemplateToPB(n, t))
	r.templates.Store(t, n)
	return n
}

var submits = sync.Pool{New: func() any { return new(sessionv1.Submit) }}

// Submit implements Session.
func (r *Remote) Submit(ctx context.Context, c *Call) {
	if err := r.submit(ctx, c, sessionv1.Kind_KIND_SUBMIT, 0); err != nil {
		for _, f := range c.Rets {
			f.Complete(Result{Err: err})
		}
	}
}

// submit sends c; its returns are awaited from then on.
func (r *Remote) submit(ctx context.Context, c *Call, kind sessionv1.Kind, request uint64) error {
	m := submits.Get().(*sessionv1.Submit)
	defer submits.Put(m)
	m.ResetVT()
	if err := r.fill(ctx, m, c); err != nil {
		return err
	}
	m.Request, m.Await = request, true
	if err := r.await(c.Rets); err != nil {
		return err
	}
	r.out.add(kind, m)
	for _, f := range c.Rets {
		f.Shared.Store(true)
		if !c.Once {
			runtime.AddCleanup(f, r.drop, f.ID)
		}
	}
	c.Arg1, c.Args = [3]Arg{}, nil
	r.watchContext(ctx, c)
	return nil
}

// await expects the values of fs.
func (r *Remote) await(fs []*Future) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for _, f := range fs {
		r.pending[f.ID] = f
	}
	return nil
}

// watchContext cancels the task when ctx ends, unless it is a running task's own.
func (r *Remote) watchContext(ctx context.Context, c *Call) {
	if ctx.Done() == nil || IsTaskContext(ctx) {
		return
	}
	t := c.Task
	stop := context.AfterFunc(ctx, func() { r.Cancel(t, false, true) })
	if len(c.Rets) > 0 {
		c.Rets[0].OnDone(func() { stop() })
	}
}

// fill makes m of c. Large arguments are put first.
func (r *Remote) fill(ctx context.Context, m *sessionv1.Submit, c *Call) error {
	m.Template = r.template(c.Spec)
	m.Seq = c.Task.Seq()
	m.Group = c.Group
	if !c.Parent.IsZero() {
		m.Parent, m.ParentAttempt = c.Parent[:], c.ParentAttempt
	}
	if !c.Actor.IsZero() {
		m.Actor = c.Actor[:]
	}
	for i := range c.Args {
		a, err := r.arg(ctx, c, i)
		if err != nil {
			return err
		}
		m.Args = append(m.Args, a)
	}
	return nil
}

func (r *Remote) arg(ctx context.Context, c *Call, i int) (*sessionv1.Arg, error) {
	a := &c.Args[i]
	if list, ok := a.Val.(List); ok {
		p := &sessionv1.Arg{List: true}
		for _, f := range list {
			if f.Ready() && f.Result().Err != nil {
				return nil, f.Result().Err
			}
			p.Objects = append(p.Objects, f.ID[:]...)
		}
		return p, nil
	}
	if a.Fut != nil {
		if a.Fut.Ready() && a.Fut.Result().Err != nil {
			return nil, a.Fut.Result().Err
		}
		return &sessionv1.Arg{Object: append([]byte(nil), a.Fut.ID[:]...)}, nil
	}
	v, err := c.Fn.Args[i].Encode(r, a.Val)
	if err != nil {
		return nil, err
	}
	if len(v.Data) <= r.inlineLimit {
		return &sessionv1.Arg{Value: wire.ValueToPB(v)}, nil
	}
	o := r.NewTask().Return(0)
	if err := r.putLarge(ctx, o, v); err != nil {
		return nil, err
	}
	r.drop(o) // the task holds it from its submission on; drops go after it
	return &sessionv1.Arg{Object: o[:]}, nil
}

// Put implements Session.
func (r *Remote) Put(ctx context.Context, f *Future, v any, codec Codec) error {
	enc, err := codec.Encode(r, v)
	if err != nil {
		return err
	}
	if err := r.over(); err != nil {
		return err
	}
	if len(enc.Data) > r.inlineLimit {
		if err := r.putLarge(ctx, f.ID, enc); err != nil {
			return err
		}
	} else {
		r.out.add(sessionv1.Kind_KIND_PUT, &sessionv1.Put{Seq: f.ID.Task().Seq(), Value: wire.ValueToPB(enc)})
	}
	f.Shared.Store(true)
	runtime.AddCleanup(f, r.drop, f.ID)
	return nil
}

// putLarge copies v into shared memory and seals it as o.
func (r *Remote) putLarge(ctx context.Context, o id.Object, v wire.Value) error {
	res, err := r.reserve(ctx, v.Data)
	if err != nil {
		return err
	}
	r.out.add(sessionv1.Kind_KIND_SEAL, &sessionv1.Seal{Reservation: res, Seq: o.Task().Seq(), Size: uint64(len(v.Data)),
		Tag: uint32(v.Tag), Refs: wire.PackObjects(nil, v.Refs...)})
	return nil
}

// gcAfter is how long a producer waits for room before this process looks for
// pins and references that nobody has any more.
const gcAfter = 100 * time.Millisecond

// reserve waits for room in shared memory and copies data into it.
func (r *Remote) reserve(ctx context.Context, data []byte) (uint64, error) {
	m := &sessionv1.Reserve{Size: uint64(len(data))}
	if run := FromContext(ctx); run != nil && !run.Task.IsZero() {
		m.Task = run.Task[:]
		defer r.Blocked(ctx)()
	}
	// Memory that is short may be held by values of this process that are
	// garbage already.
	collect := time.AfterFunc(gcAfter, runtime.GC)
	defer collect.Stop()
	got, err := r.ask(ctx, sessionv1.Kind_KIND_RESERVE, m, &m.Request)
	if err != nil {
		return 0, err
	}
	reply := got.(*sessionv1.Reserved)
	if reply.Error != nil {
		return 0, wire.ErrorFromPB(reply.Error)
	}
	mem, err := r.slabs.bytes(reply.At, true)
	if err != nil {
		r.out.add(sessionv1.Kind_KIND_ABORT, &sessionv1.Abort{Reservation: reply.Reservation})
		return 0, &wire.Error{Code: wire.StoreFull, Op: "put", Message: "shared memory cannot be mapped", Err: err}
	}
	copy(mem, data)
	return reply.Reservation, nil
}

// ask sends a message whose request number is *n and waits for the answer.
func (r *Remote) ask(ctx context.Context, kind sessionv1.Kind, m wire.Message, n *uint64) (any, error) {
	*n = r.request.Add(1)
	ch := make(chan any, 1)
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return nil, r.err
	}
	r.requests[*n] = ch
	r.mu.Unlock()
	r.out.add(kind, m)
	r.out.flush()
	select {
	case got := <-ch:
		if err, ok := got.(error); ok {
			return nil, err
		}
		return got, nil
	case <-ctx.Done():
		r.forsake(*n, ch)
		return nil, wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}

// forsake has a late answer to a request undone.
func (r *Remote) forsake(n uint64, ch chan any) {
	r.mu.Lock()
	if _, waiting := r.requests[n]; waiting {
		r.requests[n] = nil
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.undo(<-ch)
}

// undo gives back what an unwanted answer brought.
func (r *Remote) undo(got any) {
	if m, ok := got.(*sessionv1.Reserved); ok && m.Error == nil {
		r.out.add(sessionv1.Kind_KIND_ABORT, &sessionv1.Abort{Reservation: m.Reservation})
	}
}

func (r *Remote) answer(n uint64, got any) {
	r.mu.Lock()
	ch, waiting := r.requests[n]
	delete(r.requests, n)
	r.mu.Unlock()
	switch {
	case ch != nil:
		ch <- got
	case waiting:
		r.undo(got)
	}
}

// Adopt implements Session.
func (r *Remote) Adopt(o id.Object) *Future {
	f := &Future{ID: o, Sess: r}
	f.Shared.Store(true)
	r.out.add(sessionv1.Kind_KIND_HOLD, &sessionv1.Counts{Ids: append([]byte(nil), o[:]...)})
	runtime.AddCleanup(f, r.drop, o)
	return f
}

// Share implements Session: everything in a remote session is counted.
func (r *Remote) Share(*Future) {}

// Release implements Session.
func (r *Remote) Release(f *Future) { r.drop(f.ID) }

// drop notes a reference that is gone. It goes out with the next write, so it
// never overtakes a message that still names the object.
func (r *Remote) drop(o id.Object) {
	r.tidyMu.Lock()
	r.drops = append(r.drops, o)
	first := len(r.drops) == 1
	full := len(r.drops) >= 256
	r.tidyMu.Unlock()
	if full {
		r.tidy()
	} else if first {
		r.tidySoon()
	}
}

// Want implements Session.
func (r *Remote) Want(fs ...*Future) {
	var ids []byte
	r.mu.Lock()
	for _, f := range fs {
		f.Asked.Store(true)
		switch {
		case f.Ready() || r.pending[f.ID] != nil:
		case r.err != nil:
			f.Complete(Result{Err: r.err})
		default:
			r.pending[f.ID] = f
			ids = append(ids, f.ID[:]...)
		}
	}
	r.mu.Unlock()
	if len(ids) > 0 {
		r.out.add(sessionv1.Kind_KIND_GET, &sessionv1.Objects{Objects: ids})
	}
	r.out.flush()
}

// Watch implements Session.
func (r *Remote) Watch(fs []*Future, ready func(int)) (stop func()) {
	var stopped atomic.Bool
	var ids []byte
	r.mu.Lock()
	for i, f := range fs {
		once := sync.OnceFunc(func() {
			if !stopped.Load() {
				ready(i)
			}
		})
		if f.Ready() || f.There.Load() || r.err != nil {
			once()
			continue
		}
		if _, known := r.watched[f.ID]; !known && r.pending[f.ID] == nil {
			ids = append(ids, f.ID[:]...)
		}
		r.watched[f.ID] = append(r.watched[f.ID], once)
	}
	r.mu.Unlock()
	if len(ids) > 0 {
		r.out.add(sessionv1.Kind_KIND_WATCH, &sessionv1.Objects{Objects: ids})
	}
	r.out.flush()
	return func() { stopped.Store(true) }
}

// Blocked implements Session.
func (r *Remote) Blocked(ctx context.Context, on ...*Future) (resume func()) {
	run := FromContext(ctx)
	if run == nil || run.Task.IsZero() {
		return func() {}
	}
	ref := &sessionv1.TaskRef{Task: run.Task[:]}
	for _, f := range on {
		ref.Objects = append(ref.Objects, f.ID[:]...)
	}
	r.out.add(sessionv1.Kind_KIND_BLOCKED, ref)
	r.out.flush()
	return func() { r.out.add(sessionv1.Kind_KIND_UNBLOCKED, ref) }
}

// Cancel implements Session.
func (r *Remote) Cancel(t id.Task, force, recursive bool) {
	r.out.add(sessionv1.Kind_KIND_CANCEL, &sessionv1.Cancel{Task: t[:], Force: force, Recursive: recursive})
	r.out.flush()
}

// Kill implements Session.
func (r *Remote) Kill(a id.Actor, noRestart bool) {
	r.out.add(sessionv1.Kind_KIND_KILL, &sessionv1.Kill{Actor: a[:], NoRestart: noRestart})
	r.out.flush()
}

// Lookup implements Session.
func (r *Remote) Lookup(ctx context.Context, namespace, name string) (ActorInfo, error) {
	m := &sessionv1.Lookup{Namespace: namespace, Name: name}
	return found(r.ask(ctx, sessionv1.Kind_KIND_LOOKUP, m, &m.Request))
}

func found(got any, err error) (ActorInfo, error) {
	if err != nil {
		return ActorInfo{}, err
	}
	m := got.(*sessionv1.Found)
	if m.Error != nil {
		return ActorInfo{}, wire.ErrorFromPB(m.Error)
	}
	a, err := wire.ReadTask(m.Actor)
	return ActorInfo{Actor: a, Class: m.Class}, err
}

// CreateNamed implements Session.
func (r *Remote) CreateNamed(ctx context.Context, c *Call) (ActorInfo, error) {
	n := r.request.Add(1)
	ch := make(chan any, 1)
	r.mu.Lock()
	r.requests[n] = ch
	r.mu.Unlock()
	if err := r.submit(ctx, c, sessionv1.Kind_KIND_CREATE, n); err != nil {
		return ActorInfo{}, err
	}
	r.out.flush()
	select {
	case got := <-ch:
		err, _ := got.(error)
		return found(got, err)
	case <-ctx.Done():
		return ActorInfo{}, wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}

// Handle implements Session.
func (r *Remote) Handle(a id.Actor, n int) {
	r.out.add(sessionv1.Kind_KIND_HANDLE, &sessionv1.Counts{Ids: append([]byte(nil), a[:]...), N: []int32{int32(n)}})
}

// CreateGroup implements Session.
func (r *Remote) CreateGroup(ctx context.Context, g id.Group, s *spec.Group) error {
	m := wire.GroupToPB(0, g, s)
	got, err := r.ask(ctx, sessionv1.Kind_KIND_GROUP, m, &m.Request)
	if err != nil {
		r.RemoveGroup(g)
		return err
	}
	if reply := got.(*sessionv1.Grouped); reply.Error != nil {
		return wire.ErrorFromPB(reply.Error)
	}
	return nil
}

// RemoveGroup implements Session.
func (r *Remote) RemoveGroup(g id.Group) {
	r.out.add(sessionv1.Kind_KIND_UNGROUP, &sessionv1.Group{Group: g[:]})
	r.out.flush()
}

// Query implements Session.
func (r *Remote) Query(ctx context.Context, what string, ids []byte) ([]byte, error) {
	m := &sessionv1.Query{What: what, Id: ids}
	got, err := r.ask(ctx, sessionv1.Kind_KIND_QUERY, m, &m.Request)
	if err != nil {
		return nil, err
	}
	if reply := got.(*sessionv1.Answer); reply.Error != nil {
		return nil, wire.ErrorFromPB(reply.Error)
	}
	return got.(*sessionv1.Answer).Json, nil
}

// lanesFromEnv reads the descriptors that a worker was started with.
func lanesFromEnv() (call, side int, ok bool) {
	a, b, two := strings.Cut(os.Getenv(wire.WorkerEnv), ",")
	call, err1 := strconv.Atoi(a)
	side, err2 := strconv.Atoi(b)
	return call, side, two && err1 == nil && err2 == nil
}
