package worker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// actZygote plays a zygote that forks at most times and then hangs, or, if it
// is asked to be a worker, an echo.
func actZygote(call, times int, refuses bool) {
	if os.Args[len(os.Args)-1] == Module {
		fmt.Println("executed")
		echo(call)
		return
	}
	send(call, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Role: "zygote"})
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*4))
	for {
		n, got, _, _, err := unix.Recvmsg(call, buf, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case n <= 0 || err != nil:
			return
		case refuses:
			send(call, sessionv1.Kind_KIND_FORKED, &sessionv1.Forked{Error: &sessionv1.Error{Message: "it has threads"}})
			continue
		case times == 0:
			continue
		}
		times--
		messages, _ := unix.ParseSocketControlMessage(oob[:got])
		fds, _ := unix.ParseUnixRights(&messages[0])
		var files []*os.File
		for _, fd := range append([]int{call}, fds...) {
			files = append(files, os.NewFile(uintptr(fd), "its"))
		}
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), roleEnv+"=forked", wire.WorkerEnv+"=4,5")
		c.ExtraFiles, c.Stdout, c.Stderr = files[:3], files[3], files[4]
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT, Setpgid: true}
		if err := c.Start(); err != nil {
			panic(err)
		}
		for _, f := range files[1:] {
			_ = f.Close()
		}
	}
}

func send(fd int, kind sessionv1.Kind, m wire.Message) {
	_, _ = unix.Write(fd, wire.AppendFrame(nil, kind, m))
}

// zygotes are closed at the test's end, which looks for what they leave.
func zygotes(t *testing.T) *Zygotes {
	t.Helper()
	zs, before := new(Zygotes), files(t)
	t.Cleanup(func() {
		zs.Close()
		if after := files(t); len(after) > len(before) {
			t.Errorf("descriptors leak: %v before, %v after", before, after)
		}
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
			t.Errorf("a process is left: %d, %v", pid, err)
		}
	})
	return zs
}

func zygoteSpec(role string) (Spec, *printed) {
	out := new(printed)
	return Spec{Path: "/proc/self/exe", Env: append(os.Environ(), roleEnv+"="+role), Output: out.add}, out
}

// startOf starts a worker, and sees it answer.
func startOf(t *testing.T, zs *Zygotes, s Spec) *Process {
	t.Helper()
	p, err := zs.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	p.Greeted()
	call, _ := p.Lanes()
	if _, err := unix.Write(call, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := unix.Read(call, buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("echo: %q, %v", buf[:n], err)
	}
	return p
}

func bury(p *Process) {
	p.Kill()
	<-p.Exited()
	call, side := p.Lanes()
	_, _ = unix.Close(call), unix.Close(side)
}

func TestZygoteForks(t *testing.T) {
	zs := zygotes(t)
	s, out := zygoteSpec("zygote")
	zs.Warm(s)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			p := startOf(t, zs, s)
			if group, err := unix.Getpgid(p.PID()); err != nil || group != p.PID() {
				t.Errorf("the group of %d is %d, %v", p.PID(), group, err)
			}
			if score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.PID())); err != nil || string(score) != "800\n" {
				t.Errorf("oom_score_adj %q, %v", score, err)
			}
			bury(p)
			if p.Status().Signal != syscall.SIGKILL {
				t.Errorf("it ended with %s", p.Status())
			}
		})
	}
	wg.Wait()
	if len(zs.all) != 1 || len(out.lines[0]) != 5 {
		t.Errorf("%d zygotes, printed %q", len(zs.all), out.lines)
	}
}

// A worker outlives the zygote that it was forked from, and the next one is
// started all the same.
func TestZygoteIsKilled(t *testing.T) {
	zs := zygotes(t)
	s, _ := zygoteSpec("zygote")
	first := startOf(t, zs, s)
	z := zs.all[0]
	z.proc.Kill()
	<-z.proc.Exited()
	second := startOf(t, zs, s)
	if len(zs.all) != 0 {
		t.Error("a dead zygote is kept")
	}
	third := startOf(t, zs, s)
	if len(zs.all) != 1 {
		t.Error("there is no new zygote")
	}
	for _, p := range []*Process{first, second, third} {
		bury(p)
	}
}

// What cannot be forked is executed, and the zygote is not asked again.
func TestZygoteRefuses(t *testing.T) {
	zs := zygotes(t)
	s, out := zygoteSpec("refuses")
	for range 2 {
		p := startOf(t, zs, s)
		bury(p)
	}
	if len(zs.all) != 1 || len(out.lines[0]) != 2 || out.lines[0][0] != "executed" {
		t.Errorf("%d zygotes, printed %q", len(zs.all), out.lines)
	}
}

// A zygote that does not answer is of no use.
func TestZygoteIsMute(t *testing.T) {
	zs := zygotes(t)
	s, out := zygoteSpec("mute")
	s.HelloTimeout = 1
	p, err := zs.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	bury(p)
	if len(zs.all) != 0 {
		t.Errorf("it is kept; printed %q", out.lines)
	}
}

func TestZygotesAreFew(t *testing.T) {
	zs := zygotes(t)
	for i := range maxZygotes + 3 {
		s, _ := zygoteSpec("zygote")
		s.Env = append(s.Env, fmt.Sprint("N=", i))
		bury(startOf(t, zs, s))
	}
	zs.mu.Lock()
	defer zs.mu.Unlock()
	if len(zs.all) > maxZygotes {
		t.Errorf("%d zygotes", len(zs.all))
	}
}

func TestZygotesAreClosed(t *testing.T) {
	zs := zygotes(t)
	s, _ := zygoteSpec("zygote")
	zs.Close()
	zs.Warm(s)
	if _, err := zs.Start(t.Context(), s); !errors.Is(err, wire.SetupFailed) {
		t.Errorf("started: %v", err)
	}
}
