package node

import (
	"bytes"
	"errors"
	"math"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// elsewhere is the worker of a task that runs at another node.
const elsewhere id.Worker = math.MaxUint32

// remotePlace does what place wants of other nodes.
func (n *Node) remotePlace(e *place.Effect) {
	p := n.peers[e.Node]
	if p == nil {
		return // NodeGone follows
	}
	switch e.Kind {
	case place.Ask:
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Ask{Ask: &nodev1.Ask{Template: n.describe(p, e.Spec), N: int32(e.N), NoWait: e.NoWait}}})
	case place.GiveBack:
		n.giveBackLease(p, e.Lease)
	case place.Push:
		n.push(p, e)
	}
}

func (n *Node) giveBackLease(p *peer, lease uint64) {
	n.post(p, &nodev1.Message{Body: &nodev1.Message_GiveBack{GiveBack: &nodev1.Lease{Lease: lease}}})
}

// push sends a task to run at p.
func (n *Node) push(p *peer, e *place.Effect) {
	t := n.task(e.Task)
	if t == nil {
		if e.Lease != 0 {
			n.giveBackLease(p, e.Lease)
		}
		return
	}
	m := &nodev1.Push{Task: t.id[:], Attempt: e.Attempt, Template: n.describe(p, t.spec), Lease: e.Lease}
	for i := range t.enc.args {
		m.Args = append(m.Args, n.pushArg(p, &t.enc.args[i]))
	}
	t.worker = elsewhere
	n.elsewhere[t.id] = p.id
	if t.spec.Kind == spec.KindCreate {
		info, _ := n.actors.Get(t.id)
		t.incarnation, m.Incarnation = info.Incarnation, info.Incarnation
		n.stepActor(&actor.Event{Kind: actor.Placed, Actor: t.id, Incarnation: t.incarnation, Node: p.id})
	} else {
		n.stepOwn(&own.Event{Kind: own.Started, Task: t.id, Attempt: e.Attempt, Node: p.id})
	}
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Push{Push: m}})
}

// pushArg describes an argument for p, with every reference that goes there.
func (n *Node) pushArg(p *peer, a *arg) *nodev1.Arg {
	m := &nodev1.Arg{List: a.many}
	objects := a.list
	if !a.many && !a.obj.IsZero() {
		objects = []id.Object{a.obj}
	}
	for _, o := range objects {
		n.sendRef(p, o)
		r, ok := n.describeObject(o)
		if !ok { // it was lost since the task became runnable
			r = lostReturn(o, n.id)
		}
		n.sendRefs(p, r)
		n.relayTo(p, o, r)
		m.Objects = append(m.Objects, r)
	}
	if !a.many && a.obj.IsZero() {
		m.Value = wire.ValueToPB(a.val)
		for _, o := range a.val.Refs {
			n.sendRef(p, o)
		}
	}
	return m
}

// lostReturn describes an object that was at a node and is not known here any
// more: without a value.
func lostReturn(o id.Object, at id.Node) *nodev1.Return {
	return &nodev1.Return{Object: o[:], Node: at[:]}
}

// sendRef registers p as a holder of a reference that is about to go there.
func (n *Node) sendRef(p *peer, o id.Object) {
	n.stepOwn(&own.Event{Kind: own.SendRef, Object: o, Node: p.id})
}

// sendRefs is sendRef for the references inside a value.
func (n *Node) sendRefs(p *peer, r *nodev1.Return) {
	_ = eachRef(r, func(o id.Object) { n.sendRef(p, o) })
}

// eachRef calls f for each reference inside a value.
func eachRef(r *nodev1.Return, f func(id.Object)) error {
	refs, err := wire.UnpackObjects(nil, r.Value.GetRefs())
	for _, o := range refs {
		f(o)
	}
	return err
}

// sendOwn passes a message of this node's owner machine on.
func (n *Node) sendOwn(e *own.Effect) {
	p := n.peers[e.Node]
	if p == nil {
		return // it is dead, or will be declared so
	}
	g := e.Msg
	m := &nodev1.Own{Kind: uint32(g.Kind), Attempt: g.Attempt, N: int64(g.N), Force: g.Force, Recursive: g.Recursive, Gone: uint32(g.Gone)}
	o, t, about, via := g.Object, g.Task, g.Node, g.Via
	m.Object, m.Task, m.Node, m.Via = o[:], t[:], about[:], via[:]
	if g.Kind == own.Resolved && g.Gone == own.Present {
		r, ok := n.describeObject(o)
		if !ok {
			r = lostReturn(o, g.Return.Node)
		}
		n.relayTo(p, o, r)
		m.Return = r
	}
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Own{Own: m}})
}

// gotOwn hands a message of another owner machine to this node's.
func (n *Node) gotOwn(p *peer, m *nodev1.Own) error {
	g := own.Msg{Kind: own.MsgKind(m.Kind), Attempt: m.Attempt, N: int(m.N), Force: m.Force, Recursive: m.Recursive, Gone: own.Gone(m.Gone)}
	var err [4]error
	g.Object, err[0] = wire.ReadObject(m.Object)
	g.Task, err[1] = wire.ReadTask(m.Task)
	g.Node, err[2] = wire.ReadNode(m.Node)
	g.Via, err[3] = wire.ReadNode(m.Via)
	if err := errors.Join(err[:]...); err != nil {
		return err
	}
	if m.Return != nil {
		if err := n.resolved(&g, m.Return); err != nil {
			return err
		}
	}
	n.stepOwn(&own.Event{Kind: own.Peer, Node: p.id, Msg: &g})
	return nil
}

// resolved notes the value of an object that this node borrows.
func (n *Node) resolved(g *own.Msg, r *nodev1.Return) (err error) {
	if n.own.Known(g.Object).Is == own.Never { // nobody here uses it any more
		refs, err := wire.UnpackObjects(nil, r.Value.GetRefs())
		g.Return = own.Return{Object: g.Object, Inner: refs}
		return err
	}
	if g.Return, _, err = n.learn(r); err != nil {
		return err
	}
	n.objects[g.Object].ready = true
	return nil
}

// gotOutcome takes in how an attempt of one of this node's tasks ended at p.
func (n *Node) gotOutcome(p *peer, m *nodev1.Outcome) error {
	tid, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	var refs []id.Object
	for _, r := range m.Returns {
		if err := eachRef(r, func(o id.Object) { refs = append(refs, o) }); err != nil {
			return err
		}
	}
	for _, o := range refs {
		n.stepOwn(&own.Event{Kind: own.GotRef, Object: o, Node: p.id})
	}
	t := n.task(tid)
	current := t != nil && n.elsewhere[tid] == p.id
	switch {
	case current && t.spec.Kind == spec.KindCreate:
		n.constructedAway(t, m)
	case current && t.attempt == m.Attempt:
		err = n.outcomeOf(t, p, m)
	default:
		err = n.staleOutcome(tid, p, m)
	}
	for _, o := range refs {
		n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1})
	}
	if t == nil || t.spec.Kind != spec.KindMethod {
		n.stepPlace(&place.Event{Kind: place.Ended, Task: tid, Node: p.id, Lease: m.Lease, Ran: int64(m.Ran)})
	}
	return err
}

// constructedAway takes in that a constructor has ended at another node. What
// became of the actor itself came before it.
func (n *Node) constructedAway(t *task, m *nodev1.Outcome) {
	if m.Fault != 0 || m.Error != nil || m.Incarnation != t.incarnation {
		return
	}
	if !t.told {
		t.told = true
		n.finish(t, &outcome{results: []client.Result{{}}})
	}
	delete(n.elsewhere, t.id)
}

// outcomeOf ends the current attempt of t, which ran at p.
func (n *Node) outcomeOf(t *task, p *peer, m *nodev1.Outcome) error {
	fault := own.Fault(m.Fault)
	o := &outcome{exits: m.Exits, final: fault == own.Final}
	if m.Error != nil {
		o.err = wire.ErrorFromPB(m.Error)
	}
	if fault != 0 && fault != own.User && fault != own.Final {
		delete(n.elsewhere, t.id)
		return n.failedAway(t, p, m, o)
	}
	if len(m.Returns) > t.spec.Returns {
		return &wire.Error{Code: wire.Protocol, Op: t.spec.Name, Message: "more results than the task returns"}
	}
	for i, r := range m.Returns {
		if oid := t.id.Return(uint32(i)); !bytes.Equal(r.Object, oid[:]) {
			return &wire.Error{Code: wire.Protocol, Op: t.spec.Name, Message: "a result of another task"}
		}
		_, res, err := n.learn(r)
		if err != nil {
			return err
		}
		o.results = append(o.results, res)
	}
	if t.stream != nil && t.stream.made != int(m.Items) {
		return &wire.Error{Code: wire.Protocol, Op: t.spec.Name, Message: "a stream's end does not match its items"}
	}
	n.ended(t, o)
	delete(n.elsewhere, t.id)
	return nil
}

// failedAway reports an attempt that ended at p without a result.
func (n *Node) failedAway(t *task, p *peer, m *nodev1.Outcome, o *outcome) error {
	ev := own.Event{Kind: own.Failed, Task: t.id, Attempt: m.Attempt, Node: p.id, Fault: own.Fault(m.Fault), N: int(m.Others)}
	if ev.Fault == own.ArgLost {
		var errs [2]error
		ev.Object, errs[0] = wire.ReadObject(m.Lost)
		if len(m.Looked) > 0 {
			ev.To, errs[1] = wire.ReadNode(m.Looked)
		}
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	if t.out = o; ev.Fault == own.Cancelled {
		o.err = nil // that says it all
	}
	if t.spec.Kind == spec.KindMethod {
		n.answeredAgain(t, o, &ev)
		return nil
	}
	n.stepFailed(t, &ev)
	n.settleOwn()
	t.out = nil
	return nil
}

// staleOutcome has own discard what an attempt brought that nobody waits for.
func (n *Node) staleOutcome(tid id.Task, p *peer, m *nodev1.Outcome) error {
	ev := own.Event{Kind: own.Done, Task: tid, Attempt: m.Attempt, Node: p.id}
	for i, r := range m.Returns {
		ret := own.Return{Object: tid.Return(uint32(i)), Size: int64(r.Value.GetSize())}
		if len(r.Node) > 0 {
			at, err := wire.ReadNode(r.Node)
			if err != nil {
				return err
			}
			ret.Where, ret.Node = own.AtNode, at
		}
		ev.Returns = append(ev.Returns, ret)
	}
	n.stepOwn(&ev)
	return nil
}

// ranAt is the node where t's attempt ran.
func (n *Node) ranAt(t *task) id.Node {
	if len(n.elsewhere) > 0 {
		if at, ok := n.elsewhere[t.id]; ok {
			return at
		}
	}
	return n.id
}
