package store

import (
	"fmt"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
)

// Grow replaces a held reservation by one of more bytes that begins with the
// same content. Until done is called the old one stands; then it is gone or,
// on an error, stands still. Who writes to it meanwhile loses what he wrote.
func (s *Store) Grow(owner id.Session, res evict.Res, size int64, done func(Reservation, error)) {
	req, finished := s.growInPlace(owner, res, size, done)
	if finished {
		return
	}
	req.Size = size
	s.Reserve(req, func(n Reservation, err error) {
		if err != nil {
			done(n, err)
			return
		}
		s.workers.submit(func() { s.move(owner, res, n.ID, done) })
	})
}

// growInPlace answers a Grow that needs no more room than the reservation was
// rounded up to, or that cannot be.
func (s *Store) growInPlace(owner id.Session, res evict.Res, size int64, done func(Reservation, error)) (Request, bool) {
	s.mu.Lock()
	defer s.unlock()
	r := s.reservations[res]
	if r == nil || r.session.id != owner || !r.held || r.busy {
		err := &ReservationError{Res: uint64(res), Op: "grow", Reason: fmt.Sprintf("session %d does not hold it, or it is growing", owner)}
		s.after(func() { done(Reservation{}, err) })
		return Request{}, true
	}
	if size > max(r.mem.ext.Size, r.copy.n, r.req.Size) {
		return r.req, false
	}
	r.req.Size = max(size, r.req.Size)
	r.done = done
	s.answer(r, nil)
	return Request{}, true
}

// move copies a reservation into a larger one and aborts it.
func (s *Store) move(owner id.Session, from, to evict.Res, done func(Reservation, error)) {
	old, grown := s.beginMove(from, to)
	if grown == nil {
		_ = s.Abort(owner, to) // or its session ended, which aborted it
		done(Reservation{}, &ReservationError{Res: uint64(from), Op: "grow", Reason: "it was sealed or aborted meanwhile"})
		return
	}
	err := s.copyReserved(old, grown)
	s.mu.Lock()
	defer s.unlock()
	s.release(old)
	if err != nil {
		s.after(func() { done(Reservation{}, err) })
		s.release(grown)
		if !grown.aborted {
			s.dropReservation(grown, nil)
		}
		return
	}
	if !old.aborted {
		s.dropReservation(old, nil)
	}
	grown.done = done
	if !grown.aborted {
		s.answer(grown, nil)
	} else {
		s.answer(grown, ErrAborted)
	}
	s.release(grown)
}

// beginMove keeps both reservations from being freed while they are copied.
func (s *Store) beginMove(from, to evict.Res) (old, grown *reservation) {
	s.mu.Lock()
	defer s.unlock()
	old, grown = s.reservations[from], s.reservations[to]
	if old == nil || grown == nil || old.busy || grown.busy {
		return nil, nil
	}
	old.busy, grown.busy = true, true
	return old, grown
}

// release ends a busy time; an abort that came meanwhile takes effect.
func (s *Store) release(r *reservation) {
	if !r.busy {
		return
	}
	r.busy = false
	if r.aborted {
		s.freeReservation(r)
	}
}

func (s *Store) copyReserved(from, to *reservation) error {
	src, closeSrc, err := s.reserved(from)
	if err != nil {
		return err
	}
	defer closeSrc()
	dst, closeDst, err := s.reserved(to)
	if err != nil {
		return err
	}
	defer closeDst()
	copy(dst, src)
	return nil
}

// reserved returns the node's own view of a reservation's bytes, mapping its
// fallback file for as long as needed.
func (s *Store) reserved(r *reservation) ([]byte, func(), error) {
	c := &r.copy
	if c.file == nil {
		return s.pool.Bytes(r.mem.ext)[:r.req.Size], func() {}, nil
	}
	if c.writable != nil {
		return c.writable[:r.req.Size], func() {}, nil
	}
	mem, err := c.file.f.Map(0, c.n, true)
	if err != nil {
		return nil, nil, fmt.Errorf("store: grow reservation %d: %w", r.id, err)
	}
	return mem[:r.req.Size], func() { _ = c.file.f.Unmap(mem) }, nil
}
