package store

import (
	"hash/crc32"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/slab"
)

// load has a worker bring an object to its readers, and keeps it from being
// released meanwhile with a pin of its own.
func (s *Store) load(o *object, how func(*object)) {
	o.loading = true
	s.step(evict.Event{Kind: evict.Pin, Object: o.id})
	s.after(func() { s.workers.submit(func() { how(o) }) })
}

// loaded answers the readers that waited; with an error their pins go.
func (s *Store) loaded(o *object, err error) {
	o.loading = false
	waiting := o.waiting
	o.waiting = nil
	for _, w := range waiting {
		if w.session.ended {
			s.after(func() { w.done(Location{}, ErrEnded) })
			continue
		}
		if err != nil {
			s.unpin(w.session, o, 1)
			s.after(func() { w.done(Location{}, err) })
			continue
		}
		s.serve(w, o)
	}
	s.step(evict.Event{Kind: evict.Unpin, Object: o.id})
	s.unmapIdle(o)
}

// restore reads an object back into memory that the machine set aside.
func (s *Store) restore(o *object) {
	began := s.cfg.Now()
	mem, noMemory, err := s.readBack(o)
	s.mu.Lock()
	defer s.unlock()
	switch {
	case noMemory:
		s.step(evict.Event{Kind: evict.RestoreNoMemory, Object: o.id}) // maps the file instead
		s.step(evict.Event{Kind: evict.Unpin, Object: o.id})           // the pin of this load; there is another
	case err != nil:
		s.cfg.Log.Error("restore an object", "object", o.id, "err", err)
		s.step(evict.Event{Kind: evict.RestoreFailed, Object: o.id})
		s.loaded(o, err)
	default:
		o.mem, o.copy.checked = mem, true
		s.disk.restored += o.size
		s.moved(o, began, true)
		s.step(evict.Event{Kind: evict.Restored, Object: o.id})
		s.loaded(o, nil)
	}
}

func (s *Store) readBack(o *object) (mem memory, noMemory bool, err error) {
	var buf []byte
	if o.inHeap {
		buf = alignedPages(o.size)
		mem.heap = buf[:o.size]
	} else {
		if mem.ext, err = s.pool.Alloc(slab.Writer{Job: o.job}, o.size); err != nil {
			return mem, true, err
		}
		buf = s.pool.Bytes(mem.ext)[:o.copy.n]
	}
	mem.set = true
	c := &o.copy
	if err = c.file.f.ReadAt(buf, c.off); err != nil {
		err = &ReadError{Object: o.id, File: c.file.f.Name(), Err: err}
	} else {
		err = o.verify(buf)
	}
	if err != nil && !o.inHeap {
		s.pool.Free(mem.ext)
		s.pool.Settle()
	}
	return mem, false, err
}

// verify compares what came back from disk with what went.
func (o *object) verify(b []byte) error {
	c := &o.copy
	if got := crc32.Checksum(b[:o.size], castagnoli); got != c.crc {
		return &CorruptError{Object: o.id, File: c.file.f.Name(), Offset: c.off, Size: o.size, Want: c.crc, Got: got}
	}
	return nil
}

// mapCopy maps an object's file for readers in this process, and checks it
// before any reader, here or elsewhere, is sent to it.
func (s *Store) mapCopy(o *object) {
	c := &o.copy
	view, err := c.file.f.Map(c.off, max(c.n, slab.PageSize), false)
	if err != nil {
		err = &ReadError{Object: o.id, File: c.file.f.Name(), Err: err}
	} else if !c.checked {
		err = o.verify(view)
	}
	s.mu.Lock()
	defer s.unlock()
	if err != nil {
		s.cfg.Log.Error("map a spilled object", "object", o.id, "err", err)
		s.unmap(c.file, &view)
		s.loaded(o, err)
		return
	}
	c.view, c.checked = view, true
	s.disk.mapped += o.size
	s.loaded(o, nil)
}

// unmapIdle gives up the mapping of a spilled object that nobody reads.
func (s *Store) unmapIdle(o *object) {
	if o.copy.view == nil {
		return
	}
	if m, ok := s.machine.Object(o.id); ok && m.State == evict.Spilled {
		s.unmap(o.copy.file, &o.copy.view)
	}
}

// fallBack makes a fallback file for a reservation; a worker does it.
func (s *Store) fallBack(r *reservation) {
	if s.closed {
		s.dropReservation(r, ErrClosed)
		return
	}
	r.busy = true
	s.after(func() { s.workers.submit(func() { s.makeFallback(r) }) })
}

func (s *Store) makeFallback(r *reservation) {
	c, err := s.fallbackFile(r)
	s.mu.Lock()
	defer s.unlock()
	r.busy, r.copy = false, c
	switch {
	case r.aborted:
		s.freeReservation(r)
	case err != nil:
		r.err = err
		s.step(evict.Event{Kind: evict.FallbackFailed, Res: r.id})
	default:
		s.disk.fallbacks += c.n
		s.step(evict.Event{Kind: evict.FallbackDone, Res: r.id})
		if r.data != nil {
			s.putFallback(r)
			return
		}
		r.held = true
		s.answer(r, nil)
	}
}

// fallbackFile makes a file with all the space it needs, so that writing to its
// mapping never lacks any.
func (s *Store) fallbackFile(r *reservation) (c diskCopy, err error) {
	if s.disk.Disk == nil {
		return c, errNoDisk
	}
	n := pageUp(max(r.req.Size, 1))
	if err := s.takeDisk(n); err != nil {
		return c, err
	}
	f, err := s.createFile(r.req.Job, "fallback", n)
	if err == nil {
		f.users, f.tail = 1, n
		c = diskCopy{file: f, n: n}
		if err = f.f.Allocate(n); err == nil && r.req.Local {
			c.writable, err = f.f.Map(0, n, true)
		}
	}
	if err == nil {
		copy(c.writable, r.data)
		return c, nil
	}
	s.mu.Lock()
	defer s.unlock()
	if f != nil {
		s.freeCopy(&c)
	} else {
		s.disk.used -= n
	}
	return diskCopy{}, err
}

func (s *Store) takeDisk(n int64) error {
	s.mu.Lock()
	defer s.unlock()
	if err := s.diskRoom(n); err != nil {
		return err
	}
	s.disk.used += n
	return nil
}

// putFallback seals the bytes of PutBytes that were written to a file.
func (s *Store) putFallback(r *reservation) {
	if s.objects[r.put] != nil {
		s.dropReservation(r, s.exists(r.id, r.put))
		return
	}
	r.data = nil
	s.seal(r, r.put, r.req.Size, 0)
	s.answerPut(r, nil)
}
