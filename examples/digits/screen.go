package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/weftrun/weft"
)

// screen is where the job is shown: on a terminal with a line that moves, on
// anything else with a line now and then.
type screen struct {
	w     io.Writer
	live  bool
	line  string // on the terminal, not ended yet
	tenth int    // of the progress last shown where nothing moves
}

func newScreen(f *os.File) *screen {
	info, err := f.Stat()
	return &screen{w: f, live: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Write ends the moving line and shows p below it.
func (s *screen) Write(p []byte) (int, error) {
	if s.line != "" {
		fmt.Fprintln(s.w)
		s.line = ""
	}
	return s.w.Write(p)
}

func (s *screen) printf(format string, args ...any) { fmt.Fprintf(s, format, args...) }

// progress shows that done of all are done.
func (s *screen) progress(what string, done, all int) {
	const width = 40
	if !s.live {
		if tenth := 10 * done / all; tenth != s.tenth {
			s.tenth = tenth
			s.printf("%s: %d of %d\n", what, done, all)
		}
		return
	}
	filled := width * done / all
	line := fmt.Sprintf("%-8s %s%s %d of %d", what, strings.Repeat("█", filled), strings.Repeat("░", width-filled), done, all)
	if line != s.line {
		fmt.Fprintf(s.w, "\r%s\033[K", line)
		s.line = line
	}
}

// watch shows the steps of a training until its workers are done.
func watch(ctx context.Context, srv weft.Actor[server], workers []weft.Ref[int], steps int, out *screen) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, w := range workers {
		for running := true; running; {
			select {
			case <-w.Done():
				running = false
			case <-tick.C:
			}
			if at, err := current.Call(ctx, srv); err == nil {
				out.progress("training", at.Step, steps)
			}
		}
		if _, err := w.Get(ctx); err != nil {
			return err
		}
	}
	return nil
}
