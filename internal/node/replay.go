package node

import (
	"fmt"
	"os"
	"slices"

	"github.com/weftrun/weft/internal/client"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Bounds of what is kept of failed tasks: the oldest go. What is held in the
// store for them is a small part of it, since others need the room.
const (
	keptFailures = 1024
	keptBytes    = 64 << 20
	keptShare    = 16
)

// keepable is how many bytes are kept of failed tasks.
func (n *Node) keepable() int64 { return min(keptBytes, n.cfg.StoreBytes/keptShare) }

// failure is what a failed task was called with, so that it can be run again by
// hand. The objects among its arguments are held for it.
type failure struct {
	spec  *spec.Task
	fn    *client.Function // of the embedded session's
	given []client.Arg     // likewise
	args  []arg            // of any other's
	held  []id.Object
	code  []byte
	bytes int64

	program, python string
	metadata        map[string]string
}

// failures are the last failed tasks.
type failures struct {
	of    map[id.Task]*failure
	order []id.Task
	bytes int64
}

// stepFailed tells own that an attempt of t has failed, and keeps what it was
// called with if that was its last.
func (n *Node) stepFailed(t *task, ev *own.Event) {
	var held []id.Object
	if t.enc != nil && t.spec.Kind == spec.KindTask {
		held = append(slices.Clone(t.enc.deps(n)), t.enc.inner...)
	}
	n.holdAll(held)
	mark := len(n.fx.own)
	n.stepOwn(ev)
	failed := func(e own.Effect) bool { return e.Kind == own.FailTask && e.Task == t.id && e.Fault != own.Cancelled }
	if t.spec.Kind != spec.KindTask || !slices.ContainsFunc(n.fx.own[mark:], failed) {
		n.dropAll(held)
		return
	}
	n.keep(t, held)
}

// holdAll has the node itself hold objects.
func (n *Node) holdAll(objects []id.Object) {
	for _, o := range objects {
		n.stepOwn(&own.Event{Kind: own.Hold, Object: o, N: 1})
	}
}

func (n *Node) dropAll(objects []id.Object) {
	for _, o := range objects {
		n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1})
	}
}

// keep remembers what t, which has failed, was called with.
func (n *Node) keep(t *task, held []id.Object) {
	f := &failure{spec: t.spec, held: held, bytes: taskOverhead}
	if t.call != nil {
		f.fn, f.given = t.call.Fn, slices.Clone(t.call.Args)
		for i := range f.given {
			size, _ := client.SizeOf(f.given[i].Val)
			f.bytes += max(size, 0)
		}
	} else {
		f.args = t.enc.args
		for i := range f.args {
			f.bytes += int64(len(f.args[i].val.Data))
		}
	}
	for _, o := range held {
		if e := n.objects[o]; e != nil {
			f.bytes += e.size
		}
	}
	if j := n.jobs[t.spec.Job]; j != nil {
		f.code, f.python, f.metadata = j.blobs.data[t.spec.Code], j.python, j.metadata
		f.bytes += int64(len(f.code))
		if j.exe != nil {
			f.program, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", j.exe.Fd()))
		}
	}
	if f.bytes > n.keepable() {
		n.dropAll(held)
		return
	}
	n.failures.add(n, t.id, f)
}

// add keeps f, and lets go of what is too much.
func (fs *failures) add(n *Node, t id.Task, f *failure) {
	if fs.of == nil {
		fs.of = map[id.Task]*failure{}
	}
	if old := fs.of[t]; old != nil { // it was made again, and failed again
		fs.order = slices.DeleteFunc(fs.order, func(x id.Task) bool { return x == t })
		fs.bytes -= old.bytes
		n.dropAll(old.held)
	}
	fs.of[t] = f
	fs.order = append(fs.order, t)
	fs.bytes += f.bytes
	for len(fs.order) > keptFailures || fs.bytes > n.keepable() {
		oldest := fs.order[0]
		fs.order = fs.order[1:]
		fs.bytes -= fs.of[oldest].bytes
		n.dropAll(fs.of[oldest].held)
		delete(fs.of, oldest)
	}
}

// failedCall answers the query "replay": what a failed task was called with.
func (n *Node) failedCall(b []byte) ([]byte, error) {
	t, err := wire.ReadTask(b)
	if err != nil {
		return nil, err
	}
	n.lock()
	f, why := n.failures.of[t], n.notKept(t, n.task(t))
	n.unlock()
	if f == nil {
		return nil, why
	}
	m := &sessionv1.FailedCall{Template: wire.TemplateToPB(0, f.spec), Code: f.code, Program: f.program, Python: f.python, Metadata: f.metadata}
	for i := range f.args {
		m.Args = append(m.Args, f.args[i].message())
	}
	for i := range f.given {
		p, err := n.givenArg(f.fn.Args[i], &f.given[i])
		if err != nil {
			return nil, argumentError(f.fn, i, err)
		}
		m.Args = append(m.Args, p)
	}
	if !wire.Fits(m) {
		return nil, &wire.Error{Code: wire.Encode, Op: f.spec.Name, Task: t, Message: "its arguments are too many to be sent together",
			Hint: "Put them as fewer, larger values and pass their refs"}
	}
	return m.MarshalVT()
}

// notKept says why a task cannot be replayed.
func (n *Node) notKept(t id.Task, live *task) error {
	e := &wire.Error{Code: wire.NotFound, Op: "replay", Task: t, Message: "no task of this id has failed here, or its arguments are gone",
		Hint: fmt.Sprintf("those of the last %d failed tasks are kept, up to %d bytes; `weft list tasks --filter state=FAILED` lists tasks that failed",
			keptFailures, n.keepable())}
	switch {
	case live == nil:
	case live.spec.Kind != spec.KindTask:
		e.Code, e.Message, e.Hint = wire.Invalid, "a call of an actor needs the actor's state, which is not kept", "replay works for tasks"
	default:
		e.Message, e.Hint = "the task has not failed", "`weft why` says what it does"
	}
	return e
}

// message is a as it was sent.
func (a *arg) message() *sessionv1.Arg {
	switch {
	case a.many:
		return &sessionv1.Arg{List: true, Objects: wire.PackObjects(nil, a.list...)}
	case !a.obj.IsZero():
		return &sessionv1.Arg{Object: a.obj[:]}
	}
	p := &sessionv1.Value{}
	wire.FillValue(p, a.val)
	return &sessionv1.Arg{Value: p}
}

// givenArg encodes an argument of an embedded call.
func (n *Node) givenArg(c client.Codec, a *client.Arg) (*sessionv1.Arg, error) {
	if list, many := a.Val.(client.List); many {
		p := &sessionv1.Arg{List: true}
		for _, f := range list {
			v, err := n.encodedFuture(c.(client.Collector).Element(), f)
			if err != nil {
				return nil, err
			}
			p.Values = append(p.Values, v)
		}
		return p, nil
	}
	if a.Fut != nil {
		v, err := n.encodedFuture(c, a.Fut)
		return &sessionv1.Arg{Value: v}, err
	}
	v, err := c.Encode(n.local, a.Val)
	p := &sessionv1.Value{}
	wire.FillValue(p, v)
	return &sessionv1.Arg{Value: p}, err
}

func (n *Node) encodedFuture(c client.Codec, f *client.Future) (*sessionv1.Value, error) {
	res := f.Result()
	if res.Err != nil {
		return nil, res.Err
	}
	p := &sessionv1.Value{}
	if res.Enc != nil {
		wire.FillValue(p, res.Enc.Value)
		return p, nil
	}
	v, err := c.Encode(n.local, res.Val)
	wire.FillValue(p, v)
	return p, err
}
