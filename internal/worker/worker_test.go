package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/wire"
)

// printed collects a worker's lines.
type printed struct {
	mu    sync.Mutex
	lines [2][]string
}

func (p *printed) add(line []byte, stderr bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := 0
	if stderr {
		i = 1
	}
	p.lines[i] = append(p.lines[i], string(line))
}

// start starts this binary in a role; the test's end kills it and checks that
// nothing is left.
func start(t *testing.T, role string, change func(*Spec)) (*Process, *printed) {
	t.Helper()
	before := files(t)
	out := new(printed)
	s := Spec{Path: "/proc/self/exe", Env: append(os.Environ(), roleEnv+"="+role, wire.WorkerEnv+"=stale"), Output: out.add}
	if change != nil {
		change(&s)
	}
	p, err := Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Exited()
		call, side := p.Lanes()
		_, _ = unix.Close(call), unix.Close(side)
		for alive(t, p.PID()) {
			runtime.Gosched() // killed, but the kernel is not through with it
		}
		if after := files(t); len(after) > len(before) {
			t.Errorf("descriptors leak: %v before, %v after", before, after)
		}
	})
	return p, out
}

// alive reports whether a process of the group is more than a zombie, which
// is its new parent's to reap.
func alive(t *testing.T, group int) bool {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range processes {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		var state string
		var parent, pgrp int
		_, after, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscan(after, &state, &parent, &pgrp); err == nil && pgrp == group && state != "Z" && state != "X" {
			return true
		}
	}
	return false
}

func files(t *testing.T) []string {
	t.Helper()
	var open []string
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		target, err := os.Readlink(l)
		if err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			open = append(open, filepath.Base(l)+" "+target)
		}
	}
	return open
}

func TestLanes(t *testing.T) {
	p, _ := start(t, "echo", nil)
	p.Greeted()
	call, side := p.Lanes()
	for _, fd := range []int{call, side} {
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		if n, err := unix.Read(fd, buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("echo: %q, %v", buf[:n], err)
		}
	}
	if err := unix.Shutdown(call, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if p.Status() != (Status{}) {
		t.Errorf("ended with %s", p.Status())
	}
}

func TestSurroundings(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = exe.Close() }()
	p, out := start(t, "describe", func(s *Spec) {
		s.Exe, s.Path, s.Dir, s.Args = exe, "", dir, []string{"prog", "arg"}
	})
	<-p.Exited()
	passed := []int{0, 1, 2, callFD, sideFD}
	for _, fd := range inherited() { // this process has them from its own parent
		if !slices.Contains(passed, fd) {
			passed = append(passed, fd)
		}
	}
	slices.Sort(passed)
	want := []string{"leader true", "score 800", "stdin /dev/null", "dir " + dir, "args [prog arg]", fmt.Sprint("files ", passed)}
	for _, line := range want {
		if !slices.Contains(out.lines[0], line) {
			t.Errorf("%q is missing in %q", line, out.lines[0])
		}
	}
}

func TestNice(t *testing.T) {
	p, _ := start(t, "echo", func(s *Spec) { s.Nice = 7 })
	p.Greeted()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			t.Fatal(err)
		}
		if nice, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || 20-nice != 7 {
			t.Errorf("thread %d has nice %d, %v", tid, 20-nice, err)
		}
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		role   string
		greet  bool
		end    func(p *Process)
		status Status
		code   wire.Code
		says   []string
	}{
		{"exit", true, nil, Status{Code: 3}, wire.WorkerCrashed, []string{"exit status 3", "a last line without end"}},
		{"exit", false, nil, Status{Code: 3}, wire.SetupFailed, []string{"before it said Hello: exit status 3", "Init first in main", "main reached", "a last line without end"}},
		{"panic", true, nil, Status{Code: 2}, wire.WorkerCrashed, []string{"panic: out of cheese"}},
		{"echo", true, func(p *Process) { p.Kill() }, Status{Code: -1, Signal: syscall.SIGKILL}, wire.WorkerCrashed,
			[]string{"signal SIGKILL (killed)"}},
		{"echo", true, func(p *Process) { _ = syscall.Kill(p.PID(), syscall.SIGTERM) }, Status{Code: -1, Signal: syscall.SIGTERM},
			wire.WorkerCrashed, []string{"signal SIGTERM (terminated)"}},
		{"fault", true, nil, Status{Code: 2}, wire.WorkerCrashed, []string{"nil pointer dereference", "goroutine 1 [running]"}},
		{"echo", true, func(p *Process) { p.Stop(0) }, Status{Code: -1, Signal: syscall.SIGKILL}, wire.WorkerCrashed, nil},
		{"hang", false, nil, Status{Code: -1, Signal: syscall.SIGKILL}, wire.SetupFailed,
			[]string{"did not say Hello within 1ms"}},
	} {
		t.Run(fmt.Sprintf("%s %t", c.role, c.greet), func(t *testing.T) {
			p, _ := start(t, c.role, func(s *Spec) {
				s.HelloTimeout = time.Hour
				if c.role == "hang" {
					s.HelloTimeout = time.Millisecond
				}
			})
			if c.greet {
				p.Greeted()
			}
			if c.end != nil {
				c.end(p)
			}
			<-p.Exited()
			err := p.Error()
			if got := p.Status(); got.Code != c.status.Code || got.Signal != c.status.Signal {
				t.Errorf("status: got %s, want %s", got, c.status)
			}
			if !errors.Is(err, c.code) {
				t.Errorf("code: got %v, want %v", err.Code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is missing in %q", s, err)
				}
			}
		})
	}
}

func TestAbandonedStart(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := Start(ctx, Spec{Path: "/proc/self/exe", Env: append(os.Environ(), roleEnv+"=hang")})
	if err != nil {
		t.Fatal(err)
	}
	cancel(errors.New("changed my mind"))
	<-p.Exited()
	if err := p.Error(); !strings.Contains(err.Error(), "changed my mind") {
		t.Error(err)
	}
	call, side := p.Lanes()
	_, _ = unix.Close(call), unix.Close(side)
	if _, err := Start(ctx, Spec{Path: "/proc/self/exe"}); err == nil {
		t.Error("started after the end of its context")
	}
}

// All output arrives, in order, in bounded lines; the error has the last.
func TestOutput(t *testing.T) {
	p, out := start(t, "print", nil)
	p.Greeted()
	<-p.Exited()
	for i := range 2000 {
		if out.lines[0][i] != fmt.Sprint("out ", i) || out.lines[1][i] != fmt.Sprint("err ", i) {
			t.Fatalf("line %d: %q, %q", i, out.lines[0][i], out.lines[1][i])
		}
	}
	long := out.lines[0][2000:]
	if strings.Join(long, "") != strings.Repeat("x", 3*maxLine) || len(long) < 3 {
		t.Errorf("a long line came in %d parts", len(long))
	}
	tail := strings.Split(strings.TrimSpace(p.Error().Stderr), "\n")
	if len(tail) != tailLines || tail[0] != "err 1980" || tail[19] != "err 1999" {
		t.Errorf("tail: %q", tail)
	}
}

// What a worker started ends with it, whoever ends it.
func TestGroup(t *testing.T) {
	p, out := start(t, "child", nil)
	p.Greeted()
	call, _ := p.Lanes()
	if err := unix.Shutdown(call, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	<-p.Exited() // the child holds the pipes, so it is gone too
	if len(out.lines[0]) != 1 {
		t.Errorf("the worker had no child: %q", out.lines)
	}
} // start checks that the group is gone

func TestCannotStart(t *testing.T) {
	before := files(t)
	notExecutable := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notExecutable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Spec{{Path: "/nonexistent/program"}, {Path: notExecutable}, {Path: "/proc/self/exe", Dir: "/nonexistent"}} {
		p, err := Start(t.Context(), s)
		if !errors.Is(err, wire.SetupFailed) || !strings.Contains(err.Error(), s.Path) {
			t.Errorf("got %v, %v", p, err)
		}
	}
	if after := files(t); len(after) > len(before) {
		t.Errorf("descriptors leak: %v before, %v after", before, after)
	}
}

// A program that was written a moment ago starts although some process that
// forked meanwhile may have it open for writing.
func TestJustWritten(t *testing.T) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	path := filepath.Join(t.TempDir(), "program")
	program, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(program, self); err != nil {
		t.Fatal(err)
	}
	busy := exec.Command("cat")
	hold, err := busy.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	busy.Stdout = program
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	var writer sync.WaitGroup
	writer.Go(func() { // leaves after the first attempt, at some time
		_ = hold.Close()
		_ = busy.Wait()
	})
	p, _ := start(t, "exit", func(s *Spec) { s.Path = path })
	<-p.Exited()
	writer.Wait()
	if p.Status().Code != 3 {
		t.Error(p.Error())
	}
}

// Many workers start and end at the same time, and nothing is left of them.
func TestMany(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		p, _ := start(t, "echo", nil)
		all.Go(func() {
			p.Greeted()
			p.Kill()
			p.Stop(time.Hour)
		})
	}
	all.Wait()
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := Start(b.Context(), Spec{Path: "/bin/true"})
		if err != nil {
			b.Fatal(err)
		}
		<-p.Exited()
		call, side := p.Lanes()
		_, _ = unix.Close(call), unix.Close(side)
	}
}
