package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

// Exit statuses.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitUnreachable
	exitNotFound
)

// program is one run of the command line.
type program struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	signals        <-chan os.Signal
	width          int // of the terminal that stdout is; 0 if it is none
	newNode        func(nodeConfig) (daemon, error)

	address string // flag
	format  string // flag: text or json
	began   bool   // a command has been found and its arguments are right
}

// run executes one command line and returns its exit status.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.rootCommand()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	status := p.status(err)
	if !errors.Is(err, errSilent) {
		fmt.Fprintf(p.stderr, "weft: %v\n", err)
	}
	if status == exitUsage {
		fmt.Fprintln(p.stderr, "Run `weft --help`, or `weft COMMAND --help`, for what there is.")
	}
	return status
}

// errSilent is a failure of which everything has been said.
var errSilent = errors.New("failed")

func (p *program) status(err error) int {
	var usage *usageError
	switch {
	case !p.began || errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, state.ErrNotFound):
		return exitNotFound
	}
	return exitFailure
}

// usageError is the user's mistake in a flag or an argument.
type usageError struct{ error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func (p *program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "Run functions and actors on one machine or many",
		Long: "weft runs a node, on which programs run tasks and actors and share objects,\n" +
			"and tells what a node does and why.\n\n" +
			"Exit status: 0 success; 1 failure; 2 wrong usage; 3 no node answers; 4 no such thing.",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			p.began = true
			if !slices.Contains([]string{"text", "json"}, p.format) {
				return usagef("--format %q: want text or json", p.format)
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&p.address, "address", "",
		"the node's directory, socket or http:// `address` (default $WEFT_ADDRESS, or where weft start puts it)")
	root.PersistentFlags().StringVar(&p.format, "format", "text", "text, or json: one object a line")
	root.AddCommand(p.startCommand(), p.runCommand(), p.stopCommand(), p.drainCommand(), p.upCommand(), p.downCommand(), p.tokenCommand(), p.statusCommand(), p.listCommand(), p.whyCommand(), p.replayCommand(),
		p.eventsCommand(), p.timelineCommand(), p.versionCommand(), p.proxyCommand())
	return root
}

// json reports whether output is for programs.
func (p *program) json() bool { return p.format == "json" }

// printJSON writes one object on one line.
func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// say writes a line for people.
func (p *program) say(format string, args ...any) { fmt.Fprintf(p.stdout, format+"\n", args...) }

// connect returns a client of the node that the user means.
func (p *program) connect() (*api.Client, error) {
	address, err := p.apiAddress()
	if err != nil {
		return nil, err
	}
	return api.Dial(address), nil
}

// withClient runs a question to the node; what it says of a missing node tells
// what to do.
func (p *program) withClient(ask func(*api.Client) error) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	err = ask(c)
	if errors.Is(err, api.ErrUnreachable) {
		err = fmt.Errorf("%w\nstart one with `weft start --detach`, or say where it is with --address or WEFT_ADDRESS", err)
	}
	return err
}

// askMember asks what only nodes of a cluster answer, by a path of their API.
func (p *program) askMember(ctx context.Context, method, path string, req, reply any) error {
	address, err := p.apiAddress()
	if err != nil {
		return err
	}
	var body []byte
	if req != nil {
		if body, err = json.Marshal(req); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", address)
	}}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("%w at %s: %w", api.ErrUnreachable, address, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return errors.New("this node is in no cluster: ask one that was started with --head or --address")
	case res.StatusCode != http.StatusOK:
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return errors.New(strings.TrimSpace(string(why)))
	case reply == nil:
		return nil
	}
	return json.NewDecoder(res.Body).Decode(reply)
}
