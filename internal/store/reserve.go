package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

// reservation is room that was asked for, until it is sealed or aborted.
type reservation struct {
	id      evict.Res
	req     Request
	session *session
	done    func(Reservation, error) // nil once called
	mem     memory
	copy    diskCopy  // its fallback file
	put     id.Object // not zero: data is sealed as this when it is granted
	data    []byte
	busy    bool // memory or file is being made without the lock
	aborted bool // to be dropped when it no longer is
	held    bool
	err     error // why there is no fallback file
}

// inline is the size up to which pages are populated by whoever was granted
// them, not by a worker.
const inline = 256 << 10

// Reserve asks for room for an object. done is called exactly once: with the
// reservation when there is room, or with a [FullError], [ErrAborted],
// [ErrEnded] or [ErrClosed]. The id returned is also the reservation's, and
// can be aborted while it waits.
func (s *Store) Reserve(req Request, done func(Reservation, error)) evict.Res {
	return s.reserve(&reservation{req: req, done: done}, s.pool.Charge(req.Size))
}

// PutBytes keeps data, which nobody may change any more, as an object on the
// heap; it counts against the limit, and can be spilled, like any other.
func (s *Store) PutBytes(req Request, o id.Object, data []byte, done func(error)) evict.Res {
	req.Size, req.Local = int64(len(data)), true
	r := &reservation{req: req, put: o, data: data, done: func(_ Reservation, err error) { done(err) }}
	return s.reserve(r, req.Size)
}

func (s *Store) reserve(r *reservation, charge int64) evict.Res {
	s.mu.Lock()
	defer s.unlock()
	s.nextRes++
	r.id = s.nextRes
	err := s.admissible(r)
	if err != nil {
		s.answer(r, err)
		return r.id
	}
	r.session = s.session(r.req.Session)
	r.session.reserved[r.id] = r
	s.reservations[r.id] = r
	s.step(evict.Event{Kind: evict.Reserve, Res: r.id, Job: r.req.Job, Bytes: charge, Secondary: r.req.Secondary})
	return r.id
}

func (s *Store) admissible(r *reservation) error {
	switch {
	case s.closed:
		return ErrClosed
	case r.req.Size < 0:
		return fmt.Errorf("store: reserve %d bytes: a size is not negative", r.req.Size)
	case r.put != (id.Object{}) && s.objects[r.put] != nil:
		return s.exists(r.id, r.put)
	}
	return nil
}

func (s *Store) exists(r evict.Res, o id.Object) error {
	return &ReservationError{Res: uint64(r), Op: "seal", Reason: fmt.Sprintf("object %v is sealed already; an object is immutable", o)}
}

// answer calls the producer back after unlock.
func (s *Store) answer(r *reservation, err error) {
	done := r.done
	if done == nil {
		return
	}
	r.done = nil
	if err != nil {
		s.after(func() { done(Reservation{ID: r.id}, err) })
		return
	}
	at := s.writeLocation(r)
	s.after(func() { done(Reservation{ID: r.id, At: at}, nil) })
}

// writeLocation is where the producer writes.
func (s *Store) writeLocation(r *reservation) Location {
	if f := r.copy.file; f != nil {
		l := Location{Kind: InFile, File: f.id, Size: r.req.Size}
		if r.copy.writable != nil {
			l.Bytes = r.copy.writable[:r.req.Size]
		}
		return l
	}
	l := Location{Kind: InSlab, File: FileID(r.mem.ext.Slab), Offset: r.mem.ext.Offset, Size: r.req.Size}
	l.Bytes = s.pool.Bytes(r.mem.ext)[:r.req.Size]
	return l
}

// writer is whose slabs a reservation is placed in.
func (r *reservation) writer() slab.Writer {
	if r.req.Local {
		return slab.Writer{Job: r.req.Job}
	}
	return slab.Writer{Job: r.req.Job, Session: r.req.Session}
}

// grant places a reservation that the machine has room for: at once if warm
// pages can be had, otherwise without the lock.
func (s *Store) grant(r *reservation) {
	if s.closed {
		s.dropReservation(r, ErrClosed)
		return
	}
	if r.put != (id.Object{}) {
		s.putGranted(r)
		return
	}
	if ext, ok := s.pool.Reuse(r.writer(), r.req.Size); ok {
		s.hold(r, ext)
		return
	}
	r.busy = true
	s.after(func() {
		if r.req.Size <= inline {
			s.populate(r)
		} else {
			s.workers.submit(func() { s.populate(r) })
		}
	})
}

func (s *Store) hold(r *reservation, ext slab.Extent) {
	r.mem = memory{ext: ext, set: true}
	r.held = true
	if !r.req.Local {
		r.session.writes(r.req.Job)
	}
	s.answer(r, nil)
}

func (own *session) writes(j id.Job) {
	if slices.Contains(own.jobs, j) {
		return
	}
	own.jobs = append(own.jobs, j)
}

func (s *Store) populate(r *reservation) {
	ext, err := s.pool.Alloc(r.writer(), r.req.Size)
	s.mu.Lock()
	defer s.unlock()
	r.busy = false
	switch {
	case r.aborted:
		r.mem = memory{ext: ext, set: err == nil}
		s.freeReservation(r)
		if r.session.ended && !r.req.Local {
			s.after(func() { s.pool.CloseWriter(r.writer()) })
		}
	case err != nil:
		s.cfg.Log.Warn("no memory for a reservation", "bytes", r.req.Size, "err", err)
		s.step(evict.Event{Kind: evict.NoMemory, Res: r.id})
	default:
		s.hold(r, ext)
	}
}

// putGranted seals the bytes of PutBytes.
func (s *Store) putGranted(r *reservation) {
	r.mem = memory{heap: r.data, set: true}
	if r.data == nil {
		r.mem.heap = []byte{}
	}
	r.held = true
	if s.objects[r.put] != nil {
		s.dropReservation(r, s.exists(r.id, r.put))
		return
	}
	s.seal(r, r.put, r.req.Size, r.req.Size)
	s.answerPut(r, nil)
}

func (s *Store) answerPut(r *reservation, err error) {
	done := r.done
	r.done = nil
	s.after(func() { done(Reservation{ID: r.id}, err) })
}

// Seal makes a reservation of the session an immutable object of its first size
// bytes; the rest of the room is given back.
func (s *Store) Seal(owner id.Session, res evict.Res, o id.Object, size int64) error {
	s.mu.Lock()
	defer s.unlock()
	r := s.reservations[res]
	if err := s.sealable(owner, res, r, o, size); err != nil {
		return err
	}
	charge := int64(0)
	if r.mem.set {
		kept := s.pool.Shrink(r.mem.ext, size)
		s.freed = s.freed || kept != r.mem.ext
		r.mem.ext, charge = kept, kept.Size
	}
	s.seal(r, o, size, charge)
	return nil
}

func (s *Store) sealable(owner id.Session, res evict.Res, r *reservation, o id.Object, size int64) error {
	bad := &ReservationError{Res: uint64(res), Op: "seal"}
	switch {
	case s.closed:
		return ErrClosed
	case r == nil || r.session.id != owner || r.aborted:
		bad.Reason = fmt.Sprintf("session %d holds no such reservation: it was sealed or aborted, or is another's", owner)
	case !r.held || r.busy:
		bad.Reason = "there is no room for it yet, or it is growing"
	case size < 0 || size > r.req.Size:
		bad.Reason = fmt.Sprintf("%d bytes of %d reserved", size, r.req.Size)
	case s.objects[o] != nil:
		return s.exists(res, o)
	default:
		return nil
	}
	return bad
}

func (s *Store) seal(r *reservation, o id.Object, size, charge int64) {
	delete(s.reservations, r.id)
	delete(r.session.reserved, r.id)
	s.objects[o] = &object{id: o, job: r.req.Job, session: r.req.Session, size: size,
		inHeap: r.mem.heap != nil, mem: r.mem, copy: r.copy.sealed()}
	s.step(evict.Event{Kind: evict.Seal, Res: r.id, Object: o, Bytes: charge})
}

// Abort gives up a reservation of the session, waiting or held.
func (s *Store) Abort(owner id.Session, res evict.Res) error {
	s.mu.Lock()
	defer s.unlock()
	r := s.reservations[res]
	if r == nil || r.session.id != owner || r.aborted {
		return &ReservationError{Res: uint64(res), Op: "abort", Reason: fmt.Sprintf("session %d holds no such reservation", owner)}
	}
	s.dropReservation(r, ErrAborted)
	return nil
}

// dropReservation aborts r and answers its producer if that still waits.
func (s *Store) dropReservation(r *reservation, err error) {
	s.answer(r, err)
	delete(s.reservations, r.id)
	delete(r.session.reserved, r.id)
	if r.busy {
		r.aborted = true // its bytes are free when the worker is done
		return
	}
	s.freeReservation(r)
}

// fail answers a reservation that has no room anywhere.
func (s *Store) fail(r *reservation) {
	delete(s.reservations, r.id)
	delete(r.session.reserved, r.id)
	s.answer(r, s.fullError(r))
}

func (s *Store) fullError(r *reservation) error {
	path := "(no spill disk is set)"
	if s.cfg.Disk != nil {
		path = s.cfg.Disk.Path()
	}
	return &FullError{Node: s.cfg.Node, Task: r.req.Task, Job: r.req.Job, Path: path, Asked: r.req.Size,
		Limit: s.pool.Limit(), Used: s.machine.Used(), Holders: s.holders(topHolders), Cause: errors.Join(r.err, s.diskErr)}
}

// ReserveWait is Reserve for a caller that may block. If ctx ends first, the
// reservation is aborted.
func (s *Store) ReserveWait(ctx context.Context, req Request) (Reservation, error) {
	type answer struct {
		r   Reservation
		err error
	}
	got := make(chan answer, 1)
	res := s.Reserve(req, func(r Reservation, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		return a.r, a.err
	case <-ctx.Done():
	}
	err := s.Abort(req.Session, res)
	a := <-got
	if err != nil && a.err != nil && !errors.Is(a.err, ErrAborted) {
		return Reservation{}, a.err // it had failed by itself
	}
	return Reservation{}, fmt.Errorf("store: reserve %d bytes: %w", req.Size, context.Cause(ctx))
}
