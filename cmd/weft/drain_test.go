package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/state"
)

// parcel is what a task put where it ran.
type parcel struct{ Large, Small weft.Ref[[]byte] }

var pack = weft.Task1("weft_test.pack", func(ctx context.Context, n int) (p parcel, err error) {
	var errs [2]error
	p.Large, errs[0] = weft.Put(ctx, make([]byte, n))
	p.Small, errs[1] = weft.Put(ctx, make([]byte, n/1000))
	return p, errors.Join(errs[:]...)
})

// A node that is drained under load leaves, and takes nothing with it: not what
// runs there, not what its tasks have put, not what may not be made twice.
func TestDrainLosesNothing(t *testing.T) {
	m := newMany(t, 2)
	m.until(t, "a cluster of three", 0, func(nodes []state.Node) bool { return len(nodes) == 3 })
	ctx := m.drive(t, 0)
	there := weft.OnNode(m.nodes[1].Node, false)
	const size = 1 << 20
	p, err := pack.Call(ctx, size, there, weft.MaxRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	loads := []weft.Ref[int]{spin.Remote(ctx, 0, there, weft.MaxRetries(0))}
	for i := range 60 {
		loads = append(loads, spin.Remote(ctx, i, weft.MaxRetries(0)))
	}
	out := m.want(t, "drain", m.nodes[1].Node[:8], "--address", m.nodes[2].Dir)
	if !strings.Contains(out, "has left") {
		t.Error(out)
	}
	(&terminal{m.parent, m.nodes[1].Dir}).waitGone(t)
	for i, r := range loads {
		if _, err := r.Get(ctx); err != nil {
			t.Fatal(i, err)
		}
	}
	for want, r := range map[int]weft.Ref[[]byte]{size: p.Large, size / 1000: p.Small} {
		if got, err := r.Get(ctx); err != nil || len(got) != want {
			t.Error(len(got), err)
		}
	}
	if status, _, errText := m.run("drain", "ffff", "--address", m.nodes[0].Dir); status != exitNotFound || !strings.Contains(errText, "list nodes") {
		t.Error(status, errText)
	}
}

// A node alone cannot be drained.
func TestDrainAlone(t *testing.T) {
	m := newTerminal(t)
	m.want(t, "start", "--detach", "--cpus", "1")
	t.Cleanup(func() { m.want(t, "stop", "--now") })
	var nodes []string
	for line := range strings.Lines(m.want(t, "list", "nodes")) {
		nodes = append(nodes, strings.Fields(line)[0])
	}
	if status, _, errText := m.run("drain", nodes[1]); status != exitFailure || !strings.Contains(errText, "in no cluster") {
		t.Error(status, errText)
	}
}
