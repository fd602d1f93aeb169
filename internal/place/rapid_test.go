package place

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// model is a correct shell with other nodes that grant and refuse as rapid
// draws. It knows for every task where it is.
type model struct {
	*rapid.T
	m     *Machine
	now   time.Duration
	next  int
	lease uint64
	specs []*spec.Task

	waiting map[id.Task]*spec.Task // not placed yet
	removed map[id.Task]bool
	pushed  map[heldName][]id.Task // through leases held, in order
	specOf  map[heldName]*spec.Task
	here    []queued // in this node's dispatcher
	asks    []ask    // to be answered, in order for each node
	alive   map[id.Node]bool
	left    map[id.Node]bool // draining
	placed  int
}

type queued struct {
	task id.Task
	spec *spec.Task
}

type ask struct {
	node   id.Node
	spec   *spec.Task
	noWait bool
}

func nodeID(n int) id.Node { return id.Node{byte(n + 1)} }

func newModel(t *rapid.T) *model {
	d := &model{T: t, m: New(self, Options{Batch: 4, MaxDepth: 3}), waiting: map[id.Task]*spec.Task{}, removed: map[id.Task]bool{},
		pushed: map[heldName][]id.Task{}, specOf: map[heldName]*spec.Task{}, alive: map[id.Node]bool{self: true}, left: map[id.Node]bool{}}
	add := func(change func(*spec.Task)) { d.specs = append(d.specs, newSpec(t, change)) }
	add(nil)
	add(func(s *spec.Task) { s.Resources = cpus(4) })
	add(func(s *spec.Task) { s.Strategy.Kind = spec.Spread })
	add(func(s *spec.Task) { s.Kind = spec.KindCreate })
	add(func(s *spec.Task) { s.Selector = resource.Selector{{Key: "zone", Values: []string{"b"}}} })
	add(func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: nodeID(2)} })
	add(func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: nodeID(2), Soft: true} })
	add(func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.InGroup, Group: taskID(900), Bundle: -1} })
	add(func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.InGroup, Group: taskID(900), Bundle: 1} })
	d.view(0, 2)
	return d
}

func (d *model) step(ev Event) {
	fx := d.m.Step(d.now, &ev, nil)
	if err := d.m.Check(); err != nil {
		d.Fatalf("after %v: %v", ev.Kind, err)
	}
	for i := range fx {
		d.apply(&fx[i])
	}
}

func (d *model) apply(x *Effect) {
	d.Logf("  %v task=%v node=%v lease=%d n=%d nowait=%v %s", x.Kind, x.Task, x.Node, x.Lease, x.N, x.NoWait, x.Why)
	name := heldName{x.Node, x.Lease}
	switch x.Kind {
	case Here, Push, Infeasible:
		if d.waiting[x.Task] == nil || d.removed[x.Task] {
			d.Fatalf("task %v placed and was not waiting", x.Task)
		}
		if x.Kind == Push && x.Lease != 0 {
			if d.specOf[name] == nil || d.specOf[name].Key() != d.waiting[x.Task].Key() {
				d.Fatalf("task %v pushed through a lease that is not of its key", x.Task)
			}
			d.pushed[name] = append(d.pushed[name], x.Task)
		}
		if x.Kind == Here {
			d.here = append(d.here, queued{x.Task, d.waiting[x.Task]})
		}
		if x.Kind == Push && d.left[x.Node] {
			d.Fatalf("task %v pushed to node %v, which takes nothing new", x.Task, x.Node)
		}
		delete(d.waiting, x.Task)
		d.placed++
	case Ask:
		for range x.N {
			d.asks = append(d.asks, ask{x.Node, x.Spec, x.NoWait})
		}
	case Recall:
		d.recall(x)
	case GiveBack:
		if len(d.pushed[name]) > 0 {
			d.Fatalf("lease %d given back with tasks", x.Lease)
		}
		delete(d.specOf, name)
	case Waiting:
		if x.Why == "" {
			d.Fatalf("task %v waits for no reason", x.Task)
		}
	}
}

// recall gives back what waits here.
func (d *model) recall(x *Effect) {
	switch {
	case !d.alive[x.Node] || d.left[x.Node] || x.Node == self:
		d.Fatalf("recall for node %v, which takes nothing", x.Node)
	case x.N < 1 || x.N > 4:
		d.Fatalf("recall of %d", x.N)
	}
	for n := x.N; n > 0; n-- {
		i := slices.IndexFunc(d.here, func(q queued) bool { return q.spec.Key() == x.Spec.Key() })
		if i < 0 {
			return
		}
		q := d.here[i]
		d.here = slices.Delete(d.here, i, i+1)
		d.waiting[q.task] = q.spec
		d.step(Event{Kind: Recalled, Task: q.task, Spec: q.spec, Node: x.Node})
	}
}

// start takes the oldest task from the dispatcher's queue.
func (d *model) start() {
	if len(d.here) > 0 {
		d.here = d.here[1:]
	}
}

func (d *model) view(n, free int) {
	labels := resource.Labels{"zone": string(rune('a' + n%2))}
	d.alive[nodeID(n)] = true
	d.step(Event{Kind: View, Node: nodeID(n), Total: cpus(2 + n), Free: cpus(min(free, 2+n)), Labels: labels, Queued: d.queuedAt(n)})
}

func (d *model) queuedAt(n int) int {
	if nodeID(n) == self {
		return len(d.here)
	}
	return 0
}

func (d *model) runnable() {
	s := rapid.SampledFrom(d.specs).Draw(d.T, "spec")
	var local []NodeBytes
	if rapid.Bool().Draw(d.T, "local") {
		local = []NodeBytes{{nodeID(rapid.IntRange(0, 3).Draw(d.T, "at")), 64 << 20}}
	}
	for range rapid.IntRange(1, 5).Draw(d.T, "n") {
		d.next++
		d.waiting[taskID(d.next)] = s
		d.step(Event{Kind: Runnable, Task: taskID(d.next), Spec: s, Local: local})
	}
}

// answer grants or refuses the oldest lease asked for.
func (d *model) answer(grant, never bool) {
	if len(d.asks) == 0 {
		return
	}
	a := d.asks[0]
	d.asks = d.asks[1:]
	if !d.alive[a.node] {
		return
	}
	if grant {
		d.lease++
		d.specOf[heldName{a.node, d.lease}] = a.spec
		d.step(Event{Kind: Granted, Node: a.node, Lease: d.lease, Key: a.spec.Key()})
		return
	}
	d.step(Event{Kind: Refused, Node: a.node, Key: a.spec.Key(), N: 1, Never: never, Better: nodeID(rapid.IntRange(0, 4).Draw(d.T, "better"))})
}

// held returns a lease that is held, with or without tasks.
func (d *model) held(busy bool) (heldName, bool) {
	var all []heldName
	for h := range d.specOf {
		if !busy || len(d.pushed[h]) > 0 {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b heldName) int { return int(a.lease) - int(b.lease) })
	if len(all) == 0 {
		return heldName{}, false
	}
	return rapid.SampledFrom(all).Draw(d.T, "lease"), true
}

func (d *model) ended() {
	if h, ok := d.held(true); ok {
		t := d.pushed[h][0]
		d.pushed[h] = d.pushed[h][1:]
		if d.specOf[h].Kind == spec.KindCreate {
			delete(d.specOf, h)
		}
		d.step(Event{Kind: Ended, Node: h.node, Lease: h.lease, Task: t, Ran: rapid.SampledFrom([]int64{0, 1000, 5e6}).Draw(d.T, "ran")})
	}
}

func (d *model) revoked() {
	if h, ok := d.held(false); ok {
		if len(d.pushed[h]) == 0 {
			delete(d.specOf, h)
		}
		d.step(Event{Kind: Revoked, Node: h.node, Lease: h.lease})
	}
}

func (d *model) unqueue() {
	var ts []id.Task
	for t := range d.waiting {
		ts = append(ts, t)
	}
	slices.SortFunc(ts, func(a, b id.Task) int { return slices.Compare(a[:], b[:]) })
	if len(ts) > 0 {
		t := rapid.SampledFrom(ts).Draw(d.T, "task")
		delete(d.waiting, t)
		d.removed[t] = true
		d.step(Event{Kind: Unqueue, Task: t})
	}
}

func (d *model) nodeGone() {
	n := nodeID(rapid.IntRange(1, 4).Draw(d.T, "node"))
	delete(d.alive, n)
	delete(d.left, n)
	for h := range d.specOf {
		if h.node == n {
			delete(d.specOf, h)
			delete(d.pushed, h)
		}
	}
	d.asks = slices.DeleteFunc(d.asks, func(a ask) bool { return a.node == n })
	d.step(Event{Kind: NodeGone, Node: n})
}

func (d *model) group() {
	nodes := [][]id.Node{{nodeID(0), nodeID(1)}, {nodeID(3), nodeID(3)}, nil}
	d.step(Event{Kind: GroupAt, Group: taskID(900), Nodes: rapid.SampledFrom(nodes).Draw(d.T, "nodes")})
}

func (d *model) drain() {
	n := rapid.IntRange(1, 4).Draw(d.T, "node")
	if d.alive[nodeID(n)] {
		d.left[nodeID(n)] = true
		d.step(Event{Kind: Draining, Node: nodeID(n)})
	}
}

// settle makes a cluster that can run everything and lets it.
func (d *model) settle() {
	d.here = nil
	for n := range 6 {
		if d.left[nodeID(n)] && n != 0 {
			delete(d.left, nodeID(n))
			delete(d.alive, nodeID(n))
			d.asks = slices.DeleteFunc(d.asks, func(a ask) bool { return a.node == nodeID(n) })
			for h := range d.specOf {
				if h.node == nodeID(n) {
					delete(d.specOf, h)
					delete(d.pushed, h)
				}
			}
			d.step(Event{Kind: NodeGone, Node: nodeID(n)})
		}
	}
	for n := range 6 {
		d.view(n, 9)
	}
	d.step(Event{Kind: GroupAt, Group: taskID(900), Nodes: []id.Node{nodeID(0), nodeID(1)}})
	for i := 0; len(d.asks) > 0 || len(d.specOf) > 0; i++ {
		if i > 5000 {
			d.Fatalf("no end: %+v", d.m.Stats())
		}
		d.answer(true, false)
		if h, ok := d.held(true); ok {
			t := d.pushed[h][0]
			d.pushed[h] = d.pushed[h][1:]
			if d.specOf[h].Kind == spec.KindCreate {
				delete(d.specOf, h)
			}
			d.step(Event{Kind: Ended, Node: h.node, Lease: h.lease, Task: t})
		} else if len(d.asks) == 0 {
			d.now += time.Second
			d.step(Event{Kind: Tick})
		}
	}
	if at, ok := d.m.Deadline(); ok {
		d.now = max(d.now, at)
		d.step(Event{Kind: Tick})
	}
	if _, ok := d.m.Deadline(); ok {
		d.Fatalf("an idle placer keeps ticking: %+v", d.m.Stats())
	}
	if st := d.m.Stats(); len(d.waiting) > 0 || st.Leases+st.Asked+st.Parked > 0 || len(d.m.sites) > 0 {
		d.Fatalf("%d tasks wait, %+v", len(d.waiting), st)
	}
}

func TestEveryTaskIsPlacedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"runnable": func(*rapid.T) { d.runnable() }, "runnable2": func(*rapid.T) { d.runnable() },
			"grant": func(*rapid.T) { d.answer(true, false) }, "grant2": func(*rapid.T) { d.answer(true, false) },
			"refuse": func(*rapid.T) { d.answer(false, false) }, "refuse2": func(*rapid.T) { d.answer(false, false) },
			"never": func(*rapid.T) { d.answer(false, true) }, "ended": func(*rapid.T) { d.ended() }, "ended2": func(*rapid.T) { d.ended() },
			"revoked": func(*rapid.T) { d.revoked() }, "unqueue": func(*rapid.T) { d.unqueue() }, "start": func(*rapid.T) { d.start() },
			"view":     func(t *rapid.T) { d.view(rapid.IntRange(0, 4).Draw(t, "node"), rapid.IntRange(0, 5).Draw(t, "free")) },
			"nodeGone": func(*rapid.T) { d.nodeGone() }, "group": func(*rapid.T) { d.group() }, "drain": func(*rapid.T) { d.drain() },
			"tick": func(*rapid.T) {
				d.now += rapid.SampledFrom([]time.Duration{time.Millisecond, 10 * time.Millisecond}).Draw(d.T, "dt")
				d.step(Event{Kind: Tick})
			},
		})
		d.settle()
	})
}
