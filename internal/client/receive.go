package client

import (
	"runtime"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// incoming are the messages that one reader decodes into, again and again.
type incoming struct {
	value   sessionv1.ObjectValue
	objects sessionv1.Objects
	item    sessionv1.Item
}

// readCalls reads the call lane until the session is over.
func (r *Remote) readCalls() {
	var in incoming
	for {
		kind, body, err := r.reader.Next()
		if err != nil {
			r.fail(&wire.Error{Code: wire.Closed, Message: "the node is gone", Node: r.info.Node, Err: err,
				Hint: "its log says why; a new Init joins another one"})
			return
		}
		if err := r.receive(&in, kind, body); err != nil {
			r.fail(err)
			return
		}
		if !r.reader.Buffered() {
			// Who has just been given something to do goes first: this
			// goroutine may look for the next message for a while.
			runtime.Gosched()
		}
	}
}

// receive handles one message of the call lane.
func (r *Remote) receive(in *incoming, kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_VALUE:
		in.value.ResetVT()
		if err := in.value.UnmarshalVTUnsafe(body); err != nil {
			return undecodable(kind, err)
		}
		return r.gotValue(&in.value)
	case sessionv1.Kind_KIND_EXECUTE:
		if r.role == nil {
			return &wire.Error{Code: wire.Protocol, Message: "a task for a session that is no worker"}
		}
		return r.role.execute(body)
	case sessionv1.Kind_KIND_READY:
		in.objects.ResetVT()
		if err := in.objects.UnmarshalVTUnsafe(body); err != nil {
			return undecodable(kind, err)
		}
		return r.gotReady(in.objects.Objects)
	case sessionv1.Kind_KIND_ITEM:
		in.item.Reset()
		if err := in.item.UnmarshalVTUnsafe(body); err != nil {
			return undecodable(kind, err)
		}
		return r.gotItem(&in.item)
	}
	return r.receiveReply(kind, body)
}

// receiveReply handles the rarer messages, which answer something.
func (r *Remote) receiveReply(kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_RESERVED:
		m := new(sessionv1.Reserved)
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		r.answer(m.Request, m)
	case sessionv1.Kind_KIND_FOUND:
		m := new(sessionv1.Found)
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		r.answer(m.Request, m)
	case sessionv1.Kind_KIND_GROUPED:
		m := new(sessionv1.Grouped)
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		r.answer(m.Request, m)
	case sessionv1.Kind_KIND_ANSWER:
		m := new(sessionv1.Answer)
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		r.answer(m.Request, m)
	case sessionv1.Kind_KIND_STREAM_END:
		m := new(sessionv1.StreamEnd)
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		return r.gotStreamEnd(m)
	case sessionv1.Kind_KIND_GOODBYE:
		return goodbye(body)
	default:
		return &wire.Error{Code: wire.Protocol, Message: "unknown message " + kind.String()}
	}
	return nil
}

func undecodable(kind sessionv1.Kind, err error) error {
	return &wire.Error{Code: wire.Protocol, Message: kind.String() + " cannot be decoded", Err: err}
}

// readSide reads the side lane until the session is over.
func (r *Remote) readSide(fds *wire.FDReader) {
	defer fds.Close()
	reader := wire.NewReader(fds)
	for {
		kind, body, err := reader.Next()
		if err != nil {
			return
		}
		if err := r.receiveSide(fds, kind, body); err != nil {
			r.fail(err)
			return
		}
	}
}

func (r *Remote) receiveSide(fds *wire.FDReader, kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_SLAB:
		var m sessionv1.Slab
		fd, err := fds.Claim()
		if err != nil {
			return err
		}
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		r.slabs.Announce(m.Slab, int64(m.Size), m.Writable, fd)
		return nil
	case sessionv1.Kind_KIND_CREDIT:
		var m sessionv1.Credit
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		if len(m.Task) == 0 {
			r.out.grant(int64(m.Bytes), int64(m.Puts))
			return nil
		}
	case sessionv1.Kind_KIND_DRIVER_LOG:
		var m sessionv1.Log
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		printLog(&m)
		return nil
	case sessionv1.Kind_KIND_GOODBYE:
		return goodbye(body)
	}
	if r.role != nil {
		return r.role.receiveSide(kind, body)
	}
	return nil
}
