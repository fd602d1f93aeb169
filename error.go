package weft

import (
	"fmt"
	"strings"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/wire"
)

// Error is the one type of error that Weft returns. It says what failed, where
// and on which attempt, and what to do. errors.Is compares its Code; errors.As
// and errors.Is also find the function's own error when it ran in this process.
type Error = wire.Error

// Code says what kind of thing went wrong. Every Code is an error itself, so
// errors.Is(err, weft.ActorDied) works.
type Code = wire.Code

// Codes of errors.
const (
	UserError         = wire.UserError         // the function returned an error or panicked
	WorkerCrashed     = wire.WorkerCrashed     // the process that ran it is gone, as often as it was tried
	NodeDied          = wire.NodeDied          // the node that ran it is gone
	ActorDied         = wire.ActorDied         // the actor is gone for good; the message has the cause
	ActorUnavailable  = wire.ActorUnavailable  // the actor restarted while the call was out: it may have run
	Cancelled         = wire.Cancelled         // by Cancel or by a context
	Timeout           = wire.Timeout           // the caller's deadline passed; the task goes on
	ObjectLost        = wire.ObjectLost        // no copy is left and it cannot be made again
	OwnerDied         = wire.OwnerDied         // the node that owned it is gone
	ObjectFreed       = wire.ObjectFreed       // every reference to it had been dropped
	StoreFull         = wire.StoreFull         // shared memory and the spill disk are full
	OutOfMemory       = wire.OutOfMemory       // the memory guard ended it
	Unschedulable     = wire.Unschedulable     // no node can ever run it
	SetupFailed       = wire.SetupFailed       // no worker process could be started for it
	NotRegistered     = wire.NotRegistered     // no function of that name and type
	NotFound          = wire.NotFound          // no such name or id
	AlreadyExists     = wire.AlreadyExists     // the name is taken
	Encode            = wire.Encode            // a value cannot be encoded or read
	Closed            = wire.Closed            // Shutdown was called, or the node is gone
	Protocol          = wire.Protocol          // the other end broke the session protocol
	Unauthenticated   = wire.Unauthenticated   // no or a wrong token, or one that does not allow that
	Invalid           = wire.Invalid           // an argument is wrong
	PendingCallsLimit = wire.PendingCallsLimit // MaxPending is reached
	GroupRemoved      = wire.GroupRemoved      // its placement group has been removed
)

// ErrExit is what an actor's method returns, perhaps wrapped, to end its actor
// after the call. The call itself succeeds with what it returned besides.
var ErrExit = client.ErrExit

func typeMismatch[T any](val any) string {
	var want T
	return fmt.Sprintf("the value is of type %T, not %T", val, want)
}

func waitCount(n, of int) string {
	return fmt.Sprintf("n is %d; it must be between 0 and the number of refs, %d", n, of)
}

// ownFrame reports whether a stack frame is of this package, not of its callers or tests.
func ownFrame(fn string) bool {
	rest, ok := strings.CutPrefix(fn, "github.com/weftrun/weft.")
	return ok && !strings.HasPrefix(rest, "Test") && !strings.HasPrefix(rest, "init") && !strings.HasPrefix(rest, "Benchmark")
}
