package head_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/control/mem"
	"github.com/weftrun/weft/internal/coordinate"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/head"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a node that notes what the coordinator wants of it.
type fake struct {
	f        *fabric
	id       id.Node
	seat     *head.Seat
	mu       sync.Mutex
	got      []coordinate.Effect
	down     []id.Node
	expelled bool
	deaf     bool // what is sent to it and by it is lost
	lost     int  // so many of its Joined are lost
	queue    chan func()
}

func (n *fake) Command(e *coordinate.Effect) error {
	n.mu.Lock()
	n.got = append(n.got, *e)
	n.mu.Unlock()
	if e.Kind == coordinate.Prepare {
		n.seat.Report(&coordinate.Event{Kind: coordinate.Prepared, Group: e.Group, Attempt: e.Attempt, OK: true, Figures: n.Figures()})
	}
	return nil
}

func (n *fake) Figures() *coordinate.Figures {
	v := resource.Vector{CPU: 4 * resource.Unit}
	return &coordinate.Figures{Total: v, Free: v.Clone()}
}
func (n *fake) Holds() []coordinate.Held { return nil }
func (n *fake) PeerDown(other id.Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = append(n.down, other)
}
func (n *fake) PeerLeft(other, _ id.Node) { n.PeerDown(other) }
func (n *fake) PeerDraining(id.Node)      {}

// last returns the newest command of a kind.
func (n *fake) last(k coordinate.EffectKind) *coordinate.Effect {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := len(n.got) - 1; i >= 0; i-- {
		if n.got[i].Kind == k {
			return &n.got[i]
		}
	}
	return nil
}

// fabric connects nodes, heads among them, over one store.
type fabric struct {
	t     *testing.T
	store control.Store
	nodes map[id.Node]*fake
}

func newFabric(t *testing.T, heads, workers int) (*fabric, []*fake) {
	f := &fabric{t: t, store: mem.New(mem.Config{}), nodes: map[id.Node]*fake{}}
	var all []*fake
	var wheres []head.Where
	for i := range heads + workers {
		n := &fake{f: f, id: id.Node{0: byte(i + 1)}, queue: make(chan func(), 1<<12)}
		f.nodes[n.id] = n
		all = append(all, n)
		if i < heads {
			wheres = append(wheres, head.Where{Node: n.id, Address: "h"})
		}
		go func() {
			for g := range n.queue {
				g()
			}
		}()
	}
	for _, n := range all {
		n.seat = &head.Seat{Member: head.NewMember(head.MemberConfig{Self: n.id, Address: "a", Send: n.send, Know: func(id.Node, string) {}, Draining: func() {},
			Heads: wheres, Expelled: func() { n.mu.Lock(); n.expelled = true; n.mu.Unlock() }})}
	}
	for i, n := range all {
		if i < heads {
			n.seat.Head = head.New(head.Config{Self: n.id, Address: "a", Store: f.store, Send: n.send, Know: func(id.Node, string) {}})
		}
	}
	for _, n := range all {
		n.seat.Start(n)
	}
	return f, all
}

func (n *fake) send(to id.Node, m *nodev1.Message) {
	other := n.f.nodes[to]
	if n.isDeaf() || other.isDeaf() || n.loses(m) {
		return
	}
	other.queue <- func() {
		if !other.isDeaf() {
			if err := other.seat.Receive(n.id, m); err != nil {
				n.f.t.Error(err)
			}
		}
	}
}

func (n *fake) isDeaf() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deaf
}

// loses reports whether a message is one that is to be lost.
func (n *fake) loses(m *nodev1.Message) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	joins := coordinate.EventKind(m.GetReport().GetKind()) == coordinate.Joined
	if joins && n.lost > 0 {
		n.lost--
		return true
	}
	return false
}

func (n *fake) isExpelled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.expelled
}

// dead lists the others that were declared so.
func (n *fake) dead() []id.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.down)
}

// kill ends a node as if its process were killed.
func (n *fake) kill() {
	n.mu.Lock()
	n.deaf = true
	n.mu.Unlock()
}

func (f *fabric) close() {
	for _, n := range f.nodes {
		n.seat.Close()
		if n.seat.Head != nil {
			n.seat.Head.Close()
		}
	}
	synctest.Wait() // what they have sent is delivered
	for _, n := range f.nodes {
		close(n.queue)
	}
	_ = f.store.Close()
}

// settle lets time pass for what must happen by itself.
func settle(d time.Duration) {
	<-time.After(d) // virtual
	synctest.Wait()
}

func leader(all []*fake) *fake {
	for _, n := range all {
		if n.seat.Head != nil && !n.isDeaf() && n.seat.Head.Leads() {
			return n
		}
	}
	return nil
}

func name(a id.Actor, owner *fake, as string) *coordinate.Event {
	return &coordinate.Event{Kind: coordinate.NameActor, Actor: &coordinate.ActorRecord{Actor: a, Name: as, Owner: owner.id}}
}

// When the leading head ends another leads, knows what was written, and hears
// again what was not.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all := newFabric(t, 3, 2)
		settle(3 * time.Second)
		first := leader(all)
		if first == nil {
			t.Fatal("nobody leads")
		}
		a, b := all[3], all[4]
		a.seat.Report(name(id.Actor{1}, a, "one"))
		settle(time.Second)
		if e := a.last(coordinate.Named); e == nil || e.Actor != (id.Actor{1}) {
			t.Fatal("not named:", e)
		}
		first.seat.Head.Close()
		b.seat.Report(name(id.Actor{2}, b, "one")) // while nobody leads
		b.seat.Report(&coordinate.Event{Kind: coordinate.CreateGroup, Group: id.Group{7}, Spec: &spec.Group{Layout: spec.StrictSpread,
			Bundles: []spec.Bundle{{Resources: resource.Vector{CPU: resource.Unit}}, {Resources: resource.Vector{CPU: resource.Unit}}}}})
		settle(8 * time.Second)
		if second := leader(all); second == nil || second == first {
			t.Fatal("nobody else leads")
		}
		if e := b.last(coordinate.NameTaken); e == nil || e.Record.Actor != (id.Actor{1}) {
			t.Fatal("the name was not taken:", e)
		}
		if e := b.last(coordinate.Placed); e == nil || len(e.At) != 2 || e.At[0] == e.At[1] {
			t.Fatal("the group has no place:", e)
		}
		for _, n := range all {
			if n.isExpelled() || len(n.dead()) > 0 {
				t.Fatal("a node was declared dead", n.dead())
			}
		}
		f.close()
	})
}

// A member that is silent is declared dead; should it come back, it is told.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all := newFabric(t, 1, 2)
		settle(3 * time.Second)
		all[1].kill()
		settle(9 * time.Second)
		if len(all[2].dead()) != 0 {
			t.Fatal("dead after less than ten seconds")
		}
		settle(2 * time.Second)
		if len(all[2].dead()) != 1 || all[2].dead()[0] != all[1].id {
			t.Fatal("not declared dead:", all[2].dead())
		}
		all[1].mu.Lock()
		all[1].deaf = false
		all[1].mu.Unlock()
		settle(3 * time.Second)
		if !all[1].isExpelled() {
			t.Fatal("it came back and was not told")
		}
		f.close()
	})
}

// A leader that has not begun to lead hears no report: a member that is not
// answered says again what it is, and is not taken for one that was dead.
func TestReportIsNotHeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all := newFabric(t, 1, 2)
		all[2].mu.Lock()
		all[2].lost = 2
		all[2].mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := all[2].seat.Join(ctx); err != nil {
			t.Error(err)
		}
		settle(3 * time.Second)
		if all[2].isExpelled() {
			t.Error("it was expelled before it was a member")
		}
		all[2].mu.Lock()
		left := all[2].lost
		all[2].mu.Unlock()
		if left != 0 {
			t.Error("its reports were heard at once")
		}
		f.close()
	})
}

// A node that says that it leaves is gone at once.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all := newFabric(t, 1, 2)
		settle(3 * time.Second)
		all[1].seat.Leave(t.Context(), id.Node{})
		settle(time.Second)
		if len(all[2].dead()) != 1 || all[2].dead()[0] != all[1].id {
			t.Fatal("not gone:", all[2].dead())
		}
		f.close()
	})
}
