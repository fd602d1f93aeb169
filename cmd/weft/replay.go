package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/client"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
	"github.com/weftrun/weft/internal/wire"
)

// replayFlags are the flags of `weft replay`.
type replayFlags struct {
	with, program string
	pdb, show     bool
}

func (p *program) replayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay TASK",
		Short: "Run a failed task again, here and alone",
		Long: "Replay runs a task that failed again, with the arguments that it had: in this terminal, in one process, so\n" +
			"that a debugger can follow it. It becomes the program that the task was of, which then runs the task\n" +
			"instead of its main. The node keeps the arguments of the last failed tasks only.\n\n" +
			"TASK may be a part of the id, its beginning or its end.",
		Example: "  weft replay 0000000000000c\n  weft replay 0000000000000c --with 'dlv exec'\n  weft replay 0000000000000c --pdb",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withClient(func(client *api.Client) error { return p.replay(c.Context(), client, args[0], &f) })
		},
	}
	c.Flags().StringVar(&f.with, "with", "", "a debugger and its arguments, to put before the program")
	c.Flags().StringVar(&f.program, "program", "", "the program (default: where the task's driver ran from)")
	c.Flags().BoolVar(&f.pdb, "pdb", false, "of Python: debug where it fails")
	c.Flags().BoolVar(&f.show, "print", false, "print the command instead")
	return c
}

// replay becomes the program of a failed task; it returns only if that fails.
func (p *program) replay(ctx context.Context, c *api.Client, arg string, f *replayFlags) error {
	found, err := state.Resolve(ctx, c, arg)
	if err != nil {
		return err
	}
	t, err := id.ParseTask(found)
	if err != nil {
		return usagef("%s is no task", found)
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	call, err := fetchFailed(ctx, status.Node.Address, t)
	if err != nil {
		return err
	}
	line, err := f.command(call, t)
	if err != nil {
		return err
	}
	env := []string{addressVariable + "=" + status.Node.Address}
	if call.Template.Language != wire.Python {
		env = append(env, client.ReplayEnv+"="+found)
	}
	if f.show {
		p.say("%s %s", strings.Join(env, " "), strings.Join(line, " "))
		return nil
	}
	path, err := exec.LookPath(line[0])
	if err == nil {
		err = syscall.Exec(path, line, append(os.Environ(), env...))
	}
	return fmt.Errorf("%s cannot be started: %w; --program names another one, --with another debugger", line[0], err)
}

// fetchFailed asks the node what a failed task was called with.
func fetchFailed(ctx context.Context, address string, t id.Task) (call *sessionv1.FailedCall, err error) {
	s, err := client.Dial(ctx, address, client.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	return client.Failed(ctx, s, t)
}

// command is the line that runs the task.
func (f *replayFlags) command(call *sessionv1.FailedCall, t id.Task) ([]string, error) {
	line := strings.Fields(f.with)
	if call.Template.Language == wire.Python {
		line = append(line, cmp.Or(f.program, call.Python, "python3"), "-m", "weft._replay")
		if f.pdb {
			line = append(line, "--pdb")
		}
		return append(line, t.String()), nil
	}
	program := cmp.Or(f.program, call.Program)
	if program == "" {
		return nil, usagef("the node does not know which program the task was of: --program names it")
	}
	return append(line, program), nil
}
