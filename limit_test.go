package weft_test

import (
	"bytes"
	"context"
	"hash/crc32"
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
	joinSums = weft.Task1("limit.join", func(_ context.Context, parts [][]byte) (uint32, error) {
		sum := uint32(0)
		for _, p := range parts {
			sum = crc32.Update(sum, crc32.IEEETable, p)
		}
		return sum, nil
	}, weft.Isolated())
	manyParts = weft.Split1("limit.parts", func(_ context.Context, n int) ([][]byte, error) {
		parts := make([][]byte, n)
		for i := range parts {
			parts[i] = bytes.Repeat([]byte{byte(i)}, inlineBytes)
		}
		return parts, nil
	}, weft.Isolated())
)

// What does not fit into one message goes through shared memory.
func TestMessagesThatAreTooLarge(t *testing.T) {
	onBoth(t, wefttest.Options{}, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		part := must[weft.Ref[[]byte]](t)(weft.Put(ctx, noise(1, inlineBytes)))
		parts := make([]weft.Ref[[]byte], tooMany)
		for i := range parts {
			parts[i] = part
		}
		want := crc32.ChecksumIEEE(bytes.Repeat(noise(1, inlineBytes), tooMany))
		equal(t, want)(joinSums.RemoteOf(ctx, weft.Collect(parts...)).Get(ctx))
		for i, ref := range manyParts.Remote(ctx, tooMany, tooMany) {
			if got := must[[]byte](t)(ref.Get(ctx)); !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, inlineBytes)) {
				t.Fatalf("result %d is another one", i)
			}
		}
	})
}

// A large argument of an embedded program reaches a worker, whatever its size.
func TestLargeArgumentOfAnEmbeddedProgram(t *testing.T) {
	c := wefttest.Start(t)
	large := noise(2, 70<<20)
	equal(t, crc32.ChecksumIEEE(large))(joinSums.Call(c.Context(), [][]byte{large[:1000], large[1000:]}))
	ref := must[weft.Ref[[]byte]](t)(weft.Put(c.Context(), large))
	equal(t, crc32.ChecksumIEEE(large))(joinSums.RemoteOf(c.Context(), weft.Collect(ref)).Get(c.Context()))
}

// Where there is no room in shared memory for them, arguments that do not fit
// into one message are the task's error, and its worker lives.
func TestMessagesThatAreTooLargeForTheStore(t *testing.T) {
	c := wefttest.Start(t, weft.StoreBytes(16<<20), weft.SpillDir("", 1<<20))
	_, err := joinSums.Call(c.Context(), [][]byte{make([]byte, 70<<20)})
	isCode(t, err, weft.StoreFull, "do not fit into one message")
	equal(t, crc32.ChecksumIEEE([]byte("ab")))(joinSums.Call(c.Context(), [][]byte{[]byte("a"), []byte("b")}))
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
