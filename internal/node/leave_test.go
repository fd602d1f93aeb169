package node_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
)

// made is what a task made where it ran, and returned by reference.
type made struct {
	Large, Small, Nested weft.Ref[[]byte]
}

var maker = weft.Task1("node_test.maker", func(ctx context.Context, n int) (m made, err error) {
	var errs [3]error
	m.Large, errs[0] = weft.Put(ctx, make([]byte, n))
	m.Small, errs[1] = weft.Put(ctx, []byte("small"))
	m.Nested = blob.Remote(ctx, n)
	_, errs[2] = m.Nested.Get(ctx)
	return m, errors.Join(errs[:]...)
})

// A node that leaves hands over: what its tasks have made stays, although it was
// there alone and can be made by nobody else.
func TestHandOver(t *testing.T) {
	f, sockets, nodes := fabricOf(t, 0, 1, 1, 1)
	ctx := open(t, weft.Address(sockets[0]))
	at := weft.OnNode(nodes[1].ID().String(), false)
	m, err := maker.Call(ctx, 1<<20, at)
	if err != nil {
		t.Fatal(err)
	}
	result := blob.Remote(ctx, 1<<20, at, weft.MaxRetries(0))
	if _, _, err := weft.Wait(ctx, []weft.Ref[[]byte]{result}, 1); err != nil {
		t.Fatal(err)
	}
	f.leave(ctx, t, nodes, 1)
	f.leave(ctx, t, nodes, 2) // the heir, perhaps
	for name, r := range map[string]weft.Ref[[]byte]{"large": m.Large, "nested": m.Nested, "result": result} {
		if got, err := r.Get(ctx); err != nil || len(got) != 1<<20 {
			t.Error(name, len(got), err)
		}
		if n, err := size.RemoteOf(ctx, r).Get(ctx); err != nil || n != 1<<20 {
			t.Error(name, "as an argument:", n, err)
		}
	}
	if got, err := m.Small.Get(ctx); err != nil || string(got) != "small" {
		t.Error(string(got), err)
	}
}

// leave has a node leave as a member of a cluster does.
func (f *fabric) leave(ctx context.Context, t *testing.T, nodes []*node.Node, i int) {
	t.Helper()
	n := nodes[i]
	for _, x := range nodes {
		if x != n {
			x.PeerDraining(n.ID())
		}
	}
	if err := n.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	heir, err := n.HandOver(ctx)
	if err != nil || heir.IsZero() {
		t.Fatal("no heir:", err)
	}
	until(ctx, t, "all that was sent", func() bool { return f.under.Load() == 0 })
	for _, x := range nodes {
		if x != n {
			x.PeerLeft(n.ID(), heir)
		}
	}
}

// Without another node to go to nothing is handed over.
func TestHandOverToNobody(t *testing.T) {
	_, n := startNode(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if heir, err := n.HandOver(t.Context()); err != nil || !heir.IsZero() {
		t.Error(heir, err)
	}
}
