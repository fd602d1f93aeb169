package sim

import (
	"time"

	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
)

// inlineMax is the largest value that travels in the message of its result.
const inlineMax = 64 << 10

// Program is what a task does when it runs: it submits its children, waits
// for their first returns, works for Dur, and returns values of the given
// sizes.
type Program struct {
	Spec     *spec.Task
	Dur      time.Duration
	Sizes    []int64    // of the returns
	Fail     uint32     // attempts up to this one end in an error of the user's
	Children []*Program // submitted and awaited first
	Pass     bool       // the first return contains the first child's
	Items    uint32     // of a stream: how many it makes; its size is Sizes[0]
}

// sizeOf returns the size of the i-th return.
func (p *Program) sizeOf(i int) int64 {
	if i < len(p.Sizes) {
		return p.Sizes[i]
	}
	return 8
}

// push is a task on its way to where it runs, or running there.
type push struct {
	task    id.Task
	attempt uint32
	lease   uint64
	spec    *spec.Task
	program *Program
	args    []own.Return
	skip    uint32 // items of a stream that were delivered by earlier attempts
	// Of a method call:
	actor       id.Actor
	incarnation uint32
	session     id.Session // the caller, at the owner
}

// phase is how far an execution has come.
type phase uint8

const (
	fetching phase = iota // arguments are under way
	queued                // with the dispatcher, or with its actor
	sent                  // on a worker, perhaps behind others
	children              // it runs and waits for its children
	working               // it runs
	over
)

// execution is one attempt of a task on the node that runs it.
type execution struct {
	push
	n       *node
	owner   *node
	worker  *worker
	lane    *lane
	through dispatch.Lease // that lane's
	host    *host          // of a method call
	phase   phase
	missing int    // arguments under way, or children
	gen     uint32 // of the scheduled end of the present phase
	begun   time.Duration
	cancel  bool
	others  int         // who may have ended its process, when it has died
	looked  id.Node     // where an argument was that is lost
	item    uint32      // of a stream: the next
	open    int         // of a stream: items it may still make unread
	kids    []id.Object // references to children's returns
}

// worker is a process on a node.
type worker struct {
	id      id.Worker
	session id.Session
	lanes   []*lane
	hosts   []*host
}

// lane is what a worker was given through one lease, in order.
type lane struct {
	worker *worker
	queue  []*execution
}

// start begins an execution whose turn has come.
func (e *execution) start() {
	n := e.n
	e.begun = n.c.now
	if n.c.chatty {
		n.c.note("%s runs %s attempt %d", n, n.c.taskName(e.task), e.attempt)
	}
	if e.cancel {
		e.end(own.Cancelled, id.Object{})
		return
	}
	if len(e.program.Children) == 0 {
		e.work()
		return
	}
	e.phase = children
	e.block(true)
	for _, p := range e.program.Children {
		e.missing++
		n.child(e, p)
	}
}

// child submits a task for a running one and waits for it.
func (n *node) child(e *execution, p *Program) {
	s := n.sessionOf(e.worker.session)
	t := n.submit(s, p, nil, e.task, e.attempt)
	o := t.Return(0)
	e.kids = append(e.kids, o)
	n.await(o, func() {
		if e.missing--; e.missing == 0 && e.phase == children {
			e.block(false)
			e.work()
		}
	})
}

// work schedules the end of the task's own work.
func (e *execution) work() {
	e.phase = working
	if e.spec.Stream {
		e.open = e.spec.WindowItems
	}
	e.workOn()
}

// workOn schedules the end of the work, or of the next item.
func (e *execution) workOn() {
	d := time.Duration(float64(e.program.Dur) / e.n.speed)
	e.n.c.work++
	e.n.c.schedule(event{at: e.n.c.now + d, run: e, gen: e.gen})
}

// advance is the end of the task's work.
func (e *execution) advance() {
	if e.n.down || e.phase != working {
		return
	}
	if e.spec.Stream && e.item < e.program.Items {
		e.makeItem()
		return
	}
	fault := own.Fault(0)
	if e.attempt <= e.program.Fail {
		fault = own.User
	}
	e.end(fault, id.Object{})
}

// abort stops an execution wherever it is.
func (e *execution) abort() {
	e.cancel = true
	switch e.phase {
	case over:
	case sent:
		e.n.stepDispatch(&dispatch.Event{Kind: dispatch.Unqueue, Task: e.task, Attempt: e.attempt})
	default:
		e.end(own.Cancelled, id.Object{})
	}
}

// end reports an execution's outcome and makes room for the next.
func (e *execution) end(fault own.Fault, lost id.Object) {
	if e.phase == over {
		return
	}
	n, was := e.n, e.phase
	if was == children {
		e.block(false)
	}
	e.phase = over
	e.gen++
	delete(n.execs, attemptKey{e.task, e.attempt})
	var returns []own.Return
	if fault == 0 {
		returns = e.returns()
	}
	e.leave(was, fault)
	n.outcome(e, fault, lost, returns)
	n.dropKids(e)
}

// dropKids lets go of the children's returns.
func (n *node) dropKids(e *execution) {
	for _, o := range e.kids {
		n.drop(n.sessionOf(e.worker.session), o)
	}
	e.kids = nil
}

// returns makes the values; large ones stay here.
func (e *execution) returns() []own.Return {
	out := make([]own.Return, returnsOf(e.spec))
	for i := range out {
		r := own.Return{Object: e.task.Return(uint32(i)), Size: e.program.sizeOf(i), Node: e.n.id}
		if r.Size > inlineMax {
			r.Where = own.AtNode
			e.n.store[r.Object] = copyOf{r.Size, e.attempt}
		}
		if i == 0 && e.program.Pass && len(e.kids) > 0 {
			r.Inner = e.kids[:1]
		}
		out[i] = r
	}
	return out
}

// taskName names a task in scripts: n1.3 is the third of node 1's driver.
func (c *Cluster) taskName(t id.Task) string {
	n := c.byID[t.Owner()]
	if n == nil {
		return t.String()
	}
	s, k := id.SplitSeq(t.Seq())
	if s == driver {
		return nodeName(n.index) + "." + itoa(int(k))
	}
	return nodeName(n.index) + "." + itoa(int(s)) + "." + itoa(int(k))
}
