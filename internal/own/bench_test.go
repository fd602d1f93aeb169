package own

import (
	"testing"
	"unsafe"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

var benchNode = id.Node{1}

func benchSpec(returns int) *spec.Task {
	s := &spec.Task{Function: "f", Returns: returns, MaxRetries: spec.DefaultMaxRetries}
	if err := s.Seal(); err != nil {
		panic(err)
	}
	return s
}

// TestRecordSize keeps a million queued tasks small.
func TestRecordSize(t *testing.T) {
	if n := unsafe.Sizeof(task{}); n > 176 {
		t.Errorf("a task record has %d bytes, want at most 176", n)
	}
}

func BenchmarkUnshared(b *testing.B) {
	m := New(benchNode, Options{})
	s := benchSpec(1)
	submit := Event{Kind: Submit, Session: 1, Spec: s, Unshared: true}
	doneEv := Event{Kind: Done, Attempt: 1, Returns: make([]Return, 1)}
	var fx []Effect
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		t := id.NewTask(benchNode, id.Seq(1, n))
		submit.Task, doneEv.Task = t, t
		doneEv.Returns[0].Object = t.Return(0)
		fx = m.Step(0, &submit, fx[:0])
		fx = m.Step(0, &doneEv, fx[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/step")
}

func BenchmarkCounted(b *testing.B) {
	m := New(benchNode, Options{})
	s := benchSpec(1)
	submit := Event{Kind: Submit, Session: 1, Spec: s, Bytes: 100}
	doneEv := Event{Kind: Done, Attempt: 1, Returns: make([]Return, 1)}
	drop := Event{Kind: Drop, Session: 1, N: 1}
	var fx []Effect
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		t := id.NewTask(benchNode, id.Seq(1, n))
		submit.Task, doneEv.Task = t, t
		drop.Object = t.Return(0)
		doneEv.Returns[0].Object = t.Return(0)
		fx = m.Step(0, &submit, fx[:0])
		fx = m.Step(0, &doneEv, fx[:0])
		fx = m.Step(0, &drop, fx[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(3*b.N), "ns/step")
}

// BenchmarkQueue keeps 100,000 unshared tasks queued.
func BenchmarkQueue(b *testing.B) {
	const depth = 100_000
	m := New(benchNode, Options{})
	s := benchSpec(1)
	submit := Event{Kind: Submit, Session: 1, Spec: s, Unshared: true}
	doneEv := Event{Kind: Done, Attempt: 1, Returns: make([]Return, 1)}
	var fx []Effect
	n := uint64(0)
	push := func() {
		n++
		submit.Task = id.NewTask(benchNode, id.Seq(1, n))
		fx = m.Step(0, &submit, fx[:0])
	}
	for range depth {
		push()
	}
	b.ReportAllocs()
	for b.Loop() {
		push()
		doneEv.Task = id.NewTask(benchNode, id.Seq(1, n-depth))
		fx = m.Step(0, &doneEv, fx[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/step")
}
