package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/control/mem"
	"github.com/weftrun/weft/internal/coordinate"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/head"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/node"
)

// fabric connects the nodes of a test within the process; the first is the head.
type fabric struct {
	mu    sync.Mutex
	ports map[id.Node]*port
	wg    sync.WaitGroup
	under atomic.Int64 // way: messages that have not been received
	// pull is asked before a pull, of a node by a name; its error ends that.
	pull func(from id.Node, name string) error
}

// port is a node and its way to the others.
type port struct {
	f    *fabric
	id   id.Node
	node *node.Node
	seat *head.Seat
	out  map[id.Node]chan []byte
}

func (f *fabric) port(i id.Node) *port {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports[i]
}

// Send implements node.Network.
func (p *port) Send(to id.Node, frame []byte) {
	if c := p.out[to]; c != nil {
		p.f.under.Add(1)
		c <- frame
	}
}

func (p *port) send(to id.Node, m *nodev1.Message) {
	frame, err := m.MarshalVT()
	if err != nil {
		panic(err)
	}
	p.Send(to, frame)
}

// Pull implements node.Network.
func (p *port) Pull(ctx context.Context, from id.Node, name string) (io.ReadCloser, error) {
	other := p.f.port(from)
	if other == nil {
		return nil, errors.New("it is dead")
	}
	if p.f.pull != nil {
		if err := p.f.pull(from, name); err != nil {
			return nil, err
		}
	}
	return other.node.Serve(ctx, name)
}

// clusterOf starts nodes with so many CPUs each that make a cluster.
func clusterOf(t *testing.T, cpus ...float64) (sockets []string, nodes []*node.Node) {
	t.Helper()
	_, sockets, nodes = fabricOf(t, cpus...)
	return sockets, nodes
}

func fabricOf(t *testing.T, cpus ...float64) (f *fabric, sockets []string, nodes []*node.Node) {
	t.Helper()
	f = &fabric{ports: map[id.Node]*port{}}
	var ports []*port
	done := make(chan struct{})
	for i := range cpus {
		p := &port{f: f, id: id.Node{0: byte(i + 1), 7: 1}, out: map[id.Node]chan []byte{}}
		ports = append(ports, p)
		p.seat = &head.Seat{Member: head.NewMember(head.MemberConfig{Self: p.id, Send: p.send, Know: func(id.Node, string) {}, Draining: func() {},
			Heads: []head.Where{{Node: ports[0].id}}, Expelled: func() {}})}
	}
	for i, p := range ports {
		s, n := startNode(t, node.Config{ID: p.id, Resources: map[string]float64{"CPU": cpus[i]}, Network: p, Cluster: p.seat})
		p.node = n
		f.ports[p.id] = p
		sockets, nodes = append(sockets, s), append(nodes, n)
	}
	for _, p := range ports {
		for _, to := range ports {
			c := make(chan []byte, 1<<16)
			p.out[to.id] = c
			f.wg.Go(func() { f.carry(t, p.id, to.node, c, done) })
		}
	}
	store := mem.New(mem.Config{})
	ports[0].seat.Head = head.New(head.Config{Self: ports[0].id, Store: store, Send: ports[0].send, Know: func(id.Node, string) {},
		Options: coordinate.Options{Fixed: true}})
	for _, p := range ports {
		p.seat.Start(p.node)
	}
	t.Cleanup(func() {
		for _, p := range ports {
			p.seat.Close()
		}
		ports[0].seat.Head.Close()
		close(done)
		f.wg.Wait()
		_ = store.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range nodes {
		until(ctx, t, "a view of all", func() bool { return n.Sees() == len(nodes)-1 })
	}
	return f, sockets, nodes
}

// carry delivers what one node sends another.
func (f *fabric) carry(t *testing.T, from id.Node, to *node.Node, c <-chan []byte, done <-chan struct{}) {
	for {
		select {
		case frame := <-c:
			if err := to.Receive(from, frame); err != nil {
				t.Error(err)
			}
			f.under.Add(-1)
		case <-done:
			return
		}
	}
}

// A node without CPUs has its tasks run by another.
func TestTaskAtAnotherNode(t *testing.T) {
	sockets, _ := clusterOf(t, 0, 2)
	ctx := open(t, weft.Address(sockets[0]))
	for i := range 100 {
		if got, err := inc.Call(ctx, i); err != nil || got != i+1 {
			t.Fatal(got, err)
		}
	}
}

var (
	blob  = weft.Task1("node_test.blob", func(_ context.Context, n int) ([]byte, error) { return bytes.Repeat([]byte{7}, n), nil })
	size  = weft.Task1("node_test.size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	fails = weft.Task1("node_test.fails", func(_ context.Context, s string) (int, error) { return 0, errors.New(s) })
	outer = weft.Task1("node_test.outer", func(ctx context.Context, n int) (int, error) {
		refs := make([]weft.Ref[[]byte], n)
		for i := range refs {
			refs[i] = blob.Remote(ctx, 100_000+i)
		}
		sum := 0
		for _, r := range refs {
			got, err := size.RemoteOf(ctx, r).Get(ctx)
			if err != nil {
				return 0, err
			}
			sum += got
		}
		return sum, nil
	})
	holder = weft.Task1("node_test.holder", func(ctx context.Context, n int) (boxed, error) {
		return boxed{In: blob.Remote(ctx, n)}, nil
	})
	opened = weft.Task1("node_test.opened", func(ctx context.Context, b boxed) (int, error) {
		got, err := b.In.Get(ctx)
		return len(got), err
	})
)

type boxed struct{ In weft.Ref[[]byte] }

// Values of every size go to and come from another node: inline, in its store,
// as arguments, and as references inside values.
func TestValuesBetweenNodes(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 2)
	ctx := open(t, weft.Address(sockets[0]))
	for _, n := range []int{0, 10, 5_000, 100_000, 3 << 20} {
		b := blob.Remote(ctx, n)
		got, err := b.Get(ctx)
		if err != nil || len(got) != n {
			t.Fatal(n, len(got), err)
		}
		if got, err := size.RemoteOf(ctx, b).Get(ctx); err != nil || got != n {
			t.Error(n, "as an argument:", got, err)
		}
		put, err := weft.Put(ctx, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := size.RemoteOf(ctx, put).Get(ctx); err != nil || got != n {
			t.Error(n, "put:", got, err)
		}
		box := holder.Remote(ctx, n)
		if got, err := opened.RemoteOf(ctx, box).Get(ctx); err != nil || got != n {
			t.Error(n, "inside a value:", got, err)
		}
		in, err := box.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := in.In.Get(ctx); err != nil || len(got) != n {
			t.Error(n, "by the driver:", len(got), err)
		}
	}
	if _, err := fails.Call(ctx, "no luck"); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Error(err)
	}
	if got, err := outer.Call(ctx, 5); err != nil || got != 500_010 {
		t.Error(got, err)
	}
	for _, n := range nodes {
		if err := n.Check(); err != nil {
			t.Error(err)
		}
	}
}

// When its driver has ended nothing is left of a job at any node.
func TestJobEndsAtAllNodes(t *testing.T) {
	sockets, nodes := clusterOf(t, 1, 2)
	s, err := weft.Init(context.Background(), weft.Address(sockets[0]))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
	defer cancel()
	for i := range 50 {
		_ = outer.Remote(ctx, i%4)
		_ = blob.Remote(ctx, i*10_000)
	}
	if _, err := outer.Call(ctx, 3); err != nil {
		t.Error(err)
	}
	for range 5 {
		_ = nap.Remote(ctx, 0)
	}
	_ = outer.Remote(ctx, 3)
	_ = s.Shutdown(ctx)
	for i, n := range nodes {
		until(ctx, t, fmt.Sprint("an end at node ", i), func() bool { return n.Left() == "" })
		if left := n.Left(); left != "" {
			t.Error(i, left)
		}
	}
}

// patient is a task that goes on when somebody writes to the pipe.
var (
	patient = weft.Task1("node_test.patient", func(_ context.Context, pipe string) (int, error) {
		f, err := os.Open(pipe) // waits for a writer
		if err != nil {
			return 0, err
		}
		return os.Getpid(), f.Close()
	}, weft.Isolated())
)

// A worker that dies at another node costs its task an attempt; the owner runs
// it again, and says so if that is in vain.
func TestWorkerDiesAtAnotherNode(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 1)
	ctx := open(t, weft.Address(sockets[0]))
	if _, err := crash.Call(ctx, 1); !errors.Is(err, weft.WorkerCrashed) || !strings.Contains(fmt.Sprint(err), "attempt 3") {
		t.Error(err)
	}
	until(ctx, t, "an end of the guests", func() bool { return nodes[1].Guests() == 0 })
}

// A task that runs at another node can be cancelled.
func TestCancelAtAnotherNode(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 1)
	ctx := open(t, weft.Address(sockets[0]))
	runs, waits := nap.Remote(ctx, 0), nap.Remote(ctx, 0)
	until(ctx, t, "a guest", func() bool { return nodes[1].Guests() > 0 })
	weft.Cancel(runs)
	weft.Cancel(waits)
	for _, r := range []weft.Ref[int]{runs, waits} {
		if _, err := r.Get(ctx); !errors.Is(err, weft.Cancelled) {
			t.Error(err)
		}
	}
	until(ctx, t, "an end of the guests", func() bool { return nodes[1].Guests() == 0 })
}

// When a node dies what it ran runs elsewhere, and what it alone had is made again.
func TestNodeDies(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 1, 1)
	ctx := open(t, weft.Address(sockets[0]))
	pipe := fifo(t)
	big := make([]weft.Ref[[]byte], 8)
	for i := range big {
		big[i] = blob.Remote(ctx, 1<<20)
	}
	if _, _, err := weft.Wait(ctx, big, len(big)); err != nil {
		t.Fatal(err)
	}
	runs := []weft.Ref[int]{patient.Remote(ctx, pipe), patient.Remote(ctx, pipe)}
	until(ctx, t, "a guest at each", func() bool { return nodes[1].Guests() == 1 && nodes[2].Guests() == 1 })
	for _, n := range []*node.Node{nodes[0], nodes[2]} {
		n.PeerDown(nodes[1].ID())
	}
	letGo(t, pipe)
	for _, r := range runs {
		if _, err := r.Get(ctx); err != nil {
			t.Error(err)
		}
	}
	for _, b := range big {
		if got, err := b.Get(ctx); err != nil || len(got) != 1<<20 {
			t.Error(len(got), err)
		}
	}
}

// A task that waits for room at a node runs elsewhere when that dies; what it was
// to be given from there is made again, and not taken for nothing.
func TestArgumentDiesWithItsNode(t *testing.T) {
	sockets, nodes := clusterOf(t, 1, 1)
	ctx := open(t, weft.Address(sockets[0]))
	there := weft.OnNode(nodes[1].ID().String(), true)
	pipe := fifo(t)
	big := blob.Remote(ctx, 1<<20, there)
	if _, _, err := weft.Wait(ctx, []weft.Ref[[]byte]{big}, 1); err != nil {
		t.Fatal(err)
	}
	runs := patient.Remote(ctx, pipe, there)
	until(ctx, t, "a guest", func() bool { return nodes[1].Guests() == 1 })
	length := size.RemoteOf(ctx, big, there)
	if _, err := size.Call(ctx, nil, weft.OnNode(nodes[0].ID().String(), false)); err != nil { // so the other was submitted
		t.Fatal(err)
	}
	nodes[0].PeerDown(nodes[1].ID())
	letGo(t, pipe)
	if n, err := length.Get(ctx); err != nil || n != 1<<20 {
		t.Error(n, err)
	}
	if _, err := runs.Get(ctx); err != nil {
		t.Error(err)
	}
}

// What has a copy at another node outlives the node that made it, although it
// cannot be made again: nodes and tasks are told of the copy.
func TestCopyOutlivesItsMaker(t *testing.T) {
	sockets, nodes := clusterOf(t, 1, 1, 1, 1)
	ctx := open(t, weft.Address(sockets[0]))
	at := func(i int) weft.TaskOption { return weft.OnNode(nodes[i].ID().String(), false) }
	big := blob.Remote(ctx, 1<<20, at(1), weft.MaxRetries(0))
	if n, err := size.RemoteOf(ctx, big, at(2), weft.MaxRetries(0)).Get(ctx); err != nil || n != 1<<20 {
		t.Fatal(n, err)
	}
	for _, n := range []*node.Node{nodes[3], nodes[2], nodes[0]} { // the owner is the last to hear
		n.PeerDown(nodes[1].ID())
	}
	for _, i := range []int{3, 0} {
		if n, err := size.RemoteOf(ctx, big, at(i), weft.MaxRetries(0)).Get(ctx); err != nil || n != 1<<20 {
			t.Error(i, n, err)
		}
	}
	if got, err := big.Get(ctx); err != nil || len(got) != 1<<20 {
		t.Error(len(got), err)
	}
}

// What a node runs for one that dies is stopped.
func TestOwnerDies(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 2)
	ctx := open(t, weft.Address(sockets[0]))
	_ = nap.Remote(ctx, 0)
	_ = outer.Remote(ctx, 3)
	until(ctx, t, "guests", func() bool { return nodes[1].Guests() > 0 })
	nodes[1].PeerDown(nodes[0].ID())
	until(ctx, t, "an end of it", func() bool { return nodes[1].Left() == "" })
}

// grower is an actor that calls another through a handle that it was given.
type grower struct{ of weft.Actor[tally] }

func (g *grower) Grow(ctx context.Context, by int) (int, error) { return add.Call(ctx, g.of, by) }

var (
	growers = weft.Actor1("node_test.grower", func(_ context.Context, of weft.Actor[tally]) (*grower, error) { return &grower{of}, nil }, weft.CPU(1))
	grow    = weft.Method1(growers, (*grower).Grow)
	growAll = weft.Task1("node_test.grow", func(ctx context.Context, of weft.Actor[tally]) (int, error) {
		sum := 0
		for i := range 10 {
			got, err := add.Call(ctx, of, i)
			if err != nil {
				return 0, err
			}
			sum = got
		}
		return sum, nil
	})
)

// Actors at one node are called by the driver, by tasks and by actors at others.
func TestActorsBetweenNodes(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 2, 1)
	s, err := weft.Init(context.Background(), weft.Address(sockets[0]))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
	defer cancel()
	c := tallies.New(ctx, 0, weft.CPU(1))
	g := growers.New(ctx, c)
	for i := range 10 {
		if got, err := grow.Call(ctx, g, 1); err != nil || got != i+1 {
			t.Fatal("an actor:", got, err)
		}
	}
	if got, err := growAll.Call(ctx, c); err != nil || got != 55 {
		t.Error("a task:", got, err)
	}
	calls := make([]weft.Ref[int], 500)
	for i := range calls {
		calls[i] = add.Remote(ctx, c, 1)
	}
	for i, r := range calls {
		if got, err := r.Get(ctx); err != nil || got != 56+i {
			t.Fatal("the driver:", i, got, err)
		}
	}
	weft.Kill(c, false)
	if _, err := add.Call(ctx, c, 1); !errors.Is(err, weft.ActorDied) {
		t.Error("after its end:", err)
	}
	if _, err := grow.Call(ctx, g, 1); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Error("after its end, by an actor:", err)
	}
	_ = s.Shutdown(ctx)
	for i, n := range nodes {
		until(ctx, t, fmt.Sprint("an end at node ", i, ": ", n.Left()), func() bool { return n.Left() == "" })
	}
}

// An actor whose node dies starts again at another; what it held there is free.
func TestActorSurvivesItsNode(t *testing.T) {
	sockets, nodes := clusterOf(t, 0, 1, 1)
	ctx := open(t, weft.Address(sockets[0]))
	c := tallies.New(ctx, 100, weft.CPU(1), weft.MaxRestarts(2), weft.MaxTaskRetries(2))
	if got, err := add.Call(ctx, c, 1); err != nil || got != 101 {
		t.Fatal(got, err)
	}
	at, other := nodes[1], nodes[2]
	if other.Hosts() > 0 {
		at, other = other, at
	}
	for _, n := range []*node.Node{nodes[0], other} {
		n.PeerDown(at.ID())
	}
	if got, err := add.Call(ctx, c, 2); err != nil || got != 102 {
		t.Error("after the death of its node:", got, err)
	}
	if other.Hosts() != 1 {
		t.Error("it lives nowhere")
	}
	at.PeerDown(nodes[0].ID())
	until(ctx, t, "an end at the dead node", func() bool { return at.Left() == "" })
}
