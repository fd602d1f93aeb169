package client

import (
	"context"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// Arg is one argument of a Call: the value Val, the value of the object Fut,
// or, when Val is a List, the values of its objects as one slice.
type Arg struct {
	Val any
	Fut *Future
}

// List is an Arg's Val that stands for the values of many objects.
type List []*Future

// Call is one submitted task, constructor or method call, as the program that
// submits it sees it. The first argument and return values lie inside it so
// that a call is one allocation.
type Call struct {
	Task   id.Task
	Spec   *spec.Task
	Fn     *Function // nil if another language's
	Actor  id.Actor  // methods
	Group  string    // concurrency group
	Parent id.Task
	// ParentAttempt is the attempt of Parent that submits.
	ParentAttempt uint32

	Args []Arg
	Rets []*Future // complete themselves; nil for a stream
	// Once: the caller takes the result itself and then calls Release, so the
	// futures need not watch for becoming garbage.
	Once bool

	Arg1 [3]Arg     // backs Args of usual calls
	Ret1 [1]*Future // backs Rets of usual calls
	Fut1 Future     // the first return of usual calls
}

// Info says where a session is.
type Info struct {
	Node    id.Node
	Job     id.Job
	Session id.Session
	Worker  id.Worker
	Address string
	// Embedded: the node lives in this process, values pass by reference.
	Embedded bool
}

// Item is the next element of a stream, or its end.
type Item struct {
	Future *Future
	Index  int
	End    bool
	Err    error // with End: why the stream broke off
}

// Stream is the consumer's end of a streaming call.
type Stream interface {
	// Next waits for the next item. After the end it returns End again.
	Next(ctx context.Context) (Item, error)
	// Close tells the node that nobody will read on; the producer is cancelled.
	Close()
}

// ActorInfo is what a lookup by name finds.
type ActorInfo struct {
	Actor    id.Actor
	Class    string
	Language string // "" is Go
	Meta     []byte // what its class's language needs for a handle
}

// Room is memory for an object that is being written. It is for one goroutine.
type Room interface {
	// Bytes is the memory; not used after Seal or Abort.
	Bytes() []byte
	// Seal makes the first n bytes the object f.
	Seal(f *Future, n int64) error
	// Abort gives the memory back.
	Abort()
}

// Session is a program's connection to its node. There are two kinds: a
// function call, when the node is embedded in the program, and the session
// protocol over a socket. All methods may be used concurrently; none but those
// that take a context wait for the node's answer (Submit and Put wait for
// admission when bounds are reached).
type Session interface {
	Info() Info
	// NewTask allocates an id for a task, an actor, a put or a group.
	NewTask() id.Task
	// Submit starts c, whose Task and Rets' ids are set. Its futures complete
	// with the outcome, whatever goes wrong.
	Submit(ctx context.Context, c *Call)
	// SubmitStream starts c and returns its consumer's end.
	SubmitStream(ctx context.Context, c *Call) Stream
	// CreateRegistered starts c, an actor that a cluster has a record of, and
	// returns the actor that now has its name, if it has one: c's, or with
	// GetIfExists an older one.
	CreateRegistered(ctx context.Context, c *Call) (ActorInfo, error)
	// Put makes v an object; f is completed (embedded) or released to be fetched.
	Put(ctx context.Context, f *Future, v any, codec Codec) error
	// Reserve waits for room for an object of up to size bytes, to be written in place.
	Reserve(ctx context.Context, size int64) (Room, error)
	// Adopt returns a Future for an object whose reference arrived inside a value.
	Adopt(o id.Object) *Future
	// Share has the node count f as held by this process, before its id leaves it.
	Share(f *Future)
	// Release drops the reference to the return of a Call made with Once.
	Release(f *Future)
	// Want has the values of fs pushed to this process as they become available.
	Want(fs ...*Future)
	// Watch calls ready for each of fs as it becomes available, without its
	// value; at once for those that are. stop ends the calls.
	Watch(fs []*Future, ready func(i int)) (stop func())
	// Blocked says that the task running in ctx waits, for on if it is known;
	// resume that it goes on.
	Blocked(ctx context.Context, on ...*Future) (resume func())

	Cancel(t id.Task, force, recursive bool)
	Kill(a id.Actor, noRestart bool)
	Lookup(ctx context.Context, namespace, name string) (ActorInfo, error)
	// Handle changes the number of handles that this session holds on a.
	Handle(a id.Actor, n int)
	CreateGroup(ctx context.Context, g id.Group, s *spec.Group) error
	RemoveGroup(g id.Group)
	// Query asks the state API; the answer is JSON. See package state.
	Query(ctx context.Context, what string, ids []byte) ([]byte, error)
	// Close ends the session. Work it started is cancelled, actors that are
	// not detached end, and its processes are gone when Close returns.
	Close(ctx context.Context) error
}

// Running is what a task finds about itself in its context.
type Running struct {
	Sess        Session
	Call        *Call // nil outside the submitting process
	Task        id.Task
	Attempt     uint32
	Actor       id.Actor
	Incarnation uint32
	Spec        *spec.Task
	Devices     map[string][]int // by resource; nil if it has none

	waits int32 // calls of Blocked that have not resumed; atomic
}

type runningKey struct{}

// WithRunning returns a context that carries r.
func WithRunning(ctx context.Context, r *Running) context.Context {
	return context.WithValue(ctx, runningKey{}, r)
}

// RunningKey is the key under which contexts of tasks answer Value with a *Running.
var RunningKey any = runningKey{}

// FromContext returns the running task of ctx, or nil in a driver.
func FromContext(ctx context.Context) *Running {
	r, _ := ctx.Value(RunningKey).(*Running)
	return r
}
