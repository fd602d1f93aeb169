package head

import (
	"slices"

	"github.com/weftrun/weft/internal/coordinate"
	controlv1 "github.com/weftrun/weft/internal/gen/control/v1"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// reader reads ids that may be absent, and remembers the first that is wrong.
type reader struct{ err error }

func (r *reader) node(b []byte) id.Node { return read(r, b, wire.ReadNode) }
func (r *reader) task(b []byte) id.Task { return read(r, b, wire.ReadTask) }
func (r *reader) job(b []byte) id.Job   { return read(r, b, wire.ReadJob) }

func read[T any](r *reader, b []byte, as func([]byte) (T, error)) (v T) {
	if len(b) == 0 {
		return v
	}
	v, err := as(b)
	r.fail(err)
	return v
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) vector(m map[string]int64) resource.Vector {
	v, err := wire.VectorFromPB(m)
	r.fail(err)
	return v
}

// optional is the bytes of an id, or nil of the zero one.
func optional[T interface{ IsZero() bool }](v T, b []byte) []byte {
	if v.IsZero() {
		return nil
	}
	return slices.Clone(b)
}

func nodeBytes(n id.Node) []byte { return optional(n, n[:]) }
func taskBytes(t id.Task) []byte { return optional(t, t[:]) }
func jobBytes(j id.Job) []byte   { return optional(j, j[:]) }

func figuresToPB(node id.Node, address string, f *coordinate.Figures) *nodev1.NodeView {
	free := wire.VectorToPB(&f.Free)
	for name, a := range free {
		free[name] = max(a, 0) // tasks that waited and go on may have more than there is
	}
	return &nodev1.NodeView{Node: nodeBytes(node), Address: address, Total: wire.VectorToPB(&f.Total), Free: free,
		Labels: f.Labels, Queued: uint32(f.Queued)}
}

func (r *reader) figures(p *nodev1.NodeView) *coordinate.Figures {
	if p == nil {
		return nil
	}
	return &coordinate.Figures{Total: r.vector(p.Total), Free: r.vector(p.Free), Labels: p.Labels, Queued: int(p.Queued)}
}

func actorToPB(a *coordinate.ActorRecord) *nodev1.ActorRecord {
	if a == nil {
		return nil
	}
	return &nodev1.ActorRecord{Actor: taskBytes(a.Actor), Job: jobBytes(a.Job), Namespace: a.Namespace, Name: a.Name, Detached: a.Detached,
		Owner: nodeBytes(a.Owner), State: uint32(a.State), Incarnation: a.Incarnation, Host: nodeBytes(a.Host), Data: a.Data}
}

func (r *reader) actor(p *nodev1.ActorRecord) *coordinate.ActorRecord {
	if p == nil {
		return nil
	}
	return &coordinate.ActorRecord{Actor: r.task(p.Actor), Job: r.job(p.Job), Namespace: p.Namespace, Name: p.Name, Detached: p.Detached,
		Owner: r.node(p.Owner), State: uint8(p.State), Incarnation: p.Incarnation, Host: r.node(p.Host), Data: p.Data}
}

func specToPB(of id.Group, g *spec.Group) (*sessionv1.Group, []byte) {
	if g == nil {
		return nil, nil
	}
	return wire.GroupToPB(0, of, g), jobBytes(g.Job)
}

func (r *reader) spec(p *sessionv1.Group, job []byte) *spec.Group {
	if p == nil {
		return nil
	}
	_, g, err := wire.GroupFromPB(p, r.job(job))
	r.fail(err)
	return g
}

// reportToPB encodes an event for the coordinator.
func reportToPB(seq uint64, e *coordinate.Event) *nodev1.Report {
	p := &nodev1.Report{Seq: seq, Kind: uint32(e.Kind), Node: nodeBytes(e.Node), Other: nodeBytes(e.Other), Heir: nodeBytes(e.Heir),
		Address: e.Address, Job: jobBytes(e.Job), Group: taskBytes(e.Group), Request: e.Request, Attempt: e.Attempt, Again: e.Again,
		Get: e.Get, Ok: e.OK, Namespace: e.Namespace, Name: e.Name, Selector: wire.SelectorToPB(e.Selector), Actor: actorToPB(e.Actor)}
	if e.Figures != nil {
		p.Figures = figuresToPB(id.Node{}, "", e.Figures)
	}
	for _, h := range e.Holds {
		p.Holds = append(p.Holds, &nodev1.Held{Group: taskBytes(h.Group), Bundle: uint32(h.Bundle)})
	}
	if e.Need != nil {
		p.Need = wire.VectorToPB(e.Need)
	}
	p.Spec, p.SpecJob = specToPB(e.Group, e.Spec)
	return p
}

// reportFromPB decodes what a node reports.
func reportFromPB(p *nodev1.Report) (*coordinate.Event, error) {
	var r reader
	need := r.vector(p.Need)
	e := &coordinate.Event{Kind: coordinate.EventKind(p.Kind), Node: r.node(p.Node), Other: r.node(p.Other), Heir: r.node(p.Heir),
		Address: p.Address, Job: r.job(p.Job), Group: r.task(p.Group), Request: p.Request, Attempt: p.Attempt, Again: p.Again,
		Get: p.Get, OK: p.Ok, Namespace: p.Namespace, Name: p.Name, Figures: r.figures(p.Figures), Need: &need,
		Actor: r.actor(p.Actor), Spec: r.spec(p.Spec, p.SpecJob)}
	for _, h := range p.Holds {
		e.Holds = append(e.Holds, coordinate.Held{Group: r.task(h.Group), Bundle: int(h.Bundle)})
	}
	selector, err := wire.SelectorFromPB(p.Selector)
	r.fail(err)
	e.Selector = selector
	return e, r.err
}

// commandToPB encodes an effect for a node.
func commandToPB(term int64, e *coordinate.Effect) *nodev1.Command {
	p := &nodev1.Command{Term: term, Kind: uint32(e.Kind), State: uint32(e.State), Node: nodeBytes(e.Node), Heir: nodeBytes(e.Heir),
		Job: jobBytes(e.Job), Group: taskBytes(e.Group), Actor: taskBytes(e.Actor), Record: actorToPB(e.Record), Request: e.Request,
		Attempt: e.Attempt, Why: e.Why, Placed: e.At != nil}
	p.Spec, p.SpecJob = specToPB(e.Group, e.Spec)
	for _, b := range e.Bundles {
		p.Bundles = append(p.Bundles, uint32(b))
	}
	for _, n := range e.At {
		p.At = append(p.At, slices.Clone(n[:]))
	}
	for _, v := range e.Views {
		p.Views = append(p.Views, figuresToPB(v.Node, v.Address, &v.Figures))
	}
	return p
}

// commandFromPB decodes what the coordinator wants.
func commandFromPB(p *nodev1.Command) (*coordinate.Effect, error) {
	var r reader
	e := &coordinate.Effect{Kind: coordinate.EffectKind(p.Kind), State: coordinate.NodeState(p.State), Node: r.node(p.Node),
		Heir: r.node(p.Heir), Job: r.job(p.Job), Group: r.task(p.Group), Actor: r.task(p.Actor), Record: r.actor(p.Record),
		Request: p.Request, Attempt: p.Attempt, Why: p.Why, Spec: r.spec(p.Spec, p.SpecJob)}
	if p.Placed {
		e.At = []id.Node{}
	}
	for _, b := range p.Bundles {
		if e.Bundles = append(e.Bundles, int(b)); e.Spec != nil && int(b) >= len(e.Spec.Bundles) {
			r.fail(&wire.Error{Code: wire.Protocol, Message: "a bundle that its group has not"})
		}
	}
	for _, n := range p.At {
		e.At = append(e.At, r.node(n))
	}
	for _, v := range p.Views {
		e.Views = append(e.Views, &coordinate.View{Node: r.node(v.Node), Address: v.Address, Figures: *r.figures(v)})
	}
	return e, r.err
}

func wheresToPB(heads []*controlv1.Head) (out []*nodev1.Where) {
	for _, h := range heads {
		out = append(out, &nodev1.Where{Node: h.Node, Address: h.Address})
	}
	return out
}
