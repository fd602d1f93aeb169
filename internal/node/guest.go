package node

import (
	"fmt"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// guest is what this node knows more of a task that it runs for another node:
// such a task is in Node.tasks for as long as its attempt lasts.
type guest struct {
	owner *peer
	lease dispatch.Lease // that it came through; 0 if it queues like any other
	refs  []id.Object    // that came with it
}

// gotPush takes an attempt of p's task in.
func (n *Node) gotPush(p *peer, m *nodev1.Push) error {
	tid, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	s := p.specs[m.Template]
	if s == nil {
		return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("a task of the unknown template %d", m.Template)}
	}
	if old := n.tasks[tid]; old != nil {
		if n.guests[tid] == nil {
			return usedTwice(tid)
		}
		n.dropGuest(old)
	}
	t := &task{id: tid, attempt: m.Attempt, incarnation: m.Incarnation, spec: s, enc: &encoded{group: m.Group}}
	g := &guest{owner: p, lease: dispatch.Lease(m.Lease)}
	if t.actor, err = wire.ReadOptionalTask(m.Actor); err != nil {
		return err
	}
	if t.enc.args, err = n.guestArgs(g, m.Args); err != nil {
		return err
	}
	n.tasks[tid], n.hot, n.guests[tid] = t, t, g
	if s.Stream {
		t.stream = newStream(n, t)
	}
	switch {
	case s.Kind == spec.KindMethod:
		n.takeCall(t)
	case s.Kind == spec.KindTask && n.draining:
		n.attemptOver(t, &own.Event{Fault: own.Declined})
	default:
		n.withArguments(t, func() { n.enqueue(t) })
	}
	return nil
}

// guestArgs makes the arguments of a guest, whose references this node holds
// from now on.
func (n *Node) guestArgs(g *guest, ms []*nodev1.Arg) ([]arg, error) {
	args := make([]arg, len(ms))
	for i, m := range ms {
		a := &args[i]
		a.many = m.List
		for _, r := range m.Objects {
			o, err := n.guestObject(g, r)
			if err != nil {
				return nil, err
			}
			if a.many {
				a.list = append(a.list, o)
			} else {
				a.obj = o
			}
		}
		if m.Value == nil {
			continue
		}
		v, err := wire.ValueFromPB(m.Value)
		if err != nil {
			return nil, err
		}
		a.val = v
		for _, o := range v.Refs {
			n.hostRef(g, o)
		}
	}
	return args, nil
}

// guestObject notes an object among a guest's arguments.
func (n *Node) guestObject(g *guest, r *nodev1.Return) (o id.Object, err error) {
	if o, err = wire.ReadObject(r.Object); err != nil {
		return o, err
	}
	n.hostRef(g, o)
	if err := eachRef(r, func(in id.Object) { n.hostRef(g, in) }); err != nil {
		return o, err
	}
	if e := n.objects[o]; e != nil && (e.at || e.ready) {
		return o, nil
	}
	if _, _, err = n.learn(r); err == nil {
		n.objects[o].ready = true
	}
	return o, err
}

// hostRef holds a reference that came with a guest.
func (n *Node) hostRef(g *guest, o id.Object) {
	n.stepOwn(&own.Event{Kind: own.GotRef, Object: o, Node: g.owner.id})
	g.refs = append(g.refs, o)
}

// through is the lease that t came through, if it is a guest.
func (n *Node) through(t *task) dispatch.Lease {
	if len(n.guests) > 0 {
		if g := n.guests[t.id]; g != nil {
			return g.lease
		}
	}
	return 0
}

// attemptOver tells t's owner, this node's machine or another node, that the
// attempt ended without a result: the Fault, and what belongs to it.
func (n *Node) attemptOver(t *task, ev *own.Event) {
	ev.Kind, ev.Task, ev.Attempt, ev.Node = own.Failed, t.id, t.attempt, n.id
	if len(n.guests) > 0 && n.guests[t.id] != nil {
		n.guestOver(t, ev)
		return
	}
	n.stepFailed(t, ev)
}

// guestOver tells the owner of a guest how its attempt ended.
func (n *Node) guestOver(t *task, ev *own.Event) {
	g := n.guests[t.id]
	m := &nodev1.Outcome{Task: t.id[:], Attempt: t.attempt, Incarnation: t.incarnation, Lease: uint64(g.lease), Fault: uint32(ev.Fault), Others: uint32(max(ev.N, 0))}
	if ev.Fault == own.ArgLost {
		m.Lost, m.Looked = ev.Object[:], ev.To[:]
	}
	if o := t.out; o != nil {
		m.Ran, m.Exits = uint64(o.ran), o.exits
		if o.final {
			m.Fault = uint32(own.Final)
		}
		if o.err != nil {
			m.Error = wire.ErrorToPB(o.err)
		}
	}
	if t.stream != nil {
		m.Items = uint32(t.stream.made)
	}
	if ev.Kind == own.Done && m.Error == nil {
		for i := range t.spec.Returns {
			r := n.guestReturn(t, uint32(i))
			if r == nil { // it runs again: no value is not an empty one
				m.Fault, m.Returns = uint32(own.WorkerDied), nil
				m.Error = wire.ErrorToPB(&wire.Error{Code: wire.WorkerCrashed, Op: t.spec.Name, Task: t.id, Node: n.id,
					Message: "its result was gone before its owner heard of it"})
				break
			}
			n.sendRefs(g.owner, r)
			m.Returns = append(m.Returns, r)
		}
	}
	n.post(g.owner, &nodev1.Message{Body: &nodev1.Message_Outcome{Outcome: m}})
	n.dropGuest(t)
}

// guestReturn describes a result for the guest's owner; nil if there is none.
func (n *Node) guestReturn(t *task, i uint32) *nodev1.Return {
	o := t.id.Return(i)
	r := &nodev1.Return{Object: o[:]}
	if e := n.objects[o]; e != nil && e.at {
		r.Node, r.Value = n.id[:], e.located()
		return r
	}
	res := t.result(i)
	if res.Enc == nil && t.spec.Kind != spec.KindCreate && t.stream == nil { // these return nothing
		return nil
	}
	r.Value = wire.ValueToPB(encodedValue(res))
	return r
}

func encodedValue(r client.Result) wire.Value {
	if r.Enc == nil {
		return wire.Value{}
	}
	return r.Enc.Value
}

// dropGuest forgets a guest and lets go of what came with it.
func (n *Node) dropGuest(t *task) {
	g := n.guests[t.id]
	n.guardEnded(t)
	delete(n.guests, t.id)
	delete(n.tasks, t.id)
	delete(n.waitsOn, t.id)
	delete(n.coming, t.id)
	n.hot = nil
	for _, o := range g.refs {
		n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1})
	}
	if t.spec.Kind == spec.KindCreate {
		n.releaseJob(t.spec.Job)
	}
}

// dropGuestsOf stops what runs here for a node that has died.
func (n *Node) dropGuestsOf(dead id.Node) {
	for tid, g := range n.guests {
		if g.owner.id != dead {
			continue
		}
		t := n.tasks[tid]
		if t.worker == 0 && t.spec.Kind == spec.KindTask {
			n.stepDispatch(&dispatch.Event{Kind: dispatch.Unqueue, Task: tid, Attempt: t.attempt})
		} else {
			n.interruptWorker(t, true)
		}
		n.dropGuest(t)
	}
}

// unused forgets a foreign object that nothing here refers to. Bytes in the
// store stay until the owner says that they may go.
func (n *Node) unused(o id.Object) {
	if e := n.objects[o]; e != nil && !e.at && len(e.futures)+len(e.gets)+len(e.watches) == 0 {
		delete(n.objects, o)
		delete(n.away, o)
	}
}
