package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/weftrun/weft/internal/id"
)

// Parts are passed on once all of their bytes have come, in whatever order.
func TestArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &arrival{buf: []byte("abcdefgh"), size: 8, changed: make(chan struct{}), settled: make(chan struct{})}
		type answer struct {
			data string
			over bool
			err  error
		}
		ask := func(ctx context.Context, from, to int64) <-chan answer {
			got := make(chan answer, 1)
			go func() {
				data, over, err := a.part(ctx, from, to)
				got <- answer{string(data), over, err}
			}()
			synctest.Wait()
			return got
		}
		waits := ask(t.Context(), 1, 7)
		for _, s := range []span{{6, 8}, {0, 2}, {4, 6}} {
			a.add(s.from, s.to)
			synctest.Wait()
			if len(waits) != 0 {
				t.Fatal(<-waits)
			}
		}
		if got := <-ask(t.Context(), 4, 8); got != (answer{data: "efgh"}) {
			t.Error(got)
		}
		a.add(2, 4)
		if got := <-waits; got != (answer{data: "bcdefg"}) || !slices.Equal(a.came, []span{{0, 8}}) {
			t.Error(got, a.came)
		}
		ctx, cancel := context.WithCancel(t.Context())
		a.came = nil
		tired := ask(ctx, 0, 1)
		cancel()
		if got := <-tired; !errors.Is(got.err, context.Canceled) {
			t.Error(got)
		}
		late := ask(t.Context(), 0, 1)
		a.end()
		if got := <-late; !got.over || got.data != "" {
			t.Error(got)
		}
	})
}

// Nobody has more than two readers, and each reads from one that was told before.
func TestTree(t *testing.T) {
	tree := &tree{source: id.Node{99}}
	told := map[id.Node]bool{}
	readers := map[id.Node]int{}
	for i := range 20 {
		n := id.Node{byte(i + 1)}
		from := tree.relayFor(n)
		if from != tree.relayFor(n) {
			t.Error("told two things")
		}
		if readers[from]++; readers[from] > fanOut || !from.IsZero() && !told[from] {
			t.Error(n, from, readers[from])
		}
		told[n] = true
	}
	tree.without(id.Node{1})
	if slices.Contains(tree.readers, id.Node{1}) || len(tree.readers) != 19 {
		t.Error(tree.readers)
	}
}
