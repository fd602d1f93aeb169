package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// Errors that say what became of a request.
var (
	ErrClosed  = errors.New("store: closed")
	ErrAborted = errors.New("store: the reservation was aborted")
	ErrEnded   = errors.New("store: the session ended")
)

// NotFoundError says that the store has no such object.
type NotFoundError struct{ Object id.Object }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("store: object %v is not here: it was freed, dropped or never sealed on this node", e.Object)
}

// ReservationError says that a reservation cannot be used as asked.
type ReservationError struct {
	Res    uint64
	Op     string
	Reason string
}

func (e *ReservationError) Error() string {
	return fmt.Sprintf("store: %s reservation %d: %s", e.Op, e.Res, e.Reason)
}

// FullError says that there is no room for an object in memory or on disk.
type FullError struct {
	Node    id.Node
	Task    id.Task // zero if a driver asked
	Job     id.Job
	Path    string // of the spill disk
	Asked   int64
	Limit   int64 // of the store, bytes
	Used    int64
	Holders []Holder // who keeps the most bytes from moving, the largest first
	Cause   error    // why there is no fallback file
}

func (e *FullError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "store: no room for %d bytes of %s on node %v: %d of %d bytes of memory are in use and cannot move, and no fallback file in %s: %v",
		e.Asked, e.who(), e.Node, e.Used, e.Limit, e.Path, e.Cause)
	for i, h := range e.Holders {
		sep := "; "
		if i == 0 {
			sep = "; held by "
		}
		if h.Reserved {
			fmt.Fprintf(&b, "%ssession %d (%d bytes reserved, not sealed)", sep, h.Session, h.Bytes)
			continue
		}
		fmt.Fprintf(&b, "%ssession %d (%d bytes, object %v)", sep, h.Session, h.Bytes, h.Object)
	}
	b.WriteString("; release objects, raise the store's limit, or make room on the disk")
	return b.String()
}

// who asked for room.
func (e *FullError) who() string {
	if e.Task.IsZero() {
		return fmt.Sprintf("the driver of job %v", e.Job)
	}
	return fmt.Sprintf("task %v", e.Task)
}

func (e *FullError) Unwrap() error { return e.Cause }

// CorruptError says that an object came back from disk other than it went.
type CorruptError struct {
	Object    id.Object
	File      string
	Offset    int64
	Size      int64
	Want, Got uint32 // CRC-32C
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("store: object %v (%d bytes at %d of %s) is corrupt on disk: CRC-32C %08x, was written as %08x; check the disk; the object must be rebuilt",
		e.Object, e.Size, e.Offset, e.File, e.Got, e.Want)
}

// ReadError says that an object could not be read back from disk.
type ReadError struct {
	Object id.Object
	File   string
	Err    error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("store: object %v cannot be read from %s: %v; the object must be rebuilt", e.Object, e.File, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }
