package head

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/coordinate"
	controlv1 "github.com/weftrun/weft/internal/gen/control/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/wire"
)

// changes is what a Write does to the store.
func (h *Head) changes(e *coordinate.Effect) []control.Op {
	switch e.Op {
	case coordinate.PutNode:
		if r, ok := h.m.Node(e.Node); ok {
			return put(control.NodeKey(e.Node), nodeRecord(&r))
		}
	case coordinate.DropNode:
		return []control.Op{control.Remove(control.NodeKey(e.Node))}
	case coordinate.PutHeir:
		return put(control.HeirKey(e.Node), &controlv1.Heir{Node: nodeBytes(e.Heir)})
	case coordinate.PutActor:
		if r, ok := h.m.Actor(e.Actor); ok {
			return actorChanges(&r)
		}
	case coordinate.DropActor:
		ops := []control.Op{control.Remove(control.ActorKey(e.Actor))}
		if e.Name != "" {
			ops = append(ops, control.Remove(control.ActorNameKey(e.Namespace, e.Name)))
		}
		return ops
	case coordinate.PutJob:
		if r, ok := h.m.Job(e.Job); ok {
			return put(control.JobKey(e.Job), &controlv1.Job{Id: jobBytes(r.Job), Node: nodeBytes(r.Node)})
		}
	case coordinate.DropJob:
		return []control.Op{control.Remove(control.JobKey(e.Job))}
	case coordinate.PutGroup:
		if r, _, ok := h.m.Group(e.Group); ok {
			return put(control.GroupKey(e.Group), groupRecord(&r))
		}
	case coordinate.DropGroup:
		return []control.Op{control.Remove(control.GroupKey(e.Group))}
	}
	return nil // it is gone by now, and the Write of that comes
}

func put(key string, m wire.Message) []control.Op {
	value := make([]byte, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(value); err != nil {
		panic(fmt.Sprintf("head: a record that cannot be encoded: %v", err)) // our own, and of our own fields
	}
	return []control.Op{control.Set(key, value)}
}

func nodeRecord(r *coordinate.NodeRecord) *controlv1.Node {
	p := &controlv1.Node{Id: nodeBytes(r.Node), Address: r.Address, Draining: r.Draining}
	if r.Figures != nil {
		p.Resources, p.Labels = wire.VectorToPB(&r.Figures.Total), r.Figures.Labels
	}
	return p
}

func actorChanges(r *coordinate.ActorRecord) []control.Op {
	p := &controlv1.Actor{Id: taskBytes(r.Actor), Job: jobBytes(r.Job), Namespace: r.Namespace, Name: r.Name, Detached: r.Detached,
		State: uint32(r.State), Incarnation: r.Incarnation, Node: nodeBytes(r.Host), Owner: nodeBytes(r.Owner), Data: r.Data}
	ops := put(control.ActorKey(r.Actor), p)
	if r.Name != "" {
		ops = append(ops, control.Set(control.ActorNameKey(r.Namespace, r.Name), slices.Clone(r.Actor[:])))
	}
	return ops
}

func groupRecord(r *coordinate.GroupRecord) *controlv1.Group {
	p := &controlv1.Group{Id: taskBytes(r.Group), Job: jobBytes(r.Spec.Job), Name: r.Spec.Name, Layout: uint32(r.Spec.Layout),
		Asker: nodeBytes(r.Asker), Spec: wire.GroupToPB(0, r.Group, r.Spec)}
	for _, n := range r.At {
		p.Nodes = append(p.Nodes, nodeBytes(n))
	}
	return p
}

// readRecords gives each record of the store to take.
func readRecords(ctx context.Context, s control.Store, take func(coordinate.Record)) error {
	for _, k := range []struct {
		prefix string
		decode func(key string, value []byte) (coordinate.Record, error)
	}{
		{control.Prefix("nodes"), decodeNode},
		{control.Prefix("heirs"), decodeHeir},
		{control.Prefix("jobs"), decodeJob},
		{control.Prefix("actors", "by-id"), decodeActor},
		{control.Prefix("groups", "by-id"), decodeGroup},
	} {
		after := ""
		for {
			page, err := s.List(ctx, control.Range{Prefix: k.prefix, After: after, Limit: 512})
			if err != nil {
				return err
			}
			for _, r := range page.Records {
				record, err := k.decode(r.Key, r.Value)
				if err != nil {
					return fmt.Errorf("head: record %q: %w", r.Key, err)
				}
				take(record)
				after = r.Key
			}
			if !page.More {
				break
			}
		}
	}
	return nil
}

func decodeNode(_ string, b []byte) (coordinate.Record, error) {
	var p controlv1.Node
	if err := p.UnmarshalVT(b); err != nil {
		return coordinate.Record{}, err
	}
	var r reader
	total := r.vector(p.Resources)
	return coordinate.Record{Node: &coordinate.NodeRecord{Node: r.node(p.Id), Address: p.Address, Draining: p.Draining,
		Figures: &coordinate.Figures{Total: total, Labels: resource.Labels(p.Labels)}}}, r.err
}

func decodeHeir(key string, b []byte) (coordinate.Record, error) {
	var p controlv1.Heir
	if err := p.UnmarshalVT(b); err != nil {
		return coordinate.Record{}, err
	}
	var r reader
	of, err := id.ParseNode(key[strings.LastIndexByte(key, '/')+1:])
	return coordinate.Record{Heir: &coordinate.HeirRecord{Node: of, Heir: r.node(p.Node)}}, errors.Join(err, r.err)
}

func decodeJob(_ string, b []byte) (coordinate.Record, error) {
	var p controlv1.Job
	if err := p.UnmarshalVT(b); err != nil {
		return coordinate.Record{}, err
	}
	var r reader
	return coordinate.Record{Job: &coordinate.JobRecord{Job: r.job(p.Id), Node: r.node(p.Node)}}, r.err
}

func decodeActor(_ string, b []byte) (coordinate.Record, error) {
	var p controlv1.Actor
	if err := p.UnmarshalVT(b); err != nil {
		return coordinate.Record{}, err
	}
	var r reader
	return coordinate.Record{Actor: &coordinate.ActorRecord{Actor: r.task(p.Id), Job: r.job(p.Job), Namespace: p.Namespace, Name: p.Name,
		Detached: p.Detached, Owner: r.node(p.Owner), State: uint8(p.State), Incarnation: p.Incarnation, Host: r.node(p.Node), Data: p.Data}}, r.err
}

func decodeGroup(_ string, b []byte) (coordinate.Record, error) {
	var p controlv1.Group
	if err := p.UnmarshalVT(b); err != nil {
		return coordinate.Record{}, err
	}
	if p.Spec == nil {
		return coordinate.Record{}, errors.New("it has no description")
	}
	var r reader
	g := &coordinate.GroupRecord{Group: r.task(p.Id), Asker: r.node(p.Asker), Spec: r.spec(p.Spec, p.Job)}
	for _, n := range p.Nodes {
		g.At = append(g.At, r.node(n))
	}
	return coordinate.Record{Group: g}, r.err
}
