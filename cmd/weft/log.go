package main

import (
	"errors"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// maxLog is how large a detached node's log grows before it is set aside; one
// that was set aside is kept.
const maxLog = 8 << 20

// newLogger returns the logger that the flags ask for.
func newLogger(f *startFlags, to io.Writer) (*slog.Logger, error) {
	h, err := newLogHandler(f, to)
	if err != nil {
		return nil, err
	}
	return slog.New(h), nil
}

func newLogHandler(f *startFlags, to io.Writer) (slog.Handler, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", f.logLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.NewTextHandler(to, opts), nil
	case "json":
		return slog.NewJSONHandler(to, opts), nil
	}
	return nil, usagef("--log-format %q: want text or json", f.logFormat)
}

// logFile is a detached node's log: this process's stdout and stderr too, so
// that the runtime's last words are in it. It is for one goroutine at a time,
// as slog's handlers see to.
type logFile struct {
	path  string
	file  *os.File
	size  int64
	limit int64
	fds   []int // that are the log as well
}

func openLog(path string, limit int64, fds ...int) (*logFile, error) {
	l := &logFile{path: path, limit: limit, fds: fds}
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	for _, fd := range l.fds {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}

// Write implements io.Writer.
func (l *logFile) Write(b []byte) (int, error) {
	if l.size > 0 && l.size+int64(len(b)) > l.limit {
		old := l.file
		if err := errors.Join(os.Rename(l.path, l.path+".1"), l.open(), old.Close()); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	return n, err
}
