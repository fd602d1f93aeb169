package dispatch

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// plant runs started tasks for given times on workers that go through a
// lease's tasks in order.
type plant struct {
	*driver
	takes   map[*spec.Task]time.Duration
	slow    map[id.Task]time.Duration // tasks that take longer
	specs   map[id.Task]*spec.Task
	leases  map[Lease][]Effect
	ends    []ending // by time
	used    map[*spec.Task]time.Duration
	waits   map[id.Task]time.Duration
	longest map[*spec.Task]time.Duration // waited before a start
	n       int
}

type ending struct {
	at time.Duration
	x  Effect
}

func newPlant(t *testing.T, m *Machine) *plant {
	return &plant{driver: drive(t, m), slow: map[id.Task]time.Duration{}, takes: map[*spec.Task]time.Duration{}, specs: map[id.Task]*spec.Task{},
		leases: map[Lease][]Effect{}, used: map[*spec.Task]time.Duration{}, waits: map[id.Task]time.Duration{}, longest: map[*spec.Task]time.Duration{}}
}

func (p *plant) do(ev Event) {
	p.Helper()
	for _, x := range slices.Clone(p.step(ev)) {
		switch x.Kind {
		case Start:
			p.leases[x.Lease] = append(p.leases[x.Lease], x)
			if len(p.leases[x.Lease]) == 1 {
				p.begin(x)
			}
		case Revoke:
			back := Event{Kind: TakenBack, Lease: x.Lease}
			for _, y := range p.leases[x.Lease][1:] {
				back.Tasks = append(back.Tasks, y.Task)
			}
			p.leases[x.Lease] = p.leases[x.Lease][:1]
			defer p.do(back)
		}
	}
}

func (p *plant) begin(x Effect) {
	s := p.specs[x.Task]
	p.longest[s] = max(p.longest[s], p.now-p.waits[x.Task])
	e := ending{p.now + p.time(x.Task), x}
	i, _ := slices.BinarySearchFunc(p.ends, e, func(a, b ending) int {
		return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.x.Task[:], b.x.Task[:]))
	})
	p.ends = slices.Insert(p.ends, i, e)
}

func (p *plant) time(t id.Task) time.Duration { return max(p.takes[p.specs[t]], p.slow[t]) }

func (p *plant) enqueue(s *spec.Task, n int) {
	for range n {
		p.n++
		t := taskID(p.n)
		p.specs[t], p.waits[t] = s, p.now
		p.do(Event{Kind: Enqueue, Task: t, Spec: s})
	}
}

// until runs the plant up to a time; tick is how often it ticks.
func (p *plant) until(at, tick time.Duration) {
	for next := p.now + tick; p.now < at; {
		if len(p.ends) == 0 || p.ends[0].at > next {
			p.now = next
			next += tick
			p.do(Event{Kind: Tick})
			continue
		}
		e := p.ends[0]
		p.ends = p.ends[1:]
		p.now = e.at
		s := p.specs[e.x.Task]
		p.used[s] += p.time(e.x.Task)
		l := p.leases[e.x.Lease][1:]
		p.leases[e.x.Lease] = l
		if len(l) > 0 {
			p.begin(l[0])
		}
		p.do(done(e.x, p.time(e.x.Task)))
	}
}

func TestJobsShareByWeight(t *testing.T) {
	for _, c := range []struct {
		name   string
		a, b   time.Duration // a task takes
		weight int           // of the first job
		cpus   int
	}{
		{"equal", 5 * time.Millisecond, 5 * time.Millisecond, 1, 4},
		{"three to one", 5 * time.Millisecond, 5 * time.Millisecond, 3, 4},
		{"short against long", 20 * time.Microsecond, 5 * time.Millisecond, 1, 4},
		{"short tasks of weight two", 20 * time.Microsecond, 30 * time.Microsecond, 2, 2},
		{"one CPU", 3 * time.Millisecond, 7 * time.Millisecond, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlant(t, ready(c.cpus, 3))
			a, b := newSpec(t, 1, "a", 1), newSpec(t, 2, "b", 1)
			p.takes[a], p.takes[b] = c.a, c.b
			p.do(Event{Kind: Share, Class: Class{Job: id.Job{1}}, N: c.weight})
			const time_ = 400 * time.Millisecond
			p.enqueue(a, int(time.Duration(c.cpus)*time_/c.a)+10)
			p.until(50*time.Millisecond, time.Millisecond) // it has the node to itself
			p.enqueue(b, int(time.Duration(c.cpus)*time_/c.b)+10)
			before := p.used[a]
			p.until(50*time.Millisecond+time_/2, time.Millisecond)
			ratio := float64(p.used[a]-before) / float64(p.used[b])
			if want := float64(c.weight); ratio < want*0.85 || ratio > want*1.2 {
				t.Fatalf("job 1 had %.2f times what job 2 had, want %.0f", ratio, want)
			}
			if all := p.used[a] - before + p.used[b]; all < time.Duration(c.cpus)*time_/2*9/10 {
				t.Fatalf("%v of CPU time used, there was %v", all, time.Duration(c.cpus)*time_/2)
			}
		})
	}
}

func TestKeysOfAJobTakeTurnsByAge(t *testing.T) {
	p := newPlant(t, ready(2, 2))
	a, b := newSpec(t, 1, "a", 1), newSpec(t, 1, "b", 0.5)
	p.takes[a], p.takes[b] = 2*time.Millisecond, 2*time.Millisecond
	p.enqueue(a, 50)
	p.enqueue(b, 4)
	p.enqueue(a, 50)
	p.until(200*time.Millisecond, time.Millisecond)
	if p.used[b] != 8*time.Millisecond || p.longest[b] > 70*time.Millisecond {
		t.Fatalf("the younger key used %v and waited %v; 50 tasks of 2 ms on 2 CPUs were before it", p.used[b], p.longest[b])
	}
}

func TestPriorityGoesFirst(t *testing.T) {
	p := newPlant(t, ready(1, 2))
	low, high := newSpec(t, 1, "low", 1), newSpec(t, 1, "high", 1)
	low.Priority, high.Priority = 0, 5
	p.takes[low], p.takes[high] = 3*time.Millisecond, 3*time.Millisecond
	p.enqueue(low, 20)
	p.enqueue(high, 3)
	p.until(13*time.Millisecond, time.Millisecond)
	if p.used[high] != 9*time.Millisecond || p.used[low] != 3*time.Millisecond {
		t.Fatalf("high %v, low %v", p.used[high], p.used[low])
	}
}

func TestLargeTaskIsNotStarvedBySmallOnes(t *testing.T) {
	p := newPlant(t, ready(4, 2))
	small, large := newSpec(t, 1, "small", 1), newSpec(t, 1, "large", 4)
	p.takes[small], p.takes[large] = 3*time.Millisecond, 10*time.Millisecond
	p.enqueue(small, 1)
	p.until(time.Millisecond, time.Millisecond)
	p.enqueue(small, 1)
	p.until(2*time.Millisecond, time.Millisecond)
	p.enqueue(large, 1)
	for range 200 { // staggered, so that four CPUs are never free by chance
		p.enqueue(small, 2)
		p.until(p.now+time.Millisecond, time.Millisecond)
	}
	if p.used[large] == 0 {
		t.Fatalf("it waits after %v: %v", p.now, p.m.Story(taskID(3)))
	}
}

func TestLargeTaskDoesNotStopTheNodeForAnActor(t *testing.T) {
	p := newPlant(t, ready(4, 2))
	actor := &spec.Task{Kind: spec.KindCreate, Job: id.Job{1}, Function: "new", Resources: resource.Vector{CPU: resource.Unit}}
	if err := actor.Seal(); err != nil {
		t.Fatal(err)
	}
	small, large := newSpec(t, 1, "small", 1), newSpec(t, 1, "large", 4)
	p.takes[small], p.takes[large], p.takes[actor] = 3*time.Millisecond, time.Millisecond, time.Millisecond
	p.enqueue(actor, 1)
	p.enqueue(large, 1)
	p.enqueue(small, 400)
	p.until(300*time.Millisecond, time.Millisecond)
	if p.used[small] < 800*time.Millisecond {
		t.Fatalf("small tasks had %v of 900 ms", p.used[small])
	}
	r, _ := p.m.Waiting(taskID(2))
	if r.Cause != ForResource || r.Asked != 4*resource.Unit {
		t.Fatalf("%+v", r)
	}
}

func TestSlowTaskGivesUpWhatWaitsBehindIt(t *testing.T) {
	p := newPlant(t, ready(2, 2))
	s := newSpec(t, 1, "f", 1)
	p.takes[s] = 20 * time.Microsecond
	slow := taskID(101)
	p.slow[slow] = 50 * time.Millisecond
	p.enqueue(s, 150) // the slow one is in the middle, so others are sent behind it
	p.until(40*time.Millisecond, time.Millisecond)
	if r, ok := p.m.Waiting(slow); !ok || r.Phase != Running {
		t.Fatalf("the slow task is %v", r)
	}
	if st := p.m.Stats(); st.Sent != 1 || st.Queued != 0 {
		t.Fatalf("tasks wait behind the slow one: %+v", st)
	}
	if p.longest[s] > 4*time.Millisecond {
		t.Fatalf("a task waited %v behind the slow one", p.longest[s])
	}
}
