// Package mem keeps metadata in this process's memory: the adapter for a node
// that is alone. It passes control/controltest.
//
// A [Store] owns its records, under one lock that is never held while waiting.
// Time is what [Store.Tick] says it is: a lease expires in the Tick that
// passes its end, and not by a clock. Watchers hold no events of their own:
// they read the store's one bounded history from where they are, so a slow
// one costs nothing and learns that it has fallen behind.
package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/control"
)

// DefaultHistory is how many changed records a Store remembers for watchers.
const DefaultHistory = 4096

// Config says how a Store is made; zero fields are the defaults.
type Config struct {
	History int // changed records remembered; at least 1
}

// Store implements control.Store. Make one with New.
type Store struct {
	mu       sync.Mutex
	records  map[string]control.Record
	keys     []string // sorted; of records
	revision control.Revision
	now      time.Duration
	leases   map[control.LeaseID]*lease
	granted  control.LeaseID
	closed   bool

	history  []control.Event // oldest first, whole revisions only
	limit    int
	forgot   control.Revision // the newest revision that is not in history any more
	changed  chan struct{}    // closed at the next change, or at Close
	watching int              // watchers that wait on changed
}

type lease struct {
	ttl, ends time.Duration
	keys      map[string]bool
}

// New returns an empty store at revision 1.
func New(cfg Config) *Store {
	if cfg.History <= 0 {
		cfg.History = DefaultHistory
	}
	return &Store{
		records:  map[string]control.Record{},
		revision: 1,
		leases:   map[control.LeaseID]*lease{},
		limit:    cfg.History,
		changed:  make(chan struct{}),
	}
}

// Get implements control.Store.
func (s *Store) Get(ctx context.Context, key string) (control.Record, error) {
	if err := control.CheckKey(key); err != nil {
		return control.Record{}, err
	}
	if err := s.lock(ctx, "get"); err != nil {
		return control.Record{}, err
	}
	defer s.mu.Unlock()
	r, ok := s.records[key]
	if !ok {
		return control.Record{}, fmt.Errorf("control: get %q: %w", key, control.ErrNotFound)
	}
	return copyOf(r), nil
}

// List implements control.Store.
func (s *Store) List(ctx context.Context, r control.Range) (control.Listing, error) {
	if err := s.lock(ctx, "list"); err != nil {
		return control.Listing{}, err
	}
	defer s.mu.Unlock()
	out := control.Listing{Revision: s.revision}
	for _, key := range s.keys[s.firstOf(r):] {
		if !strings.HasPrefix(key, r.Prefix) {
			break
		}
		if r.Limit > 0 && len(out.Records) == r.Limit {
			out.More = true
			break
		}
		out.Records = append(out.Records, copyOf(s.records[key]))
	}
	return out, nil
}

// firstOf is the index of the first key of a range.
func (s *Store) firstOf(r control.Range) int {
	i, _ := slices.BinarySearch(s.keys, r.Prefix)
	if r.After >= r.Prefix && r.After != "" {
		j, found := slices.BinarySearch(s.keys, r.After)
		if found {
			j++
		}
		i = max(i, j)
	}
	return i
}

// Commit implements control.Store.
func (s *Store) Commit(ctx context.Context, t control.Txn) (control.Revision, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	if err := s.lock(ctx, "commit"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	for _, c := range t.If {
		if have := s.records[c.Key].Modified; have != c.Modified {
			return 0, &control.ConflictError{Cond: c, Have: have}
		}
	}
	for _, op := range t.Do {
		if op.Kind == control.Put && op.Lease != 0 && s.leases[op.Lease] == nil {
			return 0, fmt.Errorf("control: put %q under lease %x: %w", op.Key, int64(op.Lease), control.ErrNoLease)
		}
	}
	s.change(t.Do)
	return s.revision, nil
}

// change applies ops as one revision, if they change anything.
func (s *Store) change(ops []control.Op) {
	next := s.revision + 1
	var events []control.Event
	for _, op := range ops {
		switch op.Kind {
		case control.Put:
			events = append(events, control.Event{Record: copyOf(s.put(op, next))})
		case control.Delete:
			events = s.remove(op.Key, next, events)
		case control.DeletePrefix:
			first, _ := slices.BinarySearch(s.keys, op.Key)
			for first < len(s.keys) && strings.HasPrefix(s.keys[first], op.Key) {
				events = s.remove(s.keys[first], next, events)
			}
		}
	}
	if len(events) == 0 {
		return
	}
	s.revision = next
	s.remember(events)
	if s.watching > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
		s.watching = 0
	}
}

func (s *Store) put(op control.Op, at control.Revision) control.Record {
	old, exists := s.records[op.Key]
	r := control.Record{Key: op.Key, Value: slices.Clone(op.Value), Created: at, Modified: at, Lease: op.Lease}
	if exists {
		r.Created = old.Created
		s.detach(old)
	} else {
		i, _ := slices.BinarySearch(s.keys, op.Key)
		s.keys = slices.Insert(s.keys, i, op.Key)
	}
	if l := s.leases[op.Lease]; l != nil {
		l.keys[op.Key] = true
	}
	s.records[op.Key] = r
	return r
}

func (s *Store) remove(key string, at control.Revision, events []control.Event) []control.Event {
	old, exists := s.records[key]
	if !exists {
		return events
	}
	s.detach(old)
	delete(s.records, key)
	i, _ := slices.BinarySearch(s.keys, key)
	s.keys = slices.Delete(s.keys, i, i+1)
	return append(events, control.Event{Record: control.Record{Key: key, Modified: at}, Deleted: true})
}

func (s *Store) detach(r control.Record) {
	if l := s.leases[r.Lease]; l != nil {
		delete(l.keys, r.Key)
	}
}

// remember adds one revision's events to the history, whose oldest revisions
// it forgets past the limit. The newest revision always stays.
func (s *Store) remember(events []control.Event) {
	s.history = append(s.history, events...)
	cut := 0
	for len(s.history)-cut > s.limit && s.history[cut].Modified < s.revision {
		s.forgot = s.history[cut].Modified
		for s.history[cut].Modified == s.forgot {
			cut++
		}
	}
	s.history = s.history[cut:]
}

// Close implements control.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.changed)
	}
	return nil
}

// lock takes the lock for an operation that ctx and Close have not ended yet.
func (s *Store) lock(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("control: %s: %w", op, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("control: %s: %w", op, control.ErrClosed)
	}
	return nil
}

func copyOf(r control.Record) control.Record {
	r.Value = slices.Clone(r.Value)
	return r
}
