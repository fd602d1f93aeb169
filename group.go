package weft

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// Layout says how the bundles of a placement group lie over nodes.
type Layout = spec.PackKind

// Layouts of a placement group.
const (
	Pack         = spec.Pack         // on as few nodes as possible
	SpreadOut    = spec.SpreadOut    // over as many nodes as possible
	StrictPack   = spec.StrictPack   // on one node, or not at all
	StrictSpread = spec.StrictSpread // each on a node of its own, or not at all
)

// Group is a placement group: bundles of resources reserved together, for tasks
// and actors with the option In.
type Group struct {
	id      id.Group
	bundles int
	sess    sessionLike
}

// sessionLike is the part of a session that a Group needs.
type sessionLike interface{ RemoveGroup(id.Group) }

// NewGroup reserves bundles, each a map from resource to amount. It waits until
// all of them are reserved or ctx ends, and fails with code Unschedulable if
// they can never be.
func NewGroup(ctx context.Context, layout Layout, bundles ...map[string]float64) (*Group, error) {
	s, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	g := &spec.Group{Job: s.Info().Job, Layout: layout}
	for i, b := range bundles {
		v, err := resource.FromMap(b)
		if err == nil && v.IsZero() {
			err = errors.New("it asks for nothing")
		}
		if err != nil {
			return nil, &Error{Code: Invalid, Op: "placement group", Message: fmt.Sprintf("bundle %d: %v", i, err)}
		}
		g.Bundles = append(g.Bundles, spec.Bundle{Resources: v})
	}
	if len(bundles) == 0 {
		return nil, &Error{Code: Invalid, Op: "placement group", Message: "it has no bundles"}
	}
	gid := s.NewTask()
	if err := s.CreateGroup(ctx, gid, g); err != nil {
		return nil, err
	}
	return &Group{id: gid, bundles: len(bundles), sess: s}, nil
}

// Remove gives the group's resources back. Its actors end, and so do the processes
// of its isolated tasks; tasks that still wait for it, or are to run there again,
// fail with code GroupRemoved. Tasks that share a process run to their end.
func (g *Group) Remove() { g.sess.RemoveGroup(g.id) }

// String is the group's id.
func (g *Group) String() string { return g.id.String() }
