package node

import (
	"bytes"

	"github.com/weftrun/weft/internal/client"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

// postItem sends an item that a guest has made to its owner.
func (n *Node) postItem(t *task, res client.Result, ret *own.Return) {
	p, o := n.guests[t.id].owner, ret.Object
	r := &nodev1.Return{Object: o[:]}
	if e := n.objects[o]; e != nil && e.at {
		r.Node, r.Value = n.id[:], e.located()
	} else {
		r.Value = wire.ValueToPB(encodedValue(res))
	}
	n.sendRefs(p, r)
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Item{Item: &nodev1.Item{Task: t.id[:], Attempt: t.attempt, Item: r}}})
}

// gotItem takes in an item that a task of this node's has made at p.
func (n *Node) gotItem(p *peer, m *nodev1.Item) error {
	tid, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	var refs []id.Object
	if err := eachRef(m.Item, func(o id.Object) { refs = append(refs, o) }); err != nil {
		return err
	}
	for _, o := range refs {
		n.stepOwn(&own.Event{Kind: own.GotRef, Object: o, Node: p.id})
	}
	if t := n.task(tid); t != nil && t.stream != nil && t.attempt == m.Attempt && n.elsewhere[tid] == p.id {
		err = n.itemOf(t, m.Item)
	} else {
		err = n.staleItem(tid, p, m)
	}
	for _, o := range refs {
		n.stepOwn(&own.Event{Kind: own.Drop, Object: o, N: 1})
	}
	return err
}

func (n *Node) itemOf(t *task, r *nodev1.Return) error {
	if o := t.id.Return(uint32(t.stream.made)); !bytes.Equal(r.GetObject(), o[:]) {
		return &wire.Error{Code: wire.Protocol, Op: t.spec.Name, Message: "items of a stream out of order"}
	}
	ret, res, err := n.learn(r)
	if err != nil {
		return err
	}
	n.made(t.stream, res, ret)
	if n.own.Known(ret.Object).Is == own.Never { // it was delivered before, and has been freed
		n.free(ret.Object)
	}
	return nil
}

// staleItem has own discard an item that nobody waits for.
func (n *Node) staleItem(tid id.Task, p *peer, m *nodev1.Item) error {
	o, err := wire.ReadObject(m.Item.GetObject())
	if err != nil {
		return err
	}
	ret := own.Return{Object: o}
	if len(m.Item.Node) > 0 {
		ret.Where, ret.Node = own.AtNode, p.id
	}
	n.stepOwn(&own.Event{Kind: own.Item, Task: tid, Attempt: m.Attempt, Node: p.id, Return: ret})
	return nil
}

// postCredit lets a producer at another node go on.
func (n *Node) postCredit(t *task, e *own.Effect) {
	if p := n.peers[n.elsewhere[t.id]]; p != nil {
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Credit{Credit: &nodev1.Credit{Task: t.id[:], Attempt: e.Attempt,
			N: uint32(e.N), Bytes: uint64(e.Bytes)}}})
	}
}

// gotCredit lets a guest, a producer, go on.
func (n *Node) gotCredit(m *nodev1.Credit) error {
	tid, err := wire.ReadTask(m.Task)
	if err != nil {
		return err
	}
	if t := n.tasks[tid]; t != nil && n.guests[tid] != nil && t.stream != nil && t.attempt == m.Attempt {
		n.credit(&own.Effect{Task: tid, N: int(m.N), Bytes: int64(m.Bytes)})
	}
	return nil
}
