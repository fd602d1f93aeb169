package client

import (
	"context"
	"runtime"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/slab"
	"github.com/weftrun/weft/internal/wire"
)

// gcAfter is how long a producer waits for room before this process looks for
// pins and references that nobody has any more: they may be what fills memory.
const gcAfter = 100 * time.Millisecond

// lendAfter is how long a task waits for room before it lends its CPU to others.
const lendAfter = 10 * time.Millisecond

// remoteRoom is a reservation in the node's shared memory.
type remoteRoom struct {
	r           *Remote
	reservation uint64
	mem         []byte
	file        *slab.Mapped
}

// Reserve implements Session.
func (r *Remote) Reserve(ctx context.Context, size int64) (Room, error) {
	return r.room(ctx, size)
}

func (r *Remote) room(ctx context.Context, size int64) (*remoteRoom, error) {
	m := &sessionv1.Reserve{Size: uint64(size)}
	if run := FromContext(ctx); run != nil && !run.Task.IsZero() {
		m.Task = run.Task[:]
		defer r.blockedAfter(ctx, lendAfter)()
	}
	collect := time.AfterFunc(gcAfter, runtime.GC)
	defer collect.Stop()
	got, err := r.ask(ctx, sessionv1.Kind_KIND_RESERVE, m, &m.Request)
	if err != nil {
		return nil, err
	}
	reply := got.(*sessionv1.Reserved)
	if reply.Error != nil {
		return nil, wire.ErrorFromPB(reply.Error)
	}
	mem, file, err := r.lend(reply.At, true)
	if err != nil {
		r.abort(reply.Reservation)
		return nil, &wire.Error{Code: wire.StoreFull, Op: "put", Message: "shared memory cannot be mapped", Err: err}
	}
	return &remoteRoom{r: r, reservation: reply.Reservation, mem: mem, file: file}, nil
}

func (m *remoteRoom) Bytes() []byte { return m.mem }

func (m *remoteRoom) Seal(f *Future, n int64) error {
	m.r.slabs.GiveBack(m.file)
	m.mem = nil
	if err := m.r.over(); err != nil {
		return err
	}
	m.r.out.add(sessionv1.Kind_KIND_SEAL, &sessionv1.Seal{Reservation: m.reservation, Seq: f.ID.Task().Seq(),
		Size: uint64(n), Tag: uint32(wire.Raw)})
	f.Shared.Store(true)
	f.There.Store(true)
	runtime.AddCleanup(f, m.r.dropped, f.ID)
	return nil
}

func (m *remoteRoom) Abort() {
	m.r.slabs.GiveBack(m.file)
	m.mem = nil
	m.r.abort(m.reservation)
}
