package coordinate

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// Figures are what a node says of itself.
type Figures struct {
	Total, Free resource.Vector
	Labels      resource.Labels
	Queued      int // tasks
}

// Held is a bundle of a group that a node has reserved.
type Held struct {
	Group  id.Group
	Bundle int
}

// Record is one of the records that a coordinator begins with; one of the
// pointers is set.
type Record struct {
	Node  *NodeRecord
	Job   *JobRecord
	Actor *ActorRecord
	Group *GroupRecord
	Heir  *HeirRecord
}

// NodeRecord is a member.
type NodeRecord struct {
	Node     id.Node
	Address  string // where other nodes reach it
	Draining bool
	Figures  *Figures
}

// HeirRecord says who owns what a node that left had owned.
type HeirRecord struct {
	Node, Heir id.Node
}

// JobRecord is a job that has not ended.
type JobRecord struct {
	Job  id.Job
	Node id.Node // of its driver
}

// ActorRecord is an actor that others can find or that outlives its job.
type ActorRecord struct {
	Actor           id.Actor
	Job             id.Job
	Namespace, Name string
	Detached        bool
	Owner           id.Node
	State           uint8 // actor.State
	Incarnation     uint32
	Host            id.Node // where that incarnation runs; zero: it has not begun
	Data            []byte  // what another owner needs to start it, and callers to call it; the nodes' to read
}

// GroupRecord is a placement group.
type GroupRecord struct {
	Group id.Group
	Asker id.Node
	Spec  *spec.Group
	At    []id.Node // by bundle; zero until placed
}

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens to a coordinator.
const (
	Elected  EventKind = iota + 1 // Term: this head leads; Recorded for each record and Opened follow
	Recorded                      // Record
	Opened                        // the records have been read
	Deposed                       // another leads, or may
	Written                       // N: so many more Writes are durable

	Joined // Node, Address, Figures, Holds, Again: it reports, at its start or to a new term; Again: it was a member before
	Heard  // Node, Figures: it lives; nil are as before
	Broken // Node: its process is gone: the way to it was refused or reset
	Drain  // Node: it is to leave
	Left   // Node, Heir: it has handed over what it owned
	Seek   // Node, Need, Selector: its view has nobody for such work

	FindNode // Node, Other: where is the other, or what became of it

	NameActor // Actor (a record with its Owner), Get: the existing one will do
	ActorAt   // Actor: its owner says how it is
	ActorGone // Actor.Actor: dead
	FindActor // Node, Request, and Namespace, Name or, who keeps it, Actor.Actor
	JobBegan  // Job, Node
	JobEnded  // Job

	CreateGroup // Node, Group, Spec
	RemoveGroup // Group
	FindGroup   // Node, Group: where is it
	Prepared    // Node, Group, Attempt, OK, Figures: the answer to Prepare
	Tick        // nothing but the time
)

// Event is something that happened. Only the fields its kind names are read.
type Event struct {
	Kind      EventKind
	Term      int64
	N         int
	Node      id.Node
	Other     id.Node
	Heir      id.Node
	Address   string
	Job       id.Job
	Group     id.Group
	Request   uint64
	Attempt   uint32
	Again     bool
	Get       bool
	OK        bool
	Namespace string
	Name      string
	Figures   *Figures
	Holds     []Held
	Need      *resource.Vector
	Selector  resource.Selector
	Record    Record
	Actor     *ActorRecord
	Spec      *spec.Group
}

// NodeState is how a member is.
type NodeState uint8

// States of a member.
const (
	Alive NodeState = iota + 1
	Suspect
	Draining
	Dead
	Gone // it left, and its heir has what it owned
)

// EffectKind says which fields of an Effect matter.
type EffectKind uint8

// What the shell must do, in order.
const (
	Write    EffectKind = iota + 1 // Op and the id that it names: write that record as the machine has it now
	Welcome                        // Node: it is a member
	Expel                          // Node: it was declared dead and must end what it runs
	Views                          // Node, Views: tell it
	Announce                       // Node, State, Heir: tell To, or every member and Node itself, how Node is

	Named     // Node, Actor: the record is written
	NameTaken // Node, Actor, Record: the name is that actor's
	Found     // Node, Request or Actor, Record: the actor so called; nil: there is none
	Adopt     // Node, Actor, Record, State: it owns the actor from now on, whose owner was Dead or Gone: the one that lives there if it is the record's Host, else that incarnation, which it starts
	EndActor  // Node, Actor: its owner must end it: it has no record any more
	EndJob    // Job: tell every member: what is its has ended

	Prepare // Node, Group, Attempt, Spec, Bundles: reserve them
	Commit  // Node, Group, Bundles: they may be used
	Release // Node, Group, Bundles: they are not wanted
	Placed  // Node, Group, At: tell it; nil: there is no such group
	Waiting // Node, Group, Why: no place now
	Refused // Node, Group or Actor, Why: there will be none
)

// Op says which record a Write is of, and what to do with it.
type Op uint8

// Ops of a Write.
const (
	PutNode   Op = iota + 1 // Node
	DropNode                // Node
	PutHeir                 // Node, Heir
	PutActor                // Actor, and its name
	DropActor               // Actor, Namespace, Name
	PutJob                  // Job
	DropJob                 // Job
	PutGroup                // Group
	DropGroup               // Group
)

// View is a member as others know it.
type View struct {
	Node    id.Node
	Address string
	Figures
}

// Effect is something the shell must do.
type Effect struct {
	Kind      EffectKind
	Op        Op
	State     NodeState
	Node      id.Node
	To        id.Node
	Heir      id.Node
	Job       id.Job
	Group     id.Group
	Actor     id.Actor
	Record    *ActorRecord
	Request   uint64
	Attempt   uint32
	Namespace string
	Name      string
	Why       string
	Spec      *spec.Group
	Bundles   []int
	At        []id.Node
	Views     []*View
}
