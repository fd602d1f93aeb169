package remote

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
	"github.com/weftrun/weft/internal/wire"
)

// Writers of a Proxy's memory: itself, of values, and the program, of what it
// reserved. So the program has no descriptor by which it could write values.
var values, rooms = slab.Writer{Session: 1}, slab.Writer{Session: 2}

// memory is what a Proxy shares with its program: values in the place of those
// in the node's memory.
type memory struct {
	pool *slab.Pool
	side *net.UnixConn // slabs are announced there

	mu        sync.Mutex
	announced map[slab.ID]bool
	values    map[id.Object]*held
	rooms     map[uint64]slab.Extent

	// Of the goroutine that reads the call lane: the value whose chunks come.
	coming  slab.Extent
	got     uint64 // bytes of it
	refused error  // there is no room for it
}

// held is a value that the program has pinned.
type held struct {
	extent slab.Extent
	pins   int64
}

func newMemory(limit int64, side *net.UnixConn) (*memory, error) {
	if limit == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return nil, os.NewSyscallError("sysinfo", err)
		}
		limit = int64(info.Totalram) * int64(info.Unit) / 4
	}
	pool, err := slab.NewPool(slab.Config{Limit: limit})
	if err != nil {
		return nil, err
	}
	return &memory{pool: pool, side: side, announced: map[slab.ID]bool{}, values: map[id.Object]*held{}, rooms: map[uint64]slab.Extent{}}, nil
}

// chunk takes a part of a value. Without room the rest of it is dropped.
func (m *memory) chunk(c *sessionv1.Chunk) error {
	if m.got == 0 {
		if m.coming, m.refused = m.pool.Alloc(values, int64(c.Size)); m.refused != nil {
			m.coming = slab.Extent{}
		}
	}
	if m.refused == nil {
		mem := m.pool.Bytes(m.coming)
		if m.got+uint64(len(c.Data)) > uint64(len(mem)) {
			return &wire.Error{Code: wire.Protocol, Message: "a value is longer than it was said to be"}
		}
		copy(mem[m.got:], c.Data)
	}
	m.got += uint64(len(c.Data))
	return nil
}

// place is a value with the location where its chunks went, or the error that
// is in its place. An object that the program has already is where it was.
func (m *memory) place(o id.Object, v *sessionv1.Value) (*sessionv1.Value, error) {
	extent, got, refused := m.coming, m.got, m.refused
	m.coming, m.got, m.refused = slab.Extent{}, 0, nil
	if got != v.At.Size {
		return nil, &wire.Error{Code: wire.Protocol, Message: "a value is not as long as it was said to be"}
	}
	if got == 0 {
		extent, refused = m.pool.Alloc(values, 1)
	}
	if refused != nil {
		return &sessionv1.Value{Error: wire.ErrorToPB(&wire.Error{Code: wire.StoreFull, Op: "get " + o.String(),
			Message: "this machine has no room for the value", Err: refused, Hint: "let go of values that are not needed any more"})}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.values[o]
	if h == nil {
		h = &held{extent: extent}
		m.values[o] = h
	} else {
		m.pool.Free(extent)
	}
	h.pins++
	v.At = &sessionv1.Location{Slab: uint32(h.extent.Slab), Offset: uint64(h.extent.Offset), Size: got}
	return v, m.announce(h.extent.Slab, false)
}

// unpin lets go of values that the program does not read any more.
func (m *memory) unpin(c *sessionv1.Counts) error {
	objects, err := wire.UnpackObjects(nil, c.Ids)
	if err != nil {
		return err
	}
	m.mu.Lock()
	for i, o := range objects {
		h, n := m.values[o], int64(1)
		if len(c.N) > 0 && i < len(c.N) {
			n = int64(c.N[i])
		}
		if h == nil {
			continue
		}
		if h.pins -= n; h.pins <= 0 {
			delete(m.values, o)
			m.pool.Free(h.extent)
		}
	}
	m.mu.Unlock()
	m.pool.Settle()
	return nil
}

// reserve gives a reservation a place here.
func (m *memory) reserve(r *sessionv1.Reserved) error {
	extent, err := m.pool.Alloc(rooms, int64(r.At.Size))
	if err != nil {
		return &wire.Error{Code: wire.StoreFull, Op: "put", Message: "this machine has no room for the value", Err: err,
			Hint: "let go of values that are not needed any more"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rooms[r.Reservation] = extent
	r.At = &sessionv1.Location{Slab: uint32(extent.Slab), Offset: uint64(extent.Offset), Size: r.At.Size}
	return m.announce(extent.Slab, true)
}

// seal sends what the program wrote.
func (m *memory) seal(l *link, s *sessionv1.Seal) error {
	m.mu.Lock()
	extent, ok := m.rooms[s.Reservation]
	m.mu.Unlock()
	if !ok || s.Size > uint64(extent.Size) {
		return &wire.Error{Code: wire.Protocol, Message: "a seal without its reservation"}
	}
	err := sendChunks(l, s.Reservation, m.pool.Bytes(extent)[:s.Size])
	m.abort(s.Reservation)
	return err
}

// abort gives a reservation's place back.
func (m *memory) abort(reservation uint64) {
	m.mu.Lock()
	if extent, ok := m.rooms[reservation]; ok {
		delete(m.rooms, reservation)
		m.pool.Free(extent)
	}
	m.mu.Unlock()
	m.pool.Settle()
}

// announce sends the program a slab's descriptor, once. The lock is held, so
// that who needs it next finds it sent.
func (m *memory) announce(s slab.ID, writable bool) error {
	if m.announced[s] {
		return nil
	}
	f, size, err := m.pool.File(s, writable)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	frame := wire.AppendFrame(nil, sessionv1.Kind_KIND_SLAB, &sessionv1.Slab{Slab: uint32(s), Size: uint64(size), Writable: writable})
	n, _, err := m.side.WriteMsgUnix(frame, unix.UnixRights(int(f.Fd())), nil)
	if err == nil && n < len(frame) {
		_, err = m.side.Write(frame[n:])
	}
	m.announced[s] = err == nil
	return err
}

// close gives everything up. The program's own mappings stay.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.coming.Size > 0 {
		m.pool.Free(m.coming)
	}
	for _, h := range m.values {
		m.pool.Free(h.extent)
	}
	for _, e := range m.rooms {
		m.pool.Free(e)
	}
	_ = m.pool.Close()
}
