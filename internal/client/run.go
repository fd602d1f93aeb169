package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/wire"
)

// ErrExit is returned by an actor's method to end the actor after the call.
var ErrExit = errors.New("the actor ends itself")

// TaskContext is the context of one running task. It carries the task's Running
// and costs one allocation; its channel is made when somebody asks for it.
type TaskContext struct {
	Running Running

	mu     sync.Mutex
	done   chan struct{}
	err    error
	cause  error
	after  map[int]func()
	number int
}

// NewTaskContext returns the context for running r.
func NewTaskContext(r Running) *TaskContext { return &TaskContext{Running: r} }

// IsTaskContext reports whether ctx is a task's own context, or one derived
// from it by nothing that can be cancelled apart from it.
func IsTaskContext(ctx context.Context) bool {
	_, ok := ctx.(*TaskContext)
	return ok
}

// Deadline implements context.Context: there is none.
func (c *TaskContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *TaskContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *TaskContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements context.Context.
func (c *TaskContext) Value(key any) any {
	if key == RunningKey {
		return &c.Running
	}
	return nil
}

// AfterFunc lets package context derive contexts without a goroutine each.
func (c *TaskContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[int]func(){}
	}
	c.number++
	n := c.number
	c.after[n] = f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[n]
		delete(c.after, n)
		return waiting
	}
}

// Cancel ends the context: Err is context.Canceled.
func (c *TaskContext) Cancel(cause error) { c.end(cause) }

// Finish ends the context when the task has returned, so that nothing it left
// behind runs on unaware.
func (c *TaskContext) Finish() { c.end(context.Canceled) }

func (c *TaskContext) end(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.cause = context.Canceled, cause
	if c.done != nil {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, f := range after {
		go f()
	}
}

// Cancelled reports whether the task was cancelled while it ran.
func (c *TaskContext) Cancelled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// Run calls fn and turns what it did into an error: what it returned, a panic,
// or that it was cancelled. ErrExit is passed on as it is.
//
// A function may end its goroutine (runtime.Goexit, t.FailNow): then Run does
// not return, and the goroutine's deferred functions run.
func Run(c *TaskContext, fn *Function, self any, in, out []any) error {
	err := protect(func() error { return fn.Invoke(c, self, in, out) })
	return userError(c, fn, err)
}

// RunStream calls fn and passes its items to yield.
func RunStream(c *TaskContext, fn *Function, self any, in []any, yield func(any) bool) error {
	err := protect(func() error { return fn.Stream(c, self, in, yield) })
	return userError(c, fn, err)
}

// panicked is what a function's panic was.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// errGoexit is the result of a function that ended its goroutine.
var errGoexit = &wire.Error{Code: wire.UserError, Type: "runtime.Goexit",
	Message: "the function ended its goroutine (runtime.Goexit) instead of returning"}

// protect calls f; a panic becomes an error.
func protect(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{value: r, stack: userStack()}
		}
	}()
	return f()
}

// userStack is the stack of a panic, the user's frames first, without ours.
func userStack() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var b strings.Builder
	user := false
	for {
		f, more := frames.Next()
		user = user || !strings.HasPrefix(f.Function, "runtime.")
		if strings.HasPrefix(f.Function, "github.com/weftrun/weft/internal/client.protect") {
			return b.String()
		}
		if user {
			fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		}
		if !more {
			return b.String()
		}
	}
}

// userError describes what went wrong in the user's code.
func userError(c *TaskContext, fn *Function, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrExit):
		return ErrExit
	case c.Cancelled() && (errors.Is(err, context.Canceled) || errors.Is(err, wire.Cancelled)):
		return &wire.Error{Code: wire.Cancelled, Op: fn.Name, Err: err}
	}
	e := &wire.Error{Code: wire.UserError, Op: fn.Name, Type: fmt.Sprintf("%T", err), Message: err.Error(), Err: err}
	if p, ok := errors.AsType[*panicked](err); ok {
		e.Type, e.Trace = "panic", p.stack
		if cause, ok := p.value.(error); ok {
			e.Err = cause
		}
	} else if inner, ok := errors.AsType[*wire.Error](err); ok { // of a task that it called
		e.Trace = inner.Trace
	}
	return e
}
