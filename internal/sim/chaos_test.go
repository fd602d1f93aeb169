package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// dice is where a random run gets its choices: rapid's, which shrink, or a
// seed's.
type dice interface {
	// roll returns a number from 0 to n-1.
	roll(what string, n int) int
}

type seeded struct{ rng *rand.Rand }

func (s seeded) roll(_ string, n int) int { return s.rng.IntN(n) }

// chaos does to a cluster what users and misfortune do.
type chaos struct {
	c       *Cluster
	d       dice
	actors  []id.Actor
	tasks   []id.Task
	streams []id.Task
	trace   []string // what was done
	faults  bool
	specs   map[string]*spec.Task
}

func newChaos(d dice, seed uint64, faults bool) *chaos {
	o := Options{Seed: seed, CPU: 2, Story: 2048, Spawn: time.Millisecond, Bandwidth: 1 << 30,
		Network: Network{Delay: 50 * time.Microsecond}}
	if faults {
		o.Network.Jitter, o.Network.Loss, o.Network.Resend = 2*time.Millisecond, 0.05, 5*time.Millisecond
	}
	x := &chaos{c: New(o), d: d, faults: faults, specs: map[string]*spec.Task{}}
	x.c.AddNodes(2 + d.roll("nodes", 3))
	return x
}

func (x *chaos) did(format string, args ...any) {
	x.trace = append(x.trace, fmt.Sprintf("%v ", x.c.now)+fmt.Sprintf(format, args...))
}

// node draws a node that runs.
func (x *chaos) node() int {
	i := x.d.roll("node", len(x.c.nodes))
	for !x.c.Up(i) || x.c.nodes[i].draining {
		i = (i + 1) % len(x.c.nodes)
	}
	return i
}

// spare reports whether a node can go.
func (x *chaos) spare() bool {
	up := 0
	for i := range x.c.nodes {
		if x.c.Up(i) && !x.c.nodes[i].draining {
			up++
		}
	}
	return up > 2
}

func (x *chaos) held(i int) []id.Object {
	return x.c.nodes[i].sessionOf(driver).sorted()
}

func (x *chaos) size() int64 { return []int64{1, 100, 1 << 20}[x.d.roll("size", 3)] }

// specOf returns the one description of its kind, as programs register one.
func (x *chaos) specOf(kind spec.Kind) *spec.Task {
	cpu := x.d.roll("cpu", 3)
	retries := []int{3, 0, -1}[x.d.roll("retries", 3)]
	again := x.d.roll("retry errors", 2) == 1
	restarts := x.d.roll("restarts", 3)
	limit := 1 + x.d.roll("concurrency", 2)
	key := fmt.Sprint(kind, cpu, retries, again, restarts, limit)
	if s := x.specs[key]; s != nil {
		return s
	}
	s := TaskSpec("f"+key, float64(cpu)/2, func(s *spec.Task) {
		s.Kind, s.MaxRetries, s.RetryErrors = kind, retries, again
		if kind == spec.KindCreate {
			s.Actor = &spec.Actor{Class: "A", MaxRestarts: restarts, Concurrency: limit}
		}
	})
	x.specs[key] = s
	return s
}

// streamOf returns a description like s, of a stream, windowed or not.
func (x *chaos) streamOf(s *spec.Task) *spec.Task {
	window := x.d.roll("window", 3)
	key := fmt.Sprint(s.Function, window)
	if x.specs[key] == nil {
		x.specs[key] = TaskSpec(key, s.Resources.CPU.Float(), func(d *spec.Task) {
			d.Returns, d.Stream, d.WindowItems = 0, true, window
			d.MaxRetries, d.RetryErrors = s.MaxRetries, s.RetryErrors
		})
	}
	return x.specs[key]
}

func (x *chaos) program(kind spec.Kind, children bool) *Program {
	p := &Program{Spec: x.specOf(kind), Dur: time.Duration(x.d.roll("dur", 40)) * 100 * time.Microsecond, Sizes: []int64{x.size()}}
	if x.d.roll("fails", 6) == 0 {
		p.Fail = uint32(1 + x.d.roll("times", 2))
	}
	if children {
		for range max(0, x.d.roll("children", 6)-3) {
			p.Children = append(p.Children, x.program(spec.KindTask, false))
		}
		p.Pass = len(p.Children) > 0 && x.d.roll("pass", 2) == 1
	}
	return p
}

func (x *chaos) args(i int) []id.Object {
	var out []id.Object
	held := x.held(i)
	for range min(len(held), x.d.roll("args", 3)) {
		out = append(out, held[x.d.roll("arg", len(held))])
	}
	return out
}

// ops are what can happen; the number is how often.
var ops = []struct {
	name  string
	often int
	fault bool
	do    func(x *chaos)
}{
	{"submit", 12, false, func(x *chaos) {
		i := x.node()
		args := x.args(i)
		t := x.c.Submit(i, x.program(spec.KindTask, true), args...)
		x.tasks = append(x.tasks, t)
		x.did("submit %s %d args", x.c.taskName(t), len(args))
	}},
	{"stream", 4, false, func(x *chaos) {
		i := x.node()
		p := x.program(spec.KindTask, false)
		p.Items = uint32(x.d.roll("items", 8))
		p.Spec = x.streamOf(p.Spec)
		t := x.c.Submit(i, p, x.args(i)...)
		x.tasks, x.streams = append(x.tasks, t), append(x.streams, t)
		x.did("stream %s of %d", x.c.taskName(t), p.Items)
	}},
	{"consume", 8, false, func(x *chaos) {
		if len(x.streams) > 0 {
			t := x.streams[x.d.roll("stream", len(x.streams))]
			if x.c.Consume(t) {
				x.did("an item of %s", x.c.taskName(t))
			}
		}
	}},
	{"drop stream", 1, false, func(x *chaos) {
		if len(x.streams) > 0 {
			t := x.streams[x.d.roll("stream", len(x.streams))]
			x.did("drop stream %s", x.c.taskName(t))
			x.c.DropStream(t)
		}
	}},
	{"put", 3, false, func(x *chaos) {
		o := x.c.Put(x.node(), x.size())
		x.did("put %s", x.c.objectName(o))
	}},
	{"drop", 6, false, func(x *chaos) {
		i := x.node()
		if held := x.held(i); len(held) > 0 {
			o := held[x.d.roll("object", len(held))]
			x.did("n%d drops %s", i+1, x.c.objectName(o))
			x.c.Drop(i, o)
		}
	}},
	{"give", 4, false, func(x *chaos) {
		i, j := x.node(), x.node()
		if held := x.held(i); len(held) > 0 && i != j {
			o := held[x.d.roll("object", len(held))]
			x.did("n%d gives %s to n%d", i+1, x.c.objectName(o), j+1)
			x.c.Give(i, j, o)
		}
	}},
	{"get", 4, false, func(x *chaos) {
		i := x.node()
		if held := x.held(i); len(held) > 0 {
			o := held[x.d.roll("object", len(held))]
			x.did("n%d gets %s", i+1, x.c.objectName(o))
			x.c.Get(i, o, func(what string) { x.did("n%d got %s: %s", i+1, x.c.objectName(o), what) })
		}
	}},
	{"actor", 3, false, func(x *chaos) {
		a := x.c.NewActor(x.node(), x.program(spec.KindCreate, false))
		x.actors = append(x.actors, a)
		x.did("actor %s", x.c.taskName(a))
	}},
	{"call", 10, false, func(x *chaos) {
		if len(x.actors) == 0 {
			return
		}
		a := x.actors[x.d.roll("actor", len(x.actors))]
		i := int(x.c.byID[a.Owner()].index)
		if x.d.roll("elsewhere", 2) == 1 {
			i = x.node()
		}
		if x.c.Up(i) && !x.c.nodes[i].draining {
			t := x.c.Call(i, a, x.program(spec.KindMethod, true), x.args(i)...)
			x.did("call %s of %s", x.c.taskName(t), x.c.taskName(a))
		}
	}},
	{"handle", 3, false, func(x *chaos) {
		if len(x.actors) > 0 {
			a := x.actors[x.d.roll("actor", len(x.actors))]
			to := x.node()
			x.did("handle of %s to n%d", x.c.taskName(a), to+1)
			x.c.GiveActor(a, to)
		}
	}},
	{"end actor", 1, false, func(x *chaos) {
		if len(x.actors) > 0 {
			a, hard := x.actors[x.d.roll("actor", len(x.actors))], x.d.roll("no restart", 2) == 1
			x.did("kill actor %s %v", x.c.taskName(a), hard)
			x.c.KillActor(a, hard)
		}
	}},
	{"cancel", 2, false, func(x *chaos) {
		if len(x.tasks) > 0 {
			t := x.tasks[x.d.roll("task", len(x.tasks))]
			x.did("cancel %s", x.c.taskName(t))
			x.c.Cancel(t, x.d.roll("force", 2) == 1)
		}
	}},
	{"run", 12, false, func(x *chaos) {
		x.c.Run(time.Duration(1+x.d.roll("time", 50)) * 100 * time.Microsecond)
	}},
	{"kill worker", 2, true, func(x *chaos) {
		i, k := x.node(), x.d.roll("worker", 4)
		x.did("n%d worker %d dies", i+1, k)
		x.c.KillWorker(i, k)
	}},
	{"kill node", 1, true, func(x *chaos) {
		if x.spare() {
			i := x.node()
			x.did("n%d dies", i+1)
			x.c.KillNode(i, time.Duration(x.d.roll("detect", 20))*time.Millisecond)
		}
	}},
	{"declare", 1, true, func(x *chaos) {
		if x.spare() {
			i := x.node()
			x.did("n%d is declared dead", i+1)
			x.c.Declare(i, time.Duration(x.d.roll("detect", 5))*time.Millisecond, time.Duration(x.d.roll("grace", 10))*time.Millisecond)
		}
	}},
	{"drain", 1, true, func(x *chaos) {
		if i, j := x.node(), x.node(); x.spare() && i != j {
			x.did("n%d drains to n%d", i+1, j+1)
			x.c.Drain(i, j)
		}
	}},
	{"cut", 2, true, func(x *chaos) {
		if i, j := x.node(), x.node(); i != j {
			x.did("cut n%d n%d", i+1, j+1)
			x.c.Cut(i, j)
		}
	}},
	{"heal", 3, true, func(x *chaos) { x.heal() }},
	{"slow", 1, true, func(x *chaos) { x.c.Slow(x.node(), 1/float64(1+x.d.roll("by", 20))) }},
	{"lose", 2, true, func(x *chaos) {
		i := x.node()
		if all := x.c.nodes[i].sortedStore(); len(all) > 0 {
			o := all[x.d.roll("object", len(all))]
			x.did("n%d loses %s", i+1, x.c.objectName(o))
			x.c.LoseObject(i, o)
		}
	}},
	{"add node", 1, true, func(x *chaos) {
		if len(x.c.nodes) < 8 {
			x.did("n%d joins", len(x.c.nodes)+1)
			x.c.AddNodes(1)
		}
	}},
}

func (x *chaos) heal() {
	for i := range x.c.nodes {
		for j := range i {
			if x.c.separated(x.c.nodes[i], x.c.nodes[j]) {
				x.did("heal n%d n%d", j+1, i+1)
				x.c.Heal(i, j)
			}
		}
	}
}

// step does one thing and checks every machine.
func (x *chaos) step() error {
	var all []int
	for i, op := range ops {
		if x.faults || !op.fault {
			for range op.often {
				all = append(all, i)
			}
		}
	}
	ops[all[x.d.roll("op", len(all))]].do(x)
	return x.c.Check()
}

// finish lets everything come to its end and asks that it is a good one.
func (x *chaos) finish() error {
	x.heal()
	x.did("finish")
	if err := x.rest(); err != nil {
		return err
	}
	for _, a := range x.actors { // tasks may wait for what they hold
		x.c.KillActor(a, true)
	}
	for _, t := range x.streams { // and nobody reads on
		x.c.DropStream(t)
	}
	x.did("actors are killed, streams dropped")
	if err := x.rest(); err != nil {
		return err
	}
	if err := x.c.CheckSettled(); err != nil {
		return err
	}
	for i, n := range x.c.nodes {
		if n.down {
			continue
		}
		for _, o := range x.held(i) {
			for x.c.Holds(i, o) > 0 {
				x.c.Drop(i, o)
			}
		}
		x.c.EndDriver(i)
	}
	x.did("everything is dropped")
	if err := x.rest(); err != nil {
		return err
	}
	return x.c.CheckEmpty()
}

func (x *chaos) rest() error {
	resting := x.c.Stabilize(time.Hour)
	if err := x.c.Check(); err != nil {
		return err
	}
	if !resting {
		return fmt.Errorf("%v: the cluster does not come to rest: %s", x.c.now, x.c.restless())
	}
	return nil
}
