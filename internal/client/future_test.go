package client

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Of several that complete a future at once one does.
func TestCompleteAtOnce(t *testing.T) {
	for range 200 {
		var f Future
		var wg sync.WaitGroup
		var won atomic.Int32
		for i := range 4 {
			wg.Go(func() {
				if f.Complete(Result{Val: i}) {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || !f.Ready() {
			t.Fatal(won.Load(), f.Ready())
		}
	}
}
