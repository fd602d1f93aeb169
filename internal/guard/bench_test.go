package guard

import (
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// BenchmarkTask is what a task with a process of its own costs.
func BenchmarkTask(b *testing.B) {
	m := New(Options{})
	fn := Function{Job: id.Job{1}, Name: "f"}
	m.Step(0, &Event{Kind: Sampled, Sample: Sample{Limit: 1 << 30, Available: -1}}, nil)
	var fx []Effect
	b.ReportAllocs()
	for b.Loop() {
		m.Admit(time.Second, fn, 0)
		fx = m.Step(time.Second, &Event{Kind: TaskStarted, Task: taskID(1), Attempt: 1, Function: fn}, fx[:0])
		fx = m.Step(time.Second, &Event{Kind: TaskStarted, Task: taskID(1), Attempt: 1, Function: fn, Worker: 2}, fx[:0])
		fx = m.Step(time.Second, &Event{Kind: TaskEnded, Task: taskID(1), Attempt: 1, Bytes: 1000}, fx[:0])
	}
}

// BenchmarkSample has 64 workers with a task each.
func BenchmarkSample(b *testing.B) {
	m := New(Options{})
	s := Sample{Limit: 1 << 30, Store: 1 << 20, StoreLimit: 1 << 28, Node: 1 << 20, Available: 1 << 30}
	for i := range 64 {
		w := id.Worker(i + 2)
		s.Workers = append(s.Workers, Worker{ID: w, Job: id.Job{1}, Bytes: 1 << 20})
		m.Step(0, &Event{Kind: TaskStarted, Task: taskID(i), Attempt: 1, Worker: w, Function: Function{Name: "f"}}, nil)
	}
	var fx []Effect
	b.ReportAllocs()
	for b.Loop() {
		fx = m.Step(time.Second, &Event{Kind: Sampled, Sample: s}, fx[:0])
	}
}
