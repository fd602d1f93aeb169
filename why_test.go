package weft_test

import (
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// isDeadlock reports whether an explanation names the circle of calls that wait
// for each other, which begins and ends at an actor.
func isDeadlock(why string, at weft.Actor[room]) bool {
	return strings.Contains(why, "DEADLOCK") && strings.Contains(why, "actor "+at.String()) &&
		strings.Count(why, "test.room.Visit") >= 3
}

// Why says what a task waits for: its argument, a resource and who has it.
func TestWhy(t *testing.T) {
	c := wefttest.Join(t, small)
	ctx := c.Context()
	m, arrived, leave := newMeeting(t)
	holder := meet.Remote(ctx, m, weft.Resource("slot", 1), weft.Name("the holder"))
	c.Eventually("the holder", arrived.happened)
	waits := square.Remote(ctx, 2, weft.Resource("slot", 1), weft.Name("the waiter"))
	after := square.RemoteOf(ctx, waits, weft.Name("the last"))
	c.Eventually("why", func() bool {
		why := c.Why(after.String())
		return strings.Contains(why, "the last") && strings.Contains(why, "the waiter") &&
			strings.Contains(why, "slot") && strings.Contains(why, "the holder")
	})
	if err := leave.set(); err != nil {
		t.Fatal(err)
	}
	equal(t, 1)(holder.Get(ctx))
	equal(t, 16)(after.Get(ctx))
}
