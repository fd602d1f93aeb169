package node

import (
	"os"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/coordinate"
	controlv1 "github.com/weftrun/weft/internal/gen/control/v1"
	"github.com/weftrun/weft/internal/wire"
)

// metadata is what the node has to write to the cluster's records: its jobs,
// its placement groups, and the actors that others can find. Changes are queued
// under the node's lock, the newest of a key replacing older ones, and written
// by a goroutine of their own, because a store may be on another machine.
type metadata struct {
	store   control.Store
	pending map[string][]byte // by key; nil removes
	order   []string          // of pending
	poke    chan struct{}
}

func newMetadata(s control.Store) *metadata {
	return &metadata{store: s, pending: map[string][]byte{}, poke: make(chan struct{}, 1)}
}

// set queues a record; a nil message removes it.
func (m *metadata) set(key string, msg wire.Message) {
	var value []byte
	if msg != nil {
		value = make([]byte, msg.SizeVT())
		if _, err := msg.MarshalToSizedBufferVT(value); err != nil {
			return
		}
	}
	if _, queued := m.pending[key]; !queued {
		m.order = append(m.order, key)
	}
	m.pending[key] = value
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// writeMetadata writes what is queued until the node ends, and what is left then.
func (n *Node) writeMetadata() {
	for {
		select {
		case <-n.meta.poke:
			n.commitMetadata()
		case <-n.ctx.Done():
			return
		}
	}
}

// maxOps bounds the records written in one transaction.
const maxOps = 64

func (n *Node) commitMetadata() {
	for {
		var t control.Txn
		n.mu.Lock()
		for len(n.meta.order) > 0 && len(t.Do) < maxOps {
			key := n.meta.order[0]
			n.meta.order = n.meta.order[1:]
			if v := n.meta.pending[key]; v != nil {
				t.Do = append(t.Do, control.Set(key, v))
			} else {
				t.Do = append(t.Do, control.Remove(key))
			}
			delete(n.meta.pending, key)
		}
		n.mu.Unlock()
		if len(t.Do) == 0 {
			return
		}
		if _, err := n.meta.store.Commit(n.ctx, t); err != nil && n.ctx.Err() == nil && n.cfg.Log != nil {
			n.cfg.Log.Error("metadata not written", "error", err)
		}
	}
}

// announceNode records the node itself.
func (n *Node) announceNode() {
	resources := map[string]int64{}
	for name, a := range n.total.All {
		resources[name] = int64(a)
	}
	n.meta.set(control.NodeKey(n.id), &controlv1.Node{Id: n.id[:], Address: n.cfg.Socket, Build: n.cfg.Build,
		Pid: uint32(os.Getpid()), Resources: resources, Labels: n.cfg.Labels})
}

// jobRecord records a job; gone removes it.
func (n *Node) jobRecord(j *job, gone bool) {
	if n.cfg.Cluster != nil {
		kind := coordinate.JobBegan
		if gone {
			kind = coordinate.JobEnded
		}
		n.cfg.Cluster.Report(&coordinate.Event{Kind: kind, Job: j.id, Node: n.id})
	}
	if gone {
		n.meta.set(control.JobKey(j.id), nil)
		return
	}
	n.meta.set(control.JobKey(j.id), &controlv1.Job{Id: j.id[:], Node: n.id[:], Program: j.name,
		Namespace: j.session.namespace, Pid: uint32(j.session.pid)})
}

// actorMetadata records an actor that has a name or outlives its job.
func (n *Node) actorMetadata(e *actor.Effect) {
	info, ok := n.actors.Get(e.Actor)
	if !ok || !info.Spec.Actor.Registered() {
		return
	}
	if n.cfg.Cluster != nil && !info.Remote {
		n.reportActor(e, &info)
	}
	a := info.Spec.Actor
	if e.State == actor.Dead {
		n.meta.set(control.ActorKey(e.Actor), nil)
		if a.Name != "" {
			n.meta.set(control.ActorNameKey(a.Namespace, a.Name), nil)
		}
		return
	}
	rec := &controlv1.Actor{Id: append([]byte(nil), e.Actor[:]...), Job: info.Job[:], Class: a.Class, Name: a.Name, Namespace: a.Namespace,
		Detached: a.Detached, State: uint32(e.State), Incarnation: info.Incarnation, Node: info.Node[:], Worker: uint32(info.Worker),
		Cause: uint32(e.Cause), MaxRestarts: int32(a.MaxRestarts)}
	n.meta.set(control.ActorKey(e.Actor), rec)
	if a.Name != "" {
		n.meta.set(control.ActorNameKey(a.Namespace, a.Name), rec)
	}
}

// groupRecord records a placement group; gone removes it.
func (n *Node) groupRecord(g *group, gone bool) {
	if gone {
		n.meta.set(control.GroupKey(g.id), nil)
		return
	}
	rec := &controlv1.Group{Id: g.id[:], Job: g.spec.Job[:], Name: g.spec.Name, Layout: uint32(g.spec.Layout)}
	for i := range g.spec.Bundles {
		if at := n.bundleNode(g, i); !at.IsZero() {
			rec.Nodes = append(rec.Nodes, at[:])
		}
	}
	n.meta.set(control.GroupKey(g.id), rec)
}
