package weft_test

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

var failStat = weft.Task0("stat.fail", func(context.Context) ([]byte, error) { return nil, errors.New("no value") })

// Stat says how large an object is and where, and does not fetch it.
func TestStat(t *testing.T) {
	const store, part = 16 << 20, 3 << 20
	c := wefttest.Join(t, wefttest.Options{StoreBytes: store})
	ctx := c.Context()
	small := must[weft.Ref[[]byte]](t)(weft.Put(ctx, make([]byte, 100)))
	isStat(t, small, 100, weft.InHeap, false)
	first := makeNoise.Remote(ctx, 1, part)
	isStat(t, first, part, weft.InSharedMemory, false)
	others := make([]weft.Ref[[]byte], store/part)
	for i := range others {
		others[i] = must[weft.Ref[[]byte]](t)(weft.Put(ctx, noise(uint64(i), part)))
	}
	isStat(t, first, part, weft.OnDisk, false)
	isStat(t, others[len(others)-1], part, weft.InSharedMemory, false)
	equal(t, true)(checkNoise.RemoteOf(ctx, first, weft.Val(1)).Get(ctx))
}

// In an embedded program values are where the program has them.
func TestStatByReference(t *testing.T) {
	c := wefttest.Start(t)
	ctx := c.Context()
	isStat(t, must[weft.Ref[[]byte]](t)(weft.Put(ctx, make([]byte, 1<<20))), 1<<20, weft.InHeap, true)
	isStat(t, must[weft.Ref[int]](t)(weft.Put(ctx, 7)), -1, weft.InHeap, true)
}

// What has no value has its error, and a wait for it ends with its context.
func TestStatOfNothing(t *testing.T) {
	onBoth(t, wefttest.Options{}, func(t *testing.T, c *wefttest.Cluster) {
		_, err := failStat.Remote(c.Context()).Stat(c.Context())
		isCode(t, err, weft.UserError, "no value")
		_, err = weft.Ref[int]{}.Stat(c.Context())
		isCode(t, err, weft.Invalid)
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		_, err = makeNoise.Remote(c.Context(), 1, 1<<20).Stat(ctx)
		if err != nil { // it may have been made already
			isCode(t, err, weft.Cancelled)
		}
	})
}

func isStat[T any](t *testing.T, r weft.Ref[T], size int64, place weft.Place, byReference bool) {
	t.Helper()
	st, err := r.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Size != size || st.Place != place || st.ByReference != byReference || st.Node == "" {
		t.Errorf("got %+v, want %d bytes, %s, by reference %v", st, size, place, byReference)
	}
}

// A Writer's memory and a View begin where Arrow wants buffers, at 64 bytes, and
// so after it has grown; what was reserved and not sealed is given back.
func TestAlignment(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{})
	ctx := c.Context()
	for _, size := range []int64{1, 100, 4097, 100_001, 3 << 20} {
		w := must[*weft.Writer](t)(weft.NewWriter(ctx, size))
		defer w.Abort()
		isAligned(t, "a writer", w.Bytes())
		copy(w.Bytes(), "x")
		if err := w.Grow(2*size + 1); err != nil {
			t.Fatal(err)
		}
		isAligned(t, "a writer that grew", w.Bytes())
		ref := must[weft.Ref[[]byte]](t)(w.Seal(2 * size))
		v := must[*weft.Bytes](t)(weft.View(ctx, ref))
		if isAligned(t, "a view", v.Data()); int64(len(v.Data())) != 2*size || v.Data()[0] != 'x' {
			t.Errorf("%d bytes are another object", size)
		}
		v.Release()
		must[*weft.Writer](t)(weft.NewWriter(ctx, size)).Abort()
	}
}

func isAligned(t *testing.T, what string, b []byte) {
	t.Helper()
	if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at%64 != 0 {
		t.Errorf("%s of %d bytes begins %d bytes after a multiple of 64", what, len(b), at%64)
	}
}
