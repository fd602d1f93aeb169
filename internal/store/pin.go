package store

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

// Pin keeps an object where it is until the session's Unpin or end, and calls
// done with the place, exactly once: now if it is in memory, else when it has
// been brought back or its file was checked. With an error there is no pin.
func (s *Store) Pin(owner id.Session, o id.Object, done func(Location, error)) {
	s.mu.Lock()
	defer s.unlock()
	obj, err := s.pinnable(o)
	if err != nil {
		s.after(func() { done(Location{}, err) })
		return
	}
	own := s.session(owner)
	own.pins[o]++
	s.step(evict.Event{Kind: evict.Pin, Object: o})
	w := pinWait{session: own, done: done}
	if obj.ready() {
		s.serve(w, obj)
		return
	}
	obj.waiting = append(obj.waiting, w)
	if !obj.loading {
		s.load(obj, s.mapCopy)
	}
}

// TryPin is Pin if that needs no disk: ok is false, and there is no pin, if it
// does.
func (s *Store) TryPin(owner id.Session, o id.Object) (at Location, ok bool, err error) {
	s.mu.Lock()
	defer s.unlock()
	obj, err := s.pinnable(o)
	if err != nil || !obj.ready() {
		return Location{}, false, err
	}
	if at, err = s.location(obj); err != nil {
		return Location{}, false, err
	}
	s.session(owner).pins[o]++
	s.step(evict.Event{Kind: evict.Pin, Object: o})
	return at, true, nil
}

func (s *Store) pinnable(o id.Object) (*object, error) {
	if s.closed {
		return nil, ErrClosed
	}
	obj := s.objects[o]
	if obj == nil {
		return nil, &NotFoundError{Object: o}
	}
	if m, _ := s.machine.Object(o); m.Freed && m.Pins == 0 {
		return nil, &NotFoundError{Object: o}
	}
	return obj, nil
}

// ready reports whether readers can be served without the disk.
func (o *object) ready() bool { return o.mem.set || o.copy.view != nil }

// location says where an object that is ready is.
func (s *Store) location(o *object) (Location, error) {
	l := Location{Kind: InHeap, Size: o.size, Bytes: o.mem.heap}
	switch {
	case o.mem.heap != nil:
	case o.mem.set:
		view, err := s.pool.View(o.mem.ext)
		if err != nil {
			return l, err
		}
		l.Kind, l.File, l.Offset = InSlab, FileID(o.mem.ext.Slab), o.mem.ext.Offset
		l.Bytes = view[:o.size:o.size]
	default:
		l.Kind, l.File, l.Offset = InFile, o.copy.file.id, o.copy.off
		l.Bytes = o.copy.view[:o.size:o.size]
	}
	return l, nil
}

// serve answers a reader that holds a pin.
func (s *Store) serve(w pinWait, o *object) {
	at, err := s.location(o)
	if err != nil {
		s.unpin(w.session, o, 1)
	}
	s.after(func() { w.done(at, err) })
}

// PinWait is Pin for a caller that may block.
func (s *Store) PinWait(ctx context.Context, owner id.Session, o id.Object) (Location, error) {
	if at, ok, err := s.TryPin(owner, o); ok || err != nil {
		return at, err
	}
	type answer struct {
		at  Location
		err error
	}
	got := make(chan answer, 1)
	var settled atomic.Bool // by the answer or by the end of ctx, whichever is first
	s.Pin(owner, o, func(at Location, err error) {
		if settled.CompareAndSwap(false, true) {
			got <- answer{at, err}
		} else if err == nil {
			s.Unpin(owner, o, 1) // nobody waits for it any more
		}
	})
	select {
	case a := <-got:
		return a.at, a.err
	case <-ctx.Done():
	}
	if !settled.CompareAndSwap(false, true) {
		a := <-got
		return a.at, a.err
	}
	return Location{}, fmt.Errorf("store: pin object %v: %w", o, context.Cause(ctx))
}

// Unpin returns n of the session's pins of an object; more than it has is all.
func (s *Store) Unpin(owner id.Session, o id.Object, n int) {
	s.mu.Lock()
	defer s.unlock()
	own, obj := s.sessions[owner], s.objects[o]
	if own == nil || obj == nil || s.closed {
		return
	}
	s.unpin(own, obj, n)
}

func (s *Store) unpin(own *session, o *object, n int) {
	n = min(n, own.pins[o.id])
	if own.pins[o.id] -= n; own.pins[o.id] == 0 {
		delete(own.pins, o.id)
	}
	for range n {
		s.step(evict.Event{Kind: evict.Unpin, Object: o.id})
	}
	s.unmapIdle(o)
}

// EndSession returns what a session pinned and aborts what it reserved. Objects
// it sealed stay. The caller makes no more calls for it.
func (s *Store) EndSession(owner id.Session) {
	s.mu.Lock()
	defer s.unlock()
	own := s.sessions[owner]
	if own == nil || s.closed {
		return
	}
	own.ended = true
	delete(s.sessions, owner)
	s.dropReservations(own, false) // first those that wait, so that none is granted what the others free
	for _, o := range sortedObjects(own.pins) {
		s.unpin(own, s.objects[o], own.pins[o])
	}
	s.dropReservations(own, true)
	for _, j := range own.jobs {
		s.after(func() { s.pool.CloseWriter(slab.Writer{Job: j, Session: owner}) })
	}
}

func (s *Store) dropReservations(own *session, held bool) {
	for _, res := range sortedReservations(own.reserved) {
		if r := own.reserved[res]; r != nil && r.held == held {
			s.dropReservation(r, ErrEnded)
		}
	}
}

// EndJob gives up what was kept for a job's next objects in this process: warm
// pages and the open spill file. Its objects stay until they are freed.
func (s *Store) EndJob(j id.Job) {
	s.mu.Lock()
	defer s.unlock()
	if s.closed {
		return
	}
	if f := s.disk.current[j]; f != nil {
		delete(s.disk.current, j)
		if f.users == 0 {
			s.retireFile(f)
		}
	}
	s.after(func() { s.pool.CloseWriter(slab.Writer{Job: j}) })
}

// File returns a descriptor of a slab or spill file to send to another process,
// and the bytes to map of it. The caller closes it. Writable is for the
// producer that holds a reservation in it.
func (s *Store) File(i FileID, writable bool) (*os.File, int64, error) {
	if !i.OnDisk() {
		return s.pool.File(slab.ID(i), writable)
	}
	s.mu.Lock()
	defer s.unlock()
	f := s.disk.files[i]
	if f == nil {
		return nil, 0, fmt.Errorf("store: file %d is gone; pin the object again", i&^diskFile)
	}
	d, err := f.f.Dup(writable)
	return d, f.size, err
}
