package client

import (
	"runtime"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// incoming are the messages that one reader decodes into, again and again.
type incoming struct {
	value   sessionv1.ObjectValue
	execute sessionv1.Execute
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
		if r.role != nil && !r.reader.Buffered() {
			r.role.batchEnd()
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
		in.execute.ResetVT()
		if err := in.execute.UnmarshalVTUnsafe(body); err != nil {
			return undecodable(kind, err)
		}
		if r.role == nil {
			return &wire.Error{Code: wire.Protocol, Message: "a task for a session that is no worker"}
		}
		return r.role.execute(&in.execute)
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

// gotValue completes the Future of an object.
func (r *Remote) gotValue(m *sessionv1.ObjectValue) error {
	o, err := wire.ReadObject(m.Object)
	if err != nil {
		return err
	}
	r.mu.Lock()
	f := r.pending[o]
	delete(r.pending, o)
	watchers := r.watched[o]
	delete(r.watched, o)
	r.mu.Unlock()
	if f == nil {
		if m.Value.GetAt() != nil {
			r.unpin(o)
		}
	} else {
		f.Complete(r.result(f, m.Value))
	}
	for _, fn := range watchers {
		fn()
	}
	return nil
}

// result is a received value. One in shared memory stays there, pinned for as
// long as the Future is reachable.
func (r *Remote) result(f *Future, p *sessionv1.Value) Result {
	if p == nil {
		return Result{}
	}
	if p.Error != nil {
		return Result{Err: wire.ErrorFromPB(p.Error)}
	}
	if p.At == nil {
		v, err := wire.ValueFromPB(p)
		if err != nil {
			return Result{Err: wire.AsError(err, wire.Protocol)}
		}
		return Result{Enc: &Encoded{Value: v}}
	}
	return r.located(f, p)
}

func (r *Remote) located(f *Future, p *sessionv1.Value) Result {
	v := wire.Value{Tag: wire.Tag(p.Tag)}
	var err error
	if v.Data, err = r.slabs.bytes(p.At, false); err == nil {
		v.Refs, err = wire.UnpackObjects(nil, p.Refs)
	}
	if err != nil {
		return Result{Err: &wire.Error{Code: wire.ObjectLost, Op: "read " + f.ID.String(), Message: "its shared memory cannot be read", Err: err}}
	}
	runtime.AddCleanup(f, r.unpin, f.ID)
	return Result{Enc: &Encoded{Value: v, Pinned: true}}
}

// gotReady notes that objects are available; their values come when asked for.
func (r *Remote) gotReady(ids []byte) error {
	objects, err := wire.UnpackObjects(nil, ids)
	if err != nil {
		return err
	}
	for _, o := range objects {
		r.mu.Lock()
		f := r.pending[o]
		asked := f != nil && f.Asked.Load()
		if f != nil && !asked {
			// Nobody waits for the value: it may stay where it is, and the
			// Future may become garbage.
			delete(r.pending, o)
			f.There.Store(true)
		}
		watchers := r.watched[o]
		delete(r.watched, o)
		r.mu.Unlock()
		if asked {
			r.out.add(sessionv1.Kind_KIND_GET, &sessionv1.Objects{Objects: o[:]})
		}
		for _, fn := range watchers {
			fn()
		}
	}
	r.out.flush()
	return nil
}

// readSide reads the side lane until the session is over.
func (r *Remote) readSide(fds *fdReader) {
	defer fds.close()
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

func (r *Remote) receiveSide(fds *fdReader, kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_SLAB:
		var m sessionv1.Slab
		fd, err := fds.claim()
		if err != nil {
			return err
		}
		if err := m.UnmarshalVT(body); err != nil {
			return undecodable(kind, err)
		}
		r.slabs.announce(&m, fd)
		return nil
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

// tidyDelay is how long dropped references may wait for company.
const tidyDelay = 2 * time.Millisecond

// tidySoon has what became garbage reported before long.
func (r *Remote) tidySoon() { time.AfterFunc(tidyDelay, r.tidy) }

// unpin notes a located value that nobody reads any more.
func (r *Remote) unpin(o id.Object) {
	r.tidyMu.Lock()
	r.unpins = append(r.unpins, o)
	first := len(r.unpins) == 1
	r.tidyMu.Unlock()
	if first {
		r.tidySoon()
	}
}

// tidy reports dropped references and pins.
func (r *Remote) tidy() {
	r.tidyMu.Lock()
	drops, unpins := r.drops, r.unpins
	r.drops, r.unpins = nil, nil
	r.tidyMu.Unlock()
	if len(unpins) > 0 {
		r.out.add(sessionv1.Kind_KIND_UNPIN, &sessionv1.Counts{Ids: wire.PackObjects(nil, unpins...)})
	}
	if len(drops) > 0 {
		r.out.add(sessionv1.Kind_KIND_DROP, &sessionv1.Counts{Ids: wire.PackObjects(nil, drops...)})
	}
}
