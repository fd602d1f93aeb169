package mem

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/weftrun/weft/internal/control"
)

// maxBatch is about how many events one Next returns; a revision is not split.
const maxBatch = 256

// watcher is a place in its store's history.
type watcher struct {
	store  *Store
	prefix string
	after  control.Revision // delivered, or not of interest; for Next alone
	lost   bool
	closed atomic.Bool
}

// Watch implements control.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after control.Revision) (control.Watcher, error) {
	if err := s.lock(ctx, "watch"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if after < s.forgot {
		return nil, compacted(prefix, after, s.forgot)
	}
	return &watcher{store: s, prefix: prefix, after: after}, nil
}

// Next implements control.Watcher.
func (w *watcher) Next(ctx context.Context) ([]control.Event, error) {
	for {
		events, wait, err := w.poll()
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("control: watch %q: %w", w.prefix, ctx.Err())
		}
	}
}

// poll returns what is new, or a channel that is closed when something may be.
func (w *watcher) poll() ([]control.Event, <-chan struct{}, error) {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || w.closed.Load():
		return nil, nil, fmt.Errorf("control: watch %q: %w", w.prefix, control.ErrClosed)
	case w.lost || w.after < s.forgot:
		w.lost = true
		return nil, nil, compacted(w.prefix, w.after, s.forgot)
	}
	first := sort.Search(len(s.history), func(i int) bool { return s.history[i].Modified > w.after })
	var events []control.Event
	for _, e := range s.history[first:] {
		if len(events) >= maxBatch && e.Modified != w.after {
			return events, nil, nil
		}
		w.after = e.Modified
		if strings.HasPrefix(e.Key, w.prefix) {
			e.Value = slices.Clone(e.Value)
			events = append(events, e)
		}
	}
	s.watching++
	return events, s.changed, nil
}

// Close implements control.Watcher. It wakes a Next that waits.
func (w *watcher) Close() {
	w.closed.Store(true)
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		close(s.changed)
		s.changed = make(chan struct{})
		s.watching = 0
	}
}

func compacted(prefix string, after, forgot control.Revision) error {
	return fmt.Errorf("control: watch %q after revision %d, forgotten up to %d: %w", prefix, after, forgot, control.ErrCompacted)
}
