package actor

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// world is what a correct shell and correct workers would know.
type world struct {
	t      *rapid.T
	m      *Machine
	fx     []Effect
	ending bool
	now    time.Duration
	next   [4]uint64 // sequence number per session
	actors []id.Actor
	live   map[id.Actor]bool
	begun  map[id.Actor]uint32             // incarnation to be placed
	calls  map[id.Task]*modelCall          // submitted and not answered
	order  []id.Task                       // of submission, for drawing without a map's order
	last   map[[2]id.Task]uint64           // last sequence delivered, per actor and caller, never retried
	holds  map[id.Actor]map[id.Session]int // handles
}

type modelCall struct {
	actor       id.Actor
	session     id.Session
	ready       bool
	again       bool
	incarnation uint32 // it was sent to; 0 is not sent
}

func (w *world) step(ev Event) {
	w.fx = w.m.Step(w.now, &ev, w.fx[:0])
	fx := append([]Effect(nil), w.fx...)
	for i := range fx {
		w.effect(&fx[i])
	}
	if err := w.m.Check(); err != nil {
		w.t.Fatalf("after %v: %v", ev.Kind, err)
	}
}

func (w *world) effect(e *Effect) {
	switch e.Kind {
	case Begin:
		if e.Incarnation != w.begun[e.Actor]+1 {
			w.t.Fatalf("incarnation %d begins after %d", e.Incarnation, w.begun[e.Actor])
		}
		w.begun[e.Actor] = e.Incarnation
	case Deliver:
		w.deliver(e)
	case FailCall, Refuse:
		w.failed(e)
	case Forget:
		delete(w.live, e.Actor)
	}
}

func (w *world) deliver(e *Effect) {
	c := w.calls[e.Task]
	switch {
	case c == nil || c.actor != e.Actor:
		w.t.Fatalf("delivered %s, which nobody waits for", e.Task)
	case !c.ready:
		w.t.Fatalf("delivered %s before its arguments", e.Task)
	case c.incarnation == e.Incarnation:
		w.t.Fatalf("delivered %s twice to incarnation %d", e.Task, e.Incarnation)
	case e.Incarnation != w.begun[e.Actor]:
		w.t.Fatalf("delivered to incarnation %d of %d", e.Incarnation, w.begun[e.Actor])
	}
	c.incarnation = e.Incarnation
	if c.again {
		return
	}
	caller := [2]id.Task{e.Actor, taskID(c.session, 0)}
	if seq := e.Task.Seq(); seq <= w.last[caller] {
		w.t.Fatalf("delivered %s behind %x", e.Task, w.last[caller])
	} else {
		w.last[caller] = seq
	}
}

func (w *world) failed(e *Effect) {
	c := w.calls[e.Task]
	if c == nil {
		w.t.Fatalf("failed %s, which nobody waits for", e.Task)
	}
	if e.MaybeRan != (c.incarnation != 0) {
		w.t.Fatalf("failed %s maybe=%v, sent to %d", e.Task, e.MaybeRan, c.incarnation)
	}
	if e.MaybeRan && !w.ending && rapid.Bool().Draw(w.t, "retry") {
		c.incarnation, c.again = 0, true
		c.ready = rapid.Bool().Draw(w.t, "ready")
		w.step(Event{Kind: Call, Actor: c.actor, Task: e.Task, Session: c.session, ArgsReady: c.ready, Again: true})
		return
	}
	delete(w.calls, e.Task)
}

// pick draws a submitted call that satisfies ok.
func (w *world) pick(ok func(*modelCall) bool) (id.Task, *modelCall) {
	var some []id.Task
	for _, t := range w.order {
		if c := w.calls[t]; c != nil && ok(c) {
			some = append(some, t)
		}
	}
	if len(some) == 0 {
		return id.Task{}, nil
	}
	t := rapid.SampledFrom(some).Draw(w.t, "call")
	return t, w.calls[t]
}

func (w *world) anActor() (id.Actor, bool) {
	if len(w.actors) == 0 {
		return id.Actor{}, false
	}
	return rapid.SampledFrom(w.actors).Draw(w.t, "actor"), true
}

func (w *world) create() {
	a := taskID(9, uint64(len(w.actors)+1))
	session := id.Session(rapid.IntRange(1, 3).Draw(w.t, "session"))
	s := spec.Actor{
		Concurrency: rapid.IntRange(1, 3).Draw(w.t, "concurrency"),
		MaxRestarts: rapid.IntRange(-1, 2).Draw(w.t, "restarts"),
		MaxPending:  rapid.SampledFrom([]int{0, 0, 3}).Draw(w.t, "max pending"),
		Detached:    rapid.Bool().Draw(w.t, "detached"),
		Name:        rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(w.t, "name"),
	}
	w.actors = append(w.actors, a)
	w.live[a] = true
	w.step(Event{Kind: Create, Actor: a, Session: session, Job: id.Job{1}, Spec: actorSpec(s)})
	if _, ok := w.m.Get(a); !ok {
		w.actors = w.actors[:len(w.actors)-1] // the name was taken
		return
	}
	w.holds[a] = map[id.Session]int{session: 1}
}

func (w *world) call() {
	a, ok := w.anActor()
	if !ok {
		return
	}
	s := id.Session(rapid.IntRange(1, 3).Draw(w.t, "session"))
	w.next[s]++
	t := taskID(s, w.next[s])
	ready := rapid.Bool().Draw(w.t, "ready")
	w.calls[t] = &modelCall{actor: a, session: s, ready: ready}
	w.order = append(w.order, t)
	w.step(Event{Kind: Call, Actor: a, Task: t, Session: s, ArgsReady: ready})
}

func (w *world) life() {
	a, ok := w.anActor()
	if !ok {
		return
	}
	inc := w.begun[a]
	if inc > 1 && rapid.Bool().Draw(w.t, "stale") {
		inc--
	}
	kind := rapid.SampledFrom([]EventKind{Placed, Placed, Started, Started, Started, Started, Lost, InitError, Kill, Exit, CannotPlace}).Draw(w.t, "life")
	w.step(Event{Kind: kind, Actor: a, Incarnation: inc, Node: id.Node{2}, Worker: 1, Cause: WorkerDied,
		NoRestart: rapid.Bool().Draw(w.t, "no restart")})
}

func (w *world) finish() {
	t, c := w.pick(func(c *modelCall) bool { return c.incarnation != 0 })
	if c == nil {
		return
	}
	inc := c.incarnation
	if rapid.Bool().Draw(w.t, "retry error") {
		c.again, c.incarnation = true, 0
		w.step(Event{Kind: Finished, Actor: c.actor, Task: t, Incarnation: inc, Again: true, ArgsReady: c.ready})
		return
	}
	delete(w.calls, t)
	w.step(Event{Kind: Finished, Actor: c.actor, Task: t, Incarnation: inc})
}

func (w *world) ready() {
	if t, c := w.pick(func(c *modelCall) bool { return !c.ready }); c != nil {
		c.ready = true
		w.step(Event{Kind: ArgsReady, Task: t})
	}
}

func (w *world) cancel() {
	if t, c := w.pick(func(c *modelCall) bool { return c.incarnation == 0 }); c != nil {
		delete(w.calls, t)
		w.step(Event{Kind: CancelCall, Task: t})
	}
}

func (w *world) handle() {
	a, ok := w.anActor()
	if !ok {
		return
	}
	s := id.Session(rapid.IntRange(1, 3).Draw(w.t, "session"))
	n := 1
	if w.holds[a][s] > 0 && rapid.Bool().Draw(w.t, "drop") {
		n = -1
	}
	w.holds[a][s] += n
	w.step(Event{Kind: Handle, Actor: a, Session: s, N: n})
}

func (w *world) sessionEnd() {
	s := id.Session(rapid.IntRange(1, 3).Draw(w.t, "session"))
	for _, a := range w.actors {
		w.holds[a][s] = 0
	}
	w.step(Event{Kind: SessionEnd, Session: s})
}

// TestRandom drives the machine with what may happen and asks for its
// invariants, for order, for at most one delivery to an incarnation, and that
// in the end every call was answered or failed and nothing is left.
func TestRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, m: New(self, Options{Window: 3, Batch: 2}), live: map[id.Actor]bool{},
			begun: map[id.Actor]uint32{}, calls: map[id.Task]*modelCall{}, last: map[[2]id.Task]uint64{},
			holds: map[id.Actor]map[id.Session]int{}}
		w.create()
		t.Repeat(map[string]func(*rapid.T){
			"create": func(*rapid.T) { w.create() },
			"call":   func(*rapid.T) { w.call() },
			"call2":  func(*rapid.T) { w.call() },
			"life":   func(*rapid.T) { w.life() },
			"life2":  func(*rapid.T) { w.life() },
			"finish": func(*rapid.T) { w.finish() },
			"ready":  func(*rapid.T) { w.ready() },
			"cancel": func(*rapid.T) { w.cancel() },
			"handle": func(*rapid.T) { w.handle() },
			"end":    func(*rapid.T) { w.sessionEnd() },
			"tick":   func(*rapid.T) { w.now += patience; w.step(Event{Kind: Tick}) },
		})
		w.end()
	})
}

func (w *world) end() {
	w.ending = true
	for s := range id.Session(4) {
		w.step(Event{Kind: SessionEnd, Session: s})
	}
	for _, a := range w.actors {
		w.step(Event{Kind: Kill, Actor: a, NoRestart: true})
	}
	for w.m.More() {
		w.step(Event{Kind: Tick})
	}
	w.now += 2 * patience
	w.step(Event{Kind: Tick})
	if len(w.calls) != 0 || len(w.m.List(id.Actor{}, 1)) != 0 {
		w.t.Fatalf("%d calls unanswered, %d actors left", len(w.calls), len(w.m.List(id.Actor{}, 10)))
	}
}
