package guard

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

// model is what a node would know beside the machine.
type model struct {
	rt      *rapid.T
	m       *Machine
	now     time.Duration
	tasks   map[int]*Event // running, by number
	bytes   map[id.Worker]int64
	ends    map[id.Task]int
	doomed  map[*Event]bool // attempts that were ended
	workers id.Worker
	last    Level
	ordered []id.Worker
}

// TestRandomHistories feeds random starts, ends and samples, and checks each
// decision against what was known when it was made.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &model{rt: rt, m: New(Options{MaxEnds: 3, MaxEnded: 64, MaxFunctions: 4}), tasks: map[int]*Event{},
			bytes: map[id.Worker]int64{}, ends: map[id.Task]int{}, doomed: map[*Event]bool{}}
		rt.Repeat(map[string]func(*rapid.T){
			"start":  w.start,
			"end":    w.end,
			"sample": w.sample,
			"admit":  w.admit,
			"": func(rt *rapid.T) {
				if err := w.m.Check(); err != nil {
					rt.Fatal(err)
				}
				if n := w.m.Stats().Tasks; n != len(w.tasks) {
					rt.Fatalf("%d tasks are known, %d run", n, len(w.tasks))
				}
			},
		})
	})
}

func (w *model) start(rt *rapid.T) {
	n := rapid.IntRange(1, 12).Draw(rt, "task")
	ev := w.tasks[n]
	if ev == nil {
		ev = &Event{Kind: TaskStarted, Task: taskID(n), Attempt: rapid.Uint32Range(1, 1000).Draw(rt, "attempt"),
			Retriable: n%3 != 0, Shared: n%5 == 0, Declared: rapid.Int64Range(0, 200).Draw(rt, "declared"),
			Function: Function{Job: id.Job{byte(n % 2)}, Name: string(rune('a' + n%6))}}
		w.tasks[n] = ev
	}
	if ev.Worker == 0 && rapid.Bool().Draw(rt, "on a worker") {
		w.workers++
		ev.Worker = w.workers
		w.bytes[ev.Worker] = 0
		w.ordered = append(w.ordered, ev.Worker)
	}
	if fx := w.m.Step(w.now, ev, nil); len(fx) > 0 {
		rt.Fatal("a start had effects", fx)
	}
}

func (w *model) end(rt *rapid.T) {
	n := rapid.IntRange(1, 12).Draw(rt, "task")
	if ev := w.tasks[n]; ev != nil {
		w.drop(n)
		w.m.Step(w.now, &Event{Kind: TaskEnded, Task: ev.Task, Attempt: ev.Attempt}, nil)
	}
}

func (w *model) drop(n int) {
	delete(w.bytes, w.tasks[n].Worker)
	delete(w.tasks, n)
}

func (w *model) sample(rt *rapid.T) {
	w.now += time.Duration(rapid.IntRange(1, 3000).Draw(rt, "ms")) * time.Millisecond
	s := Sample{Limit: 1000, StoreLimit: 400, Store: rapid.Int64Range(0, 400).Draw(rt, "store"),
		Node: rapid.Int64Range(0, 300).Draw(rt, "node"), Available: rapid.Int64Range(-1, 1000).Draw(rt, "available")}
	for _, worker := range w.ordered {
		if _, lives := w.bytes[worker]; lives {
			w.bytes[worker] = rapid.Int64Range(0, 400).Draw(rt, "worker")
			s.Workers = append(s.Workers, Worker{ID: worker, Job: w.jobOf(worker), Bytes: w.bytes[worker]})
		}
	}
	fx := w.m.Step(w.now, &Event{Kind: Sampled, Sample: s}, nil)
	st := w.m.Stats()
	if len(fx) > 3 {
		rt.Fatalf("%d effects of one sample", len(fx))
	}
	for i := range fx {
		w.effect(rt, &fx[i], &st)
	}
	w.last = st.Level
	again := w.m.Step(w.now, &Event{Kind: Sampled, Sample: s}, nil)
	for i := range again {
		if again[i].Kind == Pressure {
			rt.Fatalf("the same sample changed the level: %+v", again[i])
		}
		w.effect(rt, &again[i], &st)
	}
}

func (w *model) jobOf(worker id.Worker) id.Job {
	for _, ev := range w.tasks {
		if ev.Worker == worker {
			return ev.Function.Job
		}
	}
	return id.Job{}
}

func (w *model) effect(rt *rapid.T, e *Effect, st *Stats) {
	switch e.Kind {
	case Pressure:
		part := float64(st.Used) / float64(st.Limit)
		begin := map[Level]float64{StopAdmitting: 0.85, SpillObjects: 0.9, EndTasks: 0.95}
		slack := 2 / float64(st.Limit) // rounding
		if e.Level > w.last && part < begin[e.Level]-slack || e.Level < w.last && part > begin[e.Level+1]-0.05+slack {
			rt.Fatalf("from %v to %v at %d of %d", w.last, e.Level, st.Used, st.Limit)
		}
	case Target:
		if e.Bytes < 0 || e.Bytes > 400 {
			rt.Fatalf("target %d", e.Bytes)
		}
	case End:
		w.ended(rt, e, st)
	}
}

func (w *model) ended(rt *rapid.T, e *Effect, st *Stats) {
	ev := w.tasks[number(e.Task)]
	if ev == nil || ev.Attempt != e.Attempt || ev.Worker != e.Worker || ev.Shared || w.bytes[e.Worker] == 0 {
		rt.Fatalf("ends %+v, which is %+v", e, ev)
	}
	if st.Level != EndTasks {
		rt.Fatalf("ends a task at level %v", st.Level)
	}
	for n, o := range w.tasks {
		better := o.Retriable && !o.Shared && o.Worker != 0 && w.bytes[o.Worker] > 0 && w.ends[o.Task] < 3 && !w.doomed[o]
		if !ev.Retriable && better {
			rt.Fatalf("ends task %d, which may not run again, and not task %d", number(e.Task), n)
		}
	}
	if w.doomed[ev] {
		rt.Fatalf("ends task %d again before it has run again", number(e.Task))
	}
	w.doomed[ev] = true
	if w.ends[e.Task]++; w.ends[e.Task] > 3 {
		rt.Fatalf("ends task %d for the %dth time", number(e.Task), w.ends[e.Task])
	}
	if e.Text == "" {
		rt.Fatal("without a word")
	}
	if rapid.Bool().Draw(rt, "dies") { // or it takes its time
		w.drop(number(e.Task))
		w.m.Step(w.now, &Event{Kind: TaskEnded, Task: e.Task, Attempt: e.Attempt}, nil)
	}
}

func (w *model) admit(rt *rapid.T) {
	fn := Function{Job: id.Job{byte(rapid.IntRange(0, 1).Draw(rt, "job"))}, Name: string(rune('a' + rapid.IntRange(0, 6).Draw(rt, "f")))}
	v := w.m.Admit(w.now, fn, rapid.Int64Range(0, 300).Draw(rt, "declared"))
	if !v.OK && (len(w.tasks) == 0 || v.Need == 0 || v.Used+v.Growth+v.Need <= v.Room) {
		rt.Fatalf("not admitted: %+v", v)
	}
	if later := w.m.Admit(w.now+time.Hour, fn, 1<<40); !later.OK {
		rt.Fatalf("never admitted: %+v", later)
	}
}
