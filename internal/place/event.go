package place

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens to an owner that looks for places for its tasks.
const (
	View     EventKind = iota + 1 // Node, Total, Free, Labels, Queued: a node's figures, from the coordinator or with an answer
	NodeGone                      // Node: dead or left
	Draining                      // Node: it takes nothing new
	Runnable                      // Task, Attempt, Spec, Local (argument bytes per node, self included)
	Granted                       // Node, Lease, Key: a lease asked for
	Refused                       // Node, Key, N, Never, Better: N of the leases asked for are not to be had (Never: and never will be); Better may name a node with room
	Revoked                       // Node, Lease: ends at the next task boundary
	Ended                         // Task, Node, Lease, Ran: a task pushed through Lease is over
	Unqueue                       // Task: take it out if it has not been pushed
	GroupAt                       // Group, Nodes: a placement group's bundles lie there, by bundle number (nil: removed)
	Recalled                      // Task, Attempt, Spec, Node: this node's dispatcher gave it back, for Node
	Tick                          // nothing but the time
)

// NodeBytes is how many of a task's argument bytes lie on a node.
type NodeBytes struct {
	Node  id.Node
	Bytes int64
}

// Event is something that happened. Only the fields its kind names are read.
type Event struct {
	Kind    EventKind
	Task    id.Task
	Attempt uint32
	Node    id.Node
	Lease   uint64
	Key     spec.Key
	Group   id.Group
	N       int
	Queued  int
	Ran     int64 // nanoseconds; 0 is unknown
	Never   bool
	Better  id.Node
	Spec    *spec.Task
	Total   resource.Vector
	Free    resource.Vector
	Labels  resource.Labels
	Local   []NodeBytes
	Nodes   []id.Node
}

// EffectKind says which fields of an Effect matter.
type EffectKind uint8

// What the shell must do, in order.
const (
	Here       EffectKind = iota + 1 // Task, Attempt: give it to this node's dispatcher
	Ask                              // Node, Key, N, Spec, NoWait: ask Node for N leases, to be refused if it has none now, or else to wait for them
	Push                             // Task, Attempt, Node, Lease: send it to run there; Lease 0: to queue there like a task of that node
	GiveBack                         // Node, Lease: no more work for it
	Infeasible                       // Task, Attempt, Why, Removed: no node of a cluster that cannot grow could ever run it
	Waiting                          // Task, Why: no node can run it now; it waits for one that can
	Recall                           // Spec, N, Node: have this node's dispatcher give back up to N tasks that wait there; answer each with Recalled
)

// Effect is something the shell must do.
type Effect struct {
	Kind    EffectKind
	Task    id.Task
	Attempt uint32
	Node    id.Node
	Lease   uint64
	Key     spec.Key
	N       int
	NoWait  bool
	Spec    *spec.Task
	Why     string
	Removed bool // the group that it was to run in has been
}
