package node

import (
	"fmt"

	"github.com/weftrun/weft/internal/coordinate"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/wire"
)

// Cluster is a node's way to the coordinator: who is a member, who has which
// name, where placement groups lie.
type Cluster interface {
	// Report takes what the coordinator is to hear. It is called with the node's
	// lock: it does not wait and does not call the node. It keeps ev. What asks
	// for something is repeated, to the next coordinator too, until the answer
	// comes with [Node.Command], maybe twice.
	Report(ev *coordinate.Event)
	// Receive takes a message of another node that is about the cluster. It is
	// called without the lock.
	Receive(from id.Node, m *nodev1.Message) error
}

// seekers is what waits for the coordinator's answer.
type seekers struct {
	claims  map[id.Actor]*claim // of names, for actors that do not exist yet
	finds   map[uint64]*find    // of actors by name, by request
	last    uint64              // request
	met     map[id.Actor][]func()
	keepers map[id.Actor]bool      // of these: who keeps them now
	orphans map[uint64]id.Actor    // the same, by request
	early   map[id.Actor][]id.Node // whose handles came before the actor was adopted here
	groups  map[id.Group]bool      // of other nodes that were asked for
	prepare map[id.Group]*preparing
}

func newSeekers() seekers {
	return seekers{claims: map[id.Actor]*claim{}, finds: map[uint64]*find{}, met: map[id.Actor][]func(){},
		keepers: map[id.Actor]bool{}, orphans: map[uint64]id.Actor{}, early: map[id.Actor][]id.Node{},
		groups: map[id.Group]bool{}, prepare: map[id.Group]*preparing{}}
}

// Figures is what the node says of itself, and bears in mind when it next
// chooses places.
func (n *Node) Figures() *coordinate.Figures {
	n.lock()
	defer n.unlock()
	v := n.figures()
	n.stepPlace(&v)
	return n.ownFigures()
}

func (n *Node) ownFigures() *coordinate.Figures {
	v := n.figures()
	return &coordinate.Figures{Total: v.Total.Clone(), Free: v.Free.Clone(), Labels: v.Labels, Queued: v.Queued}
}

// Holds lists the bundles of placement groups that are reserved here.
func (n *Node) Holds() []coordinate.Held {
	n.mu.Lock()
	defer n.mu.Unlock()
	var held []coordinate.Held
	for g, bundles := range n.held {
		for b := range bundles {
			held = append(held, coordinate.Held{Group: g, Bundle: b})
		}
	}
	return held
}

// Command takes what the coordinator wants of this node. The error is one of
// protocol.
func (n *Node) Command(e *coordinate.Effect) error {
	n.lock()
	defer n.unlock()
	if n.closed {
		return nil
	}
	switch e.Kind {
	case coordinate.Views:
		n.gotViews(e.Views)
	case coordinate.Prepare:
		n.prepareBundles(e)
	case coordinate.Release:
		n.releaseBundles(e.Group, e.Bundles)
	case coordinate.Placed:
		n.groupPlaced(e.Group, e.At)
	case coordinate.Waiting:
		if g := n.groups[e.Group]; g != nil {
			g.why = e.Why
		}
	case coordinate.Refused:
		n.refusedByCluster(e)
	case coordinate.Named, coordinate.NameTaken:
		n.claimAnswered(e)
	case coordinate.Found:
		n.found(e)
	case coordinate.EndActor:
		n.kill(e.Actor, true)
	case coordinate.EndJob:
		if j := n.jobs[e.Job]; j != nil && j.home != nil {
			j.session.ended = true
			n.dropJob(j)
		}
	case coordinate.Commit: // what is prepared may be used as soon as somebody knows of it
	case coordinate.Adopt:
		n.adoptActor(e)
	default:
		return &wire.Error{Code: wire.Protocol, Op: "command of the coordinator", Message: fmt.Sprintf("an unknown kind %d", e.Kind)}
	}
	return nil
}

// gotViews takes in what the coordinator knows of others.
func (n *Node) gotViews(views []*coordinate.View) {
	for _, v := range views {
		p := n.peer(v.Node)
		if p == nil {
			continue
		}
		p.view = place.Event{Kind: place.View, Node: v.Node, Total: v.Total, Free: v.Free, Labels: v.Labels, Queued: v.Queued}
		n.stepPlace(&p.view)
	}
}

// PeerDraining notes that another node takes nothing new.
func (n *Node) PeerDraining(other id.Node) {
	n.lock()
	defer n.unlock()
	if p := n.peers[other]; p != nil {
		p.draining = true
	}
	n.stepPlace(&place.Event{Kind: place.Draining, Node: other})
}

// refusedByCluster ends what the coordinator will never do.
func (n *Node) refusedByCluster(e *coordinate.Effect) {
	if !e.Actor.IsZero() {
		n.claimAnswered(e)
		return
	}
	if g := n.groups[e.Group]; g != nil {
		g.fail(&wire.Error{Code: wire.Unschedulable, Op: "placement group", Message: e.Why, Hint: "ask for less, or add nodes that have it"})
		n.forgetGroup(g)
	}
}
