package coordinate

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// host is a node as far as the coordinator knows one: what it holds, what it
// owns, and what it still wants to know.
type host struct {
	up, member bool
	cpus       float64
	holds      map[Held]bool
	owns       map[id.Actor]*ActorRecord
	asked      map[id.Group]*spec.Group // not answered: repeated to the next coordinator
	naming     []*ActorRecord           // likewise
}

// model is a cluster of a coordinator, its disk and hosts, in which messages
// between a host and the coordinator arrive at once while both are up.
type model struct {
	*world
	t     *rapid.T
	hosts map[id.Node]*host
	made  int
}

func (m *model) give(ev *Event) {
	fx := m.m.Step(m.now, ev, nil)
	if err := m.m.Check(); err != nil {
		m.t.Fatalf("after %s: %v", ev.Kind, err)
	}
	var answers []*Event
	for i := range fx {
		if e := &fx[i]; e.Kind == Write {
			m.disk.write(m.m, e)
		} else if a := m.effect(e); a != nil {
			answers = append(answers, a)
		}
	}
	for _, a := range answers {
		m.give(a)
	}
}

// effect has a host do what the coordinator wants.
func (m *model) effect(e *Effect) (answer *Event) {
	h := m.hosts[e.Node]
	if h == nil || !h.up {
		return nil
	}
	switch e.Kind {
	case Welcome:
		h.member = true
	case Expel:
		m.kill(e.Node)
	case Prepare:
		ok := h.free()-sum(e.Spec, e.Bundles) >= 0
		for _, b := range e.Bundles {
			if ok {
				h.holds[Held{e.Group, b}] = true
			}
		}
		return &Event{Kind: Prepared, Node: e.Node, Group: e.Group, Attempt: e.Attempt, OK: ok, Figures: h.figures()}
	case Release:
		for _, b := range e.Bundles {
			delete(h.holds, Held{e.Group, b})
		}
		return &Event{Kind: Heard, Node: e.Node, Figures: h.figures()}
	case Placed, Refused:
		delete(h.asked, e.Group)
		h.naming = slices.DeleteFunc(h.naming, func(a *ActorRecord) bool { return a.Actor == e.Actor })
	case Named, NameTaken, Found:
		m.named(h, e)
	case Adopt:
		m.named(h, e)
		own := *e.Record
		h.owns[e.Actor] = &own
	case EndActor:
		delete(h.owns, e.Actor)
	}
	return nil
}

// named checks that a name is told to be one actor's at a time.
func (m *model) named(h *host, e *Effect) {
	i := slices.IndexFunc(h.naming, func(a *ActorRecord) bool { return a.Actor == e.Actor })
	if i < 0 {
		return
	}
	a := h.naming[i]
	h.naming = slices.Delete(h.naming, i, i+1)
	if e.Kind != Named {
		return
	}
	for n, o := range m.hosts {
		for _, other := range o.owns {
			if o.up && o.member && other.Name == a.Name && other.Actor != a.Actor {
				m.t.Fatalf("%s is named %s by %s, which %s's %s is", taskName(a.Actor), a.Name, nodeName(e.Node), nodeName(n), taskName(other.Actor))
			}
		}
	}
	own := *a
	h.owns[a.Actor] = &own
}

func sum(g *spec.Group, bundles []int) (total float64) {
	for _, b := range bundles {
		total += g.Bundles[b].Resources.Get("CPU").Float()
	}
	return total
}

func (h *host) free() float64 { return h.cpus - float64(len(h.holds)) } // bundles have one CPU each

func (h *host) figures() *Figures { return figures(h.cpus, h.free()) }

func (m *model) join(n id.Node) {
	h := m.hosts[n]
	ev := &Event{Kind: Joined, Node: n, Again: h.member, Figures: h.figures()}
	for held := range h.holds {
		ev.Holds = append(ev.Holds, held)
	}
	m.give(ev)
	for g, s := range h.asked {
		m.give(&Event{Kind: CreateGroup, Node: n, Group: g, Spec: s})
	}
	for _, a := range slices.Clone(h.naming) {
		m.give(&Event{Kind: NameActor, Actor: a})
	}
}

// elect has the coordinator die with what is not durable, and another begin.
func (m *model) elect() {
	m.term++
	m.m = New(m.o)
	m.give(&Event{Kind: Elected, Term: m.term})
	for _, r := range m.disk.records() {
		m.give(&Event{Kind: Recorded, Record: r})
	}
	m.give(&Event{Kind: Opened})
	for _, n := range m.up() {
		m.join(n)
	}
}

func (m *model) up() (out []id.Node) {
	for n, h := range m.hosts {
		if h.up {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b id.Node) int { return slices.Compare(a[:], b[:]) })
	return out
}

func (m *model) start() {
	m.made++
	n := node(fmt.Sprintf("n%d", m.made))
	m.hosts[n] = &host{up: true, cpus: 2, holds: map[Held]bool{}, owns: map[id.Actor]*ActorRecord{}, asked: map[id.Group]*spec.Group{}}
	m.join(n)
}

func (m *model) kill(n id.Node) { *m.hosts[n] = host{} }

func (m *model) random() {
	up := m.up()
	if len(up) == 0 {
		m.start()
		return
	}
	n := rapid.SampledFrom(up).Draw(m.t, "node")
	h := m.hosts[n]
	switch rapid.SampledFrom([]string{"start", "kill", "silent", "drain", "leave", "elect", "group", "ungroup", "name", "end", "job", "at", "wait", "wait", "written", "written"}).Draw(m.t, "what") {
	case "start":
		if len(up) < 8 {
			m.start()
		}
	case "kill":
		m.kill(n)
		m.give(&Event{Kind: Broken, Node: n})
	case "silent":
		m.kill(n)
	case "drain":
		m.give(&Event{Kind: Drain, Node: n})
	case "leave":
		heir := rapid.SampledFrom(up).Draw(m.t, "heir")
		if heir != n && len(h.naming) == 0 {
			maps.Copy(m.hosts[heir].owns, h.owns)
			m.kill(n)
			m.give(&Event{Kind: Left, Node: n, Heir: heir})
		}
	case "elect":
		m.elect()
	case "group":
		g := groupOf("j", spec.PackKind(rapid.IntRange(0, 3).Draw(m.t, "layout")), []float64{1, 1, 1}[:rapid.IntRange(1, 3).Draw(m.t, "bundles")]...)
		m.made++
		of := task(fmt.Sprintf("g%d", m.made))
		h.asked[of] = g
		m.give(&Event{Kind: CreateGroup, Node: n, Group: of, Spec: g})
	case "ungroup":
		if all := m.m.groupsIf(func(*group) bool { return true }); len(all) > 0 {
			for _, o := range m.hosts {
				delete(o.asked, all[0].Group)
			}
			m.give(&Event{Kind: RemoveGroup, Group: all[0].Group})
		}
	case "name":
		m.made++
		a := &ActorRecord{Actor: task(fmt.Sprintf("a%d", m.made)), Name: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(m.t, "name"),
			Detached: rapid.Bool().Draw(m.t, "detached"), Owner: n}
		h.naming = append(h.naming, a)
		m.give(&Event{Kind: NameActor, Actor: a, Get: rapid.Bool().Draw(m.t, "get")})
	case "end":
		for _, a := range m.owned(h) {
			delete(h.owns, a.Actor)
			m.give(&Event{Kind: ActorGone, Actor: &ActorRecord{Actor: a.Actor, Owner: n}})
			break
		}
	case "at":
		for _, a := range m.owned(h) {
			m.give(&Event{Kind: ActorAt, Actor: &ActorRecord{Actor: a.Actor, Owner: n, Incarnation: a.Incarnation, Host: n}})
			break
		}
	case "job":
		m.give(&Event{Kind: JobBegan, Node: n, Job: job("j")})
	case "wait":
		m.wait(time.Duration(rapid.IntRange(1, 12_000).Draw(m.t, "ms")) * time.Millisecond)
	case "written":
		m.written(rapid.IntRange(0, len(m.disk.queue)).Draw(m.t, "n"))
	}
}

func (m *model) owned(h *host) []*ActorRecord {
	return slices.SortedFunc(maps.Values(h.owns), func(a, b *ActorRecord) int { return slices.Compare(a.Actor[:], b.Actor[:]) })
}

func (m *model) written(n int) {
	m.disk.commit(n)
	m.give(&Event{Kind: Written, N: n})
}

// wait lets time pass in which those that are up are heard.
func (m *model) wait(d time.Duration) {
	for end := m.now + d; m.now < end; {
		m.now = min(end, m.now+attention)
		for _, n := range m.up() {
			m.give(&Event{Kind: Heard, Node: n, Figures: m.hosts[n].figures()})
		}
		m.give(&Event{Kind: Tick})
	}
}

// settle lets everything come to rest, and checks that all agree.
func (m *model) settle() {
	m.join(m.up()[0])
	for range 60 {
		m.wait(attention)
		m.written(len(m.disk.queue))
	}
	if nodes := m.m.Nodes(); !slices.Equal(nodes, m.up()) {
		m.t.Fatalf("members are %v, up are %v", nodes, m.up())
	}
	want := map[id.Node]map[Held]bool{}
	for _, g := range m.m.groupsIf(func(*group) bool { return true }) {
		if len(g.parts) > 0 {
			m.t.Fatalf("group %s is still being prepared", taskName(g.Group))
		}
		for i, at := range g.At {
			if want[at] == nil {
				want[at] = map[Held]bool{}
			}
			want[at][Held{g.Group, i}] = true
		}
		if got := m.disk.groups[g.Group]; len(g.lost()) == 0 && !slices.Equal(got.At, g.At) {
			m.t.Fatalf("group %s lies at %v, recorded at %v", taskName(g.Group), g.At, got.At)
		}
	}
	for _, n := range m.up() {
		h := m.hosts[n]
		if !maps.Equal(h.holds, want[n]) {
			m.t.Fatalf("%s holds %v, records say %v", nodeName(n), h.holds, want[n])
		}
		if len(h.naming) > 0 {
			m.t.Fatalf("%s has no answer about %s", nodeName(n), taskName(h.naming[0].Actor))
		}
	}
	for _, a := range m.m.actorsIf(func(*ActorRecord) bool { return true }) {
		if r := m.disk.actors[a.Actor]; r.Owner != a.Owner || r.Name != a.Name || r.Incarnation != a.Incarnation {
			m.t.Fatalf("actor %s is recorded as %+v, not %+v", taskName(a.Actor), r, *a)
		}
	}
	if len(m.disk.actors) != len(m.m.actors) || len(m.disk.groups) > len(m.m.groups) || len(m.disk.jobs) != len(m.m.jobs) {
		m.t.Fatalf("records are of %d actors, %d groups and %d jobs: there are %+v", len(m.disk.actors), len(m.disk.groups), len(m.disk.jobs), m.m.Stats())
	}
}

// TestProperties has random things happen to a cluster, coordinators that die
// with what they have not written among them.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Sample: rapid.SampledFrom([]int{0, 4}).Draw(t, "sample")}
		m := &model{world: newWorld(o), t: t, hosts: map[id.Node]*host{}}
		m.elect()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			m.random()
		}
		if len(m.up()) == 0 {
			m.start()
		}
		m.settle()
	})
}
