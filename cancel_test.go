package weft_test

import (
	"context"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// patient is what a task does that waits to be cancelled.
type patient struct {
	Arrived, Told string   // signals
	Child         *patient // what a task of its own does
}

func newPatient(t *testing.T, child *patient) (p *patient, arrived, told signal) {
	arrived, told = newSignal(t), newSignal(t)
	return &patient{string(arrived), string(told), child}, arrived, told
}

var await *weft.Func1[*patient, int]

func init() {
	await = weft.Task1("test.await", func(ctx context.Context, p *patient) (int, error) {
		if p.Child != nil {
			defer await.Remote(ctx, p.Child).String()
		}
		if err := signal(p.Arrived).set(); err != nil {
			return 0, err
		}
		<-ctx.Done()
		_ = signal(p.Told).set()
		return 0, ctx.Err()
	})
}

func TestCancelRunning(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		p, arrived, told := newPatient(t, nil)
		ref := await.Remote(ctx, p)
		dependent := square.RemoteOf(ctx, ref)
		c.Eventually("the task", arrived.happened)
		weft.Cancel(ref)
		_, err := ref.Get(ctx)
		isCode(t, err, weft.Cancelled)
		_, err = dependent.Get(ctx)
		isCode(t, err, weft.Cancelled)
		c.Eventually("its context", told.happened)
	})
}

func TestCancelQueued(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, arrived, leave := newMeeting(t)
		holder := meet.Remote(ctx, m, weft.Resource("slot", 1))
		c.Eventually("the holder", arrived.happened)
		q, queuedArrived, _ := newMeeting(t)
		queued := meet.Remote(ctx, q, weft.Resource("slot", 1))
		blocked := add.RemoteOf(ctx, holder, weft.Val(1)) // waits for its argument
		weft.Cancel(queued)
		weft.Cancel(blocked)
		_, err := queued.Get(ctx)
		isCode(t, err, weft.Cancelled)
		_, err = blocked.Get(ctx)
		isCode(t, err, weft.Cancelled)
		if err := leave.set(); err != nil {
			t.Fatal(err)
		}
		equal(t, 1)(holder.Get(ctx))
		equal(t, 1)(meetWithSlot(ctx, t).Get(ctx))
		if queuedArrived.happened() {
			t.Error("the cancelled task ran")
		}
		weft.Cancel(holder) // has finished
		equal(t, 1)(holder.Get(ctx))
		weft.Cancel(weft.Ref[int]{})
	})
}

func TestCancelReachesChildren(t *testing.T) {
	tests := []struct {
		name    string
		opts    []weft.CancelOption
		reaches bool
	}{{"recursive", nil, true}, {"shallow", []weft.CancelOption{weft.Shallow()}, false}}
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				ctx := c.Context()
				grandchild, _, _ := newPatient(t, nil)
				child, childArrived, childTold := newPatient(t, grandchild)
				parent, _, parentTold := newPatient(t, child)
				ref := await.Remote(ctx, parent)
				c.Eventually("the child", func() bool { return childArrived.happened() && signal(parent.Arrived).happened() })
				weft.Cancel(ref, tt.opts...)
				_, err := ref.Get(ctx)
				isCode(t, err, weft.Cancelled)
				c.Eventually("the parent's context", parentTold.happened)
				if tt.reaches {
					c.Eventually("the child's context", childTold.happened)
					c.Eventually("the grandchild's context", func() bool {
						return !signal(grandchild.Arrived).happened() || signal(grandchild.Told).happened()
					})
				}
			})
		}
	})
}

var orphan = weft.Task2("test.orphan", func(ctx context.Context, child *patient, died string) (int, error) {
	if !signal(died).happened() {
		await.Remote(ctx, child)
		if err := signal(child.Arrived).wait(ctx); err != nil {
			return 0, err
		}
	}
	return dieOnce(ctx, "SIGKILL", died)
}, weft.Isolated())

// What an attempt started ends with it, when it dies too.
func TestDeadAttemptCancelsItsChildren(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		child, _, told := newPatient(t, nil)
		equal(t, 2)(orphan.Call(c.Context(), child, string(newSignal(t))))
		c.Eventually("the child's context", told.happened)
	})
}

func TestCancelByContext(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx, cancel := context.WithCancel(c.Context())
		defer cancel()
		p, arrived, told := newPatient(t, nil)
		ref := await.Remote(ctx, p)
		c.Eventually("the task", arrived.happened)
		cancel()
		c.Eventually("the task's context", told.happened)
		_, err := ref.Get(c.Context())
		isCode(t, err, weft.Cancelled)
		_, err = answer.Call(ctx) // the context has ended before
		isCode(t, err, weft.Cancelled)
		equal(t, 42)(answer.Call(c.Context()))
	})
}

var stubborn = weft.Task1("test.stubborn", func(_ context.Context, m meeting) (int, error) {
	return attend(context.Background(), m)
})

// Force ends even a task that does not listen, if it has its process alone.
func TestCancelByForce(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		m, arrived, _ := newMeeting(t)
		ref := stubborn.Remote(ctx, m, weft.Isolated())
		c.Eventually("the task", arrived.happened)
		workers := len(c.Workers())
		weft.Cancel(ref, weft.Force())
		_, err := ref.Get(ctx)
		isCode(t, err, weft.Cancelled)
		c.Eventually("its process to end", func() bool { return len(c.Workers()) < workers })
		if arrived.count() != 1 {
			t.Error("the cancelled task was run again")
		}
	})
}

// A call of an actor is cancelled like a task; the actor lives on.
func TestCancelActorCall(t *testing.T) {
	onBoth(t, small, func(t *testing.T, c *wefttest.Cluster) {
		ctx := c.Context()
		a := tallies.New(ctx, 1)
		m, arrived, _ := newMeeting(t)
		running := tallyMeet.Remote(ctx, a, m)
		queued := tallyAdd.Remote(ctx, a, 100)
		after := tallyAdd.Remote(ctx, a, 1)
		c.Eventually("the call", arrived.happened)
		weft.Cancel(queued)
		_, err := queued.Get(ctx)
		isCode(t, err, weft.Cancelled)
		weft.Cancel(running)
		_, err = running.Get(ctx)
		isCode(t, err, weft.Cancelled)
		equal(t, 2)(after.Get(ctx))
	})
}
