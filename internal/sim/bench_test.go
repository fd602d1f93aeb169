package sim

import (
	"syscall"
	"testing"
	"time"
)

// million runs tasks of 10 ms on a large cluster, submitted by one node in a
// hundred, and returns the cluster when all have ended.
func million(tb testing.TB, seed uint64, nodes, tasks int) *Cluster {
	c := New(Options{Seed: seed, CPU: 4, Spawn: 10 * time.Millisecond, Unchecked: true, Story: 16, Neighbours: 64,
		Network: Network{Delay: 100 * time.Microsecond, Jitter: 100 * time.Microsecond}})
	c.AddNodes(nodes)
	p := &Program{Spec: TaskSpec("f", 1, nil), Dur: 10 * time.Millisecond}
	drivers := max(1, nodes/100)
	for i := range tasks {
		n := i % drivers * (nodes / drivers)
		t := c.Submit(n, p)
		c.Get(n, t.Return(0), func(string) {})
		c.Drop(n, t.Return(0))
	}
	if !c.Stabilize(time.Hour) {
		tb.Fatalf("%d nodes, %d tasks: not at rest: %s", nodes, tasks, c.restless())
	}
	if err := c.Err(); err != nil {
		tb.Fatal(err)
	}
	return c
}

// cpuTime is what the process has used, of all cores.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCluster is the figure of the simulation: 10,000 nodes, 1,000,000
// tasks. Its trace does not depend on the run.
func BenchmarkCluster(b *testing.B) {
	const nodes, tasks = 10_000, 1_000_000
	b.ReportAllocs()
	for range b.N {
		start, used := time.Now(), cpuTime(b)
		c := million(b, 1, nodes, tasks)
		d, u := time.Since(start), cpuTime(b)-used
		b.ReportMetric(float64(c.Decisions())/d.Seconds(), "decisions/s")
		b.ReportMetric(float64(c.Decisions())/u.Seconds(), "decisions/cpu-s")
		b.ReportMetric(float64(c.Decisions())/tasks, "decisions/task")
		b.ReportMetric(float64(c.messages)/tasks, "messages/task")
		b.ReportMetric(c.Now().Seconds(), "virtual-s")
		b.Logf("hash %x", c.Hash())
	}
}
