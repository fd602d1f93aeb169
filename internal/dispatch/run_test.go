package dispatch

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

func TestTaskRunsAtOnceAndReusesItsLease(t *testing.T) {
	d := drive(t, ready(2, 2))
	s := newSpec(t, 1, "f", 1)
	a := d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: s}, Start)
	if a.N != 0 || a.Worker != 11 || a.Task != taskID(1) {
		t.Fatalf("%+v", a)
	}
	d.none(done(a, time.Millisecond))
	if f := d.m.Free(); f.CPU != 2*10000 {
		t.Fatalf("free %v", f)
	}
	b := d.one(Event{Kind: Enqueue, Task: taskID(2), Spec: s}, Start)
	if b.Lease != a.Lease {
		t.Fatalf("lease %d, want %d again", b.Lease, a.Lease)
	}
	d.none(done(b, time.Millisecond))
	at, ok := d.m.Deadline()
	if !ok || at > spec.LeaseIdle {
		t.Fatalf("deadline %v %v", at, ok)
	}
	d.now = spec.LeaseIdle
	d.one(Event{Kind: Tick}, Close)
	if len(d.m.leases.free) != len(d.m.leases.at) {
		t.Fatal("the lease is still there")
	}
	if got := d.m.Next(0, 1, nil); got != nil { // a call of a method has none
		t.Fatalf("got %v of no lease", got)
	}
}

func TestNextOfALease(t *testing.T) {
	d := drive(t, ready(1, 2))
	s := newSpec(t, 1, "f", 1)
	first := d.one(Event{Kind: Enqueue, Task: taskID(0), Spec: s}, Start)
	for i := range 200 {
		d.none(Event{Kind: Enqueue, Task: taskID(i + 1), Spec: s})
	}
	want := []id.Task{taskID(1), taskID(2), taskID(3)}
	if got := d.m.Next(first.Lease, 3, nil); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := d.m.Next(first.Lease, 300, nil); len(got) != 200 || got[199] != taskID(200) {
		t.Errorf("got %d tasks, want 200 in order", len(got))
	}
	if got := d.m.Next(first.Lease+1, 3, nil); got != nil {
		t.Errorf("got %v of a lease that does not exist", got)
	}
}

func TestPipelineDepthFollowsServiceTime(t *testing.T) {
	for _, c := range []struct {
		ran   time.Duration
		depth int
	}{
		{time.Microsecond, 64}, {10 * time.Microsecond, 20}, {100 * time.Microsecond, 2},
		{500 * time.Microsecond, 1}, {5 * time.Millisecond, 0},
	} {
		d := drive(t, ready(1, 2))
		s := newSpec(t, 1, "f", 1)
		first := d.one(Event{Kind: Enqueue, Task: taskID(0), Spec: s}, Start)
		for i := range 200 {
			d.none(Event{Kind: Enqueue, Task: taskID(i + 1), Spec: s}) // nothing is known of f
		}
		if got := len(d.step(done(first, c.ran))) - 1; got != c.depth {
			t.Errorf("%v: %d tasks behind the running one, want %d", c.ran, got, c.depth)
		}
	}
}

func TestNestedCallsNeverRunOutOfCPU(t *testing.T) {
	d := drive(t, ready(1, 2))
	s := newSpec(t, 1, "f", 1)
	var stack []Effect
	for i := range 500 {
		x := d.one(Event{Kind: Enqueue, Task: taskID(i), Spec: s}, Start)
		stack = append(stack, x)
		d.none(Event{Kind: Blocked, Task: x.Task, Lease: x.Lease})
	}
	if st := d.m.Stats(); st.Blocked != 500 || st.Running != 0 {
		t.Fatalf("%+v", st)
	}
	for i := len(stack) - 1; i >= 0; i-- {
		d.step(Event{Kind: Unblocked, Task: stack[i].Task})
		if free := d.m.Free(); free.CPU < 0 {
			t.Fatalf("free %v with %d left", free, i)
		}
		d.step(done(stack[i], time.Millisecond))
	}
	if st := d.m.Stats(); st.Leases > 1 || st.Sent != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestActorKeepsItsResourcesUntilRelease(t *testing.T) {
	d := drive(t, ready(2, 2))
	create := &spec.Task{Kind: spec.KindCreate, Job: class1.Job, Function: "new"}
	create.Resources.CPU = 20000
	if err := create.Seal(); err != nil {
		t.Fatal(err)
	}
	a := d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: create}, Start)
	d.none(done(a, time.Millisecond))
	d.none(Event{Kind: Enqueue, Task: taskID(2), Spec: newSpec(t, 1, "f", 1)})
	r, _ := d.m.Waiting(taskID(2))
	if r.Cause != ForResource || !r.Stuck || len(r.Holders) != 1 || r.Holders[0].Phase != Actor || d.m.Waits(taskID(2))[0] != taskID(1) {
		t.Fatalf("%+v", r)
	}
	d.now = time.Minute
	d.none(Event{Kind: Tick})
	x := d.one(Event{Kind: Blocked, Task: taskID(1)}, Start) // a method waits
	d.none(done(x, time.Millisecond))
	d.none(Event{Kind: Blocked, Task: taskID(1)}) // another one
	d.none(Event{Kind: Unblocked, Task: taskID(1)})
	d.none(Event{Kind: Unblocked, Task: taskID(1)}.closing(d))
	d.none(Event{Kind: Enqueue, Task: taskID(3), Spec: create})
	d.step(Event{Kind: Release, Task: taskID(1)})
	if r, _ := d.m.Waiting(taskID(3)); r.Phase != Running {
		t.Fatalf("%v", r)
	}
}

// closing steps ev, expects an idle lease to close, and returns an event
// without effect.
func (ev Event) closing(d *driver) Event {
	d.one(ev, Close)
	return Event{Kind: Begun}
}

func TestInfeasibleSaysWhatIsMissing(t *testing.T) {
	d := drive(t, ready(2, 2))
	x := d.one(Event{Kind: Enqueue, Task: taskID(1), Attempt: 3, Spec: newSpec(t, 1, "f", 8)}, Infeasible)
	if x.Resource != "CPU" || x.Asked.Float() != 8 || x.Have.Float() != 2 || x.Attempt != 3 {
		t.Fatalf("%+v", x)
	}
	d.none(Event{Kind: Enqueue, Task: taskID(2), Spec: newSpec(t, 7, "f", 2)}.ignoreSpawn(d))
	x = d.one(Event{Kind: Capacity}, Infeasible) // the node shrinks below what waits
	if x.Task != taskID(2) {
		t.Fatalf("%+v", x)
	}
}

// ignoreSpawn enqueues ev, expects a spawn, and returns an event without effect.
func (ev Event) ignoreSpawn(d *driver) Event {
	d.one(ev, Spawn)
	return Event{Kind: Begun}
}

func TestPressureAdmitsOneTask(t *testing.T) {
	d := drive(t, ready(4, 2))
	s := newSpec(t, 1, "f", 1)
	d.none(Event{Kind: Pressure, N: 1})
	x := d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: s}, Start)
	d.none(Event{Kind: Enqueue, Task: taskID(2), Spec: s})
	if r, _ := d.m.Waiting(taskID(2)); r.Cause != ForMemory {
		t.Fatalf("%v", r)
	}
	y := d.step(done(x, time.Millisecond))
	if len(y) != 1 || y[0].Task != taskID(2) {
		t.Fatalf("%v", kinds(y))
	}
	d.none(Event{Kind: Enqueue, Task: taskID(3), Spec: s})
	d.one(Event{Kind: Blocked, Task: taskID(2)}, Start) // nothing runs: progress first
	d.none(Event{Kind: Enqueue, Task: taskID(4), Spec: s})
	d.one(Event{Kind: Pressure}, Start)
}

func TestWorkersThatCannotStartFailTheirTasks(t *testing.T) {
	d := drive(t, ready(4, 0))
	s := newSpec(t, 1, "f", 1)
	d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: s}, Spawn)
	d.none(Event{Kind: Enqueue, Task: taskID(2), Spec: s}) // one worker for both
	if r, _ := d.m.Waiting(taskID(2)); r.Cause != ForWorker {
		t.Fatalf("%v", r)
	}
	for range 2 {
		d.one(Event{Kind: SpawnFailed, Class: class1}, Spawn)
	}
	fx := d.step(Event{Kind: SpawnFailed, Class: class1})
	if len(fx) != 2 || fx[0].Kind != SetupFailed || fx[1].Task != taskID(2) {
		t.Fatalf("%v", kinds(fx))
	}
	if f := d.m.Free(); f.CPU != 4*10000 {
		t.Fatalf("free %v", f)
	}
}

func TestIsolatedWorkersAreReusedAndRetired(t *testing.T) {
	d := drive(t, ready(4, 0))
	s := &spec.Task{Job: class1.Job, Function: "f", Isolated: true}
	s.Resources.CPU = 10000
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	c := Class{Job: class1.Job, Isolated: true}
	d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: s}, Spawn)
	d.one(Event{Kind: Enqueue, Task: taskID(2), Spec: s}, Spawn)
	a := d.one(Event{Kind: WorkerUp, Worker: 7, Class: c}, Start)
	b := d.one(Event{Kind: WorkerUp, Worker: 8, Class: c}, Start)
	d.none(done(a, time.Millisecond))
	x := d.one(Event{Kind: Enqueue, Task: taskID(3), Spec: s}, Start)
	if x.Worker != 7 {
		t.Fatalf("worker %d", x.Worker)
	}
	d.none(done(b, time.Millisecond))
	d.now += time.Second
	d.one(Event{Kind: Tick}, Close)
	d.now += 10 * time.Second
	if x := d.one(Event{Kind: Tick}, Retire); x.Worker != 8 {
		t.Fatalf("worker %d", x.Worker)
	}
	d.none(Event{Kind: JobEnd, Class: c})
	if fx := d.step(done(x, time.Millisecond)); len(fx) != 2 || fx[0].Kind != Close || fx[1].Kind != Retire {
		t.Fatalf("%v", kinds(fx))
	}
}

func TestQueuedTasksAreSmallAndGiveTheirMemoryBack(t *testing.T) {
	const n = 200_000
	m := ready(1, 2)
	s := newSpec(t, 1, "f", 1)
	heap := func() int64 {
		runtime.GC()
		var st runtime.MemStats
		runtime.ReadMemStats(&st)
		return int64(st.HeapAlloc)
	}
	before := heap()
	var fx []Effect
	for i := range n {
		ev := Event{Kind: Enqueue, Task: taskID(i), Spec: s}
		fx = append(fx, m.Step(0, &ev, nil)...)
	}
	if per := float64(heap()-before) / n; per > 48 {
		t.Errorf("%.1f bytes a task, want at most 48", per)
	}
	x := fx[0]
	for range n {
		ev := done(x, 10*time.Millisecond)
		if fx = m.Step(0, &ev, fx[:0]); len(fx) > 0 {
			x = fx[0]
		}
	}
	if left := heap() - before; m.Queued() != 0 || left > 2<<20 {
		t.Errorf("%d bytes kept after the queue drained", left)
	}
	runtime.KeepAlive(m)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	m := ready(2, 3)
	a, b := newSpec(t, 1, "a", 1), newSpec(t, 2, "b", 1)
	var fx []Effect
	n, now := 0, time.Duration(0)
	var out []Effect
	round := func() {
		for range 20 { // both jobs wait, leases change hands
			for _, s := range []*spec.Task{a, b} {
				n++
				ev := Event{Kind: Enqueue, Task: taskID(n), Spec: s}
				fx = m.Step(now, &ev, fx[:0])
				out = append(out, fx...)
			}
		}
		for len(out) > 0 {
			x := out[0]
			out = append(out[:0], out[1:]...)
			now += time.Millisecond
			if x.Kind == Start {
				ev := done(x, time.Millisecond)
				fx = m.Step(now, &ev, fx[:0])
				out = append(out, fx...)
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%v allocations in 40 tasks", n)
	}
}

// A revoke may find everything already over; the answer must not make the
// lease idle a second time.
func TestEmptyGiveBackLeavesAnIdleLeaseAlone(t *testing.T) {
	d := drive(t, ready(1, 2))
	s := newSpec(t, 1, "f", 1)
	x := d.one(Event{Kind: Enqueue, Task: taskID(0), Spec: s}, Start)
	d.none(done(x, 10*time.Microsecond))
	var sent []Effect
	for i := range 3 {
		sent = append(sent, d.one(Event{Kind: Enqueue, Task: taskID(i + 1), Spec: s}, Start))
	}
	d.now = 3 * time.Millisecond
	d.one(Event{Kind: Tick}, Revoke)
	for _, x := range sent {
		d.none(done(x, 10*time.Microsecond))
	}
	d.none(Event{Kind: TakenBack, Lease: x.Lease})
	d.one(Event{Kind: Enqueue, Task: taskID(9), Spec: s}, Start)
	d.none(Event{Kind: Enqueue, Task: taskID(10), Spec: newSpec(t, 1, "g", 0.5)})
}

func TestListIsPagedInOrder(t *testing.T) {
	d := drive(t, ready(2, 2))
	s := newSpec(t, 1, "f", 1)
	for _, i := range []int{7, 3, 9, 1, 5, 8} {
		d.step(Event{Kind: Enqueue, Task: taskID(i), Spec: s})
	}
	d.step(Event{Kind: Unqueue, Task: taskID(9)})
	var got []uint64
	var after id.Task
	for {
		page := d.m.List(after, 2)
		if len(page) == 0 {
			break
		}
		for _, x := range page {
			got = append(got, x.Task.Seq())
			if (x.Phase == Running) != (x.Task.Seq() == 7 || x.Task.Seq() == 3) || x.Name != "f" {
				t.Errorf("%+v", x)
			}
			after = x.Task
		}
	}
	if want := []uint64{1, 3, 5, 7, 8}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
}
