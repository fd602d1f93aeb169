package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Leadership is what the winner of an election has: while it lasts, nobody
// else leads under its key.
type Leadership struct {
	store Store
	cond  Cond
	lease LeaseID
	stop  context.CancelFunc
	lost  context.Context
	err   error // why it was lost; read after lost
}

// Campaign waits until the caller leads under key, or ctx ends. The record of
// key then has value, which says who leads, and goes when the leader has not
// been heard of for ttl.
func Campaign(ctx context.Context, s Store, key string, value []byte, ttl time.Duration) (*Leadership, error) {
	lease, err := s.Grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	own := context.WithoutCancel(ctx)
	keeping, stop := context.WithCancel(own)
	lost, over := context.WithCancel(own)
	l := &Leadership{store: s, lease: lease, stop: stop, lost: lost}
	go func() {
		defer over()
		l.err = Keep(keeping, s, lease, ttl)
	}()
	if err := l.win(ctx, key, value); err != nil {
		return nil, errors.Join(err, l.Resign(own))
	}
	return l, nil
}

// win tries to make the record, each time the one before is gone.
func (l *Leadership) win(ctx context.Context, key string, value []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.lost, cancel)() // without its lease it cannot win
	for {
		rev, err := l.store.Commit(ctx, Txn{
			If: []Cond{Absent(key)},
			Do: []Op{{Kind: Put, Key: key, Value: value, Lease: l.lease}},
		})
		if err == nil {
			l.cond = Cond{Key: key, Modified: rev}
			return nil
		}
		var taken *ConflictError
		if !errors.As(err, &taken) {
			return err
		}
		if err := vacant(ctx, l.store, key, taken.Have); err != nil && !errors.Is(err, ErrCompacted) {
			return err
		}
	}
}

// vacant waits until the record that a revision made is gone.
func vacant(ctx context.Context, s Store, key string, at Revision) error {
	w, err := s.Watch(ctx, key, at)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Key == key && e.Deleted {
				return nil
			}
		}
	}
}

// Term is the number of this leadership, greater than those before.
func (l *Leadership) Term() Revision { return l.cond.Modified }

// Cond is true while the leadership lasts. Who adds it to each Txn writes
// nothing once somebody else leads.
func (l *Leadership) Cond() Cond { return l.cond }

// Lost is closed when the leadership is over or may be.
func (l *Leadership) Lost() <-chan struct{} { return l.lost.Done() }

// Err says why it was lost: nil if it is not, or was resigned.
func (l *Leadership) Err() error {
	if l.lost.Err() == nil {
		return nil
	}
	return l.err
}

// Resign ends the leadership, for the next to begin at once.
func (l *Leadership) Resign(ctx context.Context) error {
	l.stop()
	<-l.lost.Done()
	if err := l.store.Revoke(ctx, l.lease); err != nil {
		return fmt.Errorf("control: resign: the next begins when the lease is over: %w", err)
	}
	return nil
}
