package weft_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// inlineBytes is a size below that of values which go through shared memory;
// tooMany of them do not fit into one message.
const (
	inlineBytes = 60 << 10
	tooMany     = 1200
)

var (
	joinSizes = weft.Task1("limit.join", func(_ context.Context, parts [][]byte) (int, error) {
		n := 0
		for _, p := range parts {
			n += len(p)
		}
		return n, nil
	}, weft.Isolated())
	manyParts = weft.Split1("limit.parts", func(_ context.Context, n int) ([][]byte, error) {
		parts := make([][]byte, n)
		for i := range parts {
			parts[i] = make([]byte, inlineBytes)
		}
		return parts, nil
	}, weft.Isolated())
)

// What does not fit into one message is an error of the task; its worker lives.
func TestMessagesThatAreTooLarge(t *testing.T) {
	onBoth(t, wefttest.Options{}, func(t *testing.T, c *wefttest.Cluster) {
		part, err := weft.Put(c.Context(), make([]byte, inlineBytes))
		if err != nil {
			t.Fatal(err)
		}
		parts := make([]weft.Ref[[]byte], tooMany)
		for i := range parts {
			parts[i] = part
		}
		if _, err := joinSizes.RemoteOf(c.Context(), weft.Collect(parts...)).Get(c.Context()); !errors.Is(err, weft.Encode) {
			t.Errorf("arguments: got %v, want an error of code Encode", err)
		}
		if _, err := manyParts.Remote(c.Context(), tooMany, tooMany)[0].Get(c.Context()); !errors.Is(err, weft.Encode) {
			t.Errorf("results: got %v, want an error of code Encode", err)
		}
		got, err := joinSizes.RemoteOf(c.Context(), weft.Collect(parts[:3]...)).Get(c.Context())
		if err != nil || got != 3*inlineBytes {
			t.Errorf("afterwards: got %d, %v", got, err)
		}
	})
}

// A Writer that grows keeps what was written.
func TestWriterGrows(t *testing.T) {
	onBoth(t, wefttest.Options{}, func(t *testing.T, c *wefttest.Cluster) {
		w, err := weft.NewWriter(c.Context(), 100_000)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		copy(w.Bytes(), "begun")
		if err := w.Grow(300_000); err != nil {
			t.Fatal(err)
		}
		ref, err := w.Seal(200_000)
		if err != nil {
			t.Fatal(err)
		}
		v, err := ref.Get(c.Context())
		if err != nil || len(v) != 200_000 || string(v[:5]) != "begun" {
			t.Errorf("got %d bytes, %v", len(v), err)
		}
	})
}

// interval is constructed from two values and has a method of two.
type interval struct{ low, high int }

var (
	intervals = weft.Actor2("limit.interval", func(_ context.Context, low, high int) (*interval, error) {
		return &interval{low, high}, nil
	})
	countIn = weft.Method2(intervals, (*interval).Count)
)

func (i *interval) Count(_ context.Context, a, b int) (n int, err error) {
	for _, v := range []int{a, b} {
		if i.low <= v && v < i.high {
			n++
		}
	}
	return n, nil
}

func TestActorOfTwoArguments(t *testing.T) {
	onBoth(t, wefttest.Options{}, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		high, err := weft.Put(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []weft.Actor[interval]{intervals.New(ctx, 0, 10), intervals.NewOf(ctx, weft.Val(0), high)} {
			if n, err := countIn.Call(ctx, a, 3, 12); n != 1 || err != nil {
				t.Errorf("Call: got %d, %v", n, err)
			}
			if n, err := countIn.RemoteOf(ctx, a, weft.Val(3), high).Get(ctx); n != 1 || err != nil {
				t.Errorf("RemoteOf: got %d, %v", n, err)
			}
			if n, err := countIn.Remote(ctx, a, 3, 4).Get(ctx); n != 2 || err != nil {
				t.Errorf("Remote: got %d, %v", n, err)
			}
		}
	})
}
