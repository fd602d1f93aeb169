package dispatch

import (
	"reflect"
	"testing"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// gpus is a task that needs so many of them, in tenths.
func gpus(t *testing.T, tenths int, in spec.Strategy) *spec.Task {
	s := &spec.Task{Job: id.Job{1}, Function: "f", Resources: resource.Vector{GPU: resource.Unit * resource.Amount(tenths) / 10}, Strategy: in}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	return s
}

// held are the devices of a start's lease, each with its tenths.
func held(m *Machine, x Effect) map[int]int {
	out := map[int]int{}
	for _, p := range m.Devices(x.Lease, id.Task{}) {
		out[p.Device] = int(p.Amount * 10 / resource.Unit)
	}
	return out
}

// Each lease has devices of its own; fractions share one, and nobody gets parts
// of two for a fraction although their sum would do.
func TestDevices(t *testing.T) {
	d := drive(t, ready(4, 2))
	d.step(Event{Kind: Capacity, Total: resource.Vector{CPU: 4 * resource.Unit, GPU: 3 * resource.Unit}})
	n := 0
	start := func(tenths int) (Effect, bool) {
		n++
		fx := d.step(Event{Kind: Enqueue, Task: taskID(n), Spec: gpus(t, tenths, spec.Strategy{})})
		for _, x := range fx {
			if x.Kind == Start && x.Task == taskID(n) {
				return x, true
			}
		}
		return Effect{}, false
	}
	want := func(x Effect, devices map[int]int) {
		t.Helper()
		if got := held(d.m, x); !reflect.DeepEqual(got, devices) {
			t.Errorf("task %v has %v, want %v", x.Task, got, devices)
		}
	}
	a, _ := start(6)
	want(a, map[int]int{0: 6})
	b, _ := start(10)
	want(b, map[int]int{1: 10})
	c, _ := start(3)
	want(c, map[int]int{0: 3})
	e, _ := start(5)
	want(e, map[int]int{2: 5})
	if x, ok := start(6); ok {
		t.Fatalf("0.1 and 0.5 are left of two, and %v has %v", x.Task, held(d.m, x))
	}
	fx := d.step(done(a, 1)) // 0.7 of the first
	if len(fx) == 0 || fx[len(fx)-1].Kind != Start {
		t.Fatal(kinds(fx))
	}
	want(fx[len(fx)-1], map[int]int{0: 6})
	d.step(done(b, 1))
	d.step(done(fx[len(fx)-1], 1))
	d.step(done(c, 1))
	two, ok := start(20)
	if !ok {
		t.Fatal("two are whole")
	}
	want(two, map[int]int{0: 10, 1: 10})
}

// A bundle has devices, and what runs in it those.
func TestDevicesOfBundles(t *testing.T) {
	d := drive(t, ready(4, 2))
	d.step(Event{Kind: Capacity, Total: resource.Vector{GPU: 3 * resource.Unit}})
	g := taskID(900)
	for b := range 2 {
		d.one(Event{Kind: Reserve, Group: g, Bundle: b, Total: resource.Vector{GPU: resource.Unit * 3 / 2}}, Reserved)
	}
	for b, want := range []map[int]int{{0: 10}, {2: 10}} {
		in := spec.Strategy{Kind: spec.InGroup, Group: g, Bundle: b}
		x := d.one(Event{Kind: Enqueue, Task: taskID(10 + b), Spec: gpus(t, 10, in)}, Start)
		if got := held(d.m, x); !reflect.DeepEqual(got, want) {
			t.Errorf("bundle %d: %v, want %v", b, got, want)
		}
		y := d.one(Event{Kind: Enqueue, Task: taskID(20 + b), Spec: gpus(t, 5, in)}, Start)
		if got := held(d.m, y); !reflect.DeepEqual(got, map[int]int{1: 5}) {
			t.Errorf("bundle %d: %v of the one that both share", b, got)
		}
	}
	d.step(Event{Kind: Unreserve, Group: g, Bundle: -1}) // Check compares
}

// A worker leaves after so many calls of a function.
func TestMaxCalls(t *testing.T) {
	d := drive(t, ready(1, 2))
	s := &spec.Task{Job: class1.Job, Function: "f", Isolated: true, MaxCalls: 2, Resources: resource.Vector{CPU: resource.Unit}}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	c := Class{Job: class1.Job, Isolated: true}
	d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: s}, Spawn)
	x := d.one(Event{Kind: WorkerUp, Worker: 5, Class: c}, Start)
	d.none(done(x, 1000))
	y := d.one(Event{Kind: Enqueue, Task: taskID(2), Spec: s}, Start)
	if y.Worker != 5 {
		t.Fatal("another worker")
	}
	d.none(Event{Kind: Enqueue, Task: taskID(3), Spec: s}) // not behind it, though both are short
	fx := d.step(done(y, 1000))
	if got := kinds(fx); !reflect.DeepEqual(got, []string{"close", "retire", "spawn"}) {
		t.Fatal(got)
	}
	if z := d.one(Event{Kind: WorkerUp, Worker: 6, Class: c}, Start); z.Task != taskID(3) {
		t.Fatal(z.Task)
	}
}
