package weft_test

import (
	"context"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

type bundle = map[string]float64

func TestPlacementGroup(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		other := must[*weft.Group](t)(weft.NewGroup(ctx, weft.Pack, bundle{"slot": 1}))
		other.Remove()
		g := must[*weft.Group](t)(weft.NewGroup(ctx, weft.Pack, bundle{"CPU": 1}, bundle{"CPU": 1, "slot": 1}))
		if g.String() == "" || g.String() == other.String() {
			t.Errorf("two groups are %q and %q", other, g)
		}
		equal(t, 49)(square.Call(ctx, 7, weft.In(g, 0)))
		equal(t, 49)(square.Call(ctx, 7, weft.In(g, -1), weft.Resource("slot", 1)))
		a := tallies.New(ctx, 1, weft.In(g, 1), weft.CPU(1))
		equal(t, 2)(tallyAdd.Call(ctx, a, 1))

		m, arrived, leave := newMeeting(t)
		outside := meet.Remote(ctx, m) // all CPUs are the group's
		equal(t, 49)(square.Call(ctx, 7, weft.In(g, 0)))
		if arrived.happened() {
			t.Error("a task outside runs on the group's CPU")
		}
		_, err := square.Call(ctx, 7, weft.In(g, 0), weft.CPU(1.5))
		isCode(t, err, weft.Unschedulable, "CPU")
		_, err = square.Call(ctx, 7, weft.In(g, 2))
		isCode(t, err, weft.Invalid, "no bundle 2")
		weft.Kill(a, false)
		g.Remove()
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(outside.Get(ctx))
	})
}

func TestPlacementGroupRemoved(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		g := must[*weft.Group](t)(weft.NewGroup(ctx, weft.Pack, bundle{"CPU": 1}, bundle{"CPU": 1}))
		m, arrived, leave := newMeeting(t)
		running := meet.Remote(ctx, m, weft.In(g, 0))
		c.Eventually("the task in the group", arrived.happened)
		waiting := square.Remote(ctx, 2, weft.In(g, 0))
		a := tallies.New(ctx, 1, weft.In(g, 1))
		equal(t, 3)(tallyAdd.Call(ctx, a, 2))
		g.Remove()
		_, err := tallyAdd.Call(ctx, a, 2)
		isCode(t, err, weft.ActorDied, "its placement group was removed")
		_, err = waiting.Get(ctx)
		isCode(t, err, weft.GroupRemoved, "removed")
		_, err = square.Call(ctx, 2, weft.In(g, 0))
		isCode(t, err, weft.GroupRemoved, "removed")
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(running.Get(ctx))
		equal(t, 4)(square.Call(ctx, 2, weft.CPU(2))) // everything is free again
	})
}

func TestPlacementGroupWaits(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		first := must[*weft.Group](t)(weft.NewGroup(ctx, weft.StrictPack, bundle{"slot": 1}))
		soon, cancel := context.WithCancel(ctx)
		made := make(chan error, 1)
		go func() {
			_, err := weft.NewGroup(soon, weft.Pack, bundle{"slot": 1})
			made <- err
		}()
		cancel()
		isCode(t, <-made, weft.Cancelled)
		go func() {
			g, err := weft.NewGroup(ctx, weft.Pack, bundle{"slot": 1}, bundle{"CPU": 1})
			if err == nil {
				g.Remove()
			}
			made <- err
		}()
		first.Remove()
		if err := <-made; err != nil {
			t.Error(err)
		}
	})
}

func TestPlacementGroupImpossible(t *testing.T) {
	tests := []struct {
		name    string
		layout  weft.Layout
		bundles []bundle
		code    weft.Code
		parts   []string
	}{
		{"nothing", weft.Pack, nil, weft.Invalid, []string{"no bundles"}},
		{"an empty one", weft.Pack, []bundle{{"CPU": 1}, {}}, weft.Invalid, []string{"bundle 1"}},
		{"negative", weft.Pack, []bundle{{"CPU": -1}}, weft.Invalid, []string{"bundle 0", "negative"}},
		{"too large", weft.Pack, []bundle{{"CPU": 3}}, weft.Unschedulable, []string{"CPU"}},
		{"too many", weft.StrictPack, []bundle{{"CPU": 1}, {"CPU": 1}, {"CPU": 1}}, weft.Unschedulable, []string{"3 bundles"}},
		{"on nodes that are not there", weft.StrictSpread, []bundle{{"CPU": 1}, {"CPU": 1}}, weft.Unschedulable, nil},
	}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := weft.NewGroup(c.Context(), tt.layout, tt.bundles...)
				isCode(t, err, tt.code, tt.parts...)
			})
		}
		equal(t, 49)(square.Call(c.Context(), 7, weft.CPU(2)))
	})
}
