package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// IsWorker reports whether a node started this process as a worker.
func IsWorker() bool { return os.Getenv(wire.WorkerEnv) != "" }

// WorkerMain serves the node that started this process until it is told to
// leave or the node is gone, and returns the exit status.
func WorkerMain() int {
	err := ServeWorker()
	var e *wire.Error
	if err != nil && !(errors.As(err, &e) && e.Code == wire.Closed) {
		fmt.Fprintln(os.Stderr, "weft: worker:", err)
		return 1
	}
	return 0
}

// ServeWorker is WorkerMain that returns why it ended.
func ServeWorker() error {
	call, side, ok := lanesFromEnv()
	if !ok {
		return &wire.Error{Code: wire.Protocol, Message: wire.WorkerEnv + " does not name two descriptors"}
	}
	// What the tasks start is no worker.
	if err := os.Unsetenv(wire.WorkerEnv); err != nil {
		return err
	}
	callSock, err := wire.NewSocket(call, wire.PollFor)
	if err != nil {
		return err
	}
	r := newRemote(callSock)
	if r.side, err = wire.NewSocket(side, 0); err != nil {
		return err
	}
	r.sideUp = newOutbox(r.side, false)
	r.role = newWorkerRole(r)
	if err := r.greet(wire.RoleWorker, ""); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	<-r.gone
	return r.over()
}

// workerRole is what a session does besides when it is a worker's: it runs what
// the node sends. A lease's tasks run one after the other, leases beside each
// other; an actor's calls run in the order of their coming, as many at a time
// as it allows.
type workerRole struct {
	r *Remote

	mu        sync.Mutex
	templates map[uint32]*spec.Task
	leases    map[uint64]*queue
	running   map[id.Task]*job
	actors    map[id.Actor]*remoteActor
	busy      int // jobs that have not been answered
}

// job is one task, constructor or method call that the node has sent.
type job struct {
	c     *TaskContext
	spec  *spec.Task
	args  []*sessionv1.Arg
	lease uint64
	tell  bool // the node wants to know when it begins
	group string
	began bool

	credit *credit // of a stream
}

// queue is jobs that run one after the other, or up to limit at a time.
type queue struct {
	jobs   []*job
	limit  int
	active int
}

func newWorkerRole(r *Remote) *workerRole {
	return &workerRole{r: r, templates: map[uint32]*spec.Task{}, leases: map[uint64]*queue{},
		running: map[id.Task]*job{}, actors: map[id.Actor]*remoteActor{}}
}

// execute takes a job. m is valid only during the call.
func (w *workerRole) execute(m *sessionv1.Execute) error {
	j, err := w.job(m)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy++
	w.running[j.c.Running.Task] = j
	q := w.queueOf(j)
	if q == nil {
		go w.run(j, nil) // a call of an actor that is not here: answered with an error
		return nil
	}
	q.jobs = append(q.jobs, j)
	if q.active < q.limit {
		q.active++
		go w.drain(q)
	}
	return nil
}

// job makes a job of an Execute.
func (w *workerRole) job(m *sessionv1.Execute) (*job, error) {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return nil, err
	}
	jobID, err := wire.ReadJob(m.Job)
	if err != nil {
		return nil, err
	}
	s := w.templates[m.TemplateId]
	if m.Template != nil {
		if s, err = wire.TemplateFromPB(m.Template, jobID); err != nil {
			return nil, err
		}
		w.templates[m.TemplateId] = s
	}
	if s == nil {
		return nil, &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("a task of unknown template %d", m.TemplateId)}
	}
	actor, err := wire.ReadOptionalTask(m.Actor)
	if err != nil {
		return nil, err
	}
	j := &job{spec: s, lease: m.Lease, tell: m.Begun, group: string(append([]byte(nil), m.Group...))}
	j.c = NewTaskContext(Running{Sess: w.r, Task: t, Attempt: m.Attempt, Actor: actor, Incarnation: m.Incarnation, Spec: s})
	for _, a := range m.Args {
		j.args = append(j.args, copyArg(a))
	}
	if s.Stream {
		j.credit = newCredit(s)
	}
	return j, nil
}

// copyArg copies what a reader's message lent.
func copyArg(a *sessionv1.Arg) *sessionv1.Arg {
	out := &sessionv1.Arg{List: a.List, Value: copyValue(a.Value),
		Object: append([]byte(nil), a.Object...), Objects: append([]byte(nil), a.Objects...)}
	for _, v := range a.Values {
		out.Values = append(out.Values, copyValue(v))
	}
	return out
}

func copyValue(v *sessionv1.Value) *sessionv1.Value {
	if v == nil {
		return nil
	}
	c := &sessionv1.Value{Tag: v.Tag, Size: v.Size, Data: append([]byte(nil), v.Data...), Refs: append([]byte(nil), v.Refs...)}
	if v.At != nil {
		c.At = &sessionv1.Location{Slab: v.At.Slab, Offset: v.At.Offset, Size: v.At.Size}
	}
	if v.Error != nil {
		c.Error = wire.ErrorToPB(wire.ErrorFromPB(v.Error))
	}
	return c
}

// queueOf is where j waits its turn; nil for a call of an unknown actor.
func (w *workerRole) queueOf(j *job) *queue {
	run := &j.c.Running
	switch j.spec.Kind {
	case spec.KindTask:
		q := w.leases[j.lease]
		if q == nil {
			q = &queue{limit: 1}
			w.leases[j.lease] = q
		}
		return q
	case spec.KindCreate:
		a := newRemoteActor(j)
		w.actors[run.Actor] = a
		return a.queue(j)
	}
	a := w.actors[run.Actor]
	if a == nil || a.incarnation != run.Incarnation {
		return nil
	}
	return a.queue(j)
}

// drain runs a queue's jobs until there are none.
func (w *workerRole) drain(q *queue) {
	w.mu.Lock()
	for len(q.jobs) > 0 {
		j := q.jobs[0]
		q.jobs[0] = nil
		q.jobs = q.jobs[1:]
		j.began = true
		a := w.actors[j.c.Running.Actor]
		w.mu.Unlock()
		w.run(j, a)
		w.mu.Lock()
	}
	q.active--
	if len(q.jobs) == 0 && q.active == 0 {
		for n, lease := range w.leases {
			if lease == q {
				delete(w.leases, n)
			}
		}
	}
	w.mu.Unlock()
}

// run executes j and answers.
func (w *workerRole) run(j *job, a *remoteActor) {
	t := j.c.Running.Task
	if j.tell {
		w.r.out.add(sessionv1.Kind_KIND_BEGUN, &sessionv1.TaskRef{Task: t[:]})
	}
	began := time.Now()
	m := &sessionv1.Result{Task: t[:], Attempt: j.c.Running.Attempt, Lease: j.lease}
	if err := w.perform(j, a, m); err != nil {
		m.Returns, m.Reservations = nil, nil
		m.Error = wire.ErrorToPB(w.describe(err))
	}
	j.c.Finish()
	m.Ran = uint64(time.Since(began))
	w.release(j)
	w.r.out.add(sessionv1.Kind_KIND_RESULT, m)
	w.mu.Lock()
	delete(w.running, t)
	w.busy--
	idle := w.busy == 0
	w.mu.Unlock()
	if idle {
		w.r.out.flush()
	}
}

// batchEnd writes what is queued when the node has nothing more for now.
func (w *workerRole) batchEnd() {}

func (w *workerRole) describe(err error) *wire.Error {
	e := wire.AsError(err, wire.UserError)
	c := *e
	host, _ := os.Hostname()
	c.Place = fmt.Sprintf("worker %d, pid %d on %s", w.r.info.Worker, os.Getpid(), host)
	return &c
}

// perform calls j's function and puts its results into m.
func (w *workerRole) perform(j *job, a *remoteActor, m *sessionv1.Result) error {
	fn, err := FindFunction(j.spec.Function, j.spec.Sig)
	if err != nil {
		return err
	}
	in, err := w.arguments(fn, j)
	if err != nil {
		return err
	}
	var self any
	if j.spec.Kind == spec.KindMethod {
		if a == nil {
			return &wire.Error{Code: wire.ActorDied, Op: fn.Name, Message: "its process does not have the actor any more"}
		}
		self = a.self
	}
	if fn.Stream != nil {
		return w.stream(fn, j, self, in, m)
	}
	out := make([]any, max(j.spec.Returns, 1))
	err = Run(j.c, fn, self, in, out)
	if errors.Is(err, ErrExit) {
		m.Exits, err = true, nil
	}
	if err != nil {
		return err
	}
	if fn.Create {
		w.mu.Lock()
		a.self = out[0]
		w.mu.Unlock()
		m.Returns = []*sessionv1.Value{{}}
		return nil
	}
	return w.results(fn, j, out, m)
}

// results encodes what a function returned; large values go to shared memory.
func (w *workerRole) results(fn *Function, j *job, out []any, m *sessionv1.Result) error {
	for i, v := range out[:j.spec.Returns] {
		codec := fn.Rets[0]
		if !fn.Split {
			codec = fn.Rets[i]
		}
		p, res, err := w.r.encodeResult(j.c, codec, v)
		if err != nil {
			for _, n := range m.Reservations {
				w.r.abort(n)
			}
			return err
		}
		m.Returns = append(m.Returns, p)
		if res != 0 && m.Reservations == nil {
			m.Reservations = make([]uint64, j.spec.Returns)
		}
		if res != 0 {
			m.Reservations[i] = res
		}
	}
	return nil
}

// encodeResult encodes v; a large one lies in the reservation returned.
func (r *Remote) encodeResult(ctx context.Context, codec Codec, v any) (*sessionv1.Value, uint64, error) {
	enc, err := codec.Encode(r, v)
	if err != nil {
		return nil, 0, err
	}
	if len(enc.Data) <= r.inlineLimit {
		return wire.ValueToPB(enc), 0, nil
	}
	res, err := r.reserve(ctx, enc.Data)
	return &sessionv1.Value{Tag: uint32(enc.Tag), Size: uint64(len(enc.Data)), Refs: wire.PackObjects(nil, enc.Refs...)}, res, err
}

func (r *Remote) abort(reservation uint64) {
	if reservation != 0 {
		r.out.add(sessionv1.Kind_KIND_ABORT, &sessionv1.Abort{Reservation: reservation})
	}
}

// arguments decodes j's arguments.
func (w *workerRole) arguments(fn *Function, j *job) ([]any, error) {
	if len(j.args) != len(fn.Args) {
		return nil, &wire.Error{Code: wire.Protocol, Op: fn.Name, Message: fmt.Sprintf("%d arguments for %d", len(j.args), len(fn.Args))}
	}
	in := make([]any, len(j.args))
	for i, a := range j.args {
		v, err := w.argument(fn.Args[i], a)
		if err != nil {
			e := *wire.AsError(err, wire.Encode)
			e.Op, e.Message = fn.Name, fmt.Sprintf("argument %d: %s", i+1, e.Message)
			return nil, &e
		}
		in[i] = v
	}
	return in, nil
}

func (w *workerRole) argument(c Codec, a *sessionv1.Arg) (any, error) {
	if !a.List {
		return w.decode(c, a.Value)
	}
	col, ok := c.(Collector)
	if !ok {
		return nil, &wire.Error{Code: wire.Invalid, Message: "a list of objects for an argument that is no slice"}
	}
	elems := make([]any, len(a.Values))
	for i, p := range a.Values {
		v, err := w.decode(col.Element(), p)
		if err != nil {
			return nil, err
		}
		elems[i] = v
	}
	return col.Join(elems)
}

// decode reads one value. Bytes in shared memory are lent to a []byte argument
// until the task returns.
func (w *workerRole) decode(c Codec, p *sessionv1.Value) (any, error) {
	if p == nil {
		return c.Decode(w.r, wire.Value{})
	}
	if p.At == nil {
		v, err := wire.ValueFromPB(p)
		if err != nil {
			return nil, err
		}
		return c.Decode(w.r, v)
	}
	data, err := w.r.slabs.bytes(p.At, false)
	if err != nil {
		return nil, err
	}
	if _, raw := c.(rawCodec); raw {
		return data, nil
	}
	refs, err := wire.UnpackObjects(nil, p.Refs)
	if err != nil {
		return nil, err
	}
	return c.Decode(w.r, wire.Value{Tag: wire.Tag(p.Tag), Data: data, Refs: refs})
}

// release returns the pins on j's arguments.
func (w *workerRole) release(j *job) {
	for _, a := range j.args {
		if a.Value.GetAt() != nil && len(a.Object) > 0 {
			w.r.unpinBytes(a.Object)
		}
		for i, v := range a.Values {
			if v.At != nil {
				w.r.unpinBytes(a.Objects[i*len(id.Object{}) : (i+1)*len(id.Object{})])
			}
		}
	}
}

func (r *Remote) unpinBytes(b []byte) {
	if o, err := wire.ReadObject(b); err == nil {
		r.unpin(o)
	}
}

// receiveSide handles what the node says beside the calls.
func (w *workerRole) receiveSide(kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_REVOKE:
		var m sessionv1.Revoke
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		w.revoke(m.Lease)
	case sessionv1.Kind_KIND_INTERRUPT:
		var m sessionv1.Interrupt
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		return w.interrupt(&m)
	case sessionv1.Kind_KIND_CREDIT:
		var m sessionv1.Credit
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		return w.giveCredit(&m)
	case sessionv1.Kind_KIND_STOP_ACTOR:
		var m sessionv1.StopActor
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		return w.stopActor(&m)
	case sessionv1.Kind_KIND_EXIT:
		return &wire.Error{Code: wire.Closed, Message: "the node told it to leave"}
	}
	return nil
}

// revoke gives back a lease's jobs that have not begun.
func (w *workerRole) revoke(lease uint64) {
	m := &sessionv1.TakenBack{Lease: lease}
	w.mu.Lock()
	if q := w.leases[lease]; q != nil {
		for _, j := range q.jobs {
			m.Tasks = append(m.Tasks, j.c.Running.Task[:]...)
			delete(w.running, j.c.Running.Task)
			w.busy--
		}
		q.jobs = nil
	}
	w.mu.Unlock()
	w.r.sideUp.add(sessionv1.Kind_KIND_TAKEN_BACK, m)
}

func (w *workerRole) interrupt(m *sessionv1.Interrupt) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	w.mu.Lock()
	j := w.running[t]
	w.mu.Unlock()
	if j != nil && j.c.Running.Attempt == m.Attempt {
		j.c.Cancel(wire.Cancelled)
	}
	return nil
}
