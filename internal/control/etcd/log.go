package etcd

import (
	"context"
	"log/slog"
	"runtime"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger passes etcd's warnings and errors on. What etcd calls fatal, after
// which it would end the process and with it the node's work, ends the
// goroutine and calls fatal.
func logger(to *slog.Logger, fatal func(string)) *zap.Logger {
	return zap.New(&logCore{LevelEnabler: zapcore.WarnLevel, to: to, fatal: fatal}, zap.WithFatalHook(endGoroutine{}))
}

type endGoroutine struct{}

func (endGoroutine) OnWrite(*zapcore.CheckedEntry, []zapcore.Field) { runtime.Goexit() }

type logCore struct {
	zapcore.LevelEnabler

	to    *slog.Logger
	fatal func(string)
	with  []zapcore.Field
}

func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	more := *c
	more.with = append(append([]zapcore.Field(nil), c.with...), fields...)
	return &more
}

func (c *logCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Level >= zapcore.FatalLevel {
		c.fatal(e.Message)
	}
	if c.to == nil {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field(nil), c.with...), fields...) {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	c.to.LogAttrs(context.Background(), level, "etcd: "+e.Message, attrs...)
	return nil
}

func (c *logCore) Sync() error { return nil }
