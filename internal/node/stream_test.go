package node_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"testing"

	"github.com/weftrun/weft"
)

func upTo(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Chapter makes items by a method.
func (c *tally) Chapter(_ context.Context, n int) iter.Seq2[int, error] { return upTo(n) }

var (
	numbers = weft.Stream1("node_test.numbers", func(_ context.Context, n int) iter.Seq2[int, error] { return upTo(n) })
	chapter = weft.StreamMethod1(tallies, (*tally).Chapter)

	// pages are too large to travel inline. The first process ends before the fifth.
	pages = weft.Stream1("node_test.pages", func(ctx context.Context, n int) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for i := range n {
				if i == 5 && weft.Runtime(ctx).Attempt == 1 {
					os.Exit(3)
				}
				page := make([]byte, 200_000)
				page[0] = byte(i)
				if !yield(page, nil) {
					return
				}
			}
		}
	}, weft.Isolated())
)

// A consumer gets all items, though the producer ended before it read the first.
func TestStreamIsReadAfterItsEnd(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		for _, opts := range [][]weft.TaskOption{{weft.Window(0, 0)}, {}, {weft.Window(0, 0), weft.Isolated()}} {
			n := 0
			for v, err := range numbers.Remote(ctx, 1000, opts...).All(ctx) {
				if err != nil || v != n {
					t.Fatal("item", n, "is", v, err)
				}
				n++
			}
			if n != 1000 {
				t.Error(n, "items")
			}
		}
	})
}

// A producer without credit lends its CPU: its consumer may need it to go on.
func TestProducerWithoutCreditLendsItsCPU(t *testing.T) {
	each(t, 1, func(t *testing.T, ctx context.Context) {
		for v, err := range numbers.Remote(ctx, 20, weft.Window(1, 0)).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if w, err := inc.Remote(ctx, v).Get(ctx); w != v+1 || err != nil {
				t.Fatal(v, w, err)
			}
		}
	})
}

// Killing an actor ends its generator that waits for credit.
func TestKillOfAGeneratorWithoutCredit(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		c := tallies.New(ctx, 0)
		var last error
		n := 0
		for _, err := range chapter.Remote(ctx, c, 1_000_000).All(ctx) {
			if last = err; n == 0 {
				weft.Kill(c, false)
			}
			n++
		}
		if !errors.Is(last, weft.ActorDied) {
			t.Error("after", n, "items:", last)
		}
	})
}

// Items that an attempt makes again are not delivered again, wherever they lie.
func TestLargeItemsAreMadeAgain(t *testing.T) {
	each(t, 2, func(t *testing.T, ctx context.Context) {
		n := 0
		for page, err := range pages.Remote(ctx, 10).All(ctx) {
			if err != nil {
				t.Fatal(n, err)
			}
			if len(page) != 200_000 || int(page[0]) != n {
				t.Fatal("item", n, "is", page[0])
			}
			n++
		}
		if n != 10 {
			t.Error(n, "items")
		}
	})
}

// Streams that are left unread end, their items go, and others go on.
func TestStreamsLeftUnread(t *testing.T) {
	each(t, 1, func(t *testing.T, ctx context.Context) {
		for _, opts := range [][]weft.TaskOption{{}, {weft.Isolated()}, {weft.Window(0, 0)}} {
			for range 5 {
				for _, err := range numbers.Remote(ctx, 1000, opts...).All(ctx) {
					if err != nil {
						t.Error(err)
					}
					break
				}
			}
		}
		if v, err := inc.Call(ctx, 1); v != 2 || err != nil {
			t.Error(v, err)
		}
	})
}
