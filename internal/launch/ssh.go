package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Shell runs commands on machines.
type Shell interface {
	// Run runs a script of POSIX sh on a host and returns what it printed. Its
	// standard input is input, empty if nil. The error of one that failed has the
	// last lines of what it said.
	Run(ctx context.Context, host, script string, input io.Reader) (string, error)
}

// SSH is a Shell by the command ssh.
type SSH struct{ Auth Auth }

// endTime is how long ssh may take to end when it is told to.
const endTime = 2 * time.Second

// Run implements Shell.
func (s SSH) Run(ctx context.Context, host, script string, input io.Reader) (string, error) {
	c := exec.CommandContext(ctx, "ssh", append(s.arguments(host), "exec sh -c "+quote(script))...)
	c.WaitDelay = endTime
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = input, &out, &said
	err := c.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("there is no command ssh: install OpenSSH's client")
	}
	return "", fmt.Errorf("%w%s", err, lastLines(said.String()))
}

// arguments are those of ssh before the command. It asks nobody anything.
func (s SSH) arguments(host string) []string {
	args := []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15"}
	if s.Auth.Key != "" {
		args = append(args, "-i", s.Auth.Key, "-o", "IdentitiesOnly=yes")
	}
	if s.Auth.Port != 0 {
		args = append(args, "-p", strconv.Itoa(s.Auth.Port))
	}
	if s.Auth.User != "" {
		args = append(args, "-l", s.Auth.User)
	}
	if s.Auth.Proxy != "" {
		args = append(args, "-o", "ProxyCommand="+s.Auth.Proxy)
	}
	for _, option := range s.Auth.Options {
		args = append(args, "-o", option)
	}
	return append(args, "--", host)
}

// quote makes one word of text for sh.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// lastLines quotes the end of what a command said.
func lastLines(text string) string {
	const most = 10
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if lines[0] == "" {
		return ""
	}
	return "\n  " + strings.Join(lines[max(0, len(lines)-most):], "\n  ")
}
