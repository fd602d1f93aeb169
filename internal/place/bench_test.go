package place

import (
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

var (
	self = id.Node{1}
	far  = id.Node{2}
)

func cpus(n int) resource.Vector { return resource.Vector{CPU: resource.Amount(n) * resource.Unit} }

func newSpec(t interface{ Fatal(...any) }, change func(*spec.Task)) *spec.Task {
	s := &spec.Task{Job: id.Job{1}, Function: "f", Resources: cpus(1)}
	if change != nil {
		change(s)
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	return s
}

func taskID(n int) id.Task { return id.NewTask(self, uint64(n)) }

// BenchmarkHere is a task of an owner that knows no other node.
func BenchmarkHere(b *testing.B) {
	m := New(self, Options{Fixed: true})
	var fx []Effect
	fx = m.Step(0, &Event{Kind: View, Node: self, Total: cpus(4), Free: cpus(4)}, fx)
	ev := Event{Kind: Runnable, Spec: newSpec(b, nil)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ev.Task = taskID(i)
		fx = m.Step(0, &ev, fx[:0])
	}
}

// BenchmarkPush is a task that goes through a lease held at another node.
func BenchmarkPush(b *testing.B) {
	m := New(self, Options{})
	var fx []Effect
	s := newSpec(b, func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: far} })
	fx = m.Step(0, &Event{Kind: View, Node: far, Total: cpus(4), Free: cpus(4)}, fx)
	fx = m.Step(0, &Event{Kind: Runnable, Spec: s, Task: taskID(0)}, fx)
	fx = m.Step(0, &Event{Kind: Granted, Node: far, Key: s.Key(), Lease: 7}, fx)
	ev := Event{Kind: Runnable, Spec: s}
	end := Event{Kind: Ended, Node: far, Lease: 7}
	now := time.Duration(0)
	b.ReportAllocs()
	for i := 1; b.Loop(); i++ {
		now += time.Microsecond
		end.Task, ev.Task = taskID(i-1), taskID(i)
		fx = m.Step(now, &end, fx[:0])
		fx = m.Step(now, &ev, fx[:0])
		if len(fx) != 1 || fx[0].Kind != Push {
			b.Fatalf("%+v", fx)
		}
	}
}

// BenchmarkChoose is a choice among a thousand nodes, with the lease's whole life.
func BenchmarkChoose(b *testing.B) {
	m := New(self, Options{})
	var fx []Effect
	for i := range 1000 {
		fx = m.Step(0, &Event{Kind: View, Node: id.Node{9, byte(i), byte(i >> 8)}, Total: cpus(64), Free: cpus(64)}, fx[:0])
	}
	fx = m.Step(0, &Event{Kind: View, Node: self, Total: cpus(4)}, fx[:0])
	s := newSpec(b, nil)
	lease := uint64(0)
	b.ReportAllocs()
	now := time.Duration(0)
	for i := 0; b.Loop(); i++ {
		now += 10 * time.Microsecond
		fx = m.Step(now, &Event{Kind: Runnable, Spec: s, Task: taskID(i)}, fx[:0])
		if fx[0].Kind != Ask {
			b.Fatal(fx[0].Kind)
		}
		lease++
		n := fx[0].Node
		fx = m.Step(now, &Event{Kind: Granted, Node: n, Key: s.Key(), Lease: lease}, fx[:0])
		fx = m.Step(now, &Event{Kind: Ended, Node: n, Lease: lease}, fx[:0])
		fx = m.Step(now, &Event{Kind: Revoked, Node: n, Lease: lease}, fx[:0])
	}
}
