package client

import (
	"context"
	"errors"
	"fmt"
	"os"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// ReplayEnv has Init run the failed task that it names, and end the program.
const ReplayEnv = "WEFT_REPLAY"

// ReplayMain is what Init does for `weft replay`, with the session that it has
// opened, or why it has not. It returns the exit status.
func ReplayMain(ctx context.Context, s Session, task string, err error) int {
	_ = os.Unsetenv(ReplayEnv) // what the function starts is not meant
	if err == nil {
		var t id.Task
		var out []any
		if t, err = id.ParseTask(task); err == nil {
			out, err = Replay(ctx, s, t)
		}
		if err == nil {
			fmt.Fprintf(os.Stdout, "weft replay: task %s returned %v\n", task, out)
		}
		err = errors.Join(err, s.Close(ctx))
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "weft replay:", err)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Trace != "" {
		fmt.Fprint(os.Stderr, e.Trace)
	}
	return 1
}

// Failed fetches what a failed task was called with.
func Failed(ctx context.Context, s Session, t id.Task) (*sessionv1.FailedCall, error) {
	answer, err := s.Query(ctx, "replay", t[:])
	if err != nil {
		return nil, err
	}
	m := &sessionv1.FailedCall{}
	if err := m.UnmarshalVT(answer); err != nil {
		return nil, &wire.Error{Code: wire.Protocol, Op: "replay", Task: t, Message: "the node's answer cannot be read", Err: err}
	}
	return m, nil
}

// Replay runs a failed task again on this goroutine, and returns what it
// returned: of a stream, its items. What it calls, it calls as a driver.
func Replay(ctx context.Context, s Session, t id.Task) ([]any, error) {
	m, err := Failed(ctx, s, t)
	if err != nil {
		return nil, err
	}
	spec, err := wire.TemplateFromPB(m.Template, s.Info().Job)
	if err != nil {
		return nil, err
	}
	if spec.Language != "" && spec.Language != wire.Go {
		return nil, &wire.Error{Code: wire.Invalid, Op: spec.Name, Task: t, Message: "a function of another language: " + spec.Language,
			Hint: "`weft replay` runs it with the right program"}
	}
	fn, err := FindFunction(spec.Function, spec.Sig)
	if err != nil {
		return nil, err
	}
	if len(m.Args) != len(fn.Args) {
		return nil, &wire.Error{Code: wire.Invalid, Op: fn.Name, Task: t, Message: fmt.Sprintf("it got %d arguments and has %d", len(m.Args), len(fn.Args))}
	}
	in := make([]any, len(fn.Args))
	for i, a := range m.Args {
		if in[i], err = replayArgument(ctx, s, fn.Args[i], a); err != nil {
			e := *wire.AsError(err, wire.Encode)
			e.Op, e.Message = fn.Name, fmt.Sprintf("argument %d: %s", i+1, e.Message)
			return nil, &e
		}
	}
	c := NewTaskContext(Running{Sess: s})
	defer c.Finish()
	if fn.Stream != nil {
		var items []any
		err := RunStream(c, fn, nil, in, func(v any) bool { items = append(items, v); return true })
		return items, err
	}
	out := make([]any, spec.Returns)
	return out, Run(c, fn, nil, in, out)
}

// replayArgument reads one argument: a value, an object's, or a list's.
func replayArgument(ctx context.Context, s Session, c Codec, a *sessionv1.Arg) (any, error) {
	if !a.List {
		return replayValue(ctx, s, c, a.Value, a.Object)
	}
	col, ok := c.(Collector)
	if !ok {
		return nil, &wire.Error{Code: wire.Invalid, Message: "a list of objects for an argument that is no slice"}
	}
	objects, err := wire.UnpackObjects(nil, a.Objects)
	if err != nil {
		return nil, err
	}
	var elems []any
	for _, p := range a.Values {
		v, err := replayValue(ctx, s, col.Element(), p, nil)
		if err != nil {
			return nil, err
		}
		elems = append(elems, v)
	}
	for i := range objects {
		v, err := replayValue(ctx, s, col.Element(), nil, objects[i][:])
		if err != nil {
			return nil, err
		}
		elems = append(elems, v)
	}
	return col.Join(elems)
}

func replayValue(ctx context.Context, s Session, c Codec, p *sessionv1.Value, object []byte) (any, error) {
	if len(object) == 0 {
		v, err := wire.ValueFromPB(p)
		if err != nil {
			return nil, err
		}
		return c.Decode(s, v)
	}
	o, err := wire.ReadObject(object)
	if err != nil {
		return nil, err
	}
	f := s.Adopt(o)
	s.Want(f)
	done := make(chan struct{})
	f.OnDone(func() { close(done) })
	select {
	case <-done:
		return ValueOf(f, c)
	case <-ctx.Done():
		return nil, wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}
