package dispatch

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

func newSpec(t testing.TB, job byte, function string, cpu float64) *spec.Task {
	s := &spec.Task{Job: id.Job{job}, Function: function}
	s.Resources.CPU, _ = resource.ParseAmount(resource.CPU, cpu)
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	return s
}

func taskID(n int) id.Task { return id.NewTask(id.Node{1}, uint64(n)) }

// ready returns a machine with some CPUs and a shared worker for each of jobs.
func ready(cpus, jobs int) *Machine {
	m := New(Options{})
	m.Step(0, &Event{Kind: Capacity, Total: resource.Vector{CPU: resource.Amount(cpus) * resource.Unit}}, nil)
	for j := range jobs {
		m.Step(0, &Event{Kind: WorkerUp, Worker: id.Worker(10 + j), Class: Class{Job: id.Job{byte(j), byte(j >> 8)}}}, nil)
	}
	return m
}

// BenchmarkCycle is a task alone: enqueued, started at once, finished.
func BenchmarkCycle(b *testing.B) {
	m := ready(4, 2)
	s := newSpec(b, 1, "f", 1)
	var fx []Effect
	enq, fin := Event{Kind: Enqueue, Spec: s}, Event{Kind: Finished, Ran: 1000}
	b.ReportAllocs()
	now := time.Duration(0)
	for i := 0; b.Loop(); i++ {
		now += time.Microsecond
		enq.Task = taskID(i)
		fx = m.Step(now, &enq, fx[:0])
		fin.Task, fin.Lease = enq.Task, fx[0].Lease
		fx = m.Step(now, &fin, fx[:0])
	}
}

// BenchmarkDrain runs a million queued tasks on four CPUs. One operation is
// one task's enqueue, start and finish.
func BenchmarkDrain(b *testing.B) {
	for _, depth := range []int{-1, 64} {
		b.Run(fmt.Sprint("depth=", max(0, depth)), func(b *testing.B) {
			b.ReportAllocs()
			const total = 1_000_000
			for b.Loop() {
				m := ready(4, 2)
				m.o.MaxDepth = depth
				drain(b, m, total, []*spec.Task{newSpec(b, 1, "f", 1)})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/total, "ns/task")
		})
	}
}

// drain enqueues total tasks of the specs in turn and then finishes whatever
// was started until nothing is left.
func drain(b testing.TB, m *Machine, total int, specs []*spec.Task) {
	enq, fin := Event{Kind: Enqueue}, Event{Kind: Finished, Ran: 2000}
	var fx, pending []Effect
	for i := range total {
		enq.Task, enq.Spec = taskID(i), specs[i%len(specs)]
		fx = m.Step(0, &enq, fx[:0])
		pending = appendStarts(pending, fx)
	}
	now, done := time.Duration(0), 0
	var batch []Effect
	for len(pending) > 0 {
		batch, pending = pending, batch[:0]
		for i := range batch {
			now += 500
			fin.Task, fin.Lease = batch[i].Task, batch[i].Lease
			fx = m.Step(now, &fin, fx[:0])
			pending = appendStarts(pending, fx)
			done++
		}
	}
	if done != total {
		b.Fatalf("%d of %d ran; %+v", done, total, m.Stats())
	}
}

func appendStarts(to, fx []Effect) []Effect {
	for i := range fx {
		if fx[i].Kind == Start {
			to = append(to, fx[i])
		}
	}
	return to
}

// BenchmarkKeys drains tasks of many keys, so that leases keep changing hands.
func BenchmarkKeys(b *testing.B) {
	for _, keys := range []int{10, 1000} {
		b.Run(strconv.Itoa(keys), func(b *testing.B) {
			const total = 200_000
			var specs []*spec.Task
			for k := range keys {
				s := &spec.Task{Job: id.Job{1}, Function: "f", Selector: resource.Selector{{Key: strconv.Itoa(k), Not: true, Values: []string{"x"}}}}
				s.Resources.CPU = resource.Unit
				if err := s.Seal(); err != nil {
					b.Fatal(err)
				}
				specs = append(specs, s)
			}
			for b.Loop() {
				drain(b, ready(4, 2), total, specs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/total, "ns/task")
		})
	}
}

// BenchmarkJobs drains tasks of many jobs.
func BenchmarkJobs(b *testing.B) {
	for _, jobs := range []int{2, 200} {
		b.Run(strconv.Itoa(jobs), func(b *testing.B) {
			const total = 200_000
			var specs []*spec.Task
			for j := range jobs {
				specs = append(specs, newSpec(b, byte(j), "f", 1))
			}
			for b.Loop() {
				drain(b, ready(4, jobs), total, specs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/total, "ns/task")
		})
	}
}
