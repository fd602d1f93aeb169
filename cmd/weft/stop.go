package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/state/api"
)

// forceAfter is how long a node may take to end at once before it is killed.
const forceAfter = 3 * time.Second

// stopFlags are the flags of `weft stop`.
type stopFlags struct {
	now, force bool
	grace      time.Duration
	timeout    time.Duration
}

func (p *program) stopCommand() *cobra.Command {
	var f stopFlags
	c := &cobra.Command{
		Use:   "stop",
		Short: "End a node",
		Long: "Stop ends a node and waits until it is gone. The node takes no more work, lets the tasks that run end, for\n" +
			"up to --grace, and then ends its sessions, actors and worker processes. With --now, or if it is asked a\n" +
			"second time, it does not wait for tasks. With --force a node that does not answer is killed.",
		Example: "  weft stop --grace 10m",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.grace < 0 {
				return usagef("--grace %v: want 0 or more", f.grace)
			}
			if f.now || f.force {
				f.grace = 0
			}
			return p.withClient(func(client *api.Client) error { return p.stopNode(c.Context(), client, &f) })
		},
	}
	c.Flags().BoolVar(&f.now, "now", false, "do not wait for running tasks")
	c.Flags().BoolVar(&f.force, "force", false, "likewise, and kill a node that does not answer")
	c.Flags().DurationVar(&f.grace, "grace", defaultGrace, "how long running tasks may take to end")
	c.Flags().DurationVar(&f.timeout, "timeout", 2*stopTimeout, "how long to wait for the node's end after that")
	return c
}

func (p *program) stopNode(ctx context.Context, client *api.Client, f *stopFlags) error {
	address, err := p.apiAddress()
	if err != nil {
		return err
	}
	server, err := openServer(ctx, address)
	if err != nil {
		return err
	}
	defer server.close()
	patience := f.grace + f.timeout
	if f.force {
		patience = min(f.timeout, forceAfter)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = client.Stop(ctx, f.grace)
	if err == nil {
		err = server.waitEnd(ctx)
	}
	if err != nil && f.force && server.pidfd >= 0 {
		err = server.kill()
	}
	if err != nil {
		return fmt.Errorf("the node (process %d) has not ended: %w; `weft stop --force` kills it", server.pid, err)
	}
	if p.json() {
		return p.printJSON(map[string]any{"stopped": true, "pid": server.pid})
	}
	p.say("stopped")
	return nil
}

// server is the process behind a socket. The kernel knows it, so it is found
// even if it does not answer, and is surely not another one of that number.
type server struct {
	pid   int
	pidfd int // -1 if it is not to be waited for: this process, or one not here
}

func openServer(ctx context.Context, address string) (*server, error) {
	s := &server{pidfd: -1}
	if strings.HasPrefix(address, "http://") {
		return s, nil
	}
	pid, err := peerOf(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", api.ErrUnreachable, address, err)
	}
	s.pid = pid
	if pid != os.Getpid() {
		s.pidfd, err = unix.PidfdOpen(pid, 0)
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return s, nil
}

// peerOf is the process that listens at a socket.
func peerOf(ctx context.Context, address string) (pid int, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// waitEnd returns when the process is gone.
func (s *server) waitEnd(ctx context.Context) error {
	if s.pidfd < 0 {
		return nil
	}
	for {
		gone, err := s.gone(100 * time.Millisecond)
		if gone || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// gone waits a moment for the process to end.
func (s *server) gone(wait time.Duration) (bool, error) {
	poll := []unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("waiting for process %d: %w", s.pid, err)
	}
	return n > 0, nil
}

// kill ends the process; its workers notice and end themselves.
func (s *server) kill() error {
	if err := unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", s.pid, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return s.waitEnd(ctx)
}

func (s *server) close() {
	if s.pidfd >= 0 {
		_ = unix.Close(s.pidfd)
	}
}
