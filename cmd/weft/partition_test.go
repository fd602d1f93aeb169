package main

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/cut"
	"github.com/weftrun/weft/internal/state"
)

// parted is a cluster whose nodes can be parted from each other: each has an
// address of its own on this machine, and a way that leads there.
type parted struct {
	*many
	ways  []*cut.Way
	hosts []string
}

// newParted starts a head and others that join it.
func newParted(t *testing.T, others int) *parted {
	t.Helper()
	p := &parted{many: &many{terminal: newTerminal(t), patience: 2 * time.Minute}}
	p.start(t, "--head")
	for range others {
		p.start(t, "--address", p.nodes[0].Cluster)
	}
	p.until(t, "all nodes", 0, func(nodes []state.Node) bool { return len(nodes) == others+1 })
	return p
}

func (p *parted) start(t *testing.T, args ...string) {
	t.Helper()
	host := fmt.Sprintf("127.0.0.%d", len(p.nodes)+2)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	way := cut.NewWay(t, address)
	p.ways, p.hosts = append(p.ways, way), append(p.hosts, host)
	p.many.start(t, append([]string{"--listen", address, "--advertise", way.Address}, args...)...)
}

// part parts two nodes until the function that it returns is called.
func (p *parted) part(i, j int) (rejoin func()) {
	one, other := p.ways[i].Hold(p.hosts[j]), p.ways[j].Hold(p.hosts[i])
	return func() { one(); other() }
}

// partAll parts a node from all others.
func (p *parted) partAll(i int) (rejoin func()) {
	var all []func()
	for j := range p.nodes {
		if j != i {
			all = append(all, p.part(i, j))
		}
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

// Two nodes that cannot reach each other for a while, while tasks and values go
// between them, go on when they can; nobody is declared dead.
func TestPartedNodes(t *testing.T) {
	p := newParted(t, 2)
	ctx := p.drive(t, 0)
	rounds := make(chan error, 1)
	stop := make(chan struct{})
	go func() { rounds <- (&chaos{many: p.many}).load(ctx, stop) }()
	for range 3 {
		rejoin := p.part(1, 2)
		held := time.NewTimer(time.Second)
		select {
		case err := <-rounds:
			t.Fatal(err)
		case <-held.C:
		}
		rejoin()
	}
	close(stop)
	if err := <-rounds; err != nil {
		t.Fatal(err)
	}
	p.until(t, "all nodes", 0, func(nodes []state.Node) bool { return len(nodes) == 3 })
}

// A node that was parted from all others for so long that they declared it dead
// comes back with work that is others' by then: it ends, and all is right.
func TestPartedForTooLong(t *testing.T) {
	p := newParted(t, 2)
	ctx := p.drive(t, 0)
	there := weft.OnNode(p.nodes[1].Node, true)
	rejoin := p.partAll(1)
	var refs []weft.Ref[int]
	for i := range 8 {
		refs = append(refs, spin.Remote(ctx, i, there)) // some are sent there, and do not arrive
	}
	sum := sumParts(ctx)
	p.until(t, "a cluster without it", 0, func(nodes []state.Node) bool { return len(nodes) == 2 })
	for i, r := range refs {
		if _, err := r.Get(ctx); err != nil {
			t.Error(i, err)
		}
	}
	if got, err := sum.Get(ctx); err != nil || len(got) != partSize || got[0] != 120 {
		t.Error(len(got), err)
	}
	rejoin()
	(&terminal{p.parent, p.nodes[1].Dir}).waitGone(t)
}
