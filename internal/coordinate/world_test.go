package coordinate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// disk is what is durable, and in which order more is to be.
type disk struct {
	nodes  map[id.Node]NodeRecord
	heirs  map[id.Node]HeirRecord
	jobs   map[id.Job]JobRecord
	actors map[id.Actor]ActorRecord
	groups map[id.Group]GroupRecord
	queue  []func()
}

func newDisk() *disk {
	return &disk{nodes: map[id.Node]NodeRecord{}, heirs: map[id.Node]HeirRecord{}, jobs: map[id.Job]JobRecord{},
		actors: map[id.Actor]ActorRecord{}, groups: map[id.Group]GroupRecord{}}
}

func keep[K comparable, R any](d *disk, in map[K]R, key K, r R, ok bool) {
	d.queue = append(d.queue, func() {
		if ok {
			in[key] = r
		}
	})
}

func remove[K comparable, R any](d *disk, from map[K]R, key K) {
	d.queue = append(d.queue, func() { delete(from, key) })
}

// write queues what a Write is of, as m has it now.
func (d *disk) write(m *Machine, e *Effect) {
	switch e.Op {
	case PutNode:
		r, ok := m.Node(e.Node)
		keep(d, d.nodes, e.Node, r, ok)
	case DropNode:
		remove(d, d.nodes, e.Node)
	case PutHeir:
		keep(d, d.heirs, e.Node, HeirRecord{e.Node, e.Heir}, true)
	case PutActor:
		r, ok := m.Actor(e.Actor)
		keep(d, d.actors, e.Actor, r, ok)
	case DropActor:
		remove(d, d.actors, e.Actor)
	case PutJob:
		r, ok := m.Job(e.Job)
		keep(d, d.jobs, e.Job, r, ok)
	case DropJob:
		remove(d, d.jobs, e.Job)
	case PutGroup:
		r, _, ok := m.Group(e.Group)
		keep(d, d.groups, e.Group, r, ok)
	case DropGroup:
		remove(d, d.groups, e.Group)
	}
}

func (d *disk) commit(n int) {
	for _, change := range d.queue[:n] {
		change()
	}
	d.queue = d.queue[n:]
}

// records are what the next coordinator reads; what is not durable is lost.
func (d *disk) records() (out []Record) {
	d.queue = nil
	for _, k := range inOrder(d.nodes) {
		out = append(out, Record{Node: new(d.nodes[k])})
	}
	for _, k := range inOrder(d.heirs) {
		out = append(out, Record{Heir: new(d.heirs[k])})
	}
	for _, k := range inOrder(d.jobs) {
		out = append(out, Record{Job: new(d.jobs[k])})
	}
	for _, k := range inOrder(d.actors) {
		out = append(out, Record{Actor: new(d.actors[k])})
	}
	for _, k := range inOrder(d.groups) {
		r := d.groups[k]
		r.At = slices.Clone(r.At) // the machine keeps what it is given
		out = append(out, Record{Group: &r})
	}
	return out
}

// inOrder lists the keys of records as a store does.
func inOrder[K interface {
	comparable
	String() string
}, V any](m map[K]V) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Compare(a.String(), b.String()) })
}

func cpus(n float64) resource.Vector {
	return resource.Vector{CPU: resource.Amount(n * float64(resource.Unit))}
}

func figures(total, free float64) *Figures { return &Figures{Total: cpus(total), Free: cpus(free)} }

// Names in scripts: nodes are letters, A is 41 00 …; actors, jobs and groups
// are short words.
func node(name string) (n id.Node) { copy(n[:], name); return n }
func task(name string) (t id.Task) { copy(t[:], name); return t }
func job(name string) (j id.Job)   { copy(j[:], name); return j }

func nodeName(n id.Node) string { return strings.TrimRight(string(n[:]), "\x00") }
func taskName(t id.Task) string { return strings.TrimRight(string(t[:]), "\x00") }
func jobName(j id.Job) string   { return strings.TrimRight(string(j[:]), "\x00") }

func groupOf(j string, layout spec.PackKind, bundles ...float64) *spec.Group {
	g := &spec.Group{Job: job(j), Layout: layout}
	for _, b := range bundles {
		g.Bundles = append(g.Bundles, spec.Bundle{Resources: cpus(b)})
	}
	return g
}

// print writes an effect as scripts show it: what is not zero of what counts.
func (e *Effect) print(b *strings.Builder) {
	if e.Kind == Write {
		fmt.Fprintf(b, "write %s", e.Op)
	} else {
		fmt.Fprintf(b, "%s", e.Kind)
	}
	word := func(key, value string) {
		if value != "" {
			fmt.Fprintf(b, " %s%s", key, value)
		}
	}
	word("", nodeName(e.Node))
	if e.Kind == Announce {
		fmt.Fprintf(b, " %s", e.State)
	}
	word("to=", nodeName(e.To))
	word("heir=", nodeName(e.Heir))
	word("", jobName(e.Job))
	word("", taskName(e.Group))
	word("", taskName(e.Actor))
	if e.Record != nil {
		fmt.Fprintf(b, " is=%s/%d owner=%s", taskName(e.Record.Actor), e.Record.Incarnation, nodeName(e.Record.Owner))
	}
	if e.Attempt > 0 {
		fmt.Fprintf(b, " attempt=%d", e.Attempt)
	}
	if e.Bundles != nil {
		fmt.Fprintf(b, " bundles=%v", e.Bundles)
	}
	for _, n := range e.At {
		word("at=", nodeName(n))
	}
	for _, v := range e.Views {
		fmt.Fprintf(b, " %s:%v/%v", nodeName(v.Node), v.Free.Get("CPU"), v.Total.Get("CPU"))
	}
	if e.Why != "" {
		fmt.Fprintf(b, " why=%q", e.Why)
	}
	b.WriteByte('\n')
}

// world is a coordinator, its disk and the time.
type world struct {
	m    *Machine
	o    Options
	disk *disk
	now  time.Duration
	term int64
	out  strings.Builder
}

func newWorld(o Options) *world { return &world{m: New(o), o: o, disk: newDisk()} }

// step steps the machine and prints what it wants.
func (w *world) step(ev *Event) {
	fx := w.m.Step(w.now, ev, nil)
	for i := range fx {
		fx[i].print(&w.out)
		if fx[i].Kind == Write {
			w.disk.write(w.m, &fx[i])
		}
	}
}

// elect makes a new coordinator, elsewhere, of what is durable.
func (w *world) elect() {
	w.term++
	w.m = New(w.o)
	w.step(&Event{Kind: Elected, Term: w.term})
	for _, r := range w.disk.records() {
		w.step(&Event{Kind: Recorded, Record: r})
	}
	w.step(&Event{Kind: Opened})
}

func (w *world) written(n int) {
	w.disk.commit(n)
	w.step(&Event{Kind: Written, N: n})
}
