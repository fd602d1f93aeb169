package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/launch"
	"github.com/weftrun/weft/internal/token"
)

func (p *program) upCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up FILE",
		Short: "Start a cluster on machines that ssh reaches",
		Long: "Up starts the cluster that a YAML file describes: it copies this program to every machine, runs the setup\n" +
			"commands there, starts the head, and has the others join it. Machines whose node runs already are left alone,\n" +
			"so that up can be repeated after a failure or when machines have been added. It prints what programs need to\n" +
			"come in. ssh is the one that you use, with its configuration; it must get in without asking.\n\n" +
			"  cluster_name: demo\n" +
			"  provider: {type: local, head_ip: 10.0.0.1, worker_ips: [10.0.0.2, 10.0.0.3]}\n" +
			"  auth: {ssh_user: ubuntu}\n" +
			"  setup_commands: [pip install -r requirements.txt]\n" +
			"  worker: {resources: {GPU: 1}, labels: {zone: a}}",
		Example: "  weft up demo.yaml\n  weft down demo.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.launch(c.Context(), args[0], func(ctx context.Context, l *launch.Launcher) error {
				access, err := l.Up(ctx)
				if access == nil {
					return err
				}
				if p.json() {
					return errors.Join(err, p.printJSON(access))
				}
				p.say("export %s=%s %s=%s", addressVariable, access.Address, token.Env, access.Token)
				return err
			})
		},
	}
}

func (p *program) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down FILE",
		Short: "End the cluster that weft up has started",
		Long: "Down ends all nodes of the cluster that a YAML file describes, at once, and removes their files, among them\n" +
			"the cluster's metadata. Machines that have no node of it are left alone.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.launch(c.Context(), args[0], func(ctx context.Context, l *launch.Launcher) error { return l.Down(ctx) })
		},
	}
}

// errLaunchInterrupted says what an interrupt has left.
var errLaunchInterrupted = errors.New("interrupted; what was started runs: `weft up` goes on from there, `weft down` ends it")

// launch does something with the cluster of a file, until it is interrupted.
func (p *program) launch(ctx context.Context, path string, do func(context.Context, *launch.Launcher) error) error {
	c, err := launch.Read(path)
	if err != nil {
		return &usageError{err}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	l := &launch.Launcher{Config: c, Shell: launch.SSH{Auth: c.Auth}, Binary: exe, Tell: func(host, what string) {
		if !p.json() {
			p.say("%s: %s", host, what)
		}
	}}
	for _, notice := range c.Notices() {
		l.Tell(path, notice)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.signals:
			cancel(errLaunchInterrupted)
		case <-ctx.Done():
		}
	}()
	return do(ctx, l)
}
