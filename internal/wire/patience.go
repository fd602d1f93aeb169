package wire

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// PollFor is how long it can pay to look for the next message before sleeping:
// about what two sleeps and wake-ups cost, and what a Python worker takes to
// read, run and answer a call that does nothing.
const PollFor = 120 * time.Microsecond

// Patience decides whether to look again and again for the next message or to
// sleep until it comes. It looks while messages keep coming soon; one that
// does not takes back what four gave, so that looking in vain stays a small
// part of the time. Between looks the processor is offered to other processes;
// one that makes long use of it ends the looking for a while. It is not offered
// to other goroutines of this one, which find out only when one of theirs is
// free: who has just made one runnable calls runtime.Gosched first. With
// GOMAXPROCS 1 there is no looking.
//
// A message that crosses processes whose threads sleep costs a wake-up at each,
// some 5 µs on the same core and 20 on another of a virtual machine; a call
// through a node crosses four.
type Patience struct {
	// Limit is how long to look; 0 is never.
	Limit  time.Duration
	credit int
	dozing [1]unix.PollFd // what Doze waits for
}

// dozeFor bounds Doze, in ms: the scheduler may leave it a processor for that long.
const dozeFor = 1

const (
	patienceFull  = 16
	patienceMiss  = 4
	patienceShort = 4 // in units of Limit: a sleep that looking might have saved
)

// Look calls ready until it is true or patience ends. It reports which.
func (p *Patience) Look(ready func() bool) bool {
	if p.Limit <= 0 || p.credit <= 0 || runtime.GOMAXPROCS(0) == 1 {
		return false
	}
	start := time.Now()
	for now := start; ; {
		if ready() {
			p.credit = min(p.credit+1, patienceFull)
			return true
		}
		if now.Sub(start) > p.Limit {
			p.credit -= patienceMiss
			return false
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		after := time.Now()
		if after.Sub(now) > p.Limit { // somebody had use for the processor
			p.credit = -patienceFull
			return ready()
		}
		now = after
	}
}

// Doze waits until fd is readable, for a millisecond at most, and reports whether
// it is. It keeps its thread, which the kernel wakes directly: through the
// runtime's poller a message costs two more system calls and often a second
// thread's wake-up. Whoever gets false parks, so that an idle lane has no thread.
// Like Look it does nothing with GOMAXPROCS 1: other goroutines would wait for it.
func (p *Patience) Doze(fd int) bool {
	if p.Limit <= 0 || runtime.GOMAXPROCS(0) == 1 {
		return false
	}
	p.dozing[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	n, err := unix.Poll(p.dozing[:], dozeFor)
	return err == nil && n > 0
}

// Slept tells how long the wait was after all.
func (p *Patience) Slept(d time.Duration) {
	if d <= patienceShort*p.Limit {
		p.credit++
	} else {
		p.credit = min(p.credit, 0)
	}
}
