package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

func (p *program) eventsCommand() *cobra.Command {
	var follow, onlyNew, past bool
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what happened",
		Long: "Events shows what happened on a node, oldest first. Of bursts of ordinary events a node keeps counts;\n" +
			"failures are always kept. --past reads the node's files instead: they outlive the node, and go\n" +
			"further back.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if past && (follow || onlyNew) {
				return usagef("--past shows files, which --follow and --new say nothing about")
			}
			ctx, stop := p.untilSignal(c.Context())
			defer stop()
			return p.withEvents(ctx, past, follow, onlyNew, func(v event.View) error { return p.showEvent(v) })
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	c.Flags().BoolVar(&onlyNew, "new", false, "leave out what has happened before")
	c.Flags().BoolVar(&past, "past", false, "read the files of the node's directory")
	return c
}

func (p *program) showEvent(v event.View) error {
	if p.json() {
		return p.printJSON(v)
	}
	for line := range strings.SplitSeq(v.String(), "\n") {
		p.say("%s", state.Printable(line))
	}
	return nil
}

// untilSignal returns a context that ends with the first signal.
func (p *program) untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-p.signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// withEvents visits events of a node or its files.
func (p *program) withEvents(ctx context.Context, past, follow, onlyNew bool, visit func(event.View) error) error {
	if past {
		dir, err := p.nodeDir()
		if err != nil {
			return err
		}
		return visitAll(ctx, event.ReadSegments(filepath.Join(dir, eventsName)), visit)
	}
	return p.withClient(func(c *api.Client) error {
		return visitAll(ctx, c.Events(ctx, follow, onlyNew), visit)
	})
}

// visitAll ends without an error when ctx does: that is how following ends.
func visitAll(ctx context.Context, events iter.Seq2[event.View, error], visit func(event.View) error) error {
	for v, err := range events {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := visit(v); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) timelineCommand() *cobra.Command {
	var out string
	var past bool
	c := &cobra.Command{
		Use:   "timeline",
		Short: "Write what happened for ui.perfetto.dev or chrome://tracing",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var events []event.View
			err := p.withEvents(c.Context(), past, false, false, func(v event.View) error { events = append(events, v); return nil })
			if err != nil {
				return err
			}
			if out == "-" {
				return event.WriteTimeline(p.stdout, p.nodeName(c.Context()), events)
			}
			err = writeFile(out, func(w io.Writer) error { return event.WriteTimeline(w, p.nodeName(c.Context()), events) })
			if err != nil {
				return err
			}
			if p.json() {
				return p.printJSON(map[string]any{"file": out, "events": len(events)})
			}
			p.say("%d events in %s; open it with https://ui.perfetto.dev", len(events), out)
			return nil
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "weft-timeline.json", "the file; - is stdout")
	c.Flags().BoolVar(&past, "past", false, "read the files of the node's directory")
	return c
}

// nodeName is the node's id, if it answers.
func (p *program) nodeName(ctx context.Context) string {
	name := ""
	_ = p.withClient(func(c *api.Client) error {
		status, err := c.Status(ctx)
		name = status.Node.ID
		return err
	})
	return name
}

// writeFile writes a file whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("%w; choose another file with -o", err)
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
