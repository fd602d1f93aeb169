package client

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
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

// ServeWorker is WorkerMain that returns why it ended. Tasks may still be
// running then.
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
	sideSock, err := wire.NewSocket(side, 0)
	if err != nil {
		return err
	}
	r, err := joinAsWorker(callSock, sideSock)
	if err != nil {
		return err
	}
	<-r.gone
	return r.over()
}

// lanesFromEnv reads the descriptors that a worker was started with.
func lanesFromEnv() (call, side int, ok bool) {
	a, b, two := strings.Cut(os.Getenv(wire.WorkerEnv), ",")
	call, err1 := strconv.Atoi(a)
	side, err2 := strconv.Atoi(b)
	return call, side, two && err1 == nil && err2 == nil
}

func joinAsWorker(call, side *wire.Socket) (*Remote, error) {
	r := newRemote(call)
	r.side, r.sideUp = side, newOutbox(side, false)
	r.role = newWorkerRole(r)
	if err := r.greet(&sessionv1.Hello{Role: wire.RoleWorker}); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	r.role.place = fmt.Sprintf("worker %d, pid %d on %s", r.info.Worker, os.Getpid(), host)
	return r, r.start()
}

// workerRole is what a session does besides when it is a worker's: it runs what
// the node sends. A lease's tasks run one after the other, leases beside each
// other; an actor's calls begin in the order of their coming, as many at a time
// as it allows.
type workerRole struct {
	r         *Remote
	place     string
	templates map[uint32]*template // the reader's

	mu      sync.Mutex
	leases  map[uint64]*queue
	actors  map[id.Actor]*remoteActor
	jobs    job              // the ring of those that have not been answered
	streams map[id.Task]*job // those of jobs that stream
	busy    int              // length of jobs
	leaving bool             // the session ends when nothing is busy
	stopped early            // jobs interrupted, and actors stopped, that are not here
	err     error            // the session is over
}

// template is what jobs share.
type template struct {
	spec *spec.Task
	fn   *Function
	err  error // there is no such function
}

func newWorkerRole(r *Remote) *workerRole {
	w := &workerRole{r: r, templates: map[uint32]*template{}, leases: map[uint64]*queue{}, actors: map[id.Actor]*remoteActor{},
		streams: map[id.Task]*job{}}
	w.jobs.next, w.jobs.prev = &w.jobs, &w.jobs
	return w
}

// job is one task, constructor or method call that the node has sent.
type job struct {
	TaskContext

	tmpl       *template
	frame      *executeFrame // the arguments, until the call
	lease      uint64
	begun      bool // the node wants to know when it begins
	actor      *remoteActor
	credit     *credit        // of a stream
	lent       []*slab.Mapped // memory of arguments
	next, prev *job
}

// executeFrame is an Execute with the memory that it lies in, used again and
// again.
type executeFrame struct {
	m    sessionv1.Execute
	body []byte
}

var executeFrames = sync.Pool{New: func() any { return new(executeFrame) }}

// keepFrame is the largest frame whose memory is used again.
const keepFrame = 16 << 10

func (f *executeFrame) free() {
	if cap(f.body) <= keepFrame {
		f.m.ResetVT()
		executeFrames.Put(f)
	}
}

// execute takes a job. The body is valid only during the call.
func (w *workerRole) execute(body []byte) error {
	f := executeFrames.Get().(*executeFrame)
	f.body = append(f.body[:0], body...)
	if err := f.m.UnmarshalVTUnsafe(f.body); err != nil {
		return undecodable(sessionv1.Kind_KIND_EXECUTE, err)
	}
	j, err := w.job(f)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.stopped.has(j) {
		j.Cancel(wire.Cancelled)
	}
	w.enter(j)
	q := w.queueOf(j)
	q.jobs = append(q.jobs, j)
	if q.active < q.limit {
		q.active++
		go w.drain(q)
	}
	return nil
}

// early remembers what was to be stopped and was not here: the side lane may
// overtake the call lane. Mostly it had ended already, so only the latest count.
type early struct {
	ids   map[runID]bool
	order []runID
}

// runID is an attempt of a task or an incarnation of an actor.
type runID struct {
	id  id.Task
	run uint32
}

const maxEarly = 1024

func (e *early) add(r runID) {
	if e.ids == nil {
		e.ids = map[runID]bool{}
	}
	if e.ids[r] {
		return
	}
	if len(e.order) == maxEarly {
		delete(e.ids, e.order[0])
		e.order = append(e.order[:0], e.order[1:]...)
	}
	e.ids[r] = true
	e.order = append(e.order, r)
}

// has reports whether j or its actor is to be stopped.
func (e *early) has(j *job) bool {
	run := &j.Running
	return len(e.ids) > 0 && (e.ids[runID{run.Task, run.Attempt}] || !run.Actor.IsZero() && e.ids[runID{run.Actor, run.Incarnation}])
}

// enter adds j to those that have not been answered.
func (w *workerRole) enter(j *job) {
	j.prev, j.next = w.jobs.prev, &w.jobs
	j.prev.next, j.next.prev = j, j
	w.busy++
	if j.credit != nil {
		w.streams[j.Running.Task] = j
	}
}

// leave is its inverse.
func (w *workerRole) leave(j *job) {
	j.prev.next, j.next.prev = j.next, j.prev
	j.next, j.prev = nil, nil
	w.busy--
	if j.credit != nil {
		delete(w.streams, j.Running.Task)
	}
}

// job makes a job of an Execute. What is wrong with it is its result, unless
// there is nothing that could be answered.
func (w *workerRole) job(f *executeFrame) (*job, error) {
	m := &f.m
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return nil, err
	}
	j := &job{frame: f, lease: m.Lease, begun: m.Begun, tmpl: w.template(m)}
	run := &j.Running
	run.Sess, run.Task, run.Attempt, run.Incarnation, run.Spec = w.r, t, m.Attempt, m.Incarnation, j.tmpl.spec
	if run.Actor, err = wire.ReadOptionalTask(m.Actor); err != nil {
		return nil, err
	}
	for _, d := range m.Devices {
		if run.Devices == nil {
			run.Devices = map[string][]int{}
		}
		for _, x := range d.Numbers {
			name := strings.Clone(d.Resource)
			run.Devices[name] = append(run.Devices[name], int(x))
		}
	}
	if run.Spec != nil && run.Spec.Stream {
		j.credit = newCredit(run.Spec)
	}
	return j, nil
}

// template finds or registers what m refers to.
func (w *workerRole) template(m *sessionv1.Execute) *template {
	if m.Template == nil {
		if t := w.templates[m.TemplateId]; t != nil {
			return t
		}
		return &template{err: &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("the node sent a task of template %d, which it has not described", m.TemplateId)}}
	}
	t := &template{}
	var jobID id.Job
	if jobID, t.err = wire.ReadJob(m.Job); t.err == nil {
		t.spec, t.err = wire.TemplateFromPB(m.Template, jobID)
	}
	if t.err == nil {
		t.fn, t.err = FindFunction(t.spec.Function, t.spec.Sig)
	}
	if t.err == nil && t.spec.Sig == 0 {
		t.err = t.fn.fits(t.spec)
	}
	w.templates[m.TemplateId] = t
	return t
}

// queue is jobs that run one after the other, or up to limit at a time.
type queue struct {
	jobs   []*job
	lease  uint64 // 0: an actor's
	limit  int
	active int
}

// queueOf is where j waits its turn.
func (w *workerRole) queueOf(j *job) *queue {
	run := &j.Running
	switch {
	case j.tmpl.spec == nil:
		return &queue{limit: 1}
	case j.tmpl.spec.Kind == spec.KindTask:
		q := w.leases[j.lease]
		if q == nil {
			q = &queue{limit: 1, lease: j.lease}
			w.leases[j.lease] = q
		}
		return q
	case j.tmpl.spec.Kind == spec.KindCreate:
		j.actor = newRemoteActor(j)
		w.actors[run.Actor] = j.actor
		return &j.actor.main
	}
	a := w.actors[run.Actor]
	if a == nil || a.incarnation != run.Incarnation {
		return &queue{limit: 1} // it is answered with an error
	}
	j.actor = a
	return a.queue(j.frame.m.Group)
}

// drain runs a queue's jobs until there are none.
func (w *workerRole) drain(q *queue) {
	d := runner{w: w}
	defer func() {
		if d.job != nil { // its function has ended this goroutine
			d.answer(errGoexit)
			go w.drain(q)
		}
	}()
	for {
		w.mu.Lock()
		if len(q.jobs) == 0 {
			break
		}
		d.job = q.jobs[0]
		q.jobs[0] = nil
		if q.jobs = q.jobs[1:]; len(q.jobs) == 0 {
			q.jobs = nil
		}
		w.mu.Unlock()
		d.run()
	}
	q.active--
	if q.active == 0 && q.lease != 0 {
		delete(w.leases, q.lease)
	}
	w.mu.Unlock()
}

// receiveSide handles what the node says beside the calls.
func (w *workerRole) receiveSide(kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_REVOKE:
		return decoded(kind, body, new(sessionv1.Revoke), w.revoke)
	case sessionv1.Kind_KIND_INTERRUPT:
		return decoded(kind, body, new(sessionv1.Interrupt), w.interrupt)
	case sessionv1.Kind_KIND_CREDIT:
		return decoded(kind, body, new(sessionv1.Credit), w.giveCredit)
	case sessionv1.Kind_KIND_STOP_ACTOR:
		return decoded(kind, body, new(sessionv1.StopActor), w.stopActor)
	case sessionv1.Kind_KIND_EXIT:
		w.mu.Lock()
		w.leaving = true
		idle := w.busy == 0
		w.mu.Unlock()
		if idle {
			return errLeft
		}
	}
	return nil
}

var errLeft = &wire.Error{Code: wire.Closed, Message: "the node told it to leave"}

func decoded[M wire.Message](kind sessionv1.Kind, body []byte, m M, f func(M) error) error {
	if err := m.UnmarshalVT(body); err != nil {
		return undecodable(kind, err)
	}
	return f(m)
}

// revoke gives back those of a lease's jobs that have not begun: all, or some.
func (w *workerRole) revoke(m *sessionv1.Revoke) error {
	some, err := wire.UnpackTasks(nil, m.Tasks)
	if err != nil {
		return err
	}
	wanted := map[id.Task]bool{}
	for _, t := range some {
		wanted[t] = true
	}
	back := &sessionv1.TakenBack{Lease: m.Lease}
	w.mu.Lock()
	if q := w.leases[m.Lease]; q != nil {
		var keep []*job
		for _, j := range q.jobs {
			if len(some) > 0 && !wanted[j.Running.Task] {
				keep = append(keep, j)
				continue
			}
			back.Tasks = append(back.Tasks, j.Running.Task[:]...)
			w.leave(j)
			w.releaseArguments(j)
			j.frame.free()
		}
		q.jobs = keep
	}
	w.mu.Unlock()
	w.r.sideUp.add(sessionv1.Kind_KIND_TAKEN_BACK, back)
	return nil
}

func (w *workerRole) interrupt(m *sessionv1.Interrupt) error {
	t, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	w.mu.Lock()
	found := w.find(func(j *job) bool { return j.Running.Task == t && j.Running.Attempt == m.Attempt })
	if len(found) == 0 {
		w.stopped.add(runID{t, m.Attempt})
	}
	var waiting []*job
	for _, j := range found {
		if w.withdraw(j) {
			waiting = append(waiting, j)
		}
	}
	w.mu.Unlock()
	cancelAll(found, wire.Cancelled)
	for _, j := range waiting {
		go func() { // answers may wait for the node to read
			d := runner{w: w, job: j, began: time.Now()}
			d.answer(errNotBegun(j))
		}()
	}
	return nil
}

// withdraw takes j out of its queue if it waits there: those before it may take
// long. Under the lock.
func (w *workerRole) withdraw(j *job) bool {
	var q *queue
	switch {
	case j.tmpl.spec == nil || j.tmpl.spec.Kind == spec.KindCreate:
	case j.actor != nil:
		q = j.actor.queue(j.frame.m.Group)
	default:
		q = w.leases[j.lease]
	}
	if q == nil {
		return false
	}
	i := slices.Index(q.jobs, j)
	if i >= 0 {
		q.jobs = slices.Delete(q.jobs, i, i+1)
	}
	return i >= 0
}

func errNotBegun(j *job) error {
	return &wire.Error{Code: wire.Cancelled, Op: j.tmpl.spec.Name, Message: "before it began"}
}

// find returns some of the jobs; under the lock.
func (w *workerRole) find(which func(*job) bool) (found []*job) {
	for j := w.jobs.next; j != &w.jobs; j = j.next {
		if which(j) {
			found = append(found, j)
		}
	}
	return found
}

// cancelAll cancels the contexts of jobs, without the lock: that can call
// functions of the user's.
func cancelAll(jobs []*job, cause error) {
	for _, j := range jobs {
		j.Cancel(cause)
	}
}

// abandon cancels everything: the session is over.
func (w *workerRole) abandon(err error) {
	w.mu.Lock()
	w.err = err
	for _, q := range w.leases {
		q.jobs = nil
	}
	for _, a := range w.actors {
		a.clear()
	}
	all := w.find(func(*job) bool { return true })
	w.mu.Unlock()
	cancelAll(all, err)
}
