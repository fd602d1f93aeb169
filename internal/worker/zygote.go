package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// maxZygotes bounds the interpreters that wait to be forked.
	maxZygotes = 8
	// zygoteIdle is how long one waits.
	zygoteIdle = time.Minute
)

// Zygotes starts workers of Python. To import what a worker needs takes an
// interpreter a fifth of a second, a fork of one that has takes milliseconds; so
// there is one, a zygote, for each interpreter, environment and folder, which is
// kept for a while after its last fork. What cannot be forked is executed: a
// zygote refuses if its interpreter has threads (a site's own start-up made
// them) or if its C library or kernel lacks what it takes. If a zygote dies its
// workers go on, and the next start makes a new one.
//
// The zero value is ready to use. All methods may be used concurrently.
type Zygotes struct {
	mu     sync.Mutex
	all    []*zygote // the least recently used first
	closed bool
	ending sync.WaitGroup
}

// zygote is one interpreter that is forked.
type zygote struct {
	name string
	dead *time.Timer // drops it

	start   sync.Once
	proc    *Process
	conn    *net.UnixConn
	frames  *wire.Reader
	failure error         // why it forks nothing
	turn    chan struct{} // full while somebody speaks to it
}

// Module is what a worker of Python runs, and zygoteModule what it may be forked from.
const (
	Module       = "weft._worker"
	zygoteModule = "weft._zygote"
)

var (
	errZygotesClosed = errors.New("no more workers are started")
	errRefused       = errors.New("it cannot be forked")
)

// Warm makes the zygote that s needs, so that Start finds it. It returns when
// the zygote can fork, or never will.
func (zs *Zygotes) Warm(s Spec) {
	if z := zs.of(s); z != nil {
		z.start.Do(func() { z.exec(s) })
	}
}

// Start is the function Start for a worker of Python: s.Path is the
// interpreter. With s.Args it is a command that runs one in its own way, such as
// a profiler, and is executed.
func (zs *Zygotes) Start(ctx context.Context, s Spec) (*Process, error) {
	if s.Args != nil {
		return Start(ctx, s)
	}
	z := zs.of(s)
	if z == nil {
		return nil, startError(s, errZygotesClosed)
	}
	z.start.Do(func() { z.exec(s) })
	p, err := z.fork(ctx, s)
	if err == nil {
		return p, nil
	}
	if !errors.Is(err, errRefused) {
		zs.drop(z)
	}
	s.Args = []string{s.Path, "-m", Module}
	return Start(ctx, s)
}

// Close ends all zygotes and returns when they are gone. Their workers are the
// caller's to end.
func (zs *Zygotes) Close() {
	zs.mu.Lock()
	zs.closed = true
	for len(zs.all) > 0 {
		zs.dropLocked(zs.all[0])
	}
	zs.mu.Unlock()
	zs.ending.Wait()
}

// of returns the zygote for s, which may be yet to start; nil after Close.
func (zs *Zygotes) of(s Spec) *zygote {
	name := strings.Join(append([]string{s.Path, s.Dir}, s.Env...), "\x00")
	zs.mu.Lock()
	defer zs.mu.Unlock()
	if zs.closed {
		return nil
	}
	i := slices.IndexFunc(zs.all, func(z *zygote) bool { return z.name == name })
	var z *zygote
	if i < 0 {
		z = &zygote{name: name, turn: make(chan struct{}, 1)}
		z.dead = time.AfterFunc(zygoteIdle, func() { zs.drop(z) })
	} else {
		z = zs.all[i]
		z.dead.Reset(zygoteIdle)
		zs.all = slices.Delete(zs.all, i, i+1)
	}
	if zs.all = append(zs.all, z); len(zs.all) > maxZygotes {
		zs.dropLocked(zs.all[0])
	}
	return z
}

// drop ends a zygote; who needs one like it makes another.
func (zs *Zygotes) drop(z *zygote) {
	zs.mu.Lock()
	defer zs.mu.Unlock()
	zs.dropLocked(z)
}

func (zs *Zygotes) dropLocked(z *zygote) {
	if i := slices.Index(zs.all, z); i >= 0 {
		zs.all = slices.Delete(zs.all, i, i+1)
		zs.ending.Go(z.end)
	}
}

// exec starts the interpreter and waits until it can fork.
func (z *zygote) exec(s Spec) {
	s.Args, s.Output = []string{s.Path, "-m", zygoteModule}, nil
	proc, err := Start(context.Background(), s)
	if err != nil {
		z.failure = err
		return
	}
	z.proc = proc
	call, side := proc.Lanes()
	_ = unix.Close(side)
	if z.conn, err = unixConn(call); err == nil {
		z.frames = wire.NewReader(z.conn)
		_, err = z.next(sessionv1.Kind_KIND_HELLO)
	}
	if z.failure = err; err == nil {
		proc.Greeted()
	}
}

// unixConn makes a connection of a socket, which it takes.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "zygote")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.ErrUnsupported, c.Close())
	}
	return conn, nil
}

// next reads a frame of the kind.
func (z *zygote) next(want sessionv1.Kind) ([]byte, error) {
	kind, body, err := z.frames.Next()
	if err == nil && kind != want {
		err = fmt.Errorf("%v from a zygote", kind)
	}
	return body, err
}

// fork makes a worker. A zygote that does not answer is killed.
func (z *zygote) fork(ctx context.Context, s Spec) (*Process, error) {
	select {
	case z.turn <- struct{}{}:
		defer func() { <-z.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if z.failure != nil {
		return nil, z.failure
	}
	p := newProcess(s)
	parts, err := p.open()
	if err == nil {
		p.pid, err = z.ask(ctx, parts, cmp.Or(s.HelloTimeout, defaultHelloTimeout))
	}
	parts.close()
	if err != nil {
		p.closeOurs()
		z.failure = err
		z.proc.Kill()
		return nil, err
	}
	if fd, err := unix.PidfdOpen(p.pid, 0); err == nil {
		p.pidfd = fd
	}
	p.adjust()
	p.watch(ctx)
	return p, nil
}

// ask has the zygote fork a process with parts. The process itself answers, so
// that it is known however the zygote ends.
func (z *zygote) ask(ctx context.Context, parts *theirs, limit time.Duration) (int, error) {
	_ = z.conn.SetDeadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { _ = z.conn.SetDeadline(time.Now()) })
	defer stop()
	fds := make([]int, len(parts.files))
	for i, f := range parts.files {
		fds[i] = int(f.Fd())
	}
	frame := wire.AppendFrame(nil, sessionv1.Kind_KIND_FORK, &sessionv1.Fork{})
	if _, _, err := z.conn.WriteMsgUnix(frame, unix.UnixRights(fds...), nil); err != nil {
		return 0, err
	}
	return z.forked()
}

// forked reads the answer to a Fork.
func (z *zygote) forked() (int, error) {
	body, err := z.next(sessionv1.Kind_KIND_FORKED)
	if err != nil {
		return 0, err
	}
	var m sessionv1.Forked
	if err := m.UnmarshalVT(body); err != nil {
		return 0, err
	}
	if m.Error != nil {
		return 0, fmt.Errorf("%w: %s", errRefused, m.Error.Message)
	}
	return int(m.Pid), nil
}

// end kills the zygote, and a worker that it was just making.
func (z *zygote) end() {
	z.dead.Stop()
	z.start.Do(func() { z.failure = errZygotesClosed })
	if z.proc == nil {
		return
	}
	z.proc.Kill()
	<-z.proc.Exited()
	z.turn <- struct{}{} // whoever spoke to it has heard the end
	defer func() { <-z.turn }()
	if z.conn == nil {
		return
	}
	z.failure = cmp.Or(z.failure, errZygotesClosed)
	_ = z.conn.SetDeadline(time.Now().Add(outputGrace))
	for {
		pid, err := z.forked()
		if err != nil {
			break
		}
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		reaped(pid)
	}
	_ = z.conn.Close()
}
