package place

import (
	"testing"

	"github.com/weftrun/weft/internal/spec"
)

// Tasks that wait at this node go to one that has room for them, when that shows
// or when it joins.
func TestRecall(t *testing.T) {
	d := &driver{TB: t, m: New(self, Options{})}
	view := func(n, free, queued int) Event {
		return Event{Kind: View, Node: nodeID(n), Total: cpus(8), Free: cpus(free), Queued: queued}
	}
	d.step(view(0, 0, 0))
	s := newSpec(t, func(s *spec.Task) { s.Resources = cpus(3) })
	for i := range 4 {
		d.one(Event{Kind: Runnable, Task: taskID(i), Spec: s}, Here)
	}
	d.step(view(0, 0, 4))
	if x := d.one(view(1, 7, 0), Recall); x.N != 2 || x.Node != nodeID(1) || x.Spec != s {
		t.Fatalf("a node with room for two joined: %+v", x)
	}
	if fx := d.step(view(1, 7, 0)); len(fx) > 0 {
		t.Fatalf("nothing came, and it is asked for again: %+v", fx)
	}
	if x := d.one(Event{Kind: Recalled, Task: taskID(0), Spec: s, Node: nodeID(1)}, Ask); x.Node != nodeID(1) || !x.NoWait {
		t.Fatalf("%+v", x)
	}
	d.step(Event{Kind: Refused, Node: nodeID(1), Key: s.Key(), N: 1})
	if st := d.m.Stats(); st.Asked != 1 {
		t.Fatalf("it is refused, and waits there: %+v", st)
	}
	if fx := d.step(view(2, 8, 0)); len(fx) != 2 || fx[0].Kind != Ask || fx[1].Kind != Recall || fx[1].N != 1 {
		t.Fatalf("a node with room for that task and one that waits here: %+v", fx)
	}
	d.step(Event{Kind: Recalled, Task: taskID(1), Spec: s, Node: nodeID(9)}) // that node is gone
	if st := d.m.Stats(); st.Queued != 2 {
		t.Fatalf("it waits for another node: %+v", st)
	}
	d.now += spentFor + 1
	if x := d.one(view(0, 0, 2), Recall); x.Node == self {
		t.Fatalf("this node's own figures came: %+v", x)
	}
}

func TestNoRecall(t *testing.T) {
	for name, change := range map[string]func(*spec.Task){
		"bound here":   func(s *spec.Task) { s.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: self} },
		"needs little": func(s *spec.Task) { s.Resources = cpus(0) },
		"fits nowhere": func(s *spec.Task) { s.Resources = cpus(8) },
	} {
		t.Run(name, func(t *testing.T) {
			d := &driver{TB: t, m: New(self, Options{})}
			d.step(Event{Kind: View, Node: self, Total: cpus(8), Queued: 9})
			d.one(Event{Kind: Runnable, Task: taskID(1), Spec: newSpec(t, change)}, Here)
			for range 3 {
				if fx := d.step(Event{Kind: View, Node: nodeID(1), Total: cpus(8), Free: cpus(7)}); len(fx) > 0 {
					t.Fatalf("%+v", fx)
				}
			}
		})
	}
}

// A task that comes to a node where a lease is wanted that no task waits for any
// more waits with it, and goes where there is room like those that settled.
func TestRelievedFromWhatOthersWanted(t *testing.T) {
	d := &driver{TB: t, m: New(self, Options{})}
	view := func(n, free int) Event {
		return Event{Kind: View, Node: nodeID(n), Total: cpus(8), Free: cpus(free)}
	}
	s := newSpec(t, func(s *spec.Task) { s.Resources = cpus(8) })
	d.step(view(0, 0))
	d.step(view(1, 8))
	d.step(Event{Kind: Recalled, Task: taskID(1), Spec: s, Node: nodeID(1)})
	d.step(Event{Kind: Refused, Node: nodeID(1), Key: s.Key(), N: 1})
	d.step(view(1, 0))
	d.one(view(0, 8), Here)
	d.step(Event{Kind: Recalled, Task: taskID(2), Spec: s, Node: nodeID(1)})
	d.now += spentFor + 1
	d.one(view(0, 8), Here)
}
