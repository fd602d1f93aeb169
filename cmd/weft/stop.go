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

func (p *program) stopCommand() *cobra.Command {
	var force bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "stop",
		Short: "End a node",
		Long: "Stop ends a node: its sessions, tasks, actors and worker processes, and waits until it is gone.\n" +
			"With --force the node takes no time over it, and one that does not answer is killed.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withClient(func(client *api.Client) error { return p.stopNode(c.Context(), client, force, timeout) })
		},
	}
	c.Flags().BoolVar(&force, "force", false, "at once; kill a node that does not answer")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait")
	return c
}

func (p *program) stopNode(ctx context.Context, client *api.Client, force bool, timeout time.Duration) error {
	address, err := p.apiAddress()
	if err != nil {
		return err
	}
	server, err := openServer(ctx, address)
	if err != nil {
		return err
	}
	defer server.close()
	patience := timeout
	if force {
		patience = min(timeout, forceAfter)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = client.Stop(ctx, force)
	if err == nil {
		err = server.waitEnd(ctx)
	}
	if err != nil && force && server.pidfd >= 0 {
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
