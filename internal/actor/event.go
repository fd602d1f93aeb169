package actor

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// State is where an actor is in its life.
type State uint8

// States of an actor.
const (
	Pending State = iota + 1
	Alive
	Restarting
	Dead
)

// Cause says why an actor is Dead.
type Cause uint8

// Causes of death.
const (
	NotDead       Cause = iota
	OutOfScope          // its last handle went
	Killed              // by a call to Kill
	Exited              // by itself
	InitFailed          // its constructor returned an error
	WorkerDied          // its process died; of a Dead actor: and no restart was left
	NodeDied            // its node died; likewise
	JobEnded            // its job ended and it is not detached
	Unschedulable       // no node can ever hold it
	SetupFailed         // its runtime environment or worker could not be made
	SessionGone         // of a call: the session that made it ended before the call was sent
	Unknown             // of a call: nobody here knows the actor: it ended and was forgotten
	NodeLeft            // its node left in good order: a restart for that is not counted
)

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens to actors and their callers.
const (
	Create      EventKind = iota + 1 // Actor (= creation task), Spec (KindCreate), Session (gets the first handle), Job
	Lookup                           // Namespace, Name: answered by Machine.Find; listed for completeness in stories
	Placed                           // Actor, Incarnation, Node, Worker: its constructor runs there
	Started                          // Actor, Incarnation: constructor done
	InitError                        // Actor, Incarnation: constructor returned an error
	Lost                             // Actor, Incarnation, Cause: its worker or node is gone
	CannotPlace                      // Actor, Cause (Unschedulable or SetupFailed)
	Kill                             // Actor, NoRestart
	Exit                             // Actor: it asked to end; queued calls fail
	Handle                           // Actor, Session, N (may be negative): handles held; with Node, by another node (Session 0)
	SessionEnd                       // Session: its handles and its unsent calls go
	JobEnd                           // Job
	Call                             // Actor, Task, Session (the caller), ArgsReady, Again (a retry: goes before what was never sent)
	ArgsReady                        // Task: it can be sent once its turn comes
	Finished                         // Actor, Incarnation, Task: the call has been answered, by value or user error; Again, ArgsReady: its owner retries that error
	CancelCall                       // Task: if unsent it leaves the queue
	Told                             // Actor, From, Spec (the first time), State, Incarnation, Node, Worker, Cause: From keeps its record and says so
	NodeDead                         // Node, Cause (NodeDied, also if none, or NodeLeft): its handles go, its actors are lost
	Kept                             // Actor, From: who keeps the record that Orphaned was about; zero: nobody, it is dead
	Adopt                            // Actor, Spec (KindCreate), Job, Incarnation, Node, Worker, Cause: this node keeps the record now; with Node that incarnation lives there, else it is the next one
	Tick                             // nothing but the time
)

// Event is something that happened. Only the fields its kind names are read.
type Event struct {
	Kind        EventKind
	Actor       id.Actor
	Task        id.Task
	Session     id.Session
	Job         id.Job
	Node        id.Node
	From        id.Node
	Worker      id.Worker
	Incarnation uint32
	N           int
	State       State
	Cause       Cause
	NoRestart   bool
	ArgsReady   bool
	Again       bool
	Spec        *spec.Task
	Namespace   string
	Name        string
}

// EffectKind says which fields of an Effect matter.
type EffectKind uint8

// What the shell must do, in order.
const (
	Begin     EffectKind = iota + 1 // Actor, Incarnation: have its creation task run (again)
	Deliver                         // Actor, Incarnation, Task, Node, Worker: send the call; sends for one caller are in its order
	FailCall                        // Task, Cause, MaybeRan: it gets no answer; MaybeRan: it had been sent
	Stop                            // Actor, Incarnation, Node, Worker, Force: end its process or instance (Node zero: it has no place yet, take its creation out of the queues); Force is a kill
	Changed                         // Actor, State, Cause: for records, waiters and events
	NameTaken                       // Actor, Existing: the name is Existing's (Create is refused)
	Forget                          // Actor: dead, without handles and calls: the record may go
	Found                           // Actor, Existing: get-or-create found Existing and gave the session a handle on it
	Refuse                          // Task, N: its caller has N calls outstanding, as many as the actor's MaxPending allows
	Tell                            // To, Actor, State, Incarnation, Node, Worker, Cause: To holds handles; it gets this as Told
	Release                         // Actor: an actor of another node's record has no handle and no call here any more
	Orphaned                        // Actor: the node is gone that kept the record of this detached actor: somebody else will, or it is dead (Kept)
)

// Effect is something the shell must do.
type Effect struct {
	Kind        EffectKind
	Actor       id.Actor
	Existing    id.Actor
	Task        id.Task
	Node        id.Node
	To          id.Node
	Worker      id.Worker
	Incarnation uint32
	N           int
	State       State
	Cause       Cause
	MaybeRan    bool
	Force       bool
}
