package node

import (
	"errors"

	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

// bequeath hands p what this node owns.
func (n *Node) bequeath(p *peer) error {
	for _, s := range n.streams { // who reads them ends with this node
		n.stepOwn(&own.Event{Kind: own.DropStream, Task: s.t.id})
	}
	n.settle()
	records, fx, err := n.own.Drain(p.id, n.fx.own)
	if n.fx.own = fx; err != nil {
		return &wire.Error{Code: wire.Internal, Op: "leave", Node: n.id, Message: err.Error(), Err: err}
	}
	all := make([]*nodev1.Record, len(records))
	for i := range records {
		all[i] = n.recordToPB(p, &records[i])
	}
	n.settle() // the heir gets the records behind all else
	for len(all) > recordsAtOnce {
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Adopt{Adopt: &nodev1.Adopt{Records: all[:recordsAtOnce]}}})
		all = all[recordsAtOnce:]
	}
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Adopt{Adopt: &nodev1.Adopt{Records: all, Last: true}}})
	return nil
}

func (n *Node) recordToPB(p *peer, r *own.Record) *nodev1.Record {
	m := &nodev1.Record{Task: r.Task[:], Attempt: r.Attempt, SystemUsed: uint32(r.SystemUsed), UserUsed: uint32(r.UserUsed),
		OomUsed: uint32(r.OOMUsed), Rebuilds: uint32(r.Rebuilds), Failed: r.Failed, Cancelled: r.Cancelled, Recursive: r.Recursive,
		Lineage: r.Lineage, Evicted: r.Evicted, Payload: r.Payload, Retired: r.Retired, Leftover: r.Leftover,
		Args: wire.PackObjects(nil, r.Args...), Inner: wire.PackObjects(nil, r.Inner...), Bytes: r.Bytes}
	if r.Spec != nil {
		m.Template = n.describe(p, r.Spec)
	}
	if s := r.Stream; s != nil {
		m.Stream = &nodev1.StreamRecord{Made: s.Made, Consumed: s.Consumed, Sizes: s.Sizes, Ended: s.Ended, Dropped: s.Dropped}
	}
	if t := n.tasks[r.Task]; t != nil && t.enc != nil {
		for i := range t.enc.args {
			m.Arguments = append(m.Arguments, argumentToPB(&t.enc.args[i]))
		}
	}
	for i := range r.Objects {
		m.Objects = append(m.Objects, n.ownedToPB(r.Task.Return(r.Objects[i].Index), &r.Objects[i]))
	}
	return m
}

// argumentToPB is an argument by the ids of what it refers to: where those are
// their owners say.
func argumentToPB(a *arg) *nodev1.Arg {
	m := &nodev1.Arg{List: a.many}
	objects := a.list
	if !a.many && !a.obj.IsZero() {
		objects = []id.Object{a.obj}
	}
	for _, o := range objects {
		m.Objects = append(m.Objects, &nodev1.Return{Object: o[:]})
	}
	if !a.many && a.obj.IsZero() {
		m.Value = wire.ValueToPB(a.val)
	}
	return m
}

func (n *Node) ownedToPB(o id.Object, r *own.ObjectRecord) *nodev1.OwnedObject {
	m := &nodev1.OwnedObject{Index: r.Index, Has: r.Has, Where: uint32(r.Where), Gone: uint32(r.Gone), Size: r.Size,
		Inner: wire.PackObjects(nil, r.Inner...)}
	for _, at := range r.Nodes {
		m.Nodes = append(m.Nodes, at[:]...)
	}
	for _, h := range r.Holders {
		m.Holders = append(m.Holders, &nodev1.Holder{Node: h.Node[:], Via: h.Via[:], N: int64(h.N), Subscribed: h.Subscribed})
	}
	if r.Has {
		m.Value, _ = n.describeObject(o)
	}
	return m
}

// gotAdopt takes over what a node owned that leaves.
func (n *Node) gotAdopt(p *peer, m *nodev1.Adopt) error {
	n.adopting = append(n.adopting, m.Records...)
	if !m.Last {
		return nil
	}
	records := make([]own.Record, len(n.adopting))
	for i, r := range n.adopting {
		var err error
		if records[i], err = n.recordFromPB(p, r); err != nil {
			return err
		}
	}
	n.adopting = nil
	n.stepOwn(&own.Event{Kind: own.Adopt, Node: p.id, Records: records})
	return nil
}

func (n *Node) recordFromPB(p *peer, m *nodev1.Record) (own.Record, error) {
	r := own.Record{State: own.Ended, Attempt: m.Attempt, SystemUsed: uint16(m.SystemUsed), UserUsed: uint16(m.UserUsed),
		OOMUsed: uint8(m.OomUsed), Rebuilds: uint8(m.Rebuilds), Failed: m.Failed, Cancelled: m.Cancelled, Recursive: m.Recursive,
		Lineage: m.Lineage, Evicted: m.Evicted, Payload: m.Payload, Retired: m.Retired, Leftover: m.Leftover, Bytes: m.Bytes}
	var errs [3]error
	r.Task, errs[0] = wire.ReadTask(m.Task)
	r.Args, errs[1] = wire.UnpackObjects(nil, m.Args)
	r.Inner, errs[2] = wire.UnpackObjects(nil, m.Inner)
	if err := errors.Join(errs[:]...); err != nil {
		return r, err
	}
	if s := m.Stream; s != nil {
		r.Stream = &own.StreamRecord{Made: s.Made, Consumed: s.Consumed, Sizes: s.Sizes, Ended: s.Ended, Dropped: s.Dropped}
	}
	if m.Template != 0 {
		if r.Spec = p.specs[m.Template]; r.Spec == nil {
			return r, &wire.Error{Code: wire.Protocol, Message: "a task of an unknown template"}
		}
		t, err := adopted(&r, m.Arguments)
		if err != nil {
			return r, err
		}
		n.tasks[r.Task] = t
	}
	for _, o := range m.Objects {
		x, err := n.ownedFromPB(r.Task.Return(o.Index), o)
		if err != nil {
			return r, err
		}
		r.Objects = append(r.Objects, x)
	}
	return r, nil
}

// adopted is a task that another node had, and that has ended.
func adopted(r *own.Record, args []*nodev1.Arg) (*task, error) {
	all, err := argumentsFromPB(args)
	return &task{id: r.Task, attempt: r.Attempt, spec: r.Spec, enc: &encoded{inner: r.Inner, args: all}}, err
}

// argumentsFromPB is the inverse of argumentToPB.
func argumentsFromPB(ms []*nodev1.Arg) (args []arg, err error) {
	for _, m := range ms {
		a := arg{many: m.List}
		for _, x := range m.Objects {
			o, err := wire.ReadObject(x.Object)
			if err != nil {
				return nil, err
			}
			a.list, a.obj = append(a.list, o), o
		}
		if a.many {
			a.obj = id.Object{}
		} else {
			a.list = nil
		}
		if m.Value != nil {
			v, err := wire.ValueFromPB(m.Value)
			if err != nil {
				return nil, err
			}
			a.val = v
		}
		args = append(args, a)
	}
	return args, nil
}

func (n *Node) ownedFromPB(o id.Object, m *nodev1.OwnedObject) (own.ObjectRecord, error) {
	r := own.ObjectRecord{Index: m.Index, Has: m.Has, Where: own.Where(m.Where), Gone: own.Gone(m.Gone), Size: m.Size}
	var err error
	if r.Inner, err = wire.UnpackObjects(nil, m.Inner); err != nil {
		return r, err
	}
	if r.Nodes, err = unpackNodes(m.Nodes); err != nil {
		return r, err
	}
	for _, h := range m.Holders {
		var errs [2]error
		x := own.HolderRecord{N: int(h.N), Subscribed: h.Subscribed}
		x.Node, errs[0] = wire.ReadNode(h.Node)
		x.Via, errs[1] = wire.ReadNode(h.Via)
		if err := errors.Join(errs[:]...); err != nil {
			return r, err
		}
		r.Holders = append(r.Holders, x)
	}
	if m.Value != nil {
		if _, _, err = n.learn(m.Value); err == nil {
			n.objects[o].ready = true
		}
	}
	return r, err
}

func unpackNodes(b []byte) (nodes []id.Node, err error) {
	const size = len(id.Node{})
	for ; len(b) > 0 && err == nil; b = b[min(len(b), size):] {
		var at id.Node
		at, err = wire.ReadNode(b[:min(len(b), size)])
		nodes = append(nodes, at)
	}
	return nodes, err
}
