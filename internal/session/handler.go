package session

import (
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
)

// Handler is what a node does with the frames of one connection. An error ends
// the connection and is its peer's Goodbye.
type Handler interface {
	TaskHandler
	ObjectHandler
	ActorHandler
	WorkerHandler

	Query(m *sessionv1.Query) error
	Blob(m *sessionv1.Blob) error
	Fetch(m *sessionv1.Fetch) error
	Prepare(m *sessionv1.Prepare) error
	// BatchEnd comes after the frames that one look at the sockets brought, and
	// within long batches now and then: the time to write what they caused.
	BatchEnd()
	// Closed is the last call: nil after the peer's Goodbye and after Close(nil).
	Closed(err error)
}

// TaskHandler has the frames about tasks.
type TaskHandler interface {
	Template(m *sessionv1.Template) error
	// Submit, Create and Put are charged for size, the length of their body.
	Submit(m *sessionv1.Submit, size int) error
	Cancel(m *sessionv1.Cancel) error
	Consume(m *sessionv1.Consume) error
	DropStream(m *sessionv1.TaskRef) error
	Blocked(m *sessionv1.TaskRef) error
	Unblocked(m *sessionv1.TaskRef) error
}

// ObjectHandler has the frames about objects.
type ObjectHandler interface {
	Put(m *sessionv1.Put, size int) error
	Reserve(m *sessionv1.Reserve) error
	Seal(m *sessionv1.Seal) error
	Abort(m *sessionv1.Abort) error
	Get(m *sessionv1.Objects) error
	Watch(m *sessionv1.Objects) error
	Unwant(m *sessionv1.Objects) error
	Hold(m *sessionv1.Counts) error
	Drop(m *sessionv1.Counts) error
	Unpin(m *sessionv1.Counts) error
}

// ActorHandler has the frames about actors and placement groups.
type ActorHandler interface {
	Create(m *sessionv1.Submit, size int) error
	Kill(m *sessionv1.Kill) error
	Lookup(m *sessionv1.Lookup) error
	Handle(m *sessionv1.Counts) error
	Group(m *sessionv1.Group) error
	Ungroup(m *sessionv1.Group) error
}

// WorkerHandler has the frames that only workers send.
type WorkerHandler interface {
	Result(m *sessionv1.Result) error
	Item(m *sessionv1.Item) error
	Begun(m *sessionv1.TaskRef) error
	TakenBack(m *sessionv1.TakenBack) error
}
