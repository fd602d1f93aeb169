package event

import (
	"context"
	"time"
)

// Cursor is a place in a Log; the zero Cursor is the beginning.
type Cursor struct {
	Ordinary, Kept uint64
}

// pageLen is how many records are copied under one hold of the lock.
const pageLen = 256

// Read appends to into the entries after a cursor, oldest first and at most
// limit, and returns the cursor after the last of them. missed is how many the
// rings had already dropped.
func (l *Log) Read(after Cursor, into []Entry, limit int) (entries []Entry, next Cursor, missed uint64) {
	next = after
	for left := limit; left > 0; {
		before := len(into)
		var gone uint64
		into, next, gone = l.readPage(next, into, min(left, pageLen))
		missed += gone
		got := len(into) - before
		if got < min(left, pageLen) {
			break
		}
		left -= got
	}
	return into, next, missed
}

// readPage merges the two rings by time under the lock.
func (l *Log) readPage(c Cursor, into []Entry, limit int) ([]Entry, Cursor, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	missed := skip(&c.Ordinary, l.ordinary.oldest()) + skip(&c.Kept, l.kept.oldest())
	for range limit {
		hasOrdinary, hasKept := c.Ordinary < l.ordinary.next, c.Kept < l.kept.next
		switch {
		case !hasOrdinary && !hasKept:
			return into, c, missed
		case hasOrdinary && (!hasKept || l.ordinary.at(c.Ordinary).At < l.kept.at(c.Kept).At):
			into = append(into, l.entry(l.ordinary.at(c.Ordinary), ""))
			c.Ordinary++
		default:
			n := l.kept.at(c.Kept)
			into = append(into, l.entry(&n.Record, n.text))
			c.Kept++
		}
	}
	return into, c, missed
}

func skip(pos *uint64, oldest uint64) (missed uint64) {
	if *pos < oldest {
		missed = oldest - *pos
		*pos = oldest
	}
	return missed
}

func (l *Log) entry(r *Record, text string) Entry {
	return Entry{Record: *r, Label: l.names[r.Name], Text: text}
}

// End is the cursor after the newest entry.
func (l *Log) End() Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Cursor{l.ordinary.next, l.kept.next}
}

// Wait returns when there is an entry after the cursor, or with ctx's error.
func (l *Log) Wait(ctx context.Context, after Cursor) error {
	for {
		l.mu.Lock()
		if after.Ordinary < l.ordinary.next || after.Kept < l.kept.next {
			l.mu.Unlock()
			return nil
		}
		if l.wake == nil {
			l.wake = make(chan struct{})
		}
		wake := l.wake
		l.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// About returns the newest entries about x or its returns, oldest first, at
// most limit. It reads the whole of both rings, so it is for people's questions.
func (l *Log) About(x ID, limit int) []Entry {
	var found, page []Entry
	var c Cursor
	for {
		page, c, _ = l.Read(c, page[:0], pageLen)
		if len(page) == 0 {
			return found[max(0, len(found)-limit):]
		}
		for i := range page {
			if page[i].Names(x) {
				found = append(found, page[i])
			}
		}
	}
}

// Time is the wall time of an entry of this log.
func (l *Log) Time(at time.Duration) time.Time { return l.cfg.Start.Add(at) }
