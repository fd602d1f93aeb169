package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/state"
)

// terminal runs command lines in processes of their own: this test's binary,
// as weft.
type terminal struct {
	parent, dir string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	parent, err := os.MkdirTemp("", "weft-cli-") //nolint:usetesting // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{parent, filepath.Join(parent, "weft")}
	t.Cleanup(func() {
		if pid := term.pid(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			term.waitGone(t)
		}
		_ = os.RemoveAll(parent)
	})
	return term
}

func (m *terminal) command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asWeft+"=1", "GORACE=atexit_sleep_ms=0", "XDG_RUNTIME_DIR="+m.parent, addressVariable+"=")
	return c
}

func (m *terminal) run(args ...string) (status int, stdout, stderr string) {
	c := m.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errs.String()
	}
	if err != nil {
		return -1, "", err.Error()
	}
	return exitOK, out.String(), errs.String()
}

func (m *terminal) want(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := m.run(args...)
	if status != exitOK {
		t.Fatalf("%q: status %d\n%s", args, status, errs)
	}
	return out
}

// locked reports whether a node has the directory.
func (m *terminal) locked() bool {
	f, err := os.Open(filepath.Join(m.dir, lockName))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// pid is the node's process, 0 if there is none.
func (m *terminal) pid() int {
	data, err := os.ReadFile(filepath.Join(m.dir, lockName))
	var h holder
	if err != nil || !m.locked() || json.Unmarshal(data, &h) != nil {
		return 0
	}
	return h.PID
}

// waitGone waits until the node's process has ended.
func (m *terminal) waitGone(t *testing.T) {
	t.Helper()
	f, err := os.Open(filepath.Join(m.dir, lockName))
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	gone := make(chan error, 1)
	go func() { gone <- unix.Flock(int(f.Fd()), unix.LOCK_SH) }() // the kernel says when
	select {
	case err := <-gone:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the node's process does not end")
	}
}

// clean fails if a node has left anything but its log, lock and events.
func (m *terminal) clean(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "weft.lock") && !strings.HasPrefix(e.Name(), "weft.log") && e.Name() != eventsName && e.Name() != "spill" {
			t.Errorf("the node left %s", e.Name())
		}
	}
}

func TestDetach(t *testing.T) {
	m := newTerminal(t)
	out := m.want(t, "start", "--detach", "--cpus", "2", "--labels", "zone=a b,rack=7")
	if !strings.Contains(out, "is ready in") || !strings.Contains(out, "log        "+filepath.Join(m.dir, logName)) {
		t.Errorf("start says\n%s", out)
	}
	var status state.Status
	if err := json.Unmarshal([]byte(m.want(t, "status", "--format", "json")), &status); err != nil {
		t.Fatal(err)
	}
	pid := m.pid()
	if pid == 0 || status.Node.Total["CPU"] != 2 || status.Node.Labels["zone"] != "a b" {
		t.Errorf("process %d: %+v", pid, status.Node)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("the node is in session %d: a closed terminal would end it; %v", sid, err)
	}
	if code, _, errs := m.run("start"); code != exitFailure || !strings.Contains(errs, "a node runs in "+m.dir+" already") {
		t.Errorf("a second start: %d %s", code, errs)
	}
	if code, _, errs := m.run("start", "--detach"); code != exitFailure || !strings.Contains(errs, "a node runs in "+m.dir+" already") {
		t.Errorf("a second detached start: %d %s", code, errs)
	}
	if out := m.want(t, "stop"); out != "stopped\n" {
		t.Errorf("stop says %q", out)
	}
	if m.locked() {
		t.Error("stop returned before the node had ended")
	}
	m.clean(t)
	if code, _, errs := m.run("status"); code != exitUnreachable || !strings.Contains(errs, "weft start --detach") {
		t.Errorf("status without a node: %d %s", code, errs)
	}
}

func TestDetachFails(t *testing.T) {
	m := newTerminal(t)
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := m.run("start", "--detach")
	if code != exitFailure || out != "" || !strings.Contains(errs, "is not a socket") || strings.Count(errs, "weft:") != 1 {
		t.Errorf("%d %q %s", code, out, errs)
	}
	if m.locked() {
		t.Error("a node that failed to start runs")
	}
}

// A node that a program has started for itself ends with the program, with all
// its files.
func TestLife(t *testing.T) {
	m := newTerminal(t)
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := m.command("start", "--cpus=1", "--life-fd=3", "--ready-fd=4")
	c.ExtraFiles = []*os.File{ours, said}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	_ = said.Close()
	var report outcome
	if err := json.NewDecoder(ready).Decode(&report); err != nil || report.Ready == nil || report.Ready.PID != c.Process.Pid {
		t.Errorf("it said %+v, %v", report.Ready, err)
	}
	_ = ready.Close()
	_ = theirs.Close()
	if err := c.Wait(); err != nil {
		t.Error("it ended with", err)
	}
	if _, err := os.Stat(m.dir); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
}

// A program of Python's is run by the interpreter that a variable names, with
// its arguments as they are.
func TestRun(t *testing.T) {
	m := newTerminal(t)
	program, python := filepath.Join(m.parent, "p.py"), filepath.Join(m.parent, "python")
	for path, text := range map[string]string{program: "", python: "#!/bin/sh\necho \"$@\" $WEFT_BINARY\n"} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	t.Setenv(pythonVariable, python)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEFT_BINARY", "")
	if out := m.want(t, "run", "--ray", program, "--its", "own"); out != "-m weft._run --ray "+program+" --its own "+self+"\n" {
		t.Errorf("it ran %q", out)
	}
	if code, _, errs := m.run("run", "nothing.py"); code != exitUsage || !strings.Contains(errs, "no program nothing.py") {
		t.Errorf("%d %s", code, errs)
	}
	t.Setenv(pythonVariable, "no-such-python")
	if code, _, errs := m.run("run", program); code != exitFailure || !strings.Contains(errs, pythonVariable) {
		t.Errorf("%d %s", code, errs)
	}
}

// A node that was killed leaves its sockets; the next one takes their place.
func TestKilledNode(t *testing.T) {
	m := newTerminal(t)
	m.want(t, "start", "--detach")
	if err := syscall.Kill(m.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.waitGone(t)
	if _, err := os.Lstat(filepath.Join(m.dir, "weft.api.sock")); err != nil {
		t.Fatalf("the test needs a stale socket: %v", err)
	}
	if code, _, errs := m.run("status"); code != exitUnreachable || !strings.Contains(errs, "no node answers") {
		t.Errorf("status of a dead node: %d %s", code, errs)
	}
	m.want(t, "start", "--detach")
	m.want(t, "status")
	m.want(t, "stop")
	m.clean(t)
}

// freeze stops a process and returns when all of its threads stand still.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	for deadline := time.Now().Add(10 * time.Second); ; {
		threads, err := os.ReadDir(tasks)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(threads, func(e os.DirEntry) bool {
			stat, err := os.ReadFile(filepath.Join(tasks, e.Name(), "stat"))
			return err == nil && !strings.Contains(string(stat), ") T ")
		}) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the process does not stop")
		}
	}
}

// A node that hangs is not waited for: it is killed, if the user says so.
func TestStopForceKills(t *testing.T) {
	m := newTerminal(t)
	m.want(t, "start", "--detach")
	pid := m.pid()
	freeze(t, pid)
	if code, _, errs := m.run("stop", "--now", "--timeout", "100ms"); code != exitFailure || !strings.Contains(errs, "has not ended") || !strings.Contains(errs, "stop --force") {
		t.Errorf("stop of a hanging node: %d %s", code, errs)
	}
	if out := m.want(t, "stop", "--force", "--timeout", "100ms"); out != "stopped\n" {
		t.Errorf("stop --force says %q", out)
	}
	m.waitGone(t)
}

func TestForegroundSignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		m := newTerminal(t)
		c := m.command("start")
		out := &syncBuffer{}
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		out.until(t, "weft stop")
		if err := c.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", sig, err, out)
		}
		m.clean(t)
	}
}

// A parent that is interrupted while the node starts leaves none behind.
func TestInterruptedDetach(t *testing.T) {
	m := newTerminal(t)
	c := m.command("start", "--detach", "--dir", m.dir)
	c.Env = append(c.Env, asWeft+"="+hangs)
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for m.pid() == 0 { // until the child has begun
		if err := syscall.Kill(c.Process.Pid, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("%v: %s", err, errs.String())
	}
	if m.locked() {
		t.Error("the child goes on")
	}
}

// hangWhenDetached is a detached node that never gets ready.
func hangWhenDetached(args []string) {
	if !slices.Contains(args, "--ready-fd=3") {
		return
	}
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--dir=") })
	dir, err := openDir(strings.TrimPrefix(args[i], "--dir="), "")
	if err != nil {
		panic(err)
	}
	_ = unix.Pause()
	dir.close()
}
