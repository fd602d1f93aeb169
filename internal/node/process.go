package node

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/environ"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	proto "github.com/weftrun/weft/internal/session"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
	"github.com/weftrun/weft/internal/worker"
)

// process is a worker process of this node.
type process struct {
	id      id.Worker
	class   dispatch.Class
	session *session
	proc    *worker.Process
	env     *environ.Environment // that it has; nil is the job's own
	tasks   map[id.Task]*task    // given to it and not answered
	latest  *spec.Task           // of what it began last
	started time.Time
	up      bool
	ending  string // why the node has it end, if it does
	gone    bool
}

// job is one driver's work: what its workers are started from, and who they are.
type job struct {
	id       id.Job
	session  *session
	exe      *os.File                       // the program of its Go workers; nil is this process's own
	noExe    *wire.Error                    // why there is no such program
	name     string                         // of its Go workers
	failed   map[dispatch.Class]*wire.Error // why the last worker of a class could not be started
	blobs    blobs
	prepared bool // its environment was asked for

	home     *peer             // the node of its driver; nil is this one
	keeps    map[id.Actor]bool // another node's detached actors for whose sake it is kept
	orphaned bool              // home was gone when this node adopted an actor: what is missing may be anywhere
	program  sync.Mutex        // exe is being fetched from there
	python   string            // the interpreter of its Python workers; "" if there is none
	metadata map[string]string // what the driver says to its workers
	started  time.Time
}

// spawn starts a worker process of the class.
func (n *Node) spawn(class dispatch.Class) {
	n.nextWorker++
	p := &process{id: n.nextWorker, class: class, tasks: map[id.Task]*task{}, started: time.Now()}
	n.workers[p.id] = p
	j := n.jobs[class.Job]
	s := worker.Spec{Path: "/proc/self/exe", Output: func(line []byte, stderr bool) { n.output(p, line, stderr) }}
	n.spawnHere(func() {
		err := n.program(j, class, &s)
		if err == nil {
			err = n.environment(p, j, &s)
		}
		if err == nil {
			err = n.startProcess(p, s)
		}
		p.env.Release()
		if err != nil {
			n.spawnFailed(p, j, err)
		}
	})
}

// program says what a worker of the job's runs: what the driver is, or what it
// named for the other language.
func (n *Node) program(j *job, class dispatch.Class, s *worker.Spec) error {
	switch {
	case j == nil:
		return &wire.Error{Code: wire.Closed, Message: "its job has ended"}
	case class.Language == wire.Python && j.python == "":
		return &wire.Error{Code: wire.SetupFailed, Message: "a Python function, but the driver has named no interpreter", Hint: pythonHint}
	case class.Language == wire.Python:
		s.Path, s.Hint = j.python, j.python+pythonHint
	case j.noExe != nil:
		return j.noExe
	default:
		exe, err := n.driverProgram(j)
		s.Exe, s.Args = exe, j.args()
		return err
	}
	return nil
}

// pythonHint says what Python workers need.
const pythonHint = " must have the package weft (`pip install weft`); WEFT_PYTHON, or in Go the option weft.Python, names another interpreter"

// startProcess starts p and stays with it until it has ended.
func (n *Node) startProcess(p *process, s worker.Spec) error {
	start := worker.Start
	if p.class.Language == wire.Python {
		start = n.zygotes.Start
	}
	proc, err := start(n.ctx, s)
	if err != nil {
		return err
	}
	n.mu.Lock()
	p.proc = proc
	unwanted := n.closed || n.jobs[p.class.Job] == nil
	n.mu.Unlock()
	if unwanted {
		proc.Kill()
	}
	call, side := proc.Lanes()
	accept := func(c *proto.Conn, m *sessionv1.Hello) (proto.Handler, *sessionv1.Welcome, error) {
		proc.Greeted()
		return n.welcomeWorker(p, c, m)
	}
	conn, err := n.server.Adopt(call, side, accept)
	if err != nil {
		proc.Kill()
	} else {
		attend(proc, conn)
	}
	<-proc.Exited()
	return n.processGone(p, proc.Error())
}

// attend returns when both a worker and its session have ended: one is of no
// use without the other.
func attend(proc *worker.Process, conn *proto.Conn) {
	select {
	case <-conn.Done():
		proc.Stop(stopGrace)
		return
	case <-proc.Exited():
	}
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select { // what it said last is read
	case <-conn.Done():
	case <-timer.C: // something that it started holds its lanes
		conn.Close(errClosed())
		conn.Wait()
	}
}

// args is the command line of j's workers: its program's name and nothing else.
func (j *job) args() []string { return []string{cmp.Or(j.name, "weft-worker")} }

// welcomeWorker accepts the session of a worker that this node has started.
func (n *Node) welcomeWorker(p *process, c *proto.Conn, m *sessionv1.Hello) (proto.Handler, *sessionv1.Welcome, error) {
	n.leave()
	n.lock()
	defer n.unlock()
	if n.closed || p.gone {
		return nil, nil, errClosed()
	}
	s := n.newSession()
	s.job, s.worker, s.program, s.pid = p.class.Job, p, strings.Clone(m.Name), int(m.Pid)
	if j := n.jobs[p.class.Job]; j != nil {
		s.namespace = j.session.namespace
	}
	s.attach(n, c)
	p.session, p.up = s, true
	return &handler{n: n, s: s, welcomed: func() { n.workerUp(p) }}, n.welcome(s), nil
}

// workerUp offers a worker to the dispatcher.
func (n *Node) workerUp(p *process) {
	n.lock()
	defer n.unlock()
	switch {
	case p.gone:
	case p.ending != "": // it has been killed since
		n.stepDispatch(&dispatch.Event{Kind: dispatch.SpawnFailed, Class: p.class})
	default:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.WorkerUp, Worker: p.id, Class: p.class})
	}
}

// welcome is what a session is told about itself.
func (n *Node) welcome(s *session) *sessionv1.Welcome {
	n.ledger.open(&s.account)
	w := &sessionv1.Welcome{Node: n.id[:], Job: s.job[:], Session: uint32(s.id), InlineLimit: inlineLimit, Build: n.cfg.Build,
		Ip: n.cfg.IP, SubmitCredit: uint64(s.account.left), PutCredit: uint64(s.account.puts), Overhead: taskOverhead, Requests: maxRequests}
	w.Namespace = s.namespace
	if s.worker != nil {
		w.Worker = uint32(s.worker.id)
		w.Metadata = s.worker.metadata(n.jobs[s.job])
	}
	return w
}

// inlineLimit is the size in bytes above which values go through shared memory.
const inlineLimit = 64 << 10

// spawnFailed reports that no worker could be started.
func (n *Node) spawnFailed(p *process, j *job, err error) {
	n.lock()
	defer n.unlock()
	delete(n.workers, p.id)
	if j != nil {
		j.fail(p.class, err)
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.SpawnFailed, Class: p.class})
	n.settle()
	n.releaseJob(p.class.Job)
}

// fail notes why a class has no workers.
func (j *job) fail(class dispatch.Class, err error) {
	if j.failed == nil || len(j.failed) == maxFailures {
		j.failed = map[dispatch.Class]*wire.Error{}
	}
	j.failed[class] = wire.AsError(err, wire.SetupFailed)
}

// maxFailures bounds the classes of a job whose failures are kept.
const maxFailures = 64

// spawnError says why t, of a class that has no workers, fails.
func (n *Node) spawnError(t *task, class dispatch.Class) *wire.Error {
	err := &wire.Error{Code: wire.SetupFailed, Op: t.spec.Name, Message: "no worker process could be started"}
	if j := n.jobs[t.spec.Job]; j != nil && j.failed[class] != nil {
		why := j.failed[class]
		err.Message += ": " + why.Message
		err.Stderr, err.Err = why.Stderr, why.Err
		err.Hint = cmp.Or(why.Hint, "weft.Init must come first in the program's main")
	}
	return err
}

// processGone deals with the death of a worker: what it ran has failed. For one
// that never was a worker it returns why.
func (n *Node) processGone(p *process, crash *wire.Error) error {
	n.lock()
	defer n.unlock()
	if !p.up {
		return crash
	}
	p.gone = true
	if p.ending != "" {
		crash.Message = "the node ended its process: " + p.ending
	}
	crash.Node, crash.Place = n.id, fmt.Sprintf("worker %d, pid %d", p.id, p.proc.PID())
	delete(n.workers, p.id)
	n.workerExited(p, crash)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.WorkerGone, Worker: p.id})
	for _, a := range n.actors.On(n.id, p.id) {
		info, _ := n.actors.Get(a)
		n.deaths[a] = crash
		n.dropCalls(a, info.Incarnation)
		n.stepActor(&actor.Event{Kind: actor.Lost, Actor: a, Incarnation: info.Incarnation, Cause: actor.WorkerDied})
	}
	suspects := n.suspects(p)
	n.hostsCrashed(p.id, crash)
	for _, t := range p.inOrder() {
		n.crashed(t, p, suspects, crash)
	}
	n.settle()
	n.releaseJob(p.class.Job)
	return nil
}

// inOrder lists the tasks that p had, oldest first.
func (p *process) inOrder() []*task {
	ts := make([]*task, 0, len(p.tasks))
	for _, t := range p.tasks {
		ts = append(ts, t)
	}
	slices.SortFunc(ts, func(a, b *task) int { return strings.Compare(a.id.String(), b.id.String()) })
	return ts
}

// suspects counts those in p, which has died, that may have ended it: tasks that
// computed, and actors, which do as they like.
func (n *Node) suspects(p *process) int {
	count := len(n.actors.On(n.id, p.id)) + len(n.hostsIn(p.id))
	for _, t := range p.tasks {
		if t.worker == p.id && t.spec.Kind == spec.KindTask && t.computes() {
			count++
		}
	}
	return count
}

// computes reports whether t, which is at a worker, had begun and did not wait.
func (t *task) computes() bool { return t.began && !t.blocked && !t.unsent }

// crashed fails one task of a dead worker. Constructors and methods are the
// actor machine's to fail.
func (n *Node) crashed(t *task, p *process, suspects int, crash *wire.Error) {
	if t.worker != p.id || t.spec.Kind != spec.KindTask {
		return
	}
	fault, others := own.WorkerDied, suspects
	switch {
	case t.cancelled:
		fault = own.Cancelled
	case t.victim:
		fault = n.victimFault(t)
	case t.unsent || !t.began && p.class.Isolated:
		fault, others = own.Bystander, 0
	case t.computes():
		others--
	case suspects > 0:
		fault = own.Bystander
	default: // all of them waited
		others = len(p.tasks) - 1
	}
	e := *crash
	e.Op, e.Hint = t.spec.Name, "Isolated keeps a task's process apart from those of others"
	t.out = &outcome{err: &e}
	switch fault {
	case own.Cancelled:
		t.out.err = nil // that says it all
	case own.OutOfMemory, own.TooLarge:
		t.out.err = n.victimError(t, crash)
	}
	n.guardEnded(t)
	n.attemptOver(t, &own.Event{Fault: fault, N: others})
}

// workerSession is the session of a process worker that lives.
func (n *Node) workerSession(w id.Worker) *session {
	p := n.workers[w]
	if p == nil || p.session == nil || p.session.ended {
		return nil
	}
	return p.session
}

// retire lets an idle worker exit.
func (n *Node) retire(w id.Worker) {
	p := n.workers[w]
	if p == nil || p.proc == nil {
		return
	}
	n.stopProcess(p, "idle")
}

// stopProcess asks a worker to exit, and kills it if it does not.
func (n *Node) stopProcess(p *process, reason string) {
	p.ending = reason
	if s := p.session; s != nil && s.conn != nil {
		c := s.conn.c
		n.later(func() { c.SendSide(sessionv1.Kind_KIND_EXIT, &sessionv1.Exit{Reason: reason}) })
	}
	proc := p.proc
	n.spawnHere(func() { proc.Stop(stopGrace) })
}

// stopGrace is how long a worker that was asked to exit may take.
const stopGrace = 2 * time.Second

// revoke takes unstarted tasks back from a worker.
func (n *Node) revoke(e *dispatch.Effect) {
	if e.Worker == inProcess {
		n.takeBack(e.Lease)
		return
	}
	if s := n.workerSession(e.Worker); s != nil {
		c, m := s.conn.c, &sessionv1.Revoke{Lease: uint64(e.Lease)}
		n.later(func() { c.SendSide(sessionv1.Kind_KIND_REVOKE, m) })
	}
}

// takeBack is revoke for the goroutine of a lease.
func (n *Node) takeBack(l dispatch.Lease) {
	ev := dispatch.Event{Kind: dispatch.TakenBack, Lease: l}
	if r := n.leases[l]; r != nil {
		for _, t := range r.waiting() {
			t.worker = 0
			ev.Tasks = append(ev.Tasks, t.id)
		}
	}
	n.stepDispatch(&ev)
}

// interruptWorker tells a worker to stop a task. A task that is to be stopped by
// force takes its process with it, if that is its own: the process of a method is
// its actor's, which serves others too.
func (n *Node) interruptWorker(t *task, force bool) {
	s := n.workerSession(t.worker)
	if s == nil {
		return
	}
	if force && s.worker.class.Isolated && t.spec.Kind != spec.KindMethod {
		s.worker.proc.Kill()
		return
	}
	c, m := s.conn.c, &sessionv1.Interrupt{Task: t.id[:], Attempt: t.attempt}
	n.later(func() { c.SendSide(sessionv1.Kind_KIND_INTERRUPT, m) })
}

// creditWorker lets a producer in a worker go on.
func (n *Node) creditWorker(t *task, e *own.Effect) {
	if s := n.workerSession(t.worker); s != nil {
		c, m := s.conn.c, &sessionv1.Credit{Task: t.id[:], N: uint32(e.N), Bytes: uint64(e.Bytes)}
		n.later(func() { c.SendSide(sessionv1.Kind_KIND_CREDIT, m) })
	}
}

// stopRemoteActor ends an actor in a process worker: gently through a message,
// by force with its process, if it has that to itself.
func (n *Node) stopRemoteActor(e *actor.Effect) {
	s := n.workerSession(e.Worker)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Release, Task: e.Actor})
	if s == nil {
		return
	}
	if s.worker.class.Isolated {
		if e.Force {
			s.worker.proc.Kill()
		} else {
			n.stopProcess(s.worker, "its actor ended")
		}
		return
	}
	c, m := s.conn.c, &sessionv1.StopActor{Actor: append([]byte(nil), e.Actor[:]...), Incarnation: e.Incarnation}
	n.later(func() { c.SendSide(sessionv1.Kind_KIND_STOP_ACTOR, m) })
}

// output passes a line that a worker printed on to its driver.
func (n *Node) output(p *process, line []byte, stderr bool) {
	n.lock()
	j, pid, name := n.jobs[p.class.Job], p.proc.PID(), p.name()
	if j != nil && j.home != nil {
		n.postLog(j, &nodev1.Log{Job: j.id[:], Pid: uint32(pid), Name: name, Stderr: stderr, Text: bytes.Clone(line)})
	}
	n.unlock()
	switch {
	case j == nil || j.home != nil:
	case j.session.conn == nil: // embedded: this is the driver
		client.PrintLine(pid, line, stderr)
	default:
		m := &sessionv1.Log{Pid: uint32(pid), Name: name, Stderr: stderr, Text: line}
		j.session.conn.c.SendSide(sessionv1.Kind_KIND_DRIVER_LOG, m)
	}
}

// name says whose lines a worker's are that has one thing to do at a time: its
// actor's class, or the task that it began last, for its lines may come after
// its result.
func (p *process) name() string {
	switch {
	case !p.class.Isolated || p.latest == nil:
		return ""
	case p.latest.Actor != nil:
		return p.latest.Actor.Class
	}
	return p.latest.Name
}

// begins notes what p begins to do.
func (p *process) begins(t *task, now time.Duration) {
	t.started = now
	if t.spec.Kind != spec.KindMethod { // which its actor's name stands for
		p.latest = t.spec
	}
}

// killAll ends all workers of a job; of every job if j is zero.
func (n *Node) killAll(j id.Job) {
	for _, p := range n.workers {
		if (j.IsZero() || p.class.Job == j) && p.proc != nil && !n.hostsDetached(p) {
			p.ending = "its job ended"
			n.stepDispatch(&dispatch.Event{Kind: dispatch.WorkerGone, Worker: p.id}) // it gets nothing more
			p.proc.Kill()
		}
	}
}

// hostsDetached reports whether p has an actor that outlives its job.
func (n *Node) hostsDetached(p *process) bool {
	if n.closed {
		return false
	}
	for _, a := range n.actors.On(n.id, p.id) {
		if info, ok := n.actors.Get(a); ok && info.Spec.Actor.Detached {
			return true
		}
	}
	return slices.ContainsFunc(n.hostsIn(p.id), func(h *host) bool { return h.spec.Actor.Detached })
}
