package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// model is a correct shell with workers that do what they are told at times
// that rapid draws. It knows for every task where it is.
type model struct {
	*rapid.T
	m     *Machine
	now   time.Duration
	next  int
	specs []*spec.Task

	waiting map[id.Task]*spec.Task   // enqueued, not started
	out     map[id.Task]*placed      // started, not over
	actors  map[id.Task]*placed      // constructed, not released
	leases  map[Lease][]id.Task      // in order
	workers map[id.Worker]Class      // up
	owes    []Class                  // spawns to answer
	revoked map[Lease]id.Worker      // TakenBack owed
	grants  map[Lease]id.Node        // granted and not ended
	asked   map[id.Node]int          // leases asked for and not answered
	groups  map[id.Group]map[int]int // 1 asked for, 2 reserved
	removed map[id.Task]bool         // Unqueued while waiting
	over    int                      // tasks that ended
	worker  id.Worker
}

type placed struct {
	spec    *spec.Task
	lease   Lease
	worker  id.Worker
	begun   bool
	blocked bool
}

var modelTotal = resource.Vector{CPU: 4 * resource.Unit, GPU: 3 * resource.Unit, Custom: []resource.Entry{{Name: "x", Amount: resource.Unit}}}

func newModel(t *rapid.T) *model {
	d := &model{T: t, m: New(Options{ZeroTasks: 3, StarveAfter: 5 * time.Millisecond, MaxDepth: 4, EmbeddedDepth: 1, SpawnTries: 2}),
		waiting: map[id.Task]*spec.Task{}, out: map[id.Task]*placed{}, actors: map[id.Task]*placed{}, leases: map[Lease][]id.Task{},
		workers: map[id.Worker]Class{}, revoked: map[Lease]id.Worker{}, grants: map[Lease]id.Node{}, asked: map[id.Node]int{},
		groups: map[id.Group]map[int]int{}, removed: map[id.Task]bool{}, worker: 1}
	d.step(Event{Kind: Capacity, Total: modelTotal})
	d.step(Event{Kind: WorkerUp, Worker: embedded, Class: Class{Job: id.Job{1}}})
	d.workers[embedded] = Class{Job: id.Job{1}}
	for job := byte(1); job <= 2; job++ {
		for i, need := range []resource.Vector{
			{CPU: resource.Unit}, {CPU: resource.Unit}, {CPU: 3 * resource.Unit}, {}, {GPU: resource.Unit}, {GPU: resource.Unit * 6 / 10}, {GPU: 2 * resource.Unit},
			{CPU: resource.Unit / 2, Custom: []resource.Entry{{Name: "x", Amount: resource.Unit}}},
		} {
			d.addSpec(&spec.Task{Job: id.Job{job}, Function: fmt.Sprint("f", i), Resources: need, Priority: i % 2, Isolated: i == 1, MaxCalls: b2i(i == 1) * 3})
		}
		d.addSpec(&spec.Task{Job: id.Job{job}, Function: "new", Kind: spec.KindCreate, Resources: resource.Vector{CPU: resource.Unit}, Isolated: job == 1})
		for b := -1; b <= 1; b++ {
			d.addSpec(&spec.Task{Job: id.Job{job}, Function: "h", Resources: resource.Vector{GPU: resource.Unit / 2}, Strategy: spec.Strategy{Kind: spec.InGroup, Group: taskID(900), Bundle: b}})
			d.addSpec(&spec.Task{Job: id.Job{job}, Function: "g", Resources: resource.Vector{CPU: resource.Unit}, Strategy: spec.Strategy{Kind: spec.InGroup, Group: taskID(900), Bundle: b}})
		}
	}
	return d
}

func (d *model) addSpec(s *spec.Task) {
	if err := s.Seal(); err != nil {
		d.Fatal(err)
	}
	d.specs = append(d.specs, s)
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
	d.Logf("  %v task=%v lease=%d worker=%d n=%d", x.Kind, x.Task, x.Lease, x.Worker, x.N)
	switch x.Kind {
	case Start:
		s := d.waiting[x.Task]
		if s == nil || d.removed[x.Task] {
			d.Fatalf("task %v started and was not waiting", x.Task)
		}
		if c, up := d.workers[x.Worker]; !up || c.Job != s.Job || c.Isolated != s.Isolated {
			d.Fatalf("task %v started at worker %d of %v", x.Task, x.Worker, c)
		}
		if len(d.leases[x.Lease]) != x.N {
			d.Fatalf("task %v is behind %d tasks, not %d", x.Task, len(d.leases[x.Lease]), x.N)
		}
		delete(d.waiting, x.Task)
		d.out[x.Task] = &placed{spec: s, lease: x.Lease, worker: x.Worker, begun: x.N == 0}
		d.leases[x.Lease] = append(d.leases[x.Lease], x.Task)
	case Spawn:
		d.owes = append(d.owes, x.Class)
	case Retire:
		if _, up := d.workers[x.Worker]; !up {
			d.Fatalf("worker %d retired and was not there", x.Worker)
		}
		for _, p := range d.out {
			if p.worker == x.Worker {
				d.Fatalf("worker %d retired with tasks", x.Worker)
			}
		}
		delete(d.workers, x.Worker)
	case Revoke:
		d.revoked[x.Lease] = x.Worker
	case Infeasible, SetupFailed:
		if d.waiting[x.Task] == nil {
			d.Fatalf("task %v failed and was not waiting", x.Task)
		}
		delete(d.waiting, x.Task)
	case Reserved:
		d.groups[x.Group][x.Bundle] = 2
	case Grant:
		d.grants[x.Lease] = x.Node
		d.asked[x.Node]--
	case Refuse:
		d.asked[x.Node] -= x.N
	case End:
		delete(d.grants, x.Lease)
	case Close:
		if len(d.leases[x.Lease]) > 0 {
			d.Fatalf("lease %d closed with tasks", x.Lease)
		}
	}
}

// begun returns the running tasks in the order of their ids.
func (d *model) begun(blocked bool) (out []id.Task) {
	for t, p := range d.out {
		if p.begun && p.blocked == blocked {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, bytesCompare)
	return out
}

func (d *model) pick(tasks []id.Task, what string) (t id.Task, ok bool) {
	if len(tasks) == 0 {
		return t, false
	}
	return rapid.SampledFrom(tasks).Draw(d.T, what), true
}

func (d *model) enqueue() {
	s := rapid.SampledFrom(d.specs).Draw(d.T, "spec")
	for range rapid.IntRange(1, 6).Draw(d.T, "n") {
		d.next++
		t := taskID(d.next)
		d.waiting[t] = s
		d.step(Event{Kind: Enqueue, Task: t, Spec: s})
	}
}

func (d *model) finish() {
	if t, ok := d.pick(d.begun(false), "finish"); ok {
		d.end(t, rapid.SampledFrom([]int64{1, 2000, 50_000, 5_000_000}).Draw(d.T, "ran"))
	}
}

// end finishes a running task and lets its worker go on to the next.
func (d *model) end(t id.Task, ran int64) {
	p := d.out[t]
	delete(d.out, t)
	d.over++
	l := d.leases[p.lease][1:]
	d.leases[p.lease] = l
	if len(l) > 0 {
		d.out[l[0]].begun = true
	}
	if p.spec.Kind == spec.KindCreate {
		d.actors[t] = p
	}
	d.step(Event{Kind: Finished, Task: t, Lease: p.lease, Ran: ran})
}

func (d *model) block() {
	if t, ok := d.pick(d.begun(false), "block"); ok {
		d.out[t].blocked = true
		d.step(Event{Kind: Blocked, Task: t})
	}
}

func (d *model) unblock() {
	if t, ok := d.pick(d.begun(true), "unblock"); ok {
		d.out[t].blocked = false
		d.step(Event{Kind: Unblocked, Task: t, Lease: d.out[t].lease})
	}
}

func (d *model) tick() {
	d.now += rapid.SampledFrom([]time.Duration{time.Microsecond, time.Millisecond, 7 * time.Millisecond, 300 * time.Millisecond, 20 * time.Second}).Draw(d.T, "dt")
	d.step(Event{Kind: Tick})
}

// takeBack answers one revoke, giving back what has not begun.
func (d *model) takeBack() {
	var ls []Lease
	for l := range d.revoked {
		ls = append(ls, l)
	}
	slices.Sort(ls)
	if len(ls) == 0 {
		return
	}
	l := ls[0]
	delete(d.revoked, l)
	ev := Event{Kind: TakenBack, Lease: l}
	kept := d.leases[l][:0:0]
	for _, t := range d.leases[l] {
		if p := d.out[t]; p.begun {
			kept = append(kept, t)
		} else {
			ev.Tasks = append(ev.Tasks, t)
			if !d.removed[t] {
				d.waiting[t] = p.spec
			}
			delete(d.out, t)
		}
	}
	d.leases[l] = kept
	d.step(ev)
}

func (d *model) answerSpawn() {
	if len(d.owes) == 0 {
		return
	}
	c := d.owes[0]
	d.owes = d.owes[1:]
	if rapid.IntRange(0, 3).Draw(d.T, "fails") == 0 {
		d.step(Event{Kind: SpawnFailed, Class: c})
		return
	}
	d.up(c)
}

func (d *model) up(c Class) {
	d.worker++
	d.workers[d.worker] = c
	d.step(Event{Kind: WorkerUp, Worker: d.worker, Class: c})
}

func (d *model) kill() {
	var ws []id.Worker
	for w := range d.workers {
		if w != embedded {
			ws = append(ws, w)
		}
	}
	slices.Sort(ws)
	if len(ws) == 0 {
		return
	}
	w := rapid.SampledFrom(ws).Draw(d.T, "worker")
	delete(d.workers, w)
	for _, tasks := range []map[id.Task]*placed{d.out, d.actors} {
		for t, p := range tasks {
			if p.worker == w {
				delete(tasks, t)
				delete(d.leases, p.lease)
				delete(d.revoked, p.lease)
				delete(d.grants, p.lease)
			}
		}
	}
	d.step(Event{Kind: WorkerGone, Worker: w})
}

func (d *model) release() {
	var ts []id.Task
	for t := range d.actors {
		ts = append(ts, t)
	}
	slices.SortFunc(ts, bytesCompare)
	if t, ok := d.pick(ts, "actor"); ok {
		delete(d.actors, t)
		d.step(Event{Kind: Release, Task: t})
	}
}

func (d *model) unqueue() {
	var ts []id.Task
	for t := range d.waiting {
		ts = append(ts, t)
	}
	for t, p := range d.out {
		if !p.begun && p.spec.Kind != spec.KindCreate {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, bytesCompare)
	if t, ok := d.pick(ts, "unqueue"); ok {
		delete(d.waiting, t)
		d.removed[t] = true
		d.step(Event{Kind: Unqueue, Task: t})
	}
}

func (d *model) group() {
	g, b := taskID(900), rapid.IntRange(0, 1).Draw(d.T, "bundle")
	if d.groups[g] == nil {
		d.groups[g] = map[int]int{}
	}
	if rapid.Bool().Draw(d.T, "reserve") && d.groups[g][b] == 0 {
		d.groups[g][b] = 1
		d.step(Event{Kind: Reserve, Group: g, Bundle: b, Total: resource.Vector{CPU: resource.Unit, GPU: resource.Unit * resource.Amount(b) * 3 / 2}})
		return
	}
	delete(d.groups[g], b)
	d.step(Event{Kind: Unreserve, Group: g, Bundle: b})
}

func (d *model) request() {
	n := id.Node{rapid.Byte().Draw(d.T, "node")%3 + 1}
	s := d.specs[rapid.IntRange(0, 5).Draw(d.T, "spec")]
	k := rapid.IntRange(1, 3).Draw(d.T, "n")
	d.asked[n] += k
	d.step(Event{Kind: Request, Node: n, Spec: s, N: k, NoWait: rapid.Bool().Draw(d.T, "nowait")})
}

// push runs a task through a granted lease, or gives the lease back.
func (d *model) push() {
	var ls []Lease
	for l := range d.grants {
		ls = append(ls, l)
	}
	slices.Sort(ls)
	if len(ls) == 0 {
		return
	}
	l := rapid.SampledFrom(ls).Draw(d.T, "lease")
	got := d.m.leases.get(l)
	if rapid.Bool().Draw(d.T, "return") || got == nil {
		delete(d.grants, l)
		d.step(Event{Kind: Return, Lease: l})
		return
	}
	d.next++
	t := taskID(d.next)
	d.waiting[t] = got.q.spec
	d.step(Event{Kind: Enqueue, Task: t, Spec: got.q.spec, Lease: l})
}

func (d *model) holderGone() {
	n := id.Node{rapid.Byte().Draw(d.T, "node")%3 + 1}
	for l, h := range d.grants {
		if h == n {
			delete(d.grants, l)
		}
	}
	d.asked[n] = 0
	d.step(Event{Kind: HolderGone, Node: n})
}

func (d *model) pressure() {
	d.step(Event{Kind: Pressure, N: rapid.IntRange(0, 1).Draw(d.T, "pressure")})
}

// settle lets everything end and checks that nothing is left.
func (d *model) settle() {
	d.step(Event{Kind: Pressure})
	for n := byte(1); n <= 3; n++ {
		d.asked[id.Node{n}] = 0
		d.step(Event{Kind: HolderGone, Node: id.Node{n}})
	}
	d.grants = map[Lease]id.Node{}
	d.step(Event{Kind: Unreserve, Group: taskID(900), Bundle: -1})
	for i := 0; ; i++ {
		if i > 20_000 {
			d.Fatalf("no end: %+v", d.m.Stats())
		}
		d.now += time.Millisecond
		switch {
		case len(d.owes) > 0:
			c := d.owes[0]
			d.owes = d.owes[1:]
			d.up(c)
		case len(d.revoked) > 0:
			d.takeBack()
		case len(d.begun(true)) > 0:
			t := d.begun(true)[0]
			d.out[t].blocked = false
			d.step(Event{Kind: Unblocked, Task: t})
		case len(d.begun(false)) > 0:
			d.end(d.begun(false)[0], 1000)
		case len(d.actors) > 0:
			for t := range d.actors {
				delete(d.actors, t)
				d.step(Event{Kind: Release, Task: t})
				break
			}
		default:
			d.finalChecks()
			return
		}
	}
}

func (d *model) finalChecks() {
	if len(d.waiting) > 0 || len(d.out) > 0 {
		d.Fatalf("%d tasks wait, %d are out: %+v", len(d.waiting), len(d.out), d.m.Stats())
	}
	ticks := 0
	for at, ok := d.m.Deadline(); ok; at, ok = d.m.Deadline() {
		d.now = max(d.now, at)
		d.step(Event{Kind: Tick})
		if ticks++; ticks > 100 {
			d.Fatalf("an idle node keeps ticking: %+v", d.m.Stats())
		}
	}
	s := d.m.Stats()
	if free := d.m.Free(); !same(&free, &modelTotal) || s.Leases != 0 || s.Queued != 0 || s.Running != 0 {
		d.Fatalf("left over: free %v, %+v", free, s)
	}
	for job := byte(1); job <= 2; job++ {
		d.step(Event{Kind: JobEnd, Class: Class{Job: id.Job{job}}})
	}
	d.now += time.Hour
	d.step(Event{Kind: Tick})
	d.step(Event{Kind: Tick})
	if m := d.m; len(m.queues) > 0 || len(m.shapes) > 0 || len(m.classes) > 1 || len(m.workers) > 1 || len(m.byJob) > 1 {
		d.Fatalf("not forgotten: %d queues, %d shapes, %d classes, %d workers, %d jobs",
			len(m.queues), len(m.shapes), len(m.classes), len(m.workers), len(m.byJob))
	}
}

func TestEveryTaskRunsOnceAndResourcesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"enqueue": func(*rapid.T) { d.enqueue() }, "enqueue2": func(*rapid.T) { d.enqueue() },
			"finish": func(*rapid.T) { d.finish() }, "finish2": func(*rapid.T) { d.finish() }, "finish3": func(*rapid.T) { d.finish() },
			"block": func(*rapid.T) { d.block() }, "unblock": func(*rapid.T) { d.unblock() },
			"tick": func(*rapid.T) { d.tick() }, "takeBack": func(*rapid.T) { d.takeBack() },
			"spawn": func(*rapid.T) { d.answerSpawn() }, "kill": func(*rapid.T) { d.kill() },
			"release": func(*rapid.T) { d.release() }, "unqueue": func(*rapid.T) { d.unqueue() },
			"group": func(*rapid.T) { d.group() }, "request": func(*rapid.T) { d.request() },
			"push": func(*rapid.T) { d.push() }, "holderGone": func(*rapid.T) { d.holderGone() },
			"pressure": func(*rapid.T) { d.pressure() },
		})
		d.settle()
	})
}
