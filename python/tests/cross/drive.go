package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/weftrun/weft"
)

// checks collects what is not as it should be.
type checks []string

// is notes the failure of a call, or its wrong result.
func is[T any](c *checks, what string, want T) func(T, error) {
	return func(got T, err error) {
		switch {
		case err != nil:
			*c = append(*c, fmt.Sprintf("%s: %v", what, err))
		case !reflect.DeepEqual(got, want):
			*c = append(*c, fmt.Sprintf("%s: got %v, want %v", what, got, want))
		}
	}
}

// fails notes an error of another code than it should have, or with another text.
func fails[T any](c *checks, what string, want weft.Code, says ...string) func(T, error) {
	return func(_ T, err error) {
		text, e := fmt.Sprint(err), (*weft.Error)(nil)
		if errors.As(err, &e) {
			text += "\n" + e.Trace
		}
		if !errors.Is(err, want) {
			*c = append(*c, fmt.Sprintf("%s: %v is not of code %q", what, text, want))
		}
		for _, part := range says {
			if !strings.Contains(text, part) {
				*c = append(*c, fmt.Sprintf("%s: %q does not say %q", what, text, part))
			}
		}
	}
}

// drive calls Python and returns what went wrong.
func drive(ctx context.Context) (c checks) {
	values(ctx, &c)
	references(ctx, &c)
	troubles(ctx, &c)
	actors(ctx, &c)
	options(ctx, &c)
	return c
}

func values(ctx context.Context, c *checks) {
	is(c, "add", 5)(pyAdd.Call(ctx, 2, 3))
	is(c, "a struct", Person{"Ada", 37, []string{"a", "older"}})(pyOlder.Call(ctx, Person{"Ada", 36, []string{"a"}}))
	is(c, "large bytes", 1<<20)(pySize.Call(ctx, make([]byte, 1<<20)))
	large, err := pyBytes.Call(ctx, 1<<20)
	is(c, "large bytes back", 1<<20)(len(large), err)
	var items []int
	for n, err := range pyCount.Remote(ctx, 100).All(ctx) {
		is(c, "an item", len(items))(n, err)
		items = append(items, n)
	}
	is(c, "a stream", 100)(len(items), nil)
}

func references(ctx context.Context, c *checks) {
	six := pyAdd.Remote(ctx, 2, 4)
	is(c, "Python's result in Go", 36)(square.RemoteOf(ctx, six).Get(ctx))
	is(c, "Go's result in Python", 10)(pyAdd.RemoteOf(ctx, square.Remote(ctx, 3), weft.Val(1)).Get(ctx))
	refs := []weft.Ref[int]{six, square.Remote(ctx, 2)}
	is(c, "many as one", 10)(pyTotal.RemoteOf(ctx, weft.Collect(refs...)).Get(ctx))
	is(c, "references inside", 10)(pySum.Call(ctx, Parts{refs}))
	ref, err := pyPickle.Call(ctx)
	is(c, "a reference from Python", true)(true, err)
	fails[int](c, "a pickle", weft.Encode, "pickle", "weft.portable")(ref.Get(ctx))
}

func troubles(ctx context.Context, c *checks) {
	fails[int](c, "an exception", weft.UserError, "ValueError: too bad: this", "functions.py", "in fail", "in deeper")(pyFail.Call(ctx, "this"))
	fails[int](c, "an object", weft.Encode, "functions.Thing", "plain data")(pyObject.Call(ctx))
	fails[int](c, "no function", weft.NotRegistered, "'functions' has no 'nobody'", "add")(pyNobody.Call(ctx))
	fails[int](c, "no module", weft.NotRegistered, "no module 'no_such_module'", "PYTHONPATH")(pyNoFile.Call(ctx))
	dir, err := os.MkdirTemp("", "cross")
	is(c, "a folder", true)(true, err)
	defer func() { _ = os.RemoveAll(dir) }()
	is(c, "a retry", 2)(pyOnce.Call(ctx, filepath.Join(dir, "once")))
	fails[int](c, "no retries", weft.WorkerCrashed, "SIGKILL")(pyOnce.Call(ctx, filepath.Join(dir, "again"), weft.MaxRetries(0)))
	if !strings.HasPrefix(os.Getenv(weft.AddressEnv), "weft://") { // a cluster waits for a larger node
		fails[int](c, "too many CPUs", weft.Unschedulable, "64 CPU")(pyAdd.Call(ctx, 1, 2, weft.CPU(64)))
	}
}

func actors(ctx context.Context, c *checks) {
	a := ledgers.New(ctx, "first", weft.Named("ledger"))
	is(c, "a method", "first: 1")(ledgerNote.Call(ctx, a, "one"))
	found, err := weft.Lookup(ctx, ledgers, "ledger")
	is(c, "lookup", true)(true, err)
	is(c, "the same", []string{"one"})(ledgerAll.Call(ctx, found))
	_, err = weft.Lookup(ctx, counters, "ledger")
	fails[int](c, "another class", weft.Invalid, "python class \"Ledger\"")(0, err)
	is(c, "an actor of Go's in Python", 11)(pyBump.Call(ctx, counters.New(ctx, 1)))
	weft.Kill(a, false)
	fails[string](c, "a dead actor", weft.ActorDied)(ledgerNote.Call(ctx, a, "two"))
}

func options(ctx context.Context, c *checks) {
	is(c, "a name", "shown")(pyName.Call(ctx, weft.Name("shown")))
	group, err := weft.NewGroup(ctx, weft.Pack, map[string]float64{"CPU": 1})
	is(c, "a group", true)(true, err)
	is(c, "in a group", 3)(pyAdd.Call(ctx, 1, 2, weft.In(group, 0)))
	group.Remove()
}
