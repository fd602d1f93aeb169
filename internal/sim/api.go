package sim

import (
	"fmt"
	"strconv"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// job is the one that every driver works for.
var job = id.Job{1}

// Submit runs p as a task of a node's driver.
func (c *Cluster) Submit(i int, p *Program, args ...id.Object) id.Task {
	n := c.nodes[i]
	t := n.submit(n.sessionOf(driver), p, args, id.Task{}, 0)
	c.flush()
	return t
}

// Put stores a value of a node's driver.
func (c *Cluster) Put(i int, size int64) id.Object {
	n := c.nodes[i]
	s := n.sessionOf(driver)
	s.next++
	o := id.NewTask(n.id, id.Seq(s.id, s.next)).Return(0)
	r := own.Return{Size: size, Node: n.id}
	if size > inlineMax {
		r.Where = own.AtNode
		n.store[o] = copyOf{size: size}
	}
	s.holds[o]++
	c.oracle.ref(n, o, 1)
	n.stepOwn(&own.Event{Kind: own.Put, Object: o, Session: s.id, Return: r})
	c.flush()
	return o
}

// Get waits for an object at a node's driver and calls got with what became of
// it: "value", "error", or why there is none.
func (c *Cluster) Get(i int, o id.Object, got func(string)) {
	n := c.nodes[i]
	n.gets++
	n.get(o, 8, func(what string) { n.gets--; got(what) })
	c.flush()
}

// get fetches a value, asking again where it is if it was lost on the way.
func (n *node) get(o id.Object, tries int, got func(string)) {
	n.await(o, func() {
		r, ok := n.locate(o)
		switch {
		case !ok:
			got("gone")
		case r.Where == own.ByError:
			got("error")
		case r.Where == own.Inline || n.has(o):
			got("value")
		case tries == 0:
			got("unreachable")
		default:
			r.Object = o
			n.fetch(&r, func(ok bool) {
				if !ok {
					n.stepOwn(&own.Event{Kind: own.CopyLost, Object: o, Node: r.Node})
				}
				n.get(o, tries-1, got)
			})
		}
	})
}

// Drop lets a driver's reference go.
func (c *Cluster) Drop(i int, o id.Object) {
	n := c.nodes[i]
	if s := n.sessionOf(driver); !n.down && s.holds[o] > 0 {
		n.drop(s, o)
		c.flush()
	}
}

// Holds returns the references that a node's driver has to o.
func (c *Cluster) Holds(i int, o id.Object) int { return c.nodes[i].sessionOf(driver).holds[o] }

// Give sends a reference that driver i holds to driver j.
func (c *Cluster) Give(i, j int, o id.Object) {
	if n := c.nodes[i]; i != j && !n.down && n.sessionOf(driver).holds[o] > 0 {
		n.give(o, c.nodes[j])
		c.flush()
	}
}

// Cancel cancels a task of a node's driver.
func (c *Cluster) Cancel(t id.Task, force bool) {
	if n := c.byID[t.Owner()]; n != nil && !n.down {
		n.stepOwn(&own.Event{Kind: own.Cancel, Task: t, Force: force, Recursive: true})
		c.flush()
	}
}

// NewActor creates an actor of a node's driver.
func (c *Cluster) NewActor(i int, p *Program) id.Actor {
	n := c.nodes[i]
	s := n.sessionOf(driver)
	t := n.newTask(s, p, nil)
	n.stepActor(&actor.Event{Kind: actor.Create, Actor: t, Spec: p.Spec, Session: s.id, Job: job})
	c.flush()
	return t
}

// Call calls a method from a node's driver.
func (c *Cluster) Call(i int, a id.Actor, p *Program, args ...id.Object) id.Task {
	n := c.nodes[i]
	s := n.sessionOf(driver)
	t := n.newTask(s, p, args)
	n.tasks[t].actor = a
	n.stepOwn(&own.Event{Kind: own.Submit, Task: t, Session: s.id, Spec: p.Spec, Args: args, Bytes: 100})
	n.stepActor(&actor.Event{Kind: actor.Call, Actor: a, Task: t, Session: s.id})
	c.flush()
	return t
}

// GiveActor sends a handle from the node that keeps an actor's record.
func (c *Cluster) GiveActor(a id.Actor, to int) {
	n := c.byID[a.Owner()]
	if x := c.nodes[to]; n != nil && n != x && !n.down && !n.gone[x.index] {
		n.giveActor(a, x)
		c.flush()
	}
}

// KillActor ends an actor, for good or to start again.
func (c *Cluster) KillActor(a id.Actor, noRestart bool) {
	if n := c.byID[a.Owner()]; n != nil && !n.down {
		n.stepActor(&actor.Event{Kind: actor.Kill, Actor: a, NoRestart: noRestart})
		c.flush()
	}
}

// EndDriver ends a node's driver: its references, tasks and actors go.
func (c *Cluster) EndDriver(i int) {
	n := c.nodes[i]
	if n.down {
		return
	}
	n.endSession(driver, true)
	n.stepActor(&actor.Event{Kind: actor.JobEnd, Job: job})
	c.flush()
}

// Up reports whether a node runs and is not declared dead.
func (c *Cluster) Up(i int) bool { return !c.nodes[i].down && !c.nodes[i].condemned }

// TaskSpec returns the description of a task of the simulation's job.
func TaskSpec(name string, cpu float64, change func(*spec.Task)) *spec.Task {
	s := &spec.Task{Job: job, Function: name, Returns: 1, MaxRetries: spec.DefaultMaxRetries}
	s.Resources, _ = resource.FromMap(map[string]float64{resource.CPU: cpu})
	if change != nil {
		change(s)
	}
	if err := s.Seal(); err != nil {
		panic(fmt.Sprintf("sim: a description that is not valid: %v", err))
	}
	return s
}

func nodeName(i int32) string { return "n" + itoa(int(i)+1) }

func itoa(i int) string { return strconv.Itoa(i) }

func (c *Cluster) objectName(o id.Object) string {
	if o.Index() == 0 {
		return c.taskName(o.Task())
	}
	return c.taskName(o.Task()) + "/" + itoa(int(o.Index()))
}

// sameFigures reports whether a node has nothing new to say about itself, and
// remembers what it says.
func (n *node) sameFigures(ev *place.Event) bool {
	same := n.said.Free.Equal(&ev.Free) && n.said.Queued == ev.Queued
	n.said = *ev
	return same
}

// DropActor lets a driver's handle go.
func (c *Cluster) DropActor(i int, a id.Actor) {
	n := c.nodes[i]
	if !n.down {
		n.stepActor(&actor.Event{Kind: actor.Handle, Actor: a, Session: driver, N: -1})
		c.flush()
	}
}
