package weft_test

import (
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// benchBatch is how many calls are out at once in the pipelined benchmarks.
const benchBatch = 1000

func benchCall(b *testing.B, c *wefttest.Cluster) {
	ctx := c.Context()
	for b.Loop() {
		if _, err := square.Call(ctx, 7); err != nil {
			b.Fatal(err)
		}
	}
}

func benchActorCall(b *testing.B, c *wefttest.Cluster) {
	ctx := c.Context()
	a := tallies.New(ctx, 0)
	for b.Loop() {
		if _, err := tallyAdd.Call(ctx, a, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// pipelined keeps benchBatch calls out.
func pipelined(b *testing.B, c *wefttest.Cluster, remote func() weft.Ref[int]) {
	refs := make([]weft.Ref[int], 0, benchBatch)
	for i := 0; b.Loop(); i++ {
		if refs = append(refs, remote()); len(refs) == benchBatch {
			getAll(b, c, refs)
			refs = refs[:0]
		}
	}
	getAll(b, c, refs)
}

func getAll(b *testing.B, c *wefttest.Cluster, refs []weft.Ref[int]) {
	if _, err := weft.GetAll(c.Context(), refs); err != nil {
		b.Fatal(err)
	}
}

func benchPipelined(b *testing.B, c *wefttest.Cluster) {
	ctx := c.Context()
	pipelined(b, c, func() weft.Ref[int] { return square.Remote(ctx, 7) })
}

func benchActorPipelined(b *testing.B, c *wefttest.Cluster) {
	ctx := c.Context()
	a := tallies.New(ctx, 0)
	pipelined(b, c, func() weft.Ref[int] { return tallyAdd.Remote(ctx, a, 1) })
}

func embedded(b *testing.B, body func(*testing.B, *wefttest.Cluster)) {
	b.ReportAllocs()
	body(b, wefttest.Start(b))
}

func joined(b *testing.B, body func(*testing.B, *wefttest.Cluster)) {
	b.ReportAllocs()
	body(b, wefttest.Join(b, wefttest.Options{}))
}

func BenchmarkCall(b *testing.B)            { embedded(b, benchCall) }
func BenchmarkPipelined(b *testing.B)       { embedded(b, benchPipelined) }
func BenchmarkActorCall(b *testing.B)       { embedded(b, benchActorCall) }
func BenchmarkActorPipelined(b *testing.B)  { embedded(b, benchActorPipelined) }
func BenchmarkRemoteCall(b *testing.B)      { joined(b, benchCall) }
func BenchmarkRemotePipelined(b *testing.B) { joined(b, benchPipelined) }
