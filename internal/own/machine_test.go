package own

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

func seal(t testing.TB, s spec.Task) *spec.Task {
	s.Function = "f"
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	return &s
}

func count(fx []Effect, k EffectKind) (n int) {
	for i := range fx {
		if fx[i].Kind == k {
			n++
		}
	}
	return n
}

func mustCheck(t testing.TB, m *Machine) {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestRetriesAgainstModel: whether another attempt follows a fault is what a
// few lines say.
func TestRetriesAgainstModel(t *testing.T) {
	faults := []Fault{User, WorkerDied, NodeDied, OutOfMemory, TooLarge, Cancelled, Unschedulable, SetupFailed, ActorDead, ActorMaybe, Bystander, ShortResult, ReplayMismatch}
	rapid.Check(t, func(rt *rapid.T) {
		s := seal(t, spec.Task{Returns: 1, MaxRetries: rapid.SampledFrom([]int{spec.Unlimited, 0, 1, 3}).Draw(rt, "retries"), RetryErrors: rapid.Bool().Draw(rt, "errors")})
		m := New(benchNode, Options{OOMRetries: 4})
		tid := id.NewTask(benchNode, id.Seq(1, 1))
		m.Step(0, &Event{Kind: Submit, Task: tid, Session: 1, Spec: s}, nil)
		used := map[string]int{}
		may := func(budget string, limit int) bool {
			used[budget]++
			return limit == spec.Unlimited || used[budget] <= limit
		}
		for attempt := uint32(1); ; attempt++ {
			f := rapid.SampledFrom(faults).Draw(rt, "fault")
			var want bool
			switch f {
			case User:
				want = s.RetryErrors && may("user", s.MaxRetries)
			case WorkerDied, NodeDied, ActorMaybe, ShortResult:
				want = may("system", s.MaxRetries)
			case OutOfMemory:
				want = s.MaxRetries != 0 && may("memory", 4)
			case TooLarge:
				further := 2
				if s.MaxRetries != spec.Unlimited {
					further = min(further, s.MaxRetries)
				}
				used["memory"] = max(used["memory"], 4-further)
				want = may("memory", 4)
			case Bystander:
				want = s.MaxRetries != 0
			default:
			}
			if rapid.Bool().Draw(rt, "late report") {
				if fx := m.Step(0, &Event{Kind: Failed, Task: tid, Attempt: attempt - 1, Fault: User}, nil); len(fx) != 0 {
					rt.Fatalf("a report of attempt %d during attempt %d had effects: %v", attempt-1, attempt, fx)
				}
			}
			fx := m.Step(0, &Event{Kind: Failed, Task: tid, Attempt: attempt, Fault: f}, nil)
			got := count(fx, Retry) == 1 && count(fx, Runnable) == 1 && count(fx, FailTask) == 0
			if got != want {
				rt.Fatalf("attempt %d, %v: retried %v, want %v", attempt, f, got, want)
			}
			if !want {
				if count(fx, FailTask) != 1 || count(fx, Ready) != 1 {
					rt.Fatalf("attempt %d, %v: %v", attempt, f, fx)
				}
				return
			}
			if attempt > 50 {
				return
			}
		}
	})
}

// TestAnyEvents: whatever comes, in whatever order, the invariants hold, and
// equal histories have equal effects.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		opts := Options{Tombstones: 3, LineageBytes: 2000, StoryLength: 10}
		m, twin := New(node("A"), opts), New(node("A"), opts)
		specs := []*spec.Task{
			seal(t, spec.Task{Returns: 1, MaxRetries: 1}), seal(t, spec.Task{Returns: 3, MaxRetries: 2, RetryErrors: true}), seal(t, spec.Task{}),
			seal(t, spec.Task{Stream: true, WindowItems: 2, MaxRetries: 1}), seal(t, spec.Task{Kind: spec.KindCreate, Returns: 1}),
			seal(t, spec.Task{Kind: spec.KindMethod, Returns: 1, MaxRetries: 1}),
		}
		var fx []Effect
		var log strings.Builder
		for range rapid.IntRange(1, 150).Draw(rt, "events") {
			ev := anything{rt, m, specs}.event()
			fmt.Fprintf(&log, "%s msg=%s\n", describeEvent(node("A"), &ev), describeMsg(ev.Msg))
			fx = m.Step(0, &ev, fx[:0])
			if again := twin.Step(0, &ev, nil); !slices.EqualFunc(fx, again, func(a, b Effect) bool { return reflect.DeepEqual(a, b) }) {
				rt.Fatalf("%safter equal events:\n%v\n%v", &log, fx, again)
			}
			if err := m.Check(); err != nil {
				rt.Fatalf("%s%v", &log, err)
			}
		}
	})
}

// anything draws ids from a few, so that events meet.
type anything struct {
	*rapid.T
	m     *Machine
	specs []*spec.Task
}

func (a anything) upTo(n int) int { return rapid.IntRange(0, n).Draw(a.T, "n") }

func (a anything) node() id.Node {
	return []id.Node{node("A"), node("B"), node("C"), {}}[a.upTo(3)]
}

func (a anything) task() id.Task {
	owner := node("A")
	if a.upTo(5) == 5 {
		owner = a.node()
	}
	return id.NewTask(owner, id.Seq(id.Session(a.upTo(2)), uint64(a.upTo(6))))
}

func (a anything) object() id.Object { return a.task().Return(uint32(a.upTo(2))) }

func (a anything) some() (out []id.Object) {
	for range a.upTo(2) {
		out = append(out, a.object())
	}
	return out
}

func (a anything) value(o id.Object) Return {
	return Return{Object: o, Where: Where(a.upTo(1)), Node: a.node(), Size: int64(a.upTo(1000)), Inner: a.some()}
}

func (a anything) event() Event {
	ev := Event{Kind: EventKind(1 + a.upTo(int(Retire)-1))}
	switch ev.Kind {
	case Submit:
		ev.Task, ev.Spec = a.task(), a.specs[a.upTo(len(a.specs)-1)]
		ev.Session, _ = id.SplitSeq(ev.Task.Seq())
		ev.Unshared = a.upTo(3) == 3
		ev.Args, ev.Inner = a.some(), a.some()
		if a.upTo(1) == 1 {
			ev.Parent, ev.ParentAttempt = a.task(), uint32(a.upTo(2))
		}
	case Put, Share:
		ev.Object = a.task().Return(0)
		ev.Session, _ = id.SplitSeq(ev.Object.Task().Seq())
		ev.Return = a.value(ev.Object)
	case Hold, Drop, Want, SendRef, GotRef, CopyAdded, CopyLost:
		ev.Object, ev.Session, ev.N, ev.Node = a.object(), id.Session(a.upTo(2)), a.upTo(2), a.node()
	case Item, Started, Done, Failed, Cancel, Consume, DropStream, Retire:
		a.report(&ev)
	case SessionEnd, SessionStart:
		ev.Session, ev.Force = id.Session(a.upTo(2)), a.upTo(1) == 1
	case NodeDead, Heir:
		if ev.Node, ev.To = a.node(), node("C"); a.upTo(3) < 3 {
			ev.Kind = Tick
		}
	case Peer:
		ev.Node = a.node()
		ev.Msg = &Msg{Kind: MsgKind(a.upTo(int(RefHeld) + 1)), Node: a.node(), Via: a.node(), N: a.upTo(2), Gone: Gone(a.upTo(4)), Recursive: true}
		if ev.Msg.Kind == StopTask {
			ev.Msg.Task = a.task()
		} else {
			ev.Msg.Object = a.object()
		}
		if ev.Msg.Kind == Resolved {
			ev.Msg.Return = a.value(ev.Msg.Object)
		}
	default:
	}
	return ev
}

// report fills in an event about a task, most often about its current attempt.
func (a anything) report(ev *Event) {
	ev.Task, ev.Node, ev.N = a.task(), a.node(), a.upTo(3)
	i, ok := a.m.Task(ev.Task)
	if ev.Attempt = i.Attempt; !ok || a.upTo(4) == 4 {
		ev.Attempt = uint32(a.upTo(3))
	}
	switch ev.Kind {
	case Item:
		ev.Return = a.value(ev.Task.Return(uint32(a.upTo(3))))
	case Done:
		if ok {
			for k := range i.Spec.Returns {
				ev.Returns = append(ev.Returns, a.value(ev.Task.Return(uint32(k))))
			}
		}
	case Failed:
		ev.Fault = Fault(a.upTo(int(ShortResult)))
	case Cancel:
		ev.Force, ev.Recursive = a.upTo(1) == 1, a.upTo(1) == 1
	default:
	}
}

// TestLongChain: losing the end of a long chain rebuilds all of it, in a loop.
func TestLongChain(t *testing.T) {
	const n = 100_000
	m := New(benchNode, Options{})
	s := seal(t, spec.Task{Returns: 1, MaxRetries: 1})
	away := id.Node{9}
	var fx []Effect
	task := func(i int) id.Task { return id.NewTask(benchNode, id.Seq(1, uint64(i))) }
	for i := 1; i <= n; i++ {
		ev := Event{Kind: Submit, Task: task(i), Session: 1, Spec: s}
		if i > 1 {
			ev.Args = []id.Object{task(i - 1).Return(0)}
		}
		fx = m.Step(0, &ev, fx[:0])
		fx = m.Step(0, &Event{Kind: Done, Task: task(i), Attempt: 1, Node: away, Returns: []Return{{Where: AtNode, Node: away}}}, fx[:0])
		if i > 1 {
			fx = m.Step(0, &Event{Kind: Drop, Object: task(i - 1).Return(0), Session: 1, N: 1}, fx[:0])
		}
	}
	if got := m.Stats().Lineage; got != n {
		t.Fatalf("%d tasks are kept, want %d", got, n)
	}
	fx = m.Step(0, &Event{Kind: NodeDead, Node: away}, fx[:0])
	if count(fx, Retry) != n || count(fx, Runnable) != 1 {
		t.Fatalf("%d tasks run again and %d can start, want %d and 1", count(fx, Retry), count(fx, Runnable), n)
	}
	mustCheck(t, m)
	for i := 1; i <= n; i++ {
		fx = m.Step(0, &Event{Kind: Done, Task: task(i), Attempt: 2, Node: benchNode, Returns: []Return{{Where: AtNode, Node: benchNode}}}, fx[:0])
	}
	mustCheck(t, m)
	fx = m.Step(0, &Event{Kind: Drop, Object: task(n).Return(0), Session: 1, N: 1}, fx[:0])
	if count(fx, Forget) != n {
		t.Errorf("%d payloads were given up with the last reference, want %d", count(fx, Forget), n)
	}
	if s := m.Stats(); s.Ended != 0 || s.LineageBytes != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// TestManyWaiters: a hundred thousand tasks that wait for one object are
// cancelled, and others woken, without looking at each of them each time.
func TestManyWaiters(t *testing.T) {
	const n = 100_000
	m := New(benchNode, Options{})
	s := seal(t, spec.Task{Returns: 1})
	root := id.NewTask(benchNode, id.Seq(1, 1))
	var fx []Effect
	fx = m.Step(0, &Event{Kind: Submit, Task: root, Session: 1, Spec: s}, fx)
	args := []id.Object{root.Return(0)}
	for i := range n {
		fx = m.Step(0, &Event{Kind: Submit, Task: id.NewTask(benchNode, id.Seq(1, uint64(i+2))), Session: 1, Spec: s, Args: args}, fx[:0])
	}
	for i := range n * 9 / 10 {
		fx = m.Step(0, &Event{Kind: Cancel, Task: id.NewTask(benchNode, id.Seq(1, uint64(i+2)))}, fx[:0])
	}
	if e := m.find(args[0]).ext; len(e.waiters) > n/3 {
		t.Errorf("%d waiters are listed, %d are there", len(e.waiters), n/10)
	}
	fx = m.Step(0, &Event{Kind: Done, Task: root, Attempt: 1, Returns: []Return{{}}}, fx[:0])
	if got := count(fx, Runnable); got != n/10 {
		t.Errorf("%d tasks became runnable, want %d", got, n/10)
	}
}

// TestManyArguments: ten thousand arguments, three thousand returns.
func TestManyArguments(t *testing.T) {
	const n = 10_000
	m := New(benchNode, Options{})
	wide := seal(t, spec.Task{Returns: 3000})
	one := seal(t, spec.Task{Returns: 1})
	var fx []Effect
	var args []id.Object
	for i := range n {
		tid := id.NewTask(benchNode, id.Seq(1, uint64(i+1)))
		fx = m.Step(0, &Event{Kind: Submit, Task: tid, Session: 1, Spec: one}, fx[:0])
		args = append(args, tid.Return(0))
	}
	big := id.NewTask(benchNode, id.Seq(1, n+1))
	fx = m.Step(0, &Event{Kind: Submit, Task: big, Session: 1, Spec: wide, Args: args}, fx[:0])
	if got := len(m.Waits(big)); got != n {
		t.Errorf("it waits for %d arguments, want %d", got, n)
	}
	runnable := 0
	for i := range n {
		fx = m.Step(0, &Event{Kind: Done, Task: args[i].Task(), Attempt: 1, Returns: []Return{{Where: AtNode, Node: benchNode, Size: 3}}}, fx[:0])
		runnable += count(fx, Runnable)
	}
	if runnable != 1 {
		t.Errorf("it became runnable %d times", runnable)
	}
	if l := m.Locality(big, nil); len(l) != 1 || l[0].Bytes != 3*n {
		t.Errorf("its arguments lie at %v", l)
	}
	fx = m.Step(0, &Event{Kind: Done, Task: big, Attempt: 1, Returns: make([]Return, 3000)}, fx[:0])
	if got := count(fx, Ready); got != 3000 {
		t.Errorf("%d returns are ready", got)
	}
	m.Step(0, &Event{Kind: SessionEnd, Session: 1}, fx[:0])
	mustCheck(t, m)
	if s := m.Stats(); s != (Stats{}) {
		t.Errorf("left over: %+v", s)
	}
}

// TestQueueMemory: a million queued tasks are small, and their memory comes
// back.
func TestQueueMemory(t *testing.T) {
	const n = 1_000_000
	m := New(benchNode, Options{})
	s := seal(t, spec.Task{Returns: 1})
	heap := func() uint64 {
		var ms runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	before := heap()
	var fx []Effect
	for i := range n {
		fx = m.Step(0, &Event{Kind: Submit, Task: id.NewTask(benchNode, id.Seq(1, uint64(i))), Session: 1, Spec: s, Unshared: true}, fx[:0])
	}
	each := (heap() - before) / n
	t.Logf("%d bytes a queued task", each)
	if each > 250 {
		t.Errorf("a queued task takes %d bytes, want at most 250", each)
	}
	returns := make([]Return, 1)
	for i := range n {
		fx = m.Step(0, &Event{Kind: Done, Task: id.NewTask(benchNode, id.Seq(1, uint64(i))), Attempt: 1, Returns: returns}, fx[:0])
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d bytes stay after the peak", after-before)
	}
	runtime.KeepAlive(m)
}

// TestPages: tasks and objects are listed in order, a page at a time.
func TestPages(t *testing.T) {
	m := New(benchNode, Options{})
	s := seal(t, spec.Task{Returns: 2})
	for i := range 1000 {
		m.Step(0, &Event{Kind: Submit, Task: id.NewTask(benchNode, id.Seq(1, uint64(i*7%1000))), Session: 1, Spec: s}, nil)
	}
	var got []id.Task
	var after id.Task
	for {
		page := m.Tasks(after, 64)
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			got = append(got, i.Task)
			after = i.Task
		}
	}
	if len(got) != 1000 || !slices.IsSortedFunc(got, func(a, b id.Task) int { return int(a.Seq()) - int(b.Seq()) }) {
		t.Errorf("%d tasks were listed, or not in order", len(got))
	}
	if objs := m.Objects(got[499], 100); len(objs) != 100 || objs[0].Object != got[500].Return(0) {
		t.Errorf("a page of objects has %d, the first is %v", len(objs), objs[0].Object)
	}
}

// TestTombstonesAreBounded: what is remembered of attempts that are over.
func TestTombstonesAreBounded(t *testing.T) {
	m := New(benchNode, Options{Tombstones: 10})
	s := seal(t, spec.Task{Returns: 1, MaxRetries: spec.Unlimited})
	for i := range 100 {
		tid := id.NewTask(benchNode, id.Seq(1, uint64(i)))
		m.Step(0, &Event{Kind: Submit, Task: tid, Session: 1, Spec: s}, nil)
		m.Step(0, &Event{Kind: Failed, Task: tid, Attempt: 1, Node: benchNode, Fault: WorkerDied}, nil)
		m.Step(0, &Event{Kind: Failed, Task: tid, Attempt: 2, Node: benchNode, Fault: WorkerDied}, nil)
	}
	if got := m.Stats().Families; got != 10 {
		t.Errorf("%d tombstones, want 10", got)
	}
	mustCheck(t, m)
}
