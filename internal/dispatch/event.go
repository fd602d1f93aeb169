package dispatch

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// Lease numbers a reservation of resources on one worker through which tasks
// of one key flow, one after the other. Never reused in a node's life.
type Lease uint64

// Class is the kind of worker process that a task needs.
type Class struct {
	Job      id.Job
	Env      spec.RuntimeEnv
	Isolated bool   // one lease at a time; otherwise leases share the process
	Language string // of its workers: "" is Go
}

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens at a node's dispatcher.
const (
	Enqueue     EventKind = iota + 1 // Task, Attempt, Spec: run it here; with Lease, through the lease this node granted to its owner's node
	Finished                         // Task, Attempt, Lease, Ran (service time): the lease's oldest task ended
	Begun                            // Task, Lease: the worker began to run it (sent only for tasks that were pipelined)
	Blocked                          // Task, Lease (0: searched for): it waits in a call to the node and lends its CPU; for a method its actor's id, counted, each with its Unblocked
	Unblocked                        // Task, Lease (0: searched for): it goes on
	Unqueue                          // Task, Attempt: take it out if it has not been started
	TakenBack                        // Tasks, Lease: the worker gave these unstarted tasks back after Revoke
	WorkerUp                         // Worker, Class: it can take leases
	WorkerGone                       // Worker: and everything it had
	SpawnFailed                      // Class: no worker could be made
	Capacity                         // Total, Labels: what the node has
	Pressure                         // N: 0 none, 1 admit nothing new
	Share                            // Class.Job, N: the job's weight (default 1)
	JobEnd                           // Class.Job: its queue goes
	Reserve                          // Group, Bundle, Total, NoWait: set resources aside for a bundle; in order, waiting for them unless NoWait
	Unreserve                        // Group, Bundle (-1 all)
	Request                          // Node, Spec, N, NoWait: another node asks for N leases of Spec's key (N < 0: for so many fewer); NoWait: refuse what cannot be had now
	Extend                           // Lease: its holder uses it
	Return                           // Lease: its holder gives it back
	HolderGone                       // Node: its leases end
	Release                          // Task: an actor ended: its creation task's resources come back
	Recall                           // Spec, N, Node: give back up to N tasks of Spec's key that wait here: Node has room for them
	Tick                             // nothing but the time
)

// Event is something that happened. Only the fields its kind names are read.
type Event struct {
	Kind    EventKind
	Task    id.Task
	Attempt uint32
	Lease   Lease
	Worker  id.Worker
	Class   Class
	Node    id.Node
	Group   id.Group
	Bundle  int
	N       int
	NoWait  bool
	Ran     int64 // nanoseconds; 0 is unknown
	Spec    *spec.Task
	Total   resource.Vector
	Labels  resource.Labels
	Tasks   []id.Task
}

// EffectKind says which fields of an Effect matter.
type EffectKind uint8

// What the shell must do, in order.
const (
	Start        EffectKind = iota + 1 // Task, Attempt, Worker, Lease: send it; N is its position behind the lease's running task (0: runs now)
	Spawn                              // Class: start a worker process; answer WorkerUp or SpawnFailed
	Retire                             // Worker: it has been idle too long; let it exit
	Revoke                             // Worker, Lease: take back what has not begun; answer TakenBack
	Infeasible                         // Task, Attempt, Resource, Asked, Have: this node can never run it
	SetupFailed                        // Task, Attempt: its class of worker cannot be started
	Reserved                           // Group, Bundle
	Unreservable                       // Group, Bundle, Resource, Asked, Have
	Grant                              // Node, Lease, Worker, Key
	Refuse                             // Node, Key, N: not now; Free tells what there is
	End                                // Node, Lease: the grant is over at the next task boundary
	Close                              // Worker, Lease: a local lease is over; nothing more will be started on it
	Recalled                           // Task, Attempt, Node: it is no longer queued here
)

// Effect is something the shell must do.
type Effect struct {
	Kind     EffectKind
	Task     id.Task
	Attempt  uint32
	Worker   id.Worker
	Lease    Lease
	Class    Class
	Node     id.Node
	Group    id.Group
	Bundle   int
	N        int
	Key      spec.Key
	Resource string
	Asked    resource.Amount
	Have     resource.Amount
}
