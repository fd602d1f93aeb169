package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
)

// readyFlag tells a detached node where its parent listens.
const readyFlag = "ready-fd"

// childFD is the first descriptor that a child inherits beside the standard ones.
const childFD = 3

// outcome is what a detached node tells its parent: one of the two.
type outcome struct {
	Ready *readyReport `json:"ready,omitempty"`
	Error string       `json:"error,omitempty"`
}

// detach starts this program again as a node of its own session and waits
// until it is ready or has failed.
func (p *program) detach(ctx context.Context, flags *pflag.FlagSet, cfg nodeConfig) error {
	if err := privateDir(cfg.Dir); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	child, err := startChild(flags, cfg, w)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	told := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(r)
		told <- data
	}()
	select {
	case data := <-told:
		return p.childTold(child, data, cfg.Dir)
	case <-p.signals:
		err = errors.New("interrupted before the node was ready; it has been ended")
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	<-told
	return err
}

// startChild runs the same command without --detach; pipe is its descriptor 3.
func startChild(flags *pflag.FlagSet, cfg nodeConfig, pipe *os.File) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program to start it again: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(cfg.Dir, logName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the node's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	child := exec.Command(exe, childArgs(flags)...) //nolint:noctx // it is to outlive this process
	child.Stdout, child.Stderr = log, log
	child.ExtraFiles = []*os.File{pipe}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("starting the node: %w", err)
	}
	return child, nil
}

// childArgs repeats the flags that were given.
func childArgs(flags *pflag.FlagSet) []string {
	args := []string{"start", fmt.Sprintf("--%s=%d", readyFlag, childFD)}
	flags.Visit(func(f *pflag.Flag) {
		if f.Name == "detach" {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	return args
}

// childTold passes on what the child said, or what is left if it said nothing.
func (p *program) childTold(child *exec.Cmd, data []byte, dir string) error {
	var o outcome
	if json.Unmarshal(data, &o) == nil && o.Ready != nil {
		return errors.Join(child.Process.Release(), p.announce(*o.Ready, true))
	}
	err := child.Wait()
	if o.Error != "" {
		return errors.New(o.Error)
	}
	return fmt.Errorf("the node ended before it was ready: %w%s", err, lastLines(filepath.Join(dir, logName)))
}

// lastLines quotes the end of a log.
func lastLines(path string) string {
	const most = 10
	data, err := os.ReadFile(path)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return fmt.Sprintf("\n--- last lines of %s ---\n%s", path, strings.Join(lines[max(0, len(lines)-most):], "\n"))
}

// readyPipe tells whoever waits that the node is ready, or why it is not: a
// parent over a pipe, or else the terminal.
type readyPipe struct {
	program *program
	pipe    *os.File // nil without a parent that waits
	log     *logFile
}

func (p *program) readyPipe(fd int, dir string) (*readyPipe, error) {
	r := &readyPipe{program: p}
	if fd < 0 {
		return r, nil
	}
	syscall.CloseOnExec(fd) // workers must not keep the parent waiting
	r.pipe = os.NewFile(uintptr(fd), readyFlag)
	log, err := openLog(filepath.Join(dir, logName), maxLog, int(os.Stdout.Fd()), int(os.Stderr.Fd()))
	if err != nil {
		return nil, r.failed(fmt.Errorf("the node's log: %w", err))
	}
	r.log = log
	return r, nil
}

// logTo is where the node's log goes.
func (r *readyPipe) logTo(terminal io.Writer) io.Writer {
	if r.log != nil {
		return r.log
	}
	return terminal
}

// tell says that the node is ready.
func (r *readyPipe) tell(report readyReport) error {
	if r.pipe == nil {
		return r.program.announce(report, false)
	}
	return r.send(outcome{Ready: &report})
}

// failed passes err on to a parent that still waits.
func (r *readyPipe) failed(err error) error {
	if err == nil || r.pipe == nil {
		return err
	}
	_ = r.send(outcome{Error: err.Error()})
	return err
}

func (r *readyPipe) send(o outcome) error {
	pipe := r.pipe
	r.pipe = nil
	return errors.Join(json.NewEncoder(pipe).Encode(o), pipe.Close())
}
