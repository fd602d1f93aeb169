package place

import (
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// driver drives a Machine, checking its invariants at every step.
type driver struct {
	testing.TB
	m   *Machine
	now time.Duration
}

func (d *driver) step(ev Event) []Effect {
	d.Helper()
	fx := d.m.Step(d.now, &ev, nil)
	if err := d.m.Check(); err != nil {
		d.Fatalf("%v: %v", ev.Kind, err)
	}
	return fx
}

// one checks that there is one effect of a kind and returns it.
func (d *driver) one(ev Event, kind EffectKind) Effect {
	d.Helper()
	fx := d.step(ev)
	if len(fx) != 1 || fx[0].Kind != kind {
		d.Fatalf("%v: got %+v, want one %v", ev.Kind, fx, kind)
	}
	return fx[0]
}

// cluster is a Machine that knows nodes 0 (itself) to n-1, with as many free
// CPUs of 8 as given, in zones a and b in turn.
func cluster(t testing.TB, o Options, free ...int) *driver {
	d := &driver{TB: t, m: New(self, o)}
	for i, f := range free {
		d.step(Event{Kind: View, Node: nodeID(i), Total: cpus(8), Free: cpus(f), Labels: resource.Labels{"zone": string(rune('a' + i%2))}})
	}
	return d
}

func TestChoice(t *testing.T) {
	inZone := func(z string) func(*spec.Task) {
		return func(s *spec.Task) { s.Selector = resource.Selector{{Key: "zone", Values: []string{z}}} }
	}
	at := func(n int, soft bool) func(*spec.Task) {
		return func(s *spec.Task) {
			s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: nodeID(n), Soft: soft}
		}
	}
	for _, c := range []struct {
		name   string
		free   []int
		change func(*spec.Task)
		local  []NodeBytes
		want   int // node
	}{
		{"here while it is not half full", []int{5, 8, 8}, nil, nil, 0},
		{"the least loaded once it is", []int{2, 3, 8}, nil, nil, 2},
		{"here rather than to a node as full", []int{0, 0, 0}, nil, nil, 0},
		{"where the arguments are", []int{8, 8, 8}, nil, []NodeBytes{{nodeID(1), 64 << 20}}, 1},
		{"few bytes do not count", []int{8, 8, 8}, nil, []NodeBytes{{nodeID(1), 1000}}, 0},
		{"nor when here are as many", []int{8, 8, 8}, nil, []NodeBytes{{nodeID(1), 64 << 20}, {nodeID(0), 64 << 20}}, 0},
		{"nor when that node is full", []int{8, 0, 8}, nil, []NodeBytes{{nodeID(1), 64 << 20}}, 0},
		{"by label", []int{8, 8, 8}, inZone("b"), nil, 1},
		{"bytes do not overrule labels", []int{8, 8, 8}, inZone("b"), []NodeBytes{{nodeID(2), 64 << 20}}, 1},
		{"bound to a node", []int{8, 8, 0}, at(2, false), nil, 2},
		{"preferring a node", []int{8, 8, 0}, at(2, true), nil, 2},
		{"preferring a node that is not there", []int{8, 8, 0}, at(7, true), nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := cluster(t, Options{}, c.free...)
			fx := d.step(Event{Kind: Runnable, Task: taskID(1), Spec: newSpec(t, c.change), Local: c.local})
			got := self
			if fx[0].Kind == Ask {
				got = fx[0].Node
			}
			if got != nodeID(c.want) {
				t.Fatalf("node %v, want %v (%v)", got, nodeID(c.want), fx[0].Kind)
			}
		})
	}
}

func TestSpreadIsEven(t *testing.T) {
	d := cluster(t, Options{}, 8, 8, 8, 8)
	s := newSpec(t, func(s *spec.Task) { s.Strategy.Kind = spec.Spread })
	count := map[id.Node]int{}
	for i := range 20 {
		for _, x := range d.step(Event{Kind: Runnable, Task: taskID(i), Spec: s}) {
			count[x.Node] += max(1, x.N)
		}
	}
	if count[id.Node{}] != 5 || count[nodeID(1)] != 5 || count[nodeID(2)] != 5 || count[nodeID(3)] != 5 {
		t.Fatalf("%v", count)
	}
}

func TestNoNode(t *testing.T) {
	zone := func(s *spec.Task) { s.Selector = resource.Selector{{Key: "zone", Values: []string{"x"}}} }
	for _, c := range []struct {
		name   string
		change func(*spec.Task)
		never  bool // even if the cluster can grow
		why    string
	}{
		{"labels", zone, false, "2 nodes: none matches the labels zone=x"},
		{"resources", func(s *spec.Task) { s.Resources = cpus(99) }, false, "2 nodes: the task asks for 99 CPU, the most that one has is 8"},
		{"unknown node", func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: nodeID(9)} }, false, "not known"},
		{"too small a node", func(s *spec.Task) {
			s.Strategy, s.Resources = spec.Strategy{Kind: spec.NodeAffinity, Node: nodeID(1)}, cpus(9)
		}, true, "has 8 CPU; the task asks for 9"},
		{"dead node", func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: nodeID(5)} }, true, "is gone"},
		{"removed group", func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.InGroup, Group: taskID(1)} }, true, "was removed"},
		{"bundle", func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.InGroup, Group: taskID(2), Bundle: 3} }, true, "has bundles 0 to 1, not 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, fixed := range []bool{false, true} {
				d := cluster(t, Options{Fixed: fixed}, 8, 8)
				d.step(Event{Kind: View, Node: nodeID(5), Total: cpus(1)})
				d.step(Event{Kind: NodeGone, Node: nodeID(5)})
				d.step(Event{Kind: GroupAt, Group: taskID(1)})
				d.step(Event{Kind: GroupAt, Group: taskID(2), Nodes: []id.Node{self, self}})
				want := Waiting
				if fixed || c.never {
					want = Infeasible
				}
				x := d.one(Event{Kind: Runnable, Task: taskID(9), Spec: newSpec(t, c.change)}, want)
				if !strings.Contains(x.Why, c.why) {
					t.Errorf("fixed=%v: %q does not say %q", fixed, x.Why, c.why)
				}
			}
		})
	}
}

func TestParkedTaskRunsWhenItsNodeComes(t *testing.T) {
	d := cluster(t, Options{}, 8)
	s := newSpec(t, func(s *spec.Task) { s.Resources = resource.Vector{GPU: resource.Unit} })
	d.one(Event{Kind: Runnable, Task: taskID(1), Spec: s}, Waiting)
	if why, ok := d.m.Waiting(taskID(1)); !ok || !strings.Contains(why, "1 GPU") {
		t.Fatalf("%v %q", ok, why)
	}
	if p := d.m.Parked(); len(p) != 1 || p[0].Spec != s || p[0].N != 1 {
		t.Fatalf("%+v", p)
	}
	x := d.one(Event{Kind: View, Node: far, Total: resource.Vector{GPU: resource.Unit}, Free: resource.Vector{GPU: resource.Unit}}, Ask)
	d.one(Event{Kind: Granted, Node: far, Key: x.Key, Lease: 4}, Push)
	d.step(Event{Kind: Ended, Node: far, Lease: 4, Task: taskID(1)})
	d.now = time.Second
	d.one(Event{Kind: Tick}, GiveBack)
}

func TestGroupTasksFollowTheirGroup(t *testing.T) {
	d := cluster(t, Options{}, 8, 8, 8)
	s := newSpec(t, func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.InGroup, Group: taskID(70), Bundle: 1} })
	d.one(Event{Kind: Runnable, Task: taskID(1), Spec: s}, Waiting)
	x := d.one(Event{Kind: GroupAt, Group: taskID(70), Nodes: []id.Node{nodeID(1), nodeID(2)}}, Ask)
	if x.Node != nodeID(2) {
		t.Fatalf("node %v", x.Node)
	}
	d.step(Event{Kind: NodeGone, Node: nodeID(2)})
	d.one(Event{Kind: GroupAt, Group: taskID(70), Nodes: []id.Node{nodeID(1), self}}, Here)
	d.step(Event{Kind: GroupAt, Group: taskID(70)})
	d.one(Event{Kind: Runnable, Task: taskID(2), Spec: s}, Infeasible)
}

func TestRefusedTwiceItWaitsThere(t *testing.T) {
	d := cluster(t, Options{}, 0, 8, 8, 8)
	s := newSpec(t, func(s *spec.Task) { s.Strategy.Kind = spec.Spread })
	d.m.self.draining = true // so that it has to go elsewhere
	d.m.version++
	x := d.one(Event{Kind: Runnable, Task: taskID(1), Spec: s}, Ask)
	for i := range 3 {
		if x.NoWait != (i < 3) {
			t.Fatalf("ask %d: %+v", i, x)
		}
		before := x.Node
		fx := d.step(Event{Kind: Refused, Node: x.Node, Key: x.Key, N: 1})
		if len(fx) != 1 || fx[0].Kind != Ask || (i < 2) != (fx[0].Node != before) {
			t.Fatalf("refusal %d: %+v", i+1, fx)
		}
		x = fx[0]
	}
	if x.NoWait {
		t.Fatal("the last ask can be refused again")
	}
	// A node with room takes it over.
	other := nodeID(1)
	if x.Node == other {
		other = nodeID(2)
	}
	y := d.one(Event{Kind: View, Node: other, Total: cpus(8), Free: cpus(8), Labels: d.m.byID[other].labels}, Ask)
	if y.Node != other {
		t.Fatalf("asked %v", y.Node)
	}
	d.one(Event{Kind: Granted, Node: other, Key: x.Key, Lease: 1}, Push)
	if fx := d.step(Event{Kind: Granted, Node: x.Node, Key: x.Key, Lease: 1}); len(fx) != 0 {
		t.Fatalf("%+v", fx) // it is not needed any more
	}
	d.now += time.Second
	d.one(Event{Kind: Tick}, GiveBack)
}

func TestShortTasksArePipelinedThroughALease(t *testing.T) {
	d := cluster(t, Options{}, 0, 8)
	s := newSpec(t, func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: far} })
	for i := range 200 {
		d.step(Event{Kind: Runnable, Task: taskID(i), Spec: s})
	}
	fx := d.step(Event{Kind: Granted, Node: far, Key: s.Key(), Lease: 1})
	if len(fx) != 2 || fx[0].Kind != Push || fx[1].Kind != Ask {
		t.Fatalf("%+v", fx) // nothing is known of f
	}
	fx = d.step(Event{Kind: Ended, Node: far, Lease: 1, Task: taskID(0), Ran: 100_000})
	if len(fx) != 11 {
		t.Fatalf("%d pushed, want 11 of 100 µs in 1 ms", len(fx))
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	d := cluster(t, Options{}, 8, 8)
	here := newSpec(t, nil)
	there := newSpec(t, func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: far} })
	d.step(Event{Kind: Runnable, Task: taskID(0), Spec: there})
	d.step(Event{Kind: Granted, Node: far, Key: there.Key(), Lease: 1})
	fx := make([]Effect, 0, 8)
	n := testing.AllocsPerRun(1000, func() {
		for _, ev := range [...]Event{{Kind: Ended, Node: far, Lease: 1}, {Kind: Runnable, Spec: here}, {Kind: Runnable, Spec: there}} {
			fx = d.m.Step(d.now, &ev, fx[:0])
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for two tasks", n)
	}
}
