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
	WorkerDied          // its process died and no restart was left
	NodeDied            // its node died and no restart was left
	JobEnded            // its job ended and it is not detached
	Unschedulable       // no node can ever hold it
	SetupFailed         // its runtime environment or worker could not be made
)

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens to actors and their callers.
const (
	Create      EventKind = iota + 1 // Actor (= creation task), Spec (KindCreate), Session, Job
	Lookup                           // Namespace, Name: answered by Machine.Find; listed for completeness in stories
	Placed                           // Actor, Incarnation, Node, Worker: its constructor runs there
	Started                          // Actor, Incarnation: constructor done
	InitError                        // Actor, Incarnation: constructor returned an error
	Lost                             // Actor, Incarnation, Cause: its worker or node is gone
	CannotPlace                      // Actor, Cause (Unschedulable or SetupFailed)
	Kill                             // Actor, NoRestart
	Exit                             // Actor: it asked to end; queued calls fail
	Handle                           // Actor, Session, N (may be negative): handles held
	SessionEnd                       // Session: its handles and its unsent calls go
	JobEnd                           // Job
	Call                             // Actor, Task, Session (the caller), Spec (KindMethod), ArgsReady
	ArgsReady                        // Task: it can be sent once its turn comes
	Finished                         // Actor, Incarnation, Task: the call has been answered, by value or user error
	CancelCall                       // Task: if unsent it leaves the queue
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
	Worker      id.Worker
	Incarnation uint32
	N           int
	Cause       Cause
	NoRestart   bool
	ArgsReady   bool
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
	Stop                            // Actor, Incarnation, Node, Worker, Force: end its process or instance; Force is a kill
	Changed                         // Actor, State, Cause: for records, waiters and events
	NameTaken                       // Actor, Existing: the name is Existing's (Create is refused)
	Forget                          // Actor: dead, without handles and calls: the record may go
)

// Effect is something the shell must do.
type Effect struct {
	Kind        EffectKind
	Actor       id.Actor
	Existing    id.Actor
	Task        id.Task
	Node        id.Node
	Worker      id.Worker
	Incarnation uint32
	State       State
	Cause       Cause
	MaybeRan    bool
	Force       bool
}
