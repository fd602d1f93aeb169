package session

import (
	"fmt"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// laneKind says which of a connection's streams something is about.
type laneKind uint8

const (
	callLane laneKind = iota
	sideLane
)

func (k laneKind) String() string { return [...]string{"call lane", "side lane"}[k] }

// An entry is what happens to frames of one kind.
type entry struct {
	call   func(h Handler, body []byte) error
	lane   laneKind
	worker bool // only workers send it
}

// message is what every generated message can do.
type message interface {
	wire.Message
	Reset()
}

// handles decodes into m, which is used again and again, and calls f.
func handles[M message](m M, f func(Handler, M) error) entry {
	return charges(m, func(h Handler, m M, _ int) error { return f(h, m) })
}

// charges is handles for messages that are charged for the size of their body.
func charges[M message](m M, f func(h Handler, m M, size int) error) entry {
	reset := m.Reset
	if pooled, ok := any(m).(interface{ ResetVT() }); ok {
		reset = pooled.ResetVT
	}
	return entry{call: func(h Handler, body []byte) error {
		err := m.UnmarshalVTUnsafe(body)
		if err != nil {
			err = protocolError(fmt.Sprintf("a message cannot be decoded: %v", err))
		} else {
			err = f(h, m, len(body))
		}
		reset()
		return err
	}}
}

func (e entry) fromWorker() entry { e.worker = true; return e }
func (e entry) onSide() entry     { e.lane = sideLane; return e }

// newTable returns the entries by kind. The messages in it belong to one loop.
func newTable() *[256]entry {
	submit, objects, counts := new(sessionv1.Submit), new(sessionv1.Objects), new(sessionv1.Counts)
	task, group := new(sessionv1.TaskRef), new(sessionv1.Group)
	return &[256]entry{
		sessionv1.Kind_KIND_TEMPLATE:    handles(new(sessionv1.Template), Handler.Template),
		sessionv1.Kind_KIND_SUBMIT:      charges(submit, Handler.Submit),
		sessionv1.Kind_KIND_CANCEL:      handles(new(sessionv1.Cancel), Handler.Cancel),
		sessionv1.Kind_KIND_CONSUME:     handles(new(sessionv1.Consume), Handler.Consume),
		sessionv1.Kind_KIND_DROP_STREAM: handles(task, Handler.DropStream),
		sessionv1.Kind_KIND_BLOCKED:     handles(task, Handler.Blocked),
		sessionv1.Kind_KIND_UNBLOCKED:   handles(task, Handler.Unblocked),

		sessionv1.Kind_KIND_PUT:     charges(new(sessionv1.Put), Handler.Put),
		sessionv1.Kind_KIND_RESERVE: handles(new(sessionv1.Reserve), Handler.Reserve),
		sessionv1.Kind_KIND_SEAL:    handles(new(sessionv1.Seal), Handler.Seal),
		sessionv1.Kind_KIND_ABORT:   handles(new(sessionv1.Abort), Handler.Abort),
		sessionv1.Kind_KIND_GET:     handles(objects, Handler.Get),
		sessionv1.Kind_KIND_WATCH:   handles(objects, Handler.Watch),
		sessionv1.Kind_KIND_UNWANT:  handles(objects, Handler.Unwant),
		sessionv1.Kind_KIND_HOLD:    handles(counts, Handler.Hold),
		sessionv1.Kind_KIND_DROP:    handles(counts, Handler.Drop),
		sessionv1.Kind_KIND_UNPIN:   handles(counts, Handler.Unpin),

		sessionv1.Kind_KIND_CREATE:  charges(submit, Handler.Create),
		sessionv1.Kind_KIND_KILL:    handles(new(sessionv1.Kill), Handler.Kill),
		sessionv1.Kind_KIND_LOOKUP:  handles(new(sessionv1.Lookup), Handler.Lookup),
		sessionv1.Kind_KIND_HANDLE:  handles(counts, Handler.Handle),
		sessionv1.Kind_KIND_GROUP:   handles(group, Handler.Group),
		sessionv1.Kind_KIND_UNGROUP: handles(group, Handler.Ungroup),

		sessionv1.Kind_KIND_RESULT:     handles(new(sessionv1.Result), Handler.Result).fromWorker(),
		sessionv1.Kind_KIND_ITEM:       handles(new(sessionv1.Item), Handler.Item).fromWorker(),
		sessionv1.Kind_KIND_BEGUN:      handles(task, Handler.Begun).fromWorker(),
		sessionv1.Kind_KIND_TAKEN_BACK: handles(new(sessionv1.TakenBack), Handler.TakenBack).fromWorker().onSide(),

		sessionv1.Kind_KIND_QUERY:   handles(new(sessionv1.Query), Handler.Query),
		sessionv1.Kind_KIND_BLOB:    handles(new(sessionv1.Blob), Handler.Blob),
		sessionv1.Kind_KIND_FETCH:   handles(new(sessionv1.Fetch), Handler.Fetch),
		sessionv1.Kind_KIND_PREPARE: handles(new(sessionv1.Prepare), Handler.Prepare),
	}
}

func protocolError(message string) *wire.Error {
	return &wire.Error{Code: wire.Protocol, Op: "session", Message: message}
}
