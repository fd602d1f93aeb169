package node

import (
	"fmt"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// smallest is the size in bytes of values that a pack takes: a smaller one is
// no longer than what says where it is.
const smallest = 64

// align is where values in a pack begin, in bytes: as objects of their own do.
const align = 64

// pack is those argument values of an Execute that would make it too large, one
// after the other in shared memory. They are one object, which the worker
// has pinned once for each of them and which nothing else refers to.
type pack struct {
	id     id.Object
	task   id.Task
	values []*sessionv1.Value
	size   int64
	err    error
}

// unpackable returns the values of m that have to go through shared memory: each
// that is large and, if the others are too much together, all of them. The
// arguments name the pack in place of these values' objects, for the worker to
// unpin it.
func (c *conn) unpackable(m *sessionv1.Execute, t *task) *pack {
	size := m.SizeVT()
	if size <= inlineLimit {
		return nil
	}
	p := &pack{id: t.id.Return(packs | c.n.packs.Add(1)%packs), task: t.id}
	for _, at := range [...]int{inlineLimit, smallest} {
		for _, a := range m.Args {
			size -= p.take(a, at)
		}
		if size <= wire.MaxInline {
			break
		}
	}
	if len(p.values) == 0 {
		return nil
	}
	return p
}

// packs is where the numbers of packs begin among the objects of a task.
const packs = 1 << 31

// take adds those values of a that have more than limit bytes and returns how
// many bytes that was.
func (p *pack) take(a *sessionv1.Arg, limit int) (taken int) {
	if p.takes(a.Value, limit) {
		a.Object = p.id[:]
		return len(a.Value.Data)
	}
	const idSize = len(id.Object{})
	for i, v := range a.Values {
		if !p.takes(v, limit) {
			continue
		}
		if len(a.Objects) == 0 { // values of this process, without ids
			a.Objects = make([]byte, idSize*len(a.Values))
		}
		copy(a.Objects[i*idSize:], p.id[:])
		taken += len(v.Data)
	}
	return taken
}

// takes adds v if it is here and has more than limit bytes.
func (p *pack) takes(v *sessionv1.Value, limit int) bool {
	if len(v.GetData()) <= limit || v.At != nil {
		return false
	}
	v.At = &sessionv1.Location{Offset: uint64(p.size), Size: uint64(len(v.Data))} // within the pack, until it has a place
	p.values = append(p.values, v)
	p.size += (int64(len(v.Data)) + align - 1) &^ (align - 1)
	return true
}

// pack waits for room for p and copies its values there.
func (c *conn) pack(p *pack) {
	if err := c.place(p); err != nil {
		p.err = wire.AsError(fmt.Errorf("%d bytes of arguments that do not fit into one message: %w", p.size, err), wire.StoreFull)
	}
}

func (c *conn) place(p *pack) error {
	st := c.n.store
	room, err := st.ReserveWait(c.n.ctx, store.Request{Job: c.s.job, Session: c.s.id, Task: p.task, Size: p.size, Local: true})
	if err != nil {
		return err
	}
	for _, v := range p.values {
		copy(room.At.Bytes[v.At.Offset:], v.Data)
	}
	if err := st.Seal(c.s.id, room.ID, p.id, p.size); err != nil {
		return err
	}
	defer st.Free(p.id) // it goes with its last pin
	at, err := st.PinWait(c.n.ctx, c.s.id, p.id)
	if err != nil {
		return err
	}
	file := c.announce(at, false)
	for i, v := range p.values {
		if i > 0 {
			if _, _, err := st.TryPin(c.s.id, p.id); err != nil {
				return err
			}
		}
		v.Data, v.At.Slab, v.At.Offset = nil, file.Slab, v.At.Offset+file.Offset
	}
	return nil
}
