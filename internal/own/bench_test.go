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

// BenchmarkArgument submits a task that waits for another's result.
func BenchmarkArgument(b *testing.B) {
	m := New(benchNode, Options{})
	s := benchSpec(1)
	submit := Event{Kind: Submit, Session: 1, Spec: s, Unshared: true}
	doneEv := Event{Kind: Done, Attempt: 1, Returns: make([]Return, 1)}
	args := make([]id.Object, 1)
	var fx []Effect
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n += 2
		first, second := id.NewTask(benchNode, id.Seq(1, n)), id.NewTask(benchNode, id.Seq(1, n+1))
		submit.Task, submit.Args = first, nil
		fx = m.Step(0, &submit, fx[:0])
		args[0] = first.Return(0)
		submit.Task, submit.Args = second, args
		fx = m.Step(0, &submit, fx[:0])
		doneEv.Task = first
		fx = m.Step(0, &doneEv, fx[:0])
		doneEv.Task = second
		fx = m.Step(0, &doneEv, fx[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(4*b.N), "ns/step")
}

// BenchmarkRefs passes a reference from the owner to a node and on to a third.
func BenchmarkRefs(b *testing.B) {
	x, y := id.Node{2}, id.Node{3}
	m := New(benchNode, Options{})
	o := id.NewTask(benchNode, id.Seq(1, 1)).Return(0)
	m.Step(0, &Event{Kind: Put, Object: o, Session: 1, Return: Return{Size: 10}}, nil)
	events := []Event{
		{Kind: SendRef, Object: o, Node: x},
		{Kind: Peer, Node: y, Msg: &Msg{Kind: RefDrop, Object: o, Node: y, Via: x, N: 1}},
		{Kind: Peer, Node: x, Msg: &Msg{Kind: RefAdd, Object: o, Node: y, Via: x, N: 1}},
		{Kind: Peer, Node: x, Msg: &Msg{Kind: RefDrop, Object: o, Node: x, Via: benchNode, N: 1}},
	}
	var fx []Effect
	b.ReportAllocs()
	for b.Loop() {
		for i := range events {
			fx = m.Step(0, &events[i], fx[:0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(len(events)*b.N), "ns/step")
}

// BenchmarkBorrow uses another node's object and gives it back.
func BenchmarkBorrow(b *testing.B) {
	x := id.Node{2}
	m := New(benchNode, Options{})
	o := id.NewTask(x, id.Seq(1, 1)).Return(0)
	events := []Event{
		{Kind: GotRef, Object: o, Node: x},
		{Kind: Want, Object: o},
		{Kind: Peer, Node: x, Msg: &Msg{Kind: Resolved, Object: o, Node: x, Return: Return{Object: o, Size: 5}}},
		{Kind: Drop, Object: o, N: 1},
	}
	var fx []Effect
	b.ReportAllocs()
	for b.Loop() {
		for i := range events {
			fx = m.Step(0, &events[i], fx[:0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(len(events)*b.N), "ns/step")
}
