package weft_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/wefttest"
)

// appendLine and readLines are a log that all processes write.
func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + " ")
	return errors.Join(err, f.Close())
}

func readLines(file string) (string, error) {
	b, err := os.ReadFile(file)
	return string(b), err
}

var errSpecific = errors.New("a specific error")

var fail = weft.Task1("test.fail", func(_ context.Context, how string) (int, error) {
	switch how {
	case "specific":
		return 0, fmt.Errorf("wrapped: %w", errSpecific)
	case "panic":
		panic("oh")
	case "panic with an error":
		panic(errSpecific)
	case "nil":
		var p *parcel
		return len(p.Many), nil
	case "goexit":
		runtime.Goexit()
	}
	return 0, errors.New(how)
})

func TestUserErrors(t *testing.T) {
	tests := []struct {
		how   string
		parts []string
	}{
		{"bad thing", []string{"test.fail: bad thing"}},
		{"specific", []string{"wrapped: a specific error"}},
		{"panic", []string{"panic: oh"}},
		{"panic with an error", []string{"panic: a specific error"}},
		{"nil", []string{"nil pointer"}},
		{"goexit", []string{"Goexit"}},
	}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.how, func(t *testing.T) {
				_, err := fail.Call(c.Context(), tt.how)
				isCode(t, err, weft.UserError, append(tt.parts, "pid ")...)
				var e *weft.Error
				if !errors.As(err, &e) || e.Attempt != 1 || e.Op != "test.fail" {
					t.Errorf("the error is %#v", e)
				}
				if strings.HasPrefix(tt.how, "panic") && !strings.Contains(e.Trace, "error_test.go:") {
					t.Errorf("the trace does not show the panic's line:\n%s", e.Trace)
				}
			})
		}
		equal(t, 42)(answer.Call(c.Context()))
	})
}

// In the same process even the function's own error is found.
func TestUserErrorIsTheSame(t *testing.T) {
	c := wefttest.Start(t)
	for _, how := range []string{"specific", "panic with an error"} {
		if _, err := fail.Call(c.Context(), how); !errors.Is(err, errSpecific) {
			t.Errorf("%s: %v is not %v", how, err, errSpecific)
		}
	}
}

// An error of an argument is the error of the task, which does not run.
func TestErrorOfArgument(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		bad := fail.Remote(ctx, "at the root")
		_, err := square.RemoteOf(ctx, add.RemoteOf(ctx, bad, weft.Val(1))).Get(ctx)
		isCode(t, err, weft.UserError, "at the root", "test.fail")
		_, err = bad.Get(ctx)
		isCode(t, err, weft.UserError)
		_, err = square.RemoteOf(ctx, bad).Get(ctx) // submitted after the failure is known
		isCode(t, err, weft.UserError, "at the root")
	})
}

// flaky fails until its signal has happened n times.
var flaky = weft.Task2("test.flaky", func(ctx context.Context, tried string, n int) (int, error) {
	if err := signal(tried).set(); err != nil {
		return 0, err
	}
	if signal(tried).count() < n {
		return 0, errors.New("not yet")
	}
	return weft.Runtime(ctx).Attempt, nil
})

func TestRetryErrors(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		equal(t, 3)(flaky.Call(ctx, string(newSignal(t)), 3, weft.RetryErrors()))

		tried := newSignal(t)
		_, err := flaky.Call(ctx, string(tried), 100, weft.RetryErrors(), weft.MaxRetries(4))
		isCode(t, err, weft.UserError, "not yet", "attempt 5")
		if n := tried.count(); n != 5 {
			t.Errorf("with 4 retries it ran %d times", n)
		}

		tried = newSignal(t)
		_, err = flaky.Call(ctx, string(tried), 3)
		isCode(t, err, weft.UserError, "not yet")
		if n := tried.count(); n != 1 {
			t.Errorf("without RetryErrors it ran %d times", n)
		}
	})
}

var opaque = weft.Task1("test.opaque", func(_ context.Context, what string) (any, error) {
	switch what {
	case "channel":
		return make(chan int), nil
	case "cycle":
		type node struct{ Next any }
		n := &node{}
		n.Next = n
		return n, nil
	}
	return what, nil
})

var show = weft.Task1("test.show", func(_ context.Context, v any) (string, error) { return fmt.Sprint(v), nil })

// What is behind an interface is known only when it is to leave the process.
func TestValueThatCannotBeEncoded(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	for _, what := range []string{"channel", "cycle"} {
		_, err := opaque.Call(ctx, what)
		isCode(t, err, weft.Encode)
	}
	_, err := show.Call(ctx, func() {})
	isCode(t, err, weft.Encode, "func()")
	_, err = weft.Put[any](ctx, make(chan int))
	isCode(t, err, weft.Encode, "chan int")
	equal[any](t, "fine")(opaque.Call(ctx, "fine"))
}

// driverOnly is registered in this process and in no worker.
var driverOnly = func() *weft.Func0[int] {
	if client.IsWorker() {
		return nil
	}
	return weft.Task0("test.driverOnly", func(context.Context) (int, error) { return 1, nil })
}()

func TestFunctionThatWorkersDoNotHave(t *testing.T) {
	c := wefttest.Join(t, small)
	_, err := driverOnly.Call(c.Context())
	isCode(t, err, weft.NotRegistered, "test.driverOnly")
	equal(t, 42)(answer.Call(c.Context()))
}
