package event

import (
	"context"
	"log/slog"
	"time"
)

// Keys of a Logger's attributes.
const (
	keyID     = "id"
	keyName   = "name"
	keyJob    = "job"
	keyWorker = "worker"
	keyCause  = "cause"
	keyQueued = "queued"
	keyRan    = "ran"
	keyBytes  = "bytes"
	keyCount  = "count"
	keyText   = "text"
	keyMissed = "missed"
)

// Logger is a Sink that writes to a slog.Logger: what went wrong with the
// system as warnings, what nodes, workers, sessions and jobs do as info, and
// all that happens to single tasks, actors and objects as debug.
type Logger struct {
	log   *slog.Logger
	start time.Time
}

// NewLogger returns a Sink for the entries of l.
func NewLogger(l *Log, to *slog.Logger) *Logger { return &Logger{log: to, start: l.Start()} }

// Write implements Sink.
func (g *Logger) Write(entries []Entry, missed uint64) error {
	ctx := context.Background()
	if missed > 0 {
		g.log.LogAttrs(ctx, slog.LevelWarn, "events were lost before they could be logged", slog.Uint64(keyMissed, missed))
	}
	for i := range entries {
		e := &entries[i]
		if lvl := level(e); g.log.Enabled(ctx, lvl) {
			g.write(ctx, lvl, e.View(g.start))
		}
	}
	return nil
}

// Close implements Sink.
func (g *Logger) Close() error { return nil }

// level keeps the program's own doings, which may be many, below the system's.
func level(e *Entry) slog.Level {
	switch k := e.Kind.bare(); {
	case k == SinkFailed:
		return slog.LevelError
	case k.failure() && e.Cause != UserError:
		return slog.LevelWarn
	case k == WorkerExited && e.Cause == WorkerDied, k == NodePressure && e.N > 0:
		return slog.LevelWarn
	case k >= WorkerStarted && k <= JobEnded:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (g *Logger) write(ctx context.Context, lvl slog.Level, v View) {
	attrs := make([]slog.Attr, 0, 12)
	add := func(present bool, a slog.Attr) {
		if present {
			attrs = append(attrs, a)
		}
	}
	add(v.Count > 0, slog.Int(keyCount, v.Count))
	add(v.ID != "", slog.String(keyID, v.ID))
	add(v.Name != "", slog.String(keyName, v.Name))
	add(v.NumberIs != "", slog.Int(v.NumberIs, v.Number))
	add(v.Cause != "", slog.String(keyCause, v.Cause))
	add(v.Worker != 0, slog.Int(keyWorker, v.Worker))
	add(v.Job != "", slog.String(keyJob, v.Job))
	add(v.Queued != 0, slog.Duration(keyQueued, v.Queued))
	add(v.Ran != 0, slog.Duration(keyRan, v.Ran))
	add(v.Bytes != 0, slog.Int64(keyBytes, v.Bytes))
	add(v.Text != "", slog.String(keyText, v.Text))
	g.log.LogAttrs(ctx, lvl, v.Event, attrs...)
}
