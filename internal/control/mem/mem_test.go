package mem

import (
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	controltest.Run(t, func(t *testing.T) controltest.Fixture {
		s := New(Config{History: 700})
		t.Cleanup(func() { _ = s.Close() })
		var now time.Duration
		return controltest.Fixture{
			Store:   s,
			Advance: func(d time.Duration) { now += d; s.Tick(now) },
			History: 701,
		}
	})
}

// The history is bounded by records, forgets whole revisions, and keeps the
// newest one even when it alone is over the limit.
func TestHistoryForgetsWholeRevisions(t *testing.T) {
	s := New(Config{History: 5})
	txn := func(n int) control.Txn {
		var t control.Txn
		for i := range n {
			t.Do = append(t.Do, control.Set(strconv.Itoa(i), nil))
		}
		return t
	}
	for _, step := range []struct {
		ops, remembered int
		forgot          control.Revision
	}{{3, 3, 0}, {2, 5, 0}, {1, 3, 2}, {9, 9, 4}, {1, 1, 5}} {
		if _, err := s.Commit(t.Context(), txn(step.ops)); err != nil {
			t.Fatal(err)
		}
		if len(s.history) != step.remembered || s.forgot != step.forgot {
			t.Fatalf("after a change of %d: %d remembered, forgot %d; want %d and %d",
				step.ops, len(s.history), s.forgot, step.remembered, step.forgot)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	s := New(Config{})
	value := make([]byte, 100)
	b.ReportAllocs()
	for i := range b.N {
		txn := control.Txn{Do: []control.Op{control.Set(strconv.Itoa(i%1000), value)}}
		if _, err := s.Commit(b.Context(), txn); err != nil {
			b.Fatal(err)
		}
	}
}
