package store

import (
	"errors"
	"fmt"

	"github.com/weftrun/weft/internal/evict"
)

// Close ends the store: what waits fails with [ErrClosed], goroutines are
// waited for, memory and files are given back. It returns an error if objects
// were still pinned or reserved; their mappings in this process stay.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	held := s.held()
	s.dropWaiting()
	s.unlock()
	s.workers.close()
	return errors.Join(held, s.giveBack())
}

// held says what is still in use when the store is closed.
func (s *Store) held() error {
	pins, reserved := 0, 0
	for _, own := range s.sessions {
		pins += len(own.pins)
		for _, r := range own.reserved {
			if r.held {
				reserved++
			}
		}
	}
	if pins+reserved == 0 {
		return nil
	}
	return fmt.Errorf("store: closed with %d objects pinned and %d reservations held; end their sessions first", pins, reserved)
}

func (s *Store) dropWaiting() {
	for _, res := range sortedReservations(s.reservations) {
		if r := s.reservations[res]; r != nil && !r.held {
			s.dropReservation(r, ErrClosed)
		}
	}
}

// giveBack releases everything that nobody in this process looks at.
func (s *Store) giveBack() error {
	s.mu.Lock()
	var errs []error
	for _, o := range s.objects {
		m, _ := s.machine.Object(o.id)
		if m.Pins > 0 {
			continue
		}
		s.freeMemory(&o.mem)
		s.unmap(o.copy.file, &o.copy.view)
		s.unmap(o.copy.file, &o.copy.writable)
	}
	files := s.disk.files
	s.disk.files = nil
	s.unlock()
	for _, f := range files {
		errs = append(errs, f.f.Close())
	}
	return errors.Join(append(errs, s.pool.Close())...)
}

// freeReservation gives back what an aborted reservation had.
func (s *Store) freeReservation(r *reservation) {
	s.freeMemory(&r.mem)
	s.freeCopy(&r.copy)
	s.step(evict.Event{Kind: evict.Abort, Res: r.id})
}
