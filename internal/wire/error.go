package wire

import (
	"fmt"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// Code says what kind of thing went wrong. It is itself an error, so that
// errors.Is(err, weft.Cancelled) works. The set is closed.
type Code uint8

// Codes.
const (
	UserError         Code = iota + 1 // the function returned an error or panicked
	WorkerCrashed                     // the process that ran it is gone
	NodeDied                          // the node that ran it is gone
	ActorDied                         // the actor is gone for good; the message has the cause
	ActorUnavailable                  // the actor restarted while the call was out: it may have run
	Cancelled                         // by Cancel, or by its context
	Timeout                           // the caller's deadline passed; the task goes on
	ObjectLost                        // no copy is left and it cannot be made again
	OwnerDied                         // the node that owned it is gone
	ObjectFreed                       // every reference to it had been dropped
	StoreFull                         // shared memory and the spill disk are full
	OutOfMemory                       // the memory guard ended it
	Unschedulable                     // no node can ever run it
	SetupFailed                       // its runtime environment or worker could not be made
	NotRegistered                     // no function of that name and type
	NotFound                          // no actor of that name, no such id
	AlreadyExists                     // the name is taken
	Encode                            // a value cannot be encoded, or not be read
	Closed                            // the session or node has been shut down, or is gone
	Protocol                          // the peer broke the session protocol
	Unauthenticated                   // no or a wrong identity
	Invalid                           // an argument is wrong
	PendingCallsLimit                 // the caller has too many calls waiting at an actor
	Internal                          // a bug in Weft
	GroupRemoved                      // its placement group has been removed
)

var codeNames = [...]string{"", "user error", "worker crashed", "node died", "actor died", "actor unavailable",
	"cancelled", "timeout", "object lost", "owner died", "object freed", "store full", "out of memory",
	"unschedulable", "setup failed", "not registered", "not found", "already exists", "cannot encode", "closed",
	"protocol error", "unauthenticated", "invalid argument", "too many pending calls", "internal error",
	"placement group removed"}

// Error is the code's name.
func (c Code) Error() string {
	if int(c) < len(codeNames) && c > 0 {
		return codeNames[c]
	}
	return fmt.Sprintf("error code %d", c)
}

// Error is the one type of error that Weft returns: what failed, where, on
// which attempt, and what to do.
type Error struct {
	Code    Code
	Op      string // what was attempted, such as the function's name
	Type    string // of the user's error, for UserError
	Message string
	Trace   string // the remote stack
	Task    id.Task
	Actor   id.Actor
	Node    id.Node
	Attempt uint32
	Place   string // process and host
	Hint    string // what to do next
	Stderr  string // last lines of a worker that died
	Cause   Value  // the user's error, encoded, if it could be
	Err     error  // the cause in this process
}

// Error has the message first, then where it happened, then the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("weft: ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	switch {
	case e.Code == UserError && e.Message != "":
		b.WriteString(e.Message)
	case e.Message != "":
		b.WriteString(e.Code.Error() + ": " + e.Message)
	default:
		b.WriteString(e.Code.Error())
	}
	if e.Err != nil && !strings.Contains(e.Message, e.Err.Error()) {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Attempt > 1 {
		fmt.Fprintf(&b, " (attempt %d)", e.Attempt)
	}
	if e.Place != "" {
		b.WriteString(" [" + e.Place + "]")
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	if e.Stderr != "" {
		b.WriteString("\n--- last lines of its stderr ---\n" + strings.TrimRight(e.Stderr, "\n"))
	}
	return b.String()
}

// Unwrap gives the cause in this process, if there is one.
func (e *Error) Unwrap() error { return e.Err }

// Is matches the error's Code.
func (e *Error) Is(target error) bool { c, ok := target.(Code); return ok && c == e.Code }
