package event

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// ID names what a Record is about: an object's id, or a shorter one padded
// with zeros. The Kind says which.
type ID [20]byte

// IDOf makes an ID of any identity.
func IDOf[T id.Task | id.Object | id.Node | id.Job](x T) (i ID) {
	switch x := any(x).(type) {
	case id.Task:
		copy(i[:], x[:])
	case id.Object:
		copy(i[:], x[:])
	case id.Node:
		copy(i[:], x[:])
	case id.Job:
		copy(i[:], x[:])
	}
	return i
}

// Task returns the task, actor or group that i names.
func (i ID) Task() (t id.Task) { copy(t[:], i[:]); return t }

// Object returns the object that i names.
func (i ID) Object() id.Object { return id.Object(i) }

// text prints i as the id of its kind would.
func (i ID) text(of subject) string {
	if i == (ID{}) || of == nothing {
		return ""
	}
	return hex.EncodeToString(i[:idBytes[of]])
}

// Name is a function's, class's or other repeated name, interned by
// [Log.Name]. Zero is no name, or one too many.
type Name uint16

// Record is one fact. Which fields matter is written at its Kind.
type Record struct {
	At     time.Duration // when, since the node's start; set by Append
	Ran    time.Duration // how long
	Bytes  int64
	ID     ID
	Job    id.Job
	Worker id.Worker
	N      uint32 // a number: an attempt, an incarnation, an exit status, a count
	Queued uint32 // microseconds between submission and start, see Micros
	Name   Name
	Kind   Kind
	Cause  Cause
}

// Micros converts a duration for Queued; it saturates after 71 minutes.
func Micros(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}

// Kind says what happened.
type Kind uint8

// Counted is or-ed to an ordinary Kind: the record stands for N records of that
// kind with that Name, within the second before At. Ran and Bytes are
// their sums.
const Counted Kind = 1 << 7

// Ordinary kinds: many per second, counted past the budget. All task kinds
// have ID, Job, Name and N, the attempt.
const (
	TaskDone       Kind = iota + 1 // it returned; Worker, Queued, Ran, Bytes (of its returns)
	TaskWaited                     // it had to wait before it started; Cause, Ran (how long)
	TaskMoved                      // taken back from Worker before it began
	TaskCancelled                  // by its user
	ObjectSpilled                  // ID, Bytes, Ran
	ObjectRestored                 // ID, Bytes, Ran
	ObjectMoved                    // ID, Bytes, Ran: fetched from another node
	ordinaryEnd
)

// Kinds that are always kept.
const (
	TaskRetried     = ordinaryEnd + iota // the attempt N failed with Cause and another follows; Worker, Text
	TaskFailed                           // for good; Cause, Worker, Queued, Ran, Text
	ActorPending                         // ID, Job, Name (its class), Text (its registered name)
	ActorAlive                           // ID, Job, Name, Worker, N (incarnation)
	ActorRestarting                      // ID, Job, Name, N, Cause
	ActorDead                            // ID, Job, Name, N, Cause, Text
	GroupPending                         // ID, Job, Name, Text (why)
	GroupCreated                         // ID, Job, Name
	GroupRemoved                         // ID, Job, Name
	ObjectLost                           // ID, Bytes, Text (why)
	StoreFull                            // Bytes (asked), Text
	WorkerStarted                        // Worker, Job, N (process id), Ran (how long it took)
	WorkerExited                         // Worker, Job, N (exit status, or 128 + signal), Cause, Text (last lines of stderr)
	NodeStarted                          // ID, Text (address)
	NodePressure                         // N: 0 none, 1 admits nothing new, 2 ends work; Bytes (used), Text
	NodeStopping                         // ID, Text (why)
	SessionOpened                        // N (session), Job, Text (program)
	SessionClosed                        // N (session), Job, Text (why)
	JobStarted                           // Job, Text (program)
	JobEnded                             // Job, Cause, Text
	Misbehaved                           // a peer broke the protocol and was cut off; N (session), Text
	SinkFailed                           // a view of the events cannot be written; Text
	Gap                                  // N records were lost before they could be written here
	Custom                               // a library's own entity; ID, Name, Text
	kindEnd
)

// subject says what an ID holds.
type subject uint8

const (
	nothing subject = iota
	task
	actor
	group
	object
	node
)

var idBytes = [...]int{nothing: 0, task: 16, actor: 16, group: 16, object: 20, node: 8}

var kinds = [kindEnd]struct {
	name string
	of   subject
}{
	TaskDone:        {"task_done", task},
	TaskWaited:      {"task_waited", task},
	TaskMoved:       {"task_moved", task},
	TaskCancelled:   {"task_cancelled", task},
	ObjectSpilled:   {"object_spilled", object},
	ObjectRestored:  {"object_restored", object},
	ObjectMoved:     {"object_moved", object},
	TaskRetried:     {"task_retried", task},
	TaskFailed:      {"task_failed", task},
	ActorPending:    {"actor_pending", actor},
	ActorAlive:      {"actor_alive", actor},
	ActorRestarting: {"actor_restarting", actor},
	ActorDead:       {"actor_dead", actor},
	GroupPending:    {"group_pending", group},
	GroupCreated:    {"group_created", group},
	GroupRemoved:    {"group_removed", group},
	ObjectLost:      {"object_lost", object},
	StoreFull:       {"store_full", nothing},
	WorkerStarted:   {"worker_started", nothing},
	WorkerExited:    {"worker_exited", nothing},
	NodeStarted:     {"node_started", node},
	NodePressure:    {"node_pressure", nothing},
	NodeStopping:    {"node_stopping", node},
	SessionOpened:   {"session_opened", nothing},
	SessionClosed:   {"session_closed", nothing},
	JobStarted:      {"job_started", nothing},
	JobEnded:        {"job_ended", nothing},
	Misbehaved:      {"misbehaved", nothing},
	SinkFailed:      {"sink_failed", nothing},
	Gap:             {"gap", nothing},
	Custom:          {"custom", task},
}

// ordinary reports whether records of this kind may be counted away.
func (k Kind) ordinary() bool { return k < ordinaryEnd }

// Kept reports whether records of this kind are kept however many there are.
func (k Kind) Kept() bool { return !k.bare().ordinary() }

// bare returns k without Counted.
func (k Kind) bare() Kind { return k &^ Counted }

// String is the kind's name, such as "task_done".
func (k Kind) String() string {
	b := k.bare()
	if b >= kindEnd || b == 0 {
		return "kind_" + strconv.Itoa(int(k))
	}
	if k&Counted != 0 {
		return kinds[b].name + "_many"
	}
	return kinds[b].name
}

func (k Kind) subject() subject {
	if k >= kindEnd {
		return nothing
	}
	return kinds[k].of
}

// failure reports whether records of this kind say that something went wrong.
func (k Kind) failure() bool {
	switch k {
	case TaskRetried, TaskFailed, ObjectLost, StoreFull, Misbehaved, SinkFailed, Gap, ActorRestarting:
		return true
	default:
		return false
	}
}

// Cause says why. Zero is no cause.
type Cause uint8

// Causes.
const (
	UserError     Cause = iota + 1 // the function returned an error or panicked
	WorkerDied                     // the process is gone
	NodeDied                       // the node is gone
	OutOfMemory                    // the memory guard ended it
	ArgLost                        // an argument could not be fetched
	Cancelled                      // by its user
	Unschedulable                  // no node can ever run it
	SetupFailed                    // its runtime environment or worker could not be made
	ActorGone                      // the actor is gone for good
	MaybeRan                       // the actor restarted while the call was out
	OutOfScope                     // the last handle went
	Killed                         // by a call to Kill
	Exited                         // by itself
	InitFailed                     // the constructor returned an error
	JobOver                        // its job ended
	Idle                           // it was not needed
	// What a task waited for.
	ForArgs      // its arguments
	ForResources // CPUs, or other resources
	ForWorker    // a worker process to start
	ForMemory    // room in the node's memory
	ForStore     // room in the object store
	ForTurn      // its turn at its actor
	causeEnd
)

var causes = [causeEnd]string{
	UserError: "user_error", WorkerDied: "worker_died", NodeDied: "node_died", OutOfMemory: "out_of_memory",
	ArgLost: "argument_lost", Cancelled: "cancelled", Unschedulable: "unschedulable", SetupFailed: "setup_failed",
	ActorGone: "actor_died", MaybeRan: "maybe_ran", OutOfScope: "out_of_scope", Killed: "killed", Exited: "exited",
	InitFailed: "init_failed", JobOver: "job_ended", Idle: "idle", ForArgs: "arguments", ForResources: "resources",
	ForWorker: "worker", ForMemory: "memory", ForStore: "store", ForTurn: "turn",
}

// String is the cause's name, such as "worker_died"; "" for none.
func (c Cause) String() string {
	if c >= causeEnd {
		return "cause_" + strconv.Itoa(int(c))
	}
	return causes[c]
}

// Entry is a Record as it is read: with its name resolved and its text.
type Entry struct {
	Record

	Label string // the Name's text
	Text  string // details, at most MaxText bytes
}

// Names reports whether the entry is about x, or about one of x's returns.
func (e *Entry) Names(x ID) bool {
	of := e.Kind.bare().subject()
	return of != nothing && bytes.Equal(e.ID[:idBytes[of]], x[:idBytes[of]])
}
