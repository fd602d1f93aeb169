package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
	"github.com/weftrun/weft/internal/wire"
)

// Remote is a session with a node in another process. Two goroutines read its
// lanes and one writes what others have queued; all end with it.
//
// Locks, in the order in which they are taken: mu, then tidyMu, then those of
// outbox and slab.Mappings. Futures are completed, and callbacks called, under none.
type Remote struct {
	info        Info
	inlineLimit int
	call, side  *wire.Socket
	reader      *wire.Reader // of the call lane
	secret      []byte       // by which the node finds the session of the side lane
	out, sideUp *outbox
	slabs       *slab.Mappings
	role        *workerRole // nil in a driver
	seq         atomic.Uint64
	request     atomic.Uint64
	running     sync.WaitGroup // readers and the flusher
	gone        chan struct{}  // closed when the session is over
	slots       chan struct{}  // one for each request that is unanswered; nil: no bound

	mu       sync.Mutex
	pending  map[id.Object]*Future   // a Value, or that there is one, is to come
	twins    map[id.Object][]*Future // further Futures of pending objects
	watched  map[id.Object]watches
	streams  map[id.Task]*remoteStream
	requests map[uint64]chan any
	err      error // why the session is over

	templates templates

	tidyMu sync.Mutex
	drops  []id.Object // references that became garbage
	unpins []id.Object // and values in shared memory
	ended  bool        // nobody is to be told any more

	dropped func(id.Object) // drop, for cleanups
}

var _ Session = (*Remote)(nil)

// Options of Dial.
type Options struct {
	Namespace string // of named actors; "" is the job's own
	Python    string // the interpreter of Python workers; "" is the usual one
}

// Dial joins the node that serves at a Unix socket.
func Dial(ctx context.Context, address string, o Options) (Session, error) {
	call, err := wire.DialSocket(address, wire.PollFor)
	if err != nil {
		return nil, dialError(address, err)
	}
	return begin(ctx, call, func() (*wire.Socket, error) { return wire.DialSocket(address, 0) }, address, o)
}

// Join is Dial over the two lanes given, descriptors that it takes over. What is
// at their other end is at address.
func Join(ctx context.Context, call, side int, address string, o Options) (Session, error) {
	sideLane, err := wire.NewSocket(side, 0)
	if err != nil {
		_, _ = unix.Close(call), unix.Close(side)
		return nil, dialError(address, err)
	}
	callLane, err := wire.NewSocket(call, wire.PollFor)
	if err != nil {
		_ = unix.Close(call)
		return nil, dialError(address, errors.Join(err, sideLane.Close()))
	}
	s, err := begin(ctx, callLane, func() (*wire.Socket, error) { return sideLane, nil }, address, o)
	if err != nil {
		_ = sideLane.Close()
	}
	return s, err
}

func begin(ctx context.Context, call *wire.Socket, side func() (*wire.Socket, error), address string, o Options) (Session, error) {
	r := newRemote(call)
	r.info.Address = address
	stop := context.AfterFunc(ctx, call.Shutdown)
	err := r.greet(&sessionv1.Hello{Role: wire.RoleDriver, Namespace: o.Namespace,
		Programs: map[string]string{wire.Python: PythonPath(o.Python)}, Metadata: PythonMetadata()})
	if err == nil {
		r.side, err = side()
	}
	if err == nil {
		r.sideUp = newOutbox(r.side, false)
		r.sideUp.add(sessionv1.Kind_KIND_ATTACH, &sessionv1.Attach{Attach: r.secret})
		err = r.start()
	}
	if !stop() && err == nil {
		err = r.Close(context.Background())
	}
	if ctx.Err() != nil {
		err = wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
	if err != nil {
		r.abandon()
		return nil, dialError(address, err)
	}
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
	r := &Remote{call: call, out: newOutbox(call, true), slabs: slab.NewMappings(), gone: make(chan struct{}),
		pending: map[id.Object]*Future{}, twins: map[id.Object][]*Future{}, watched: map[id.Object]watches{},
		streams: map[id.Task]*remoteStream{}, requests: map[uint64]chan any{}}
	r.dropped = r.drop
	return r
}

// greet says Hello, with what every session says, and reads the Welcome.
func (r *Remote) greet(hello *sessionv1.Hello) error {
	hello.Version, hello.Language, hello.Registry = wire.Version, wire.Go, RegistryHash()
	hello.Pid, hello.Name = uint32(os.Getpid()), filepath.Base(os.Args[0])
	r.out.send(sessionv1.Kind_KIND_HELLO, hello)
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
		return &wire.Error{Code: wire.Protocol, Message: "the answer to Hello was no Welcome", Hint: "is this the socket of a Weft node?"}
	}
	if err := wire.CheckVersion(w.Version); err != nil {
		return err
	}
	r.out.bounds = bounds{overhead: int64(w.Overhead), submits: int64(w.SubmitCredit), puts: int64(w.PutCredit)}
	if w.Requests > 0 {
		r.slots = make(chan struct{}, min(w.Requests, maxSlots))
	}
	r.secret, r.inlineLimit = w.Attach, int(min(w.InlineLimit, wire.MaxFrame/2))
	r.info.Session, r.info.Worker = id.Session(w.Session), id.Worker(w.Worker)
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

// start begins to read and write.
func (r *Remote) start() error {
	fds, err := wire.NewFDReader(r.side)
	if err != nil {
		return err
	}
	poke := r.out.poke
	r.running.Go(r.readCalls)
	r.running.Go(func() { r.readSide(fds) })
	r.running.Go(func() { r.out.flusher(poke) })
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

// fail ends the session: everything that waits gets err, and so does whatever
// comes afterwards.
func (r *Remote) fail(err error) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	r.err = err
	pending, twins, streams, requests, watched := r.pending, r.twins, r.streams, r.requests, r.watched
	r.pending, r.twins, r.streams, r.requests, r.watched = nil, nil, nil, nil, nil
	r.mu.Unlock()
	close(r.gone)
	r.tidyMu.Lock()
	r.ended, r.drops, r.unpins = true, nil, nil
	r.tidyMu.Unlock()
	r.out.close(err)
	r.call.Shutdown()
	r.side.Shutdown()
	r.slabs.Close()
	for o, f := range pending {
		f.Complete(Result{Err: err})
		for _, twin := range twins[o] {
			twin.Complete(Result{Err: err})
		}
	}
	for _, s := range streams {
		s.end(err)
	}
	for _, ch := range requests {
		if ch != nil {
			ch <- err
		}
	}
	for _, ws := range watched {
		ws.tell()
	}
	if r.role != nil {
		r.role.abandon(err)
	}
}

// over is the error of a session that has ended, or nil.
func (r *Remote) over() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close implements Session. If ctx ends, the node is not told.
func (r *Remote) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, r.call.Shutdown)
	r.out.add(sessionv1.Kind_KIND_GOODBYE, &sessionv1.Goodbye{})
	r.out.finish()
	stop()
	r.fail(&wire.Error{Code: wire.Closed, Message: "the session has been shut down", Hint: "call weft.Init again"})
	r.running.Wait()
	_ = r.side.Close()
	return r.call.Close()
}
