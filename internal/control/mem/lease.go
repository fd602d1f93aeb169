package mem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/control"
)

// Grant implements control.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (control.LeaseID, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("control: a lease of %v: %w", ttl, control.ErrInvalid)
	}
	if err := s.lock(ctx, "grant"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	s.granted++
	s.leases[s.granted] = &lease{ttl: ttl, ends: s.now + ttl, keys: map[string]bool{}}
	return s.granted, nil
}

// Renew implements control.Store.
func (s *Store) Renew(ctx context.Context, id control.LeaseID) error {
	if err := s.lock(ctx, "renew"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return fmt.Errorf("control: renew lease %x: %w", int64(id), control.ErrNoLease)
	}
	l.ends = s.now + l.ttl
	return nil
}

// Revoke implements control.Store.
func (s *Store) Revoke(ctx context.Context, id control.LeaseID) error {
	if err := s.lock(ctx, "revoke"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.expire(id)
	return nil
}

// Tick moves time on to now, which is since any fixed moment, and ends the
// leases that were not renewed in time.
func (s *Store) Tick(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = max(s.now, now)
	if s.closed || len(s.leases) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(s.leases)) {
		if s.leases[id].ends <= s.now {
			s.expire(id)
		}
	}
}

// expire deletes a lease's records as one change.
func (s *Store) expire(id control.LeaseID) {
	l := s.leases[id]
	if l == nil {
		return
	}
	delete(s.leases, id)
	ops := make([]control.Op, 0, len(l.keys))
	for _, key := range slices.Sorted(maps.Keys(l.keys)) {
		ops = append(ops, control.Remove(key))
	}
	s.change(ops)
}
