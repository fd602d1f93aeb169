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

	Query(*sessionv1.Query) error
	// BatchEnd comes after the frames that one look at the sockets brought, and
	// within long batches now and then: the time to write what they caused.
	BatchEnd()
	// Closed is the last call: nil after the peer's Goodbye and after Close(nil).
	Closed(err error)
}

// TaskHandler has the frames about tasks.
type TaskHandler interface {
	Template(*sessionv1.Template) error
	Submit(*sessionv1.Submit) error
	Cancel(*sessionv1.Cancel) error
	Consume(*sessionv1.Consume) error
	DropStream(*sessionv1.TaskRef) error
	Blocked(*sessionv1.TaskRef) error
	Unblocked(*sessionv1.TaskRef) error
}

// ObjectHandler has the frames about objects.
type ObjectHandler interface {
	Put(*sessionv1.Put) error
	Reserve(*sessionv1.Reserve) error
	Seal(*sessionv1.Seal) error
	Abort(*sessionv1.Abort) error
	Get(*sessionv1.Objects) error
	Watch(*sessionv1.Objects) error
	Unwant(*sessionv1.Objects) error
	Hold(*sessionv1.Counts) error
	Drop(*sessionv1.Counts) error
	Unpin(*sessionv1.Counts) error
}

// ActorHandler has the frames about actors and placement groups.
type ActorHandler interface {
	Create(*sessionv1.Submit) error
	Kill(*sessionv1.Kill) error
	Lookup(*sessionv1.Lookup) error
	Handle(*sessionv1.Counts) error
	Group(*sessionv1.Group) error
	Ungroup(*sessionv1.Group) error
}

// WorkerHandler has the frames that only workers send.
type WorkerHandler interface {
	Result(*sessionv1.Result) error
	Item(*sessionv1.Item) error
	Begun(*sessionv1.TaskRef) error
	TakenBack(*sessionv1.TakenBack) error
}
