package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/wire"
)

// outputGrace is how long output is read after the process and its group are
// gone. It matters only if something outside the group holds the pipes.
const outputGrace = 250 * time.Millisecond

// Process is a worker process.
type Process struct {
	spec       Spec
	pid        int
	call, side int
	pidfd      int // -1 where the kernel has none
	output     [2]stream
	printing   sync.Mutex // around Output and the tails
	tails      [2]tail    // of standard error and, before Greeted, of everything
	exited     chan struct{}

	mu      sync.Mutex
	greeted bool
	reaped  bool   // the process's number may be another's
	doom    string // why it was killed by us
	stop    func() // of what waits for Greeted
	status  Status
}

// Status says how a process ended.
type Status struct {
	Code   int            // exit code, -1 if a signal ended it
	Signal syscall.Signal // 0 if it exited
	Core   bool           // a core was dumped
}

func (s Status) String() string {
	if s.Signal == 0 {
		return fmt.Sprintf("exit status %d", s.Code)
	}
	text := fmt.Sprintf("signal %s (%s)", unix.SignalName(s.Signal), s.Signal)
	if s.Core {
		text += ", core dumped"
	}
	return text
}

// PID is the number of the process and of its group.
func (p *Process) PID() int { return p.pid }

// Lanes are the node's ends of the process's lanes. They are the caller's from
// the first call on.
func (p *Process) Lanes() (call, side int) { return p.call, p.side }

// Exited is closed when the process is gone and reaped, its group has been
// killed and all its output has been read.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Status says how the process ended; only valid once Exited.
func (p *Process) Status() Status { return p.status }

// Greeted says that the process said Hello: it has become a worker.
func (p *Process) Greeted() {
	p.mu.Lock()
	p.greeted = true
	stop := p.stop
	p.mu.Unlock()
	stop()
}

// Kill kills the process and what it started, if it is still there.
func (p *Process) Kill() { p.kill("") }

func (p *Process) kill(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	if p.doom == "" {
		p.doom = why
	}
	p.killGroupLocked()
}

// killGroupLocked kills the group; its number is the process's, which is not
// another's until it is reaped.
func (p *Process) killGroupLocked() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) }

// Stop waits for the process, which has been told to leave (Exit, or the end of
// its lanes), kills it if it has not within grace, and returns when it is gone.
func (p *Process) Stop(grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.Kill()
		<-p.exited
	}
}

// watch starts what goes along with the process.
func (p *Process) watch(ctx context.Context) {
	timeout := p.spec.HelloTimeout
	if timeout == 0 {
		timeout = defaultHelloTimeout
	}
	slow := time.AfterFunc(timeout, func() {
		p.doomUngreeted(fmt.Sprintf("it did not say Hello within %s", timeout))
	})
	stopCtx := context.AfterFunc(ctx, func() {
		p.doomUngreeted(fmt.Sprintf("its start was abandoned: %v", context.Cause(ctx)))
	})
	p.stop = func() {
		slow.Stop()
		stopCtx()
	}
	var readers sync.WaitGroup
	for i := range p.output {
		readers.Go(func() { p.read(i == stderr) })
	}
	go p.reap(&readers)
}

// doomUngreeted kills the process unless it has become a worker.
func (p *Process) doomUngreeted(why string) {
	p.mu.Lock()
	greeted := p.greeted
	p.mu.Unlock()
	if !greeted {
		p.kill(why)
	}
}

// reap waits for the process, and leaves nothing of it.
func (p *Process) reap(readers *sync.WaitGroup) {
	p.awaitEnd()
	p.mu.Lock()
	p.killGroupLocked() // what it started; it is a zombie itself
	p.reaped = true
	p.mu.Unlock()
	p.status = reaped(p.pid)
	if p.pidfd >= 0 {
		_ = unix.Close(p.pidfd)
	}
	for i := range p.output {
		_ = p.output[i].pipe.SetReadDeadline(time.Now().Add(outputGrace))
	}
	readers.Wait()
	for i := range p.output {
		_ = p.output[i].pipe.Close()
	}
	p.stop()
	close(p.exited)
}

// awaitEnd returns when the process has ended, without reaping it. It does not
// hold a thread where the kernel has pidfds.
func (p *Process) awaitEnd() {
	if p.pidfd >= 0 {
		if parking, err := wire.NewParking(p.pidfd); err == nil {
			for !p.ended() {
				if err = parking.Wait(); err != nil {
					break
				}
			}
			_ = parking.Close()
		}
	}
	for !p.ended() {
		_ = unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
}

func (p *Process) ended() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.PID(), &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err != nil && !errors.Is(err, unix.EINTR) || info.Signo != 0
}

// reaped takes the zombie away and says how it ended.
func reaped(pid int) Status {
	var w syscall.WaitStatus
	for {
		switch _, err := syscall.Wait4(pid, &w, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return Status{Code: -1}
		case w.Signaled():
			return Status{Code: -1, Signal: w.Signal(), Core: w.CoreDump()}
		default:
			return Status{Code: w.ExitStatus()}
		}
	}
}

// Error says how the process ended, with its last lines; only valid once
// Exited. The code is SetupFailed if it never became a worker.
func (p *Process) Error() *wire.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &wire.Error{Code: wire.WorkerCrashed, Op: "worker", Place: fmt.Sprintf("process %d", p.PID()),
		Message: "the worker process ended: " + p.status.String()}
	if p.doom != "" {
		e.Message = "the worker process was killed: " + p.doom
	}
	if p.greeted {
		e.Stderr = p.tails[0].String()
		return e
	}
	e.Code, e.Op = wire.SetupFailed, "start worker"
	e.Hint = cmp.Or(p.spec.Hint, "a program that uses Weft calls Init first in main, before it prints or reads flags")
	if p.doom == "" {
		e.Message = fmt.Sprintf("the worker process ended before it said Hello: %s", p.status)
	}
	e.Stderr = p.tails[1].String()
	return e
}

func (p *Process) closeOurs() {
	for _, fd := range []int{p.call, p.side, p.pidfd} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	for i := range p.output {
		if p.output[i].pipe != nil {
			_ = p.output[i].pipe.Close()
		}
	}
}
