package weft_test

import (
	"context"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

func TestGetAll(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		var refs []weft.Ref[int]
		for i := range 100 {
			refs = append(refs, square.Remote(ctx, i))
		}
		for i, v := range must[[]int](t)(weft.GetAll(ctx, refs)) {
			if v != i*i {
				t.Fatalf("value %d is %d", i, v)
			}
		}
		refs[40], refs[60] = fail.Remote(ctx, "the first error"), fail.Remote(ctx, "another error")
		_, err := weft.GetAll(ctx, refs)
		isCode(t, err, weft.UserError, "the first error")
		if got := must[[]int](t)(weft.GetAll[int](ctx, nil)); len(got) != 0 {
			t.Errorf("the values of no refs are %v", got)
		}
	})
}

func TestWait(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, _, leave := newMeeting(t)
		slow := meet.Remote(ctx, m, weft.CPU(0))
		refs := []weft.Ref[int]{slow, square.Remote(ctx, 2), fail.Remote(ctx, "counts as done"), square.Remote(ctx, 3)}
		done, rest, err := weft.Wait(ctx, refs, 3)
		if err != nil || len(done) != 3 || len(rest) != 1 || rest[0] != slow || done[0] != refs[1] {
			t.Fatalf("done %v, rest %v, %v of %v", done, rest, err, refs)
		}
		done, rest, err = weft.Wait(ctx, refs, 0)
		if err != nil || len(done) != 3 || len(rest) != 1 {
			t.Errorf("waiting for none: done %v, rest %v, %v", done, rest, err)
		}
		past, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
		defer cancel()
		done, rest, err = weft.Wait(past, refs, 4)
		isCode(t, err, weft.Timeout)
		if len(done) != 3 || len(rest) != 1 {
			t.Errorf("at the deadline: done %v, rest %v", done, rest)
		}
		for _, n := range []int{-1, 5} {
			_, _, err = weft.Wait(ctx, refs, n)
			isCode(t, err, weft.Invalid, "between 0 and the number of refs, 4")
		}
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		if done, _, err = weft.Wait(ctx, refs, 4); err != nil || len(done) != 4 {
			t.Errorf("all of them: %v, %v", done, err)
		}
	})
}

func TestCompleted(t *testing.T) {
	onBoth(t, wefttest.Options{Resources: map[string]float64{"CPU": 4}}, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		refs, leave := make([]weft.Ref[int], 3), make([]signal, 3)
		for i := range refs {
			var m meeting
			m, _, leave[i] = newMeeting(t)
			refs[i] = add.RemoteOf(ctx, meet.Remote(ctx, m), weft.Val(i*10-1))
		}
		order := []int{1, 2, 0}
		next := 0
		if err := leave[order[0]].set(); err != nil {
			t.Fatal(err)
		}
		for v, err := range weft.Completed(ctx, refs) {
			if err != nil || v != order[next]*10 {
				t.Fatalf("completion %d is %d, %v", next, v, err)
			}
			if next++; next < len(order) {
				if err := leave[order[next]].set(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if next != 3 {
			t.Errorf("%d of 3 completed", next)
		}
		for v, err := range weft.Completed(ctx, []weft.Ref[int]{fail.Remote(ctx, "its error")}) {
			isCode(t, err, weft.UserError, "its error")
			_ = v
		}
	})
}

// A wait that ends early says so and leaves the task alone.
func TestGetWithDeadline(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, arrived, leave := newMeeting(t)
		ref := meet.Remote(ctx, m)
		past, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
		defer cancel()
		_, err := ref.Get(past)
		isCode(t, err, weft.Timeout, "the task goes on", "weft why "+ref.String())
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err = ref.Get(gone)
		isCode(t, err, weft.Cancelled)
		_, err = weft.GetAll(past, []weft.Ref[int]{ref})
		isCode(t, err, weft.Timeout)
		for _, err := range weft.Completed(past, []weft.Ref[int]{ref}) {
			isCode(t, err, weft.Timeout)
		}
		c.Eventually("the task", arrived.happened)
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(ref.Get(ctx))
		equal(t, 1)(ref.Get(past)) // what is there needs no waiting
	})
}

func TestDone(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, _, leave := newMeeting(t)
		ref := meet.Remote(ctx, m)
		done := ref.Done()
		select {
		case <-done:
			t.Error("done before its end")
		default:
		}
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		<-done
		<-ref.Done()
		equal(t, 1)(ref.Get(ctx))
	})
}
