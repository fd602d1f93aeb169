package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// samplesFD is the descriptor on which a child sends what it measures.
const samplesFD = 3

// finding is what came of a topic.
type finding struct {
	Topic   string   `json:"topic"`
	Samples []sample `json:"samples"`
	Error   string   `json:"error,omitempty"`
	Load    string   `json:"load"` // the machine's load average when it began
	Took    string   `json:"took"`
}

// run measures t in a process of its own and leaves nothing of it behind.
func (t *topic) run(ctx context.Context, o *options) *finding {
	start := time.Now()
	f := &finding{Topic: t.name, Load: loadAverage()}
	if err := t.runChild(ctx, o, f); err != nil {
		f.Error = err.Error()
	}
	f.Took = time.Since(start).Round(time.Millisecond).String()
	return f
}

func (t *topic) runChild(ctx context.Context, o *options, f *finding) error {
	dir, err := os.MkdirTemp(o.tmp, "weft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := filepath.Abs(o.weft)
	if err != nil {
		return err
	}
	prof := o.prof
	if prof != "" {
		if prof, err = filepath.Abs(prof); err != nil {
			return err
		}
	}
	limit := t.timeout
	if limit == 0 {
		limit = topicTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-topic", t.name, "-rounds", strconv.Itoa(o.rounds),
		"-quick="+strconv.FormatBool(o.quick), "-weft", binary, "-tmp", dir, "-profile", prof)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killAll := func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = killAll, time.Second
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	err = receiveSamples(cmd, f)
	if cmd.Process != nil {
		_ = killAll() // what a crashed one has left
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done after %s", limit)
	}
	return explained(err, printed.String())
}

// explained puts what a failed child said of its error, its last lines, before
// how it ended.
func explained(err error, printed string) error {
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	text := strings.Join(lines[max(0, len(lines)-12):], "\n")
	if err == nil || text == "" {
		return err
	}
	for i, line := range lines {
		if said, ok := strings.CutPrefix(line, "bench: "); ok {
			return fmt.Errorf("%s\n%s\n%w", said, strings.Join(lines[i+1:], "\n"), err)
		}
	}
	return fmt.Errorf("%w\n%s", err, text)
}

// receiveSamples runs cmd and reads what it sends until it ends.
func receiveSamples(cmd *exec.Cmd, f *finding) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	for d := json.NewDecoder(r); ; {
		var s sample
		if err := d.Decode(&s); err != nil {
			break // it has ended; Wait says how
		}
		f.Samples = append(f.Samples, s)
	}
	return cmd.Wait()
}
