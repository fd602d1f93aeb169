package client

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
	"github.com/weftrun/weft/internal/wire"
)

// Put implements Session.
func (r *Remote) Put(ctx context.Context, f *Future, v any, codec Codec) error {
	enc, err := codec.Encode(r, v)
	if err == nil {
		err = r.put(ctx, f.ID, enc)
	}
	if err != nil {
		return err
	}
	runtime.KeepAlive(v) // with the references inside, until the node counts them
	f.Shared.Store(true)
	f.There.Store(true)
	runtime.AddCleanup(f, r.dropped, f.ID)
	return nil
}

// put makes v the object o: inline if it is small and there is credit, else
// through shared memory, which can spill.
func (r *Remote) put(ctx context.Context, o id.Object, v wire.Value) error {
	if len(v.Data) <= r.inlineLimit {
		m := &sessionv1.Put{Seq: o.Task().Seq(), Value: wire.ValueToPB(v)}
		if done, err := r.out.post(sessionv1.Kind_KIND_PUT, m, false); done || err != nil {
			return err
		}
	}
	return r.putLarge(ctx, o, v)
}

// putLarge copies v into shared memory and seals it as o.
func (r *Remote) putLarge(ctx context.Context, o id.Object, v wire.Value) error {
	reservation, err := r.reserve(ctx, v.Data)
	if err != nil {
		return err
	}
	r.out.add(sessionv1.Kind_KIND_SEAL, &sessionv1.Seal{Reservation: reservation, Seq: o.Task().Seq(), Size: uint64(len(v.Data)),
		Tag: uint32(v.Tag), Refs: wire.PackObjects(nil, v.Refs...)})
	return nil
}

// reserve waits for room in shared memory and copies data into it.
func (r *Remote) reserve(ctx context.Context, data []byte) (uint64, error) {
	room, err := r.room(ctx, int64(len(data)))
	if err != nil {
		return 0, err
	}
	copy(room.mem, data)
	r.slabs.GiveBack(room.file)
	return room.reservation, nil
}

func (r *Remote) abort(reservation uint64) {
	r.out.add(sessionv1.Kind_KIND_ABORT, &sessionv1.Abort{Reservation: reservation})
}

// Adopt implements Session.
func (r *Remote) Adopt(o id.Object) *Future {
	f := &Future{ID: o, Sess: r}
	f.Shared.Store(true)
	r.out.add(sessionv1.Kind_KIND_HOLD, &sessionv1.Counts{Ids: f.ID[:]})
	runtime.AddCleanup(f, r.dropped, o)
	return f
}

// Share implements Session: everything in a remote session is counted.
func (r *Remote) Share(*Future) {}

// Release implements Session.
func (r *Remote) Release(f *Future) { r.drop(f.ID) }

// Want implements Session.
func (r *Remote) Want(fs ...*Future) {
	var ids []byte
	r.mu.Lock()
	err := r.err
	for _, f := range fs {
		f.Asked.Store(true)
		if err == nil && !f.Ready() && r.await(f) {
			ids = append(ids, f.ID[:]...)
		}
	}
	r.mu.Unlock()
	if err != nil {
		for _, f := range fs {
			f.Complete(Result{Err: err})
		}
		return
	}
	for len(ids) > 0 {
		n := min(len(ids), maxIDs*len(id.Object{}))
		r.out.queue(sessionv1.Kind_KIND_GET, &sessionv1.Objects{Objects: ids[:n]})
		ids = ids[n:]
	}
	r.out.flush()
}

// maxIDs bounds the ids in one message.
const maxIDs = 10_000

// await registers f for a value, and reports whether the node must be asked for it.
func (r *Remote) await(f *Future) bool {
	first := r.pending[f.ID]
	if first == nil {
		r.pending[f.ID] = f
		return true
	}
	if first != f && !slices.Contains(r.twins[f.ID], f) {
		r.twins[f.ID] = append(r.twins[f.ID], f)
	}
	return false
}

// gotValue completes the Futures of an object.
func (r *Remote) gotValue(m *sessionv1.ObjectValue) error {
	o, err := wire.ReadObject(m.Object)
	if err != nil {
		return err
	}
	r.mu.Lock()
	f := r.pending[o]
	delete(r.pending, o)
	var twins []*Future
	if len(r.twins) > 0 {
		twins = r.twins[o]
		delete(r.twins, o)
	}
	ws := r.unwatch(o)
	r.mu.Unlock()
	switch {
	case f != nil:
		res, pin := r.result(o, m.Value)
		pin.hold(r, f)
		f.Complete(res)
		for _, twin := range twins {
			pin.hold(r, twin)
			twin.Complete(res)
		}
	case m.Value.GetAt() != nil:
		r.unpin(o)
	}
	ws.tell()
	return nil
}

// result is a received value. One in shared memory stays there, pinned for as
// long as a Future that has it is reachable.
func (r *Remote) result(o id.Object, p *sessionv1.Value) (Result, *pin) {
	switch {
	case p == nil:
		return Result{}, nil
	case p.Error != nil:
		return Result{Err: wire.ErrorFromPB(p.Error)}, nil
	case p.At != nil:
		return r.located(o, p)
	}
	v, err := wire.ValueFromPB(p)
	if err != nil {
		return Result{Err: wire.AsError(err, wire.Protocol)}, nil
	}
	return Result{Enc: &Encoded{Value: v}}, nil
}

func (r *Remote) located(o id.Object, p *sessionv1.Value) (Result, *pin) {
	v := wire.Value{Tag: wire.Tag(p.Tag)}
	var file *slab.Mapped
	refs, err := wire.UnpackObjects(nil, p.Refs)
	if err == nil {
		v.Refs = refs
		v.Data, file, err = r.lend(p.At, false)
	}
	if err != nil {
		r.unpin(o)
		return Result{Err: &wire.Error{Code: wire.ObjectLost, Op: "read " + o.String(), Message: "its shared memory cannot be read", Err: err}}, nil
	}
	return Result{Enc: &Encoded{Value: v, Pinned: true}}, &pin{o: o, file: file}
}

// lend returns the memory of a location until it is given back.
func (r *Remote) lend(at *sessionv1.Location, write bool) ([]byte, *slab.Mapped, error) {
	return r.slabs.Lend(at.GetSlab(), int64(at.GetOffset()), int64(at.GetSize()), write)
}

// pin is a value in shared memory that the node keeps there for this process.
type pin struct {
	o       id.Object
	file    *slab.Mapped
	holders atomic.Int32
}

// hold keeps the pin for as long as f is reachable.
func (p *pin) hold(r *Remote, f *Future) {
	if p != nil {
		p.holders.Add(1)
		runtime.AddCleanup(f, r.letGo, p)
	}
}

func (r *Remote) letGo(p *pin) {
	if p.holders.Add(-1) == 0 {
		r.slabs.GiveBack(p.file)
		r.unpin(p.o)
	}
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
		asked := f != nil && (f.Asked.Load() || len(r.twins[o]) > 0)
		if f != nil && !asked {
			// Nobody waits for the value: it may stay where it is, and the
			// Future may become garbage.
			delete(r.pending, o)
			f.There.Store(true)
		}
		ws := r.unwatch(o)
		r.mu.Unlock()
		if asked {
			r.out.queue(sessionv1.Kind_KIND_GET, &sessionv1.Objects{Objects: o[:]})
		}
		ws.tell()
	}
	r.out.flush()
	return nil
}

// watcher is one call of Watch; watches are all that wait for an object.
type watcher struct {
	ready   func(i int)
	stopped atomic.Bool
}

type watch struct {
	w *watcher
	i int
}

type watches []watch

func (ws watches) tell() {
	for _, e := range ws {
		if !e.w.stopped.Load() {
			e.w.ready(e.i)
		}
	}
}

// unwatch takes all who watch o; under the lock.
func (r *Remote) unwatch(o id.Object) watches {
	if len(r.watched) == 0 {
		return nil
	}
	ws := r.watched[o]
	delete(r.watched, o)
	return ws
}

// Watch implements Session.
func (r *Remote) Watch(fs []*Future, ready func(int)) (stop func()) {
	w := &watcher{ready: ready}
	var now watches
	var ids []byte
	r.mu.Lock()
	for i, f := range fs {
		if f.Ready() || f.There.Load() || r.err != nil {
			now = append(now, watch{w, i})
			continue
		}
		ws, known := r.watched[f.ID]
		if !known && r.pending[f.ID] == nil {
			ids = append(ids, f.ID[:]...)
		}
		r.watched[f.ID] = append(ws, watch{w, i})
	}
	r.mu.Unlock()
	if len(ids) > 0 {
		r.out.queue(sessionv1.Kind_KIND_WATCH, &sessionv1.Objects{Objects: ids})
	}
	r.out.flush()
	now.tell()
	return func() { r.stopWatch(w, fs) }
}

// stopWatch takes w away from fs. That the node was asked stays noted, so that
// who asks again and again does not burden it.
func (r *Remote) stopWatch(w *watcher, fs []*Future) {
	w.stopped.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.watched) == 0 {
		return
	}
	for _, f := range fs {
		if ws, ok := r.watched[f.ID]; ok {
			r.watched[f.ID] = slices.DeleteFunc(ws, func(e watch) bool { return e.w == w })
		}
	}
}

const (
	// tidyDelay is how long dropped references may wait for company.
	tidyDelay = 2 * time.Millisecond
	// tidyMany is how many do not wait.
	tidyMany = 256
)

// drop notes a reference that is gone. It is reported later than what is sent
// now, so it does not overtake a message that still names the object.
func (r *Remote) drop(o id.Object) { r.note(&r.drops, o) }

// unpin notes a value in shared memory that nobody reads any more.
func (r *Remote) unpin(o id.Object) { r.note(&r.unpins, o) }

// note adds to one of the lists that tidy reports: soon, or now if it is long.
func (r *Remote) note(list *[]id.Object, o id.Object) {
	r.tidyMu.Lock()
	if r.ended {
		r.tidyMu.Unlock()
		return
	}
	first := len(r.drops)+len(r.unpins) == 0
	*list = append(*list, o)
	many := len(*list) >= tidyMany
	r.tidyMu.Unlock()
	switch {
	case many:
		r.tidy()
	case first:
		time.AfterFunc(tidyDelay, r.tidy)
	}
}

// tidy reports dropped references and pins.
func (r *Remote) tidy() {
	r.tidyMu.Lock()
	drops, unpins := r.drops, r.unpins
	r.drops, r.unpins = nil, nil
	r.tidyMu.Unlock()
	if len(unpins) > 0 {
		r.out.queue(sessionv1.Kind_KIND_UNPIN, &sessionv1.Counts{Ids: wire.PackObjects(nil, unpins...)})
	}
	if len(drops) > 0 {
		if ids := r.forgetWatches(drops); len(ids) > 0 {
			r.out.queue(sessionv1.Kind_KIND_UNWANT, &sessionv1.Objects{Objects: ids})
		}
		r.out.add(sessionv1.Kind_KIND_DROP, &sessionv1.Counts{Ids: wire.PackObjects(nil, drops...)})
	}
	r.out.flush()
}

// forgetWatches returns those of drops that the node was asked to watch and
// nobody waits for any more.
func (r *Remote) forgetWatches(drops []id.Object) (ids []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.watched) == 0 {
		return nil
	}
	for _, o := range drops {
		if ws, ok := r.watched[o]; ok && len(ws) == 0 {
			delete(r.watched, o)
			ids = append(ids, o[:]...)
		}
	}
	return ids
}
