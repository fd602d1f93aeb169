package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// TestScripts runs testdata/scripts/*. A script names what it makes: the
// argument name=x of submit, put, actor and call binds x.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{names: map[string]id.Task{}}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	c     *Cluster
	names map[string]id.Task
}

type command func(s *script, t *testing.T, d *datadriven.TestData)

var commands = map[string]command{
	"add-nodes": (*script).addNodes,
	"submit":    (*script).submit,
	"put":       (*script).put,
	"get":       (*script).get,
	"drop":      (*script).drop,
	"give":      (*script).give,
	"actor":     (*script).actor,
	"call":      (*script).call,
	"handle":    (*script).handle,
	"stop":      (*script).stop,
	"consume":   (*script).consume,
	"cancel":    (*script).cancel,
	"cut":       func(s *script, t *testing.T, d *datadriven.TestData) { s.c.Cut(num(t, d, "a")-1, num(t, d, "b")-1) },
	"heal":      func(s *script, t *testing.T, d *datadriven.TestData) { s.c.Heal(num(t, d, "a")-1, num(t, d, "b")-1) },
	"kill":      (*script).kill,
	"drain": func(s *script, t *testing.T, d *datadriven.TestData) {
		s.c.Drain(num(t, d, "node")-1, num(t, d, "heir")-1)
	},
	"slow": func(s *script, t *testing.T, d *datadriven.TestData) {
		s.c.Slow(num(t, d, "node")-1, 1/float64(num(t, d, "by")))
	},
	"run":       func(s *script, t *testing.T, d *datadriven.TestData) { s.c.Run(dur(t, d, "for", 0)) },
	"deliver":   (*script).deliver,
	"lose":      (*script).lose,
	"end":       func(s *script, t *testing.T, d *datadriven.TestData) { s.c.EndDriver(num(t, d, "node") - 1) },
	"stabilize": (*script).stabilize,
	"check":     (*script).check,
	"state":     (*script).state,
	"story":     (*script).story,
	"messages":  (*script).messages,
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	do := commands[d.Cmd]
	if do == nil {
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	if s.c != nil {
		s.c.log = s.c.log[:0]
	}
	do(s, t, d)
	if err := s.c.Check(); err != nil {
		t.Errorf("%s: %v", d.Pos, err)
		return err.Error() + "\n"
	}
	if len(s.c.log) == 0 {
		return "ok\n"
	}
	return strings.Join(s.c.log, "\n") + "\n"
}

func (s *script) say(format string, args ...any) {
	s.c.log = append(s.c.log, fmt.Sprintf(format, args...))
}

func num(t *testing.T, d *datadriven.TestData, key string) int {
	var n int
	d.ScanArgs(t, key, &n)
	return n
}

func opt(t *testing.T, d *datadriven.TestData, key string, def int) int {
	d.MaybeScanArgs(t, key, &def)
	return def
}

func dur(t *testing.T, d *datadriven.TestData, key string, def time.Duration) time.Duration {
	var v string
	if !d.MaybeScanArgs(t, key, &v) {
		return def
	}
	x, err := time.ParseDuration(v)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return x
}

func (s *script) addNodes(t *testing.T, d *datadriven.TestData) {
	if s.c == nil {
		s.c = New(Options{Seed: uint64(opt(t, d, "seed", 1)), CPU: float64(opt(t, d, "cpu", 2)), Manual: d.HasArg("manual"),
			Spawn: time.Millisecond, Network: Network{Delay: dur(t, d, "delay", 100*time.Microsecond)}})
		s.c.chatty = true
	}
	s.c.AddNodes(num(t, d, "n"))
}

// name returns what the script calls x, or x as the simulation prints it.
func (s *script) task(t *testing.T, d *datadriven.TestData, key string) id.Task {
	var name string
	d.ScanArgs(t, key, &name)
	x, ok := s.names[name]
	if !ok {
		d.Fatalf(t, "%s: %q is not known", key, name)
	}
	return x
}

func (s *script) bind(t *testing.T, d *datadriven.TestData, x id.Task) {
	var name string
	d.ScanArgs(t, "name", &name)
	s.names[name] = x
}

func (s *script) program(t *testing.T, d *datadriven.TestData, kind spec.Kind) *Program {
	var sizes, strategy string
	d.MaybeScanArgs(t, "size", &sizes)
	d.MaybeScanArgs(t, "on", &strategy)
	p := &Program{Dur: dur(t, d, "dur", time.Millisecond), Fail: uint32(opt(t, d, "fail", 0)), Pass: d.HasArg("pass"),
		Items: uint32(opt(t, d, "items", 0))}
	if n, err := strconv.ParseInt(sizes, 10, 64); err == nil {
		p.Sizes = []int64{n}
	}
	p.Spec = TaskSpec("f", float64(opt(t, d, "cpu", 1)), func(x *spec.Task) {
		x.Kind = kind
		x.MaxRetries = opt(t, d, "retries", 3)
		x.RetryErrors = d.HasArg("retry-errors")
		if d.HasArg("items") {
			x.Returns, x.Stream, x.WindowItems = 0, true, opt(t, d, "window", 0)
		}
		if n, err := strconv.Atoi(strategy); err == nil {
			x.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: s.c.nodes[n-1].id, Soft: d.HasArg("soft")}
		}
		if kind == spec.KindCreate {
			var name string
			d.MaybeScanArgs(t, "called", &name)
			x.Actor = &spec.Actor{Class: "A", MaxRestarts: opt(t, d, "restarts", 0), Concurrency: opt(t, d, "concurrency", 1), Name: name}
		}
	})
	for range opt(t, d, "children", 0) {
		p.Children = append(p.Children, &Program{Dur: p.Dur, Spec: TaskSpec("child", 1, nil)})
	}
	return p
}

func (s *script) args(t *testing.T, d *datadriven.TestData) []id.Object {
	var out []id.Object
	for _, a := range d.CmdArgs {
		if a.Key != "args" {
			continue
		}
		for _, v := range a.Vals {
			x, ok := s.names[v]
			if !ok {
				d.Fatalf(t, "%q is not known", v)
			}
			out = append(out, x.Return(0))
		}
	}
	return out
}

func (s *script) submit(t *testing.T, d *datadriven.TestData) {
	s.bind(t, d, s.c.Submit(num(t, d, "node")-1, s.program(t, d, spec.KindTask), s.args(t, d)...))
}

// consume reads n items of a stream, or drops it.
func (s *script) consume(t *testing.T, d *datadriven.TestData) {
	x := s.task(t, d, "of")
	if d.HasArg("drop") {
		s.c.DropStream(x)
		return
	}
	got := 0
	for range opt(t, d, "n", 1) {
		if s.c.Consume(x) {
			got++
		}
	}
	s.say("%d items", got)
}

func (s *script) put(t *testing.T, d *datadriven.TestData) {
	s.bind(t, d, s.c.Put(num(t, d, "node")-1, int64(opt(t, d, "size", 1))).Task())
}

func (s *script) get(t *testing.T, d *datadriven.TestData) {
	x, n := s.task(t, d, "of"), num(t, d, "node")
	s.c.Get(n-1, x.Return(0), func(what string) { s.c.note("n%d gets %s: %s", n, s.c.taskName(x), what) })
}

func (s *script) drop(t *testing.T, d *datadriven.TestData) {
	x := s.task(t, d, "of")
	s.c.Drop(opt(t, d, "node", int(s.c.byID[x.Owner()].index)+1)-1, x.Return(0))
}

func (s *script) give(t *testing.T, d *datadriven.TestData) {
	s.c.Give(num(t, d, "from")-1, num(t, d, "to")-1, s.task(t, d, "of").Return(0))
}

func (s *script) actor(t *testing.T, d *datadriven.TestData) {
	s.bind(t, d, s.c.NewActor(num(t, d, "node")-1, s.program(t, d, spec.KindCreate)))
}

func (s *script) call(t *testing.T, d *datadriven.TestData) {
	s.bind(t, d, s.c.Call(num(t, d, "node")-1, s.task(t, d, "actor"), s.program(t, d, spec.KindMethod), s.args(t, d)...))
}

func (s *script) handle(t *testing.T, d *datadriven.TestData) {
	a := s.task(t, d, "actor")
	if d.HasArg("to") {
		s.c.GiveActor(a, num(t, d, "to")-1)
		return
	}
	s.c.DropActor(num(t, d, "node")-1, a)
}

func (s *script) stop(t *testing.T, d *datadriven.TestData) {
	s.c.KillActor(s.task(t, d, "actor"), d.HasArg("no-restart"))
}

func (s *script) cancel(t *testing.T, d *datadriven.TestData) {
	s.c.Cancel(s.task(t, d, "task"), d.HasArg("force"))
}

func (s *script) kill(t *testing.T, d *datadriven.TestData) {
	n := num(t, d, "node") - 1
	if d.HasArg("worker") {
		s.c.KillWorker(n, num(t, d, "worker")-1)
		return
	}
	s.c.KillNode(n, dur(t, d, "detect", 10*time.Millisecond))
}

func (s *script) lose(t *testing.T, d *datadriven.TestData) {
	n := s.c.nodes[num(t, d, "node")-1]
	if d.HasArg("to") {
		s.c.link(n, s.c.nodes[num(t, d, "to")-1]).drop()
		return
	}
	s.c.LoseObject(int(n.index), s.task(t, d, "of").Return(0))
}

// deliver lets messages of one link, or of all, through by hand.
func (s *script) deliver(t *testing.T, d *datadriven.TestData) {
	n := opt(t, d, "n", 1)
	for range n {
		var l *link
		if d.HasArg("from") {
			l = s.c.link(s.c.nodes[num(t, d, "from")-1], s.c.nodes[num(t, d, "to")-1])
		}
		if l == nil || len(l.waiting()) == 0 {
			return
		}
		s.say("%s -> %s %s", l.src, l.dst, l.waiting()[0].kind)
		l.deliver()
		s.c.flush()
	}
}

func (s *script) messages(_ *testing.T, _ *datadriven.TestData) {
	for _, a := range s.c.nodes {
		for _, b := range s.c.nodes {
			if l := a.links[b.index]; l != nil && len(l.waiting()) > 0 {
				var kinds []string
				for _, m := range l.waiting() {
					kinds = append(kinds, m.kind.String())
				}
				s.say("%s -> %s: %s", a, b, strings.Join(kinds, " "))
			}
		}
	}
}

func (s *script) stabilize(t *testing.T, d *datadriven.TestData) {
	if !s.c.Stabilize(dur(t, d, "limit", time.Minute)) {
		s.say("(not at rest)")
		return
	}
	if d.HasArg("quiet") {
		s.c.log = s.c.log[:0]
	}
	if err := s.c.CheckSettled(); err != nil {
		t.Errorf("%s: %v", d.Pos, err)
	}
}

func (s *script) check(t *testing.T, d *datadriven.TestData) {
	if d.HasArg("empty") {
		if err := s.c.CheckEmpty(); err != nil {
			t.Errorf("%s: %v", d.Pos, err)
			s.say("%v", err)
		}
	}
}

// state lists what each node has.
func (s *script) state(_ *testing.T, _ *datadriven.TestData) {
	for _, n := range s.c.nodes {
		if n.down {
			s.say("%s is down", n)
			continue
		}
		free := n.dispatch.Free()
		s.say("%s: free %s, %d tasks, %d running, objects %v, actors %v", n, free, len(n.tasks), len(n.execs), n.objects(), n.actors())
	}
}

func (n *node) objects() []string {
	out := []string{}
	for o := range n.store {
		out = append(out, n.c.objectName(o))
	}
	slices.Sort(out)
	return out
}

func (n *node) actors() []string {
	out := []string{}
	for _, i := range n.actor.List(id.Actor{}, 100) {
		where := ""
		if i.State == actor.Alive {
			where = "@" + n.c.byID[i.Node].String()
		}
		out = append(out, fmt.Sprintf("%s:%s/%d%s", n.c.taskName(i.Actor), i.State, i.Incarnation, where))
	}
	return out
}

func (s *script) story(t *testing.T, d *datadriven.TestData) {
	x := s.task(t, d, "of")
	n := s.c.nodes[opt(t, d, "node", int(s.c.byID[x.Owner()].index)+1)-1]
	switch {
	case d.HasArg("actor"):
		s.c.log = append(s.c.log, n.actor.Story(x)...)
	case d.HasArg("dispatch"):
		s.c.log = append(s.c.log, n.dispatch.Story(x)...)
	default:
		for _, e := range n.own.Story(x) {
			s.say("%v", e)
		}
	}
}
