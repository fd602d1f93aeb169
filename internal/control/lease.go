package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Keep renews a lease of ttl until ctx ends, which is no error, or the lease
// is over or may be: then it returns why. It counts from before a renewal was
// sent, so it returns before the store ends the lease.
func Keep(ctx context.Context, s Store, l LeaseID, ttl time.Duration) error {
	every := time.NewTicker(ttl / 3)
	defer every.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		sent := time.Now()
		until, cancel := context.WithDeadline(ctx, renewed.Add(ttl))
		err := s.Renew(until, l)
		cancel()
		switch {
		case err == nil:
			renewed = sent
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNoLease), errors.Is(err, ErrClosed), time.Since(renewed) >= ttl:
			return fmt.Errorf("control: keep lease %x of %v: %w", int64(l), ttl, err)
		}
	}
}
