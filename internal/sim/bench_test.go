package sim

import (
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

// BenchmarkCluster is the figure of the simulation: 10,000 nodes, 1,000,000
// tasks. Its trace does not depend on the run.
func BenchmarkCluster(b *testing.B) {
	const nodes, tasks = 10_000, 1_000_000
	b.ReportAllocs()
	for range b.N {
		start := time.Now()
		c := million(b, 1, nodes, tasks)
		d := time.Since(start).Seconds()
		b.ReportMetric(float64(c.Decisions())/d, "decisions/s")
		b.ReportMetric(float64(c.Decisions())/tasks, "decisions/task")
		b.ReportMetric(float64(c.messages)/tasks, "messages/task")
		b.ReportMetric(c.Now().Seconds(), "virtual-s")
		b.Logf("hash %x", c.Hash())
	}
}
