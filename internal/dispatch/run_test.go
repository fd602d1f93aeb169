package dispatch

import (
	"testing"
	"time"

	"github.com/weftrun/weft/internal/spec"
)

func TestTaskRunsAtOnceAndReusesItsLease(t *testing.T) {
	d := drive(t, ready(2, 2))
	s := newSpec(t, 1, "f", 1)
	a := d.one(Event{Kind: Enqueue, Task: taskID(1), Spec: s}, Start)
	if a.N != 0 || a.Worker != 11 || a.Task != taskID(1) {
		t.Fatalf("%+v", a)
	}
	d.none(done(a, time.Millisecond))
	if f := d.m.Free(); f.CPU != 2*10000 {
		t.Fatalf("free %v", f)
	}
	b := d.one(Event{Kind: Enqueue, Task: taskID(2), Spec: s}, Start)
	if b.Lease != a.Lease {
		t.Fatalf("lease %d, want %d again", b.Lease, a.Lease)
	}
	d.none(done(b, time.Millisecond))
	at, ok := d.m.Deadline()
	if !ok || at > spec.LeaseIdle {
		t.Fatalf("deadline %v %v", at, ok)
	}
	d.now = spec.LeaseIdle
	d.one(Event{Kind: Tick}, Close)
	if len(d.m.leases.free) != len(d.m.leases.at) {
		t.Fatal("the lease is still there")
	}
}
