package weft_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// noise is n bytes that only this seed has.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}

var makeNoise = weft.Task2("test.makeNoise", func(_ context.Context, seed, n int) ([]byte, error) {
	return noise(uint64(seed), n), nil
})

var checkNoise = weft.Task2("test.checkNoise", func(_ context.Context, b []byte, seed int) (bool, error) {
	return bytes.Equal(b, noise(uint64(seed), len(b))), nil
})

// Live data of three times the store is spilled, and read back as it was.
func TestThreeTimesTheStore(t *testing.T) {
	const store, part = 32 << 20, 2 << 20
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 2}, StoreBytes: store})
	ctx := c.Context()
	refs := make([]weft.Ref[[]byte], 3*store/part)
	for i := range refs {
		if i%2 == 0 {
			refs[i] = makeNoise.Remote(ctx, i, part)
		} else {
			refs[i] = must[weft.Ref[[]byte]](t)(weft.Put(ctx, noise(uint64(i), part)))
		}
	}
	same := make([]weft.Ref[bool], len(refs))
	for i, ref := range refs {
		same[i] = checkNoise.RemoteOf(ctx, ref, weft.Val(i))
	}
	for i, ok := range must[[]bool](t)(weft.GetAll(ctx, same)) {
		if !ok {
			t.Errorf("object %d is another one in a task", i)
		}
	}
	for i, ref := range refs {
		if v := must[[]byte](t)(ref.Get(ctx)); !bytes.Equal(v, noise(uint64(i), part)) {
			t.Errorf("object %d is another one", i)
		}
	}
}

// A store with everything pinned puts new objects on the disk; when that is
// full too, the error says who has the store.
func TestStoreFullOfPins(t *testing.T) {
	const store, part = 16 << 20, 3 << 20
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 2}, StoreBytes: store, SpillBytes: 1 << 20})
	ctx := c.Context()
	release := c.FillStore(part, 5)
	_, err := weft.Put(ctx, make([]byte, part))
	isCode(t, err, weft.StoreFull, "bytes of the driver of job ", "cannot move", "held by session 1")
	_, err = makeNoise.Call(ctx, 1, part)
	isCode(t, err, weft.StoreFull, "bytes of task ", "cannot move", "held by session 1")
	equal(t, 42)(answer.Call(ctx)) // small things go on
	release()
	c.Eventually("room again", func() bool {
		ref, err := weft.Put(ctx, noise(3, part))
		if err != nil {
			return false
		}
		v, err := ref.Get(ctx)
		return err == nil && bytes.Equal(v, noise(3, part))
	})
}

// With room on the disk a store full of pins goes on in a file.
func TestStoreFullOfPinsFallsBack(t *testing.T) {
	const store, part = 16 << 20, 3 << 20
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 2}, StoreBytes: store})
	ctx := c.Context()
	release := c.FillStore(part, 5)
	defer release()
	ref := must[weft.Ref[[]byte]](t)(weft.Put(ctx, noise(5, part)))
	equal(t, true)(checkNoise.RemoteOf(ctx, ref, weft.Val(5)).Get(ctx))
}

// A full disk is an error that names it; what is there can still be read, and
// room that becomes free is used.
func TestDiskFull(t *testing.T) {
	const store, part = 16 << 20, 2 << 20
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 2}, StoreBytes: store, SpillBytes: 8 << 20})
	ctx := c.Context()
	var refs []weft.Ref[[]byte]
	var err error
	for i := 0; err == nil && i < 100; i++ {
		var ref weft.Ref[[]byte]
		if ref, err = weft.Put(ctx, noise(uint64(i), part)); err == nil {
			refs = append(refs, ref)
		}
	}
	isCode(t, err, weft.StoreFull)
	if len(refs) < store/part-2 {
		t.Errorf("full after %d objects of %d bytes", len(refs), part)
	}
	for i, ref := range refs {
		equal(t, true)(checkNoise.RemoteOf(ctx, ref, weft.Val(i)).Get(ctx))
	}
	clear(refs)
	c.Eventually("room again", func() bool {
		_, err := weft.Put(ctx, noise(0, part))
		return err == nil
	})
}

// An object larger than the store and the disk can never be put.
func TestObjectTooLarge(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 2}, StoreBytes: 16 << 20, SpillBytes: 1 << 20})
	_, err := weft.Put(c.Context(), make([]byte, 64<<20))
	isCode(t, err, weft.StoreFull)
	equal(t, 42)(answer.Call(c.Context()))
}
