package actor

import (
	"testing"
	"time"
	"unsafe"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

var self = id.Node{1}

func taskID(session id.Session, n uint64) id.Task { return id.NewTask(self, id.Seq(session, n)) }

func actorSpec(a spec.Actor) *spec.Task {
	return &spec.Task{Kind: spec.KindCreate, Function: "Counter", Actor: &a}
}

// alive returns a machine with n actors that are up, each held by session 1.
func alive(n int, a spec.Actor) (*Machine, []id.Actor) {
	m := New(self, Options{})
	ids := make([]id.Actor, n)
	s := actorSpec(a)
	for i := range ids {
		ids[i] = taskID(9, uint64(i+1))
		m.Step(0, &Event{Kind: Create, Actor: ids[i], Spec: s, Session: 1}, nil)
		m.Step(0, &Event{Kind: Placed, Actor: ids[i], Incarnation: 1, Node: self, Worker: 1}, nil)
		m.Step(0, &Event{Kind: Started, Actor: ids[i], Incarnation: 1}, nil)
	}
	return m, ids
}

func BenchmarkCallFinished(b *testing.B) {
	m, ids := alive(1, spec.Actor{})
	var fx []Effect
	b.ReportAllocs()
	for i := range b.N {
		task := taskID(1, uint64(i))
		fx = m.Step(time.Duration(i), &Event{Kind: Call, Actor: ids[0], Task: task, Session: 1, ArgsReady: true}, fx[:0])
		fx = m.Step(time.Duration(i), &Event{Kind: Finished, Actor: ids[0], Task: task, Incarnation: 1}, fx[:0])
	}
}

// BenchmarkPipelined keeps ten windows of calls waiting.
func BenchmarkPipelined(b *testing.B) {
	m, ids := alive(1, spec.Actor{})
	pipelined(b, m, ids, 640)
}

func BenchmarkPipelinedActors20000(b *testing.B) {
	m, ids := alive(20000, spec.Actor{})
	pipelined(b, m, ids, 40000)
}

func pipelined(b *testing.B, m *Machine, ids []id.Actor, depth int) {
	var fx []Effect
	n := 0
	submit := func() {
		fx = m.Step(0, &Event{Kind: Call, Actor: ids[n%len(ids)], Task: taskID(1, uint64(n)), Session: 1, ArgsReady: true}, fx[:0])
		n++
	}
	for range depth {
		submit()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		submit()
		fx = m.Step(0, &Event{Kind: Finished, Actor: ids[i%len(ids)], Task: taskID(1, uint64(i)), Incarnation: 1}, fx[:0])
	}
	b.StopTimer()
	if err := m.Check(); err != nil {
		b.Fatal(err)
	}
}

func TestSizeOfAWaitingCall(t *testing.T) {
	m, ids := alive(1, spec.Actor{})
	const n = 1 << 20
	for i := range n {
		m.Step(0, &Event{Kind: Call, Actor: ids[0], Task: taskID(1, uint64(i)), Session: 1, ArgsReady: true}, nil)
	}
	slots := 0
	for i := range m.tasks.shard {
		slots += cap(m.tasks.shard[i].slots)
	}
	bytes := len(m.calls.chunks)*int(unsafe.Sizeof([chunkLen]call{})) + slots*4
	if per := bytes / n; per > 64 {
		t.Errorf("a waiting call takes %d bytes, want at most 64", per)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	m, ids := alive(1, spec.Actor{})
	fx := make([]Effect, 0, 8)
	n := uint64(0)
	got := testing.AllocsPerRun(1000, func() {
		n++
		task := taskID(1, n)
		fx = m.Step(0, &Event{Kind: Call, Actor: ids[0], Task: task, Session: 1, ArgsReady: true}, fx[:0])
		fx = m.Step(0, &Event{Kind: Finished, Actor: ids[0], Task: task, Incarnation: 1}, fx[:0])
	})
	if got != 0 {
		t.Errorf("a call and its answer allocate %v times", got)
	}
}
