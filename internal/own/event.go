package own

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens to the owner.
const (
	// From this node's sessions.
	Submit     EventKind = iota + 1 // Task, Session, Spec, Args, Inner, Parent, ParentAttempt, Bytes (of its payload), Unshared
	Put                             // Object, Session, Return (Size, Where, Node, Inner; its Object is ignored)
	Hold                            // Object, Session, N: the session holds N more references
	Drop                            // Object, Session, N: and N fewer
	Share                           // Object, Session, Return: an Unshared object gets counted from now on
	SendRef                         // Object, Node: a reference is about to travel to Node inside a message
	Cancel                          // Task, Force, Recursive
	SessionEnd                      // Session: its holds go; with Force (a driver) its tasks are cancelled too; N > 0: at most N of them, see HasSession
	Consume                         // Task, N: a stream's consumer took N items: credit for its producer, in items and in their bytes
	DropStream                      // Task: nobody will read the stream any more

	// From executions, here or elsewhere.
	Started // Task, Attempt, Node
	Item    // Task, Attempt, Return: one more item of a stream
	Done    // Task, Attempt, Node, Returns (fewer than Spec.Returns is a system failure), N (of a stream: its items)
	Failed  // Task, Attempt, Node, Fault, Object and To (for ArgLost: the lost one, and where it was looked for), N (WorkerDied, Bystander: how many others may have ended the process)

	// From the object plane and the cluster.
	CopyAdded // Object, Node
	CopyLost  // Object, Node
	NodeDead  // Node
	Heir      // Node (that left, its links flushed), To: its ownership is To's now
	Peer      // Node (the sender), Msg
	Tick      // nothing but the time

	SessionStart // Session: it may allocate ids from now on; optional, any event of the session implies it
	Want         // Object: somebody on this node waits for it; Ready follows, at once if it is decided already
	GotRef       // Object, Node (the sender): a reference arrived in a message. The node itself (Session 0) holds it until the shell drops that hold
	Retire       // Task: an actor is gone for good; its creation task's arguments are needed no more
	Adopt        // Node (the old owner), Records: what Drain returned there; this node is the heir
)

// Where says where an object's bytes are.
type Where uint8

// Places of an object's bytes, coarsely: which node, not which address.
const (
	Inline  Where = iota // with the owner, in the message that brought them
	AtNode               // in the store of Node
	ByError              // there are none: the task failed and its error is the value
)

// Return is one value that a task made or a session put.
type Return struct {
	Object id.Object
	Where  Where
	Node   id.Node
	Size   int64
	Inner  []id.Object // references inside the value; held as long as the value is
}

// Fault says why an attempt ended without a result.
type Fault uint8

// Faults. Only User and Final are the program's own doing.
const (
	User           Fault = iota + 1 // the function returned an error or panicked
	WorkerDied                      // the process is gone
	NodeDied                        // the node is gone
	OutOfMemory                     // the memory guard ended it
	TooLarge                        // the same, and it would not fit if nothing else ran: at most two further runs
	ArgLost                         // an argument could not be fetched
	Cancelled                       // it noticed its cancellation
	Unschedulable                   // no node can ever run it
	SetupFailed                     // its runtime environment or worker could not be made
	ActorDead                       // the actor is gone for good
	ActorMaybe                      // the actor restarted while the call was out: it may have run
	Bystander                       // it merely shared the process of one that died, and waited there or had not begun: runs again, uncounted
	Suspect                         // it or another ended their process: runs again, uncounted, in a process of its own. Only in effects
	ReplayMismatch                  // a stream's retry made fewer items than had been delivered already
	ShortResult                     // the execution said it was done but not all values came
	Final                           // as User, with an error that is not retried whatever the task's options say
	Declined                        // its node takes nothing new: it has not begun, and runs elsewhere
	ArgMoved                        // an argument was looked for where it is no more: runs again, uncounted. Only in effects
)

// Event is something that happened. Only the fields its kind names are read.
type Event struct {
	Kind          EventKind
	Task          id.Task
	Parent        id.Task
	ParentAttempt uint32 // the attempt of Parent that submits
	Object        id.Object
	Session       id.Session // 0 is the node itself
	Node, To      id.Node
	Attempt       uint32
	N             int
	Bytes         int64
	Fault         Fault
	Force         bool
	Recursive     bool
	Unshared      bool // the returns live in the submitting process and are garbage there: no counts, no lineage
	Spec          *spec.Task
	Args          []id.Object // awaited: the task gets their values
	Inner         []id.Object // held only: references inside argument values
	Return        Return
	Returns       []Return
	Msg           *Msg // of Peer
	Records       []Record
}

// EffectKind says which fields of an Effect matter.
type EffectKind uint8

// What the shell must do, in order.
const (
	Runnable   EffectKind = iota + 1 // Task, Attempt, N (of a stream: items delivered already): every argument is available; place it (or deliver it to its actor)
	Ready                            // Object, Gone, Why: it has a value or an error, or (Gone) will never have one; tell those who wait
	ItemReady                        // Task, Object: the next item of a stream can be read
	StreamEnd                        // Task, N: the stream has N items; with Fault, it broke off after them
	Free                             // Object: nobody needs it; drop its bytes here
	FailTask                         // Task, Attempt, Fault, Object (the lost one, for ArgLost): make the error its returns will show; comes before their Ready
	Retry                            // Task, Attempt (the new one), Fault: an attempt failed and another follows, apart from others if it is Suspect; Runnable comes later
	Unqueue                          // Task, Attempt: take it out of place, dispatch or the actor's queue if it is there
	Interrupt                        // Task, Attempt, Node, Force: tell its execution to stop
	Credit                           // Task, Attempt, Node, N, Bytes: the producer of a stream may go on
	Forget                           // Task: nothing will need its arguments again; drop its payload
	Send                             // Node (the receiver), Msg
	Unexpected                       // Task or Object, Why: a message that a correct peer would not have sent
	Unused                           // Object: nothing here uses this foreign object any more; a copy in the store may stay until its owner releases it
)

// Effect is something the shell must do.
type Effect struct {
	Kind    EffectKind
	Task    id.Task
	Object  id.Object
	Node    id.Node
	Attempt uint32
	N       int
	Bytes   int64
	Fault   Fault
	Force   bool
	Gone    Gone
	Why     string
	Msg     *Msg // of Send
}

// MsgKind says which fields of a Msg matter.
type MsgKind uint8

// What owners and holders tell each other; all of it over the numbered link.
const (
	RefAdd    MsgKind = iota + 1 // Object, Node (the new holder), Via (who gave it the reference), N
	RefDrop                      // Object, Via, N: the sender holds N fewer of those that it had from Via
	Subscribe                    // Object: tell me when it is available
	Resolved                     // Object, Return: it is, and there; or Gone
	CopyMade                     // Object: the sender has a copy
	CopyGone                     // Object: the sender has none any more
	Release                      // Object: drop your copy
	StopTask                     // Task, Attempt, Force, Recursive: to its executor: stop it; to its owner: cancel it
	Audit                        // Object, Via: Via has died; how many references did you have from it?
	RefHeld                      // Object, Via, N: the sender holds N that it had from Via, which has died
)

// Gone says why an object will never be available.
type Gone uint8

// Reasons of absence.
const (
	Present   Gone = iota
	Freed          // all references had gone
	Unknown        // never heard of, though the id is old enough
	OwnerDied      // its owner's node is gone and left no heir
	Lost           // every copy is gone and it cannot be made again
)

// Msg is one message between two owners. Node names the node that the message
// is about (for RefAdd the new holder, otherwise its author), so that a drained
// owner can pass it on.
type Msg struct {
	Kind      MsgKind
	Object    id.Object
	Task      id.Task
	Node      id.Node
	Via       id.Node
	Attempt   uint32
	N         int
	Force     bool
	Recursive bool
	Gone      Gone
	Return    Return
}
