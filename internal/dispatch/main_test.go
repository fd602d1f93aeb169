package dispatch

import (
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// driver drives a Machine in tests, checking its invariants at every step.
type driver struct {
	testing.TB
	m     *Machine
	now   time.Duration
	fx    []Effect
	steps int
}

func drive(t testing.TB, m *Machine) *driver { return &driver{TB: t, m: m} }

// step returns the effects of ev; they are valid until the next step.
func (d *driver) step(ev Event) []Effect {
	d.Helper()
	d.fx = d.m.Step(d.now, &ev, d.fx[:0])
	if d.steps++; d.m.queued > 500 && d.steps%200 != 0 {
		return d.fx // a look at everything takes too long
	}
	if err := d.m.Check(); err != nil {
		d.Fatalf("at %v after %v: %v", d.now, ev.Kind, err)
	}
	return d.fx
}

// one checks that there is one effect of the given kind and returns it.
func (d *driver) one(ev Event, kind EffectKind) Effect {
	d.Helper()
	fx := d.step(ev)
	if len(fx) != 1 || fx[0].Kind != kind {
		d.Fatalf("%v: got %v, want one %v", ev.Kind, kinds(fx), kind)
	}
	return fx[0]
}

// none checks that an event has no effect.
func (d *driver) none(ev Event) {
	d.Helper()
	if fx := d.step(ev); len(fx) > 0 {
		d.Fatalf("%v: got %v, want nothing", ev.Kind, kinds(fx))
	}
}

func kinds(fx []Effect) (out []string) {
	for i := range fx {
		out = append(out, fx[i].Kind.String())
	}
	return out
}

func done(x Effect, ran time.Duration) Event {
	return Event{Kind: Finished, Task: x.Task, Attempt: x.Attempt, Lease: x.Lease, Ran: int64(ran)}
}

var class1 = Class{Job: id.Job{1}}
