package event

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sink is a view that is written as things happen.
type Sink interface {
	// Write takes entries in order, and how many were lost before them. They
	// are the sink's for the call only. After an error the log goes on to
	// write what comes later: a full disk is a gap, not an end.
	Write(entries []Entry, missed uint64) error
	// Close ends the sink; nothing is written after it.
	Close() error
}

// drainLen is how many entries a sink gets at once.
const drainLen = 1024

// Drain feeds sinks from the beginning of the log until ctx is done, then
// once more with what is left, and closes them. It looks at the log at most
// once in every: a burst becomes one batch. It is for a goroutine of its own.
func (l *Log) Drain(ctx context.Context, every time.Duration, sinks ...Sink) error {
	d := drain{log: l, sinks: sinks, failing: make([]bool, len(sinks))}
	for d.wait(ctx) {
		d.rest(ctx, every)
		l.Tick(time.Since(l.cfg.Start))
		d.step()
	}
	l.flush()
	d.step()
	errs := make([]error, 0, len(sinks))
	for _, s := range sinks {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// flush writes the counts of a second that is not over.
func (l *Log) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeWindow()
}

type drain struct {
	log     *Log
	cursor  Cursor
	entries []Entry
	sinks   []Sink
	failing []bool
}

// wait returns when there is something to do; false is the end. Counts of a
// second are something once it is over, though nothing happens any more.
func (d *drain) wait(ctx context.Context) bool {
	waiting := ctx
	if d.log.counting() {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	return d.log.Wait(waiting, d.cursor) == nil || ctx.Err() == nil
}

// counting reports whether there are counts that are not written yet.
func (l *Log) counting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.touched) > 0
}

// rest lets more come, so that not each event costs a wake-up and a write.
func (d *drain) rest(ctx context.Context, every time.Duration) {
	t := time.NewTimer(every)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// step writes all there is.
func (d *drain) step() {
	for {
		var missed uint64
		d.entries, d.cursor, missed = d.log.Read(d.cursor, d.entries[:0], drainLen)
		if len(d.entries) == 0 && missed == 0 {
			return
		}
		for i, s := range d.sinks {
			d.wrote(i, s.Write(d.entries, missed))
		}
		clear(d.entries) // texts can go
	}
}

// wrote notes the first of a row of failures, which the other sinks tell.
func (d *drain) wrote(i int, err error) {
	if err != nil && !d.failing[i] {
		d.log.Note(time.Since(d.log.cfg.Start), Record{Kind: SinkFailed}, fmt.Sprintf("events are not written: %v", err))
	}
	d.failing[i] = err != nil
}
