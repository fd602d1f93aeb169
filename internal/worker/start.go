package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/wire"
)

// Spec says what to start.
type Spec struct {
	// Exe is the program, open for reading; it stays the caller's. Without it,
	// Path is.
	Exe  *os.File
	Path string
	Args []string // with the program's name; nil is that of Path
	Env  []string // nil is this process's; how to find the lanes is added
	Dir  string   // "" is this process's
	Nice int      // added to the priority value; 0 to 19

	// OOMScore is the process's oom_score_adj, so that the kernel, short of
	// memory, ends it before the node: 0 means 800, negative leaves it.
	OOMScore int
	// Hint says what to do if it does not become a worker; "" is for Go programs.
	Hint string
	// HelloTimeout is how long it may take until Greeted; 0 is 10 s.
	HelloTimeout time.Duration
	// Output is given each line that it prints, without the line's end, valid
	// until it returns; nil drops them. It is called by one goroutine at a
	// time, and while it runs nothing is read. Long lines come in parts.
	Output func(line []byte, stderr bool)
}

// Descriptors of a worker's lanes, in the worker.
const (
	callFD = 3
	sideFD = 4
)

const (
	defaultHelloTimeout = 10 * time.Second
	defaultOOMScore     = 800
)

// Start starts a worker. Until Greeted, the end of ctx kills it.
func Start(ctx context.Context, s Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, startError(s, err)
	}
	p := newProcess(s)
	parts, err := p.open()
	if err == nil {
		err = p.exec(ctx, parts)
	}
	parts.close()
	if err != nil {
		p.closeOurs()
		return nil, startError(s, err)
	}
	p.adjust()
	p.watch(ctx)
	return p, nil
}

func newProcess(s Spec) *Process {
	return &Process{spec: s, exited: make(chan struct{}), pidfd: -1, call: -1, side: -1}
}

func startError(s Spec, err error) error {
	what := s.Path
	if s.Exe != nil {
		what = s.Exe.Name()
	}
	return &wire.Error{Code: wire.SetupFailed, Op: "start worker", Message: fmt.Sprintf("%s cannot be started: %v", what, err), Err: err, Hint: s.Hint}
}

// theirs are the descriptors that only the new process needs.
type theirs struct{ files []*os.File }

func (t *theirs) add(fd int, name string) { t.files = append(t.files, os.NewFile(uintptr(fd), name)) }

func (t *theirs) close() {
	for _, f := range t.files {
		_ = f.Close()
	}
}

// open makes the lanes and the pipes; the result is valid even with an error.
// Its files are: call lane, side lane, standard output, standard error, and the
// program if it is an open file.
func (p *Process) open() (*theirs, error) {
	t := new(theirs)
	for _, ours := range []*int{&p.call, &p.side} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return t, os.NewSyscallError("socketpair", err)
		}
		*ours = fds[0]
		t.add(fds[1], "lane")
	}
	for i := range p.output {
		r, w, err := os.Pipe()
		if err != nil {
			return t, err
		}
		p.output[i].pipe = r
		t.files = append(t.files, w)
	}
	if p.spec.Exe == nil {
		return t, nil
	}
	exe, err := dupHigh(p.spec.Exe)
	if err == nil {
		t.add(exe, p.spec.Exe.Name())
	}
	return t, err
}

// dupHigh copies a descriptor to a number that is out of the way of those that
// the new process finds its lanes at.
func dupHigh(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	gone := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 16) })
	return fd, errors.Join(gone, err)
}

func (p *Process) exec(ctx context.Context, t *theirs) error {
	path := p.spec.Path
	if p.spec.Exe != nil {
		path = fmt.Sprintf("/proc/self/fd/%d", t.files[4].Fd())
	}
	for wait := time.Millisecond; ; wait *= 2 {
		cmd := exec.CommandContext(context.WithoutCancel(ctx), path) // watch ends it, with its group
		if p.spec.Args != nil {
			cmd.Args = p.spec.Args
		}
		cmd.Env = environment(p.spec.Env)
		cmd.Dir = p.spec.Dir
		cmd.ExtraFiles = t.files[:2] // callFD and sideFD
		cmd.Stdout, cmd.Stderr = t.files[2], t.files[3]
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &p.pidfd}
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
			return cmd.Process.Release() // reap waits for it
		}
		// Another thread forked while it had the file, just written, open: that
		// process closes it as soon as it executes.
		if !errors.Is(err, syscall.ETXTBSY) || wait > 200*time.Millisecond {
			return err
		}
		time.Sleep(wait)
	}
}

// environment is env with what makes the program a worker.
func environment(env []string) []string {
	if env == nil {
		env = os.Environ()
	}
	all := make([]string, 0, len(env)+1)
	for _, e := range env {
		if !strings.HasPrefix(e, wire.WorkerEnv+"=") {
			all = append(all, e)
		}
	}
	return append(all, fmt.Sprintf("%s=%d,%d", wire.WorkerEnv, callFD, sideFD))
}

// adjust sets what can be set from outside. It is best effort: the process may
// be gone, and /proc may be read-only.
func (p *Process) adjust() {
	score := p.spec.OOMScore
	if score == 0 {
		score = defaultOOMScore
	}
	if score > 0 {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.pid), fmt.Append(nil, score), 0)
	}
	if p.spec.Nice > 0 {
		_ = unix.Setpriority(unix.PRIO_PGRP, p.pid, p.spec.Nice) // of all its threads
	}
}
