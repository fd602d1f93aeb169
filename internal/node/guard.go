package node

import (
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/guard"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// step tells the guard something and does what it wants.
func (m *memory) step(n *Node, ev *guard.Event) {
	m.fx = m.machine.Step(n.now, ev, m.fx[:0])
	for i := range m.fx {
		n.guardEffect(&m.fx[i])
	}
}

// guardEffect does what the guard wants done.
func (n *Node) guardEffect(e *guard.Effect) {
	switch e.Kind {
	case guard.Pressure:
		n.pressure(e)
	case guard.Target:
		bytes := e.Bytes
		n.later(func() { n.store.SetTarget(bytes) })
	case guard.End:
		n.endVictim(e)
	}
}

// What a NodePressure record says of a level.
var pressureNumber = map[guard.Level]uint32{guard.StopAdmitting: 1, guard.SpillObjects: 1, guard.EndTasks: 2}

func (n *Node) pressure(e *guard.Effect) {
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Pressure, N: int(e.Level)})
	n.events.Note(n.now, event.Record{Kind: event.NodePressure, N: pressureNumber[e.Level], Bytes: e.Used},
		n.memory.machine.Explain())
}

// endVictim kills the process that a task has to itself.
func (n *Node) endVictim(e *guard.Effect) {
	t, p := n.task(e.Task), n.workers[e.Worker]
	if t == nil || p == nil || p.proc == nil || t.attempt != e.Attempt || t.worker != e.Worker {
		return
	}
	t.victim = true
	n.memory.verdicts[t.id] = verdict{text: e.Text, tooLarge: e.TooLarge}
	n.later(p.proc.Kill)
}

// victimError is the error of a task that the guard ended with its process.
func (n *Node) victimError(t *task, crash *wire.Error) *wire.Error {
	e := *crash
	v := n.memory.verdicts[t.id]
	e.Code, e.Op, e.Message, e.Stderr = wire.OutOfMemory, t.spec.Name, v.text, ""
	e.Hint = "declare what it needs with weft.Memory so that fewer run at once, or give the node more"
	if v.tooLarge {
		e.Hint = "give it less to do at once, such as smaller pieces, or give the node more (weft start --memory, weft.MemoryLimit)"
	}
	return &e
}

// victimFault is how a task that the guard ended has failed.
func (n *Node) victimFault(t *task) own.Fault {
	if n.memory.verdicts[t.id].tooLarge {
		return own.TooLarge
	}
	return own.OutOfMemory
}

// guarded reports whether t has a process of its own that the guard may end.
func (t *task) guarded() bool { return t.spec.Isolated && t.spec.Kind == spec.KindTask }

// measured is what the memory of t teaches about.
func (t *task) measured() guard.Function {
	return guard.Function{Job: t.spec.Job, Name: t.spec.Function}
}

// declared is the memory that t asked for.
func (t *task) declared() int64 { return int64(t.spec.Resources.Memory / resource.Unit) }

func (n *Node) guardStarted(t *task) {
	n.memory.step(n, &guard.Event{Kind: guard.TaskStarted, Task: t.id, Attempt: t.attempt, Function: t.measured(),
		Worker: t.worker, Retriable: t.spec.MaxRetries != 0, Declared: t.declared()})
}

// runningTasks tells the guard where the tasks that it knows run now.
func (n *Node) runningTasks() {
	for i := range n.memory.workers {
		p := n.workers[n.memory.workers[i].ID]
		if p == nil {
			continue
		}
		if t := n.runningOn(p); t != nil && t.guarded() && t.worker == p.id {
			n.guardStarted(t)
		}
	}
}

// guardEnded tells the guard that t's attempt uses no memory any more.
func (n *Node) guardEnded(t *task) {
	if !t.guarded() {
		return
	}
	t.victim = false
	delete(n.memory.verdicts, t.id)
	n.memory.waits.remove(t.id)
	n.memory.step(n, &guard.Event{Kind: guard.TaskEnded, Task: t.id, Attempt: t.attempt})
	n.admitWaiting()
}

// backlog is the tasks that wait for memory, in order. One that is removed
// stays in the queue until its turn comes.
type backlog struct {
	queue  []backlogged
	number map[id.Task]uint64
	next   uint64
}

// backlogged is one entry: its task still waits if it has the same number.
type backlogged struct {
	task   id.Task
	number uint64
	since  time.Duration
}

func (b *backlog) add(t id.Task, now time.Duration) {
	if b.number == nil {
		b.number = map[id.Task]uint64{}
	}
	b.next++
	b.number[t] = b.next
	b.queue = append(b.queue, backlogged{t, b.next, now})
}

func (b *backlog) remove(t id.Task) { delete(b.number, t) }

// head is the first that still waits.
func (b *backlog) head() (backlogged, bool) {
	for len(b.queue) > 0 {
		e := b.queue[0]
		if b.number[e.task] == e.number {
			return e, true
		}
		b.queue = b.queue[1:]
	}
	b.queue = nil
	return backlogged{}, false
}

// overtaken is how long smaller tasks may go before the first that waits.
const overtaken = time.Second

// enqueue gives a task to dispatch once the guard admits it.
func (n *Node) enqueue(t *task) {
	if t.guarded() {
		head, some := n.memory.waits.head()
		if some && n.now-head.since > overtaken || !n.memory.machine.Admit(n.now, t.measured(), t.declared()).OK {
			n.memory.waits.add(t.id, n.now)
			return
		}
		n.guardStarted(t)
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Enqueue, Task: t.id, Attempt: t.attempt, Spec: t.spec, Lease: n.through(t)})
}

// admitWaiting lets those go that now have room.
func (n *Node) admitWaiting() {
	waits := &n.memory.waits
	for {
		e, some := waits.head()
		if !some {
			return
		}
		t := n.task(e.task)
		if t != nil && !n.memory.machine.Admit(n.now, t.measured(), t.declared()).OK {
			return
		}
		waits.remove(e.task)
		if t != nil {
			n.guardStarted(t)
			n.stepDispatch(&dispatch.Event{Kind: dispatch.Enqueue, Task: t.id, Attempt: t.attempt, Spec: t.spec, Lease: n.through(t)})
		}
	}
}

// waitsForMemory says why the guard does not admit t, if it does not.
func (n *Node) waitsForMemory(t id.Task) (why string, waits bool) {
	pay := n.task(t)
	if _, waits = n.memory.waits.number[t]; !waits || pay == nil {
		return "", false
	}
	v := n.memory.machine.Admit(n.now, pay.measured(), pay.declared())
	if v.OK {
		return "it waits for memory behind others that began to wait before", true
	}
	return fmt.Sprint("it waits for memory: ", v), true
}
