package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports the processor time of an operation: of client, worker and
// fake node together.
func reportCPU(b *testing.B, run func()) {
	b.ReportAllocs()
	before := cpuTime()
	b.ResetTimer()
	run()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

func BenchmarkTaskSync(b *testing.B) {
	n := newFakeNode(b)
	n.worker()
	d, t := n.driver(), taskOf(double)
	ctx := context.Background()
	reportCPU(b, func() {
		for range b.N {
			c := newCall(d, t, double, Arg{Val: 21})
			c.Once = true
			d.Submit(ctx, c)
			d.Want(&c.Fut1)
			_ = c.Fut1.Wait(ctx)
			d.Release(&c.Fut1)
		}
	})
}

func BenchmarkTaskPipelined(b *testing.B) {
	n := newFakeNode(b)
	n.worker()
	d, t := n.driver(), taskOf(double)
	ctx := context.Background()
	reportCPU(b, func() {
		fs := make([]*Future, 0, 1000)
		for i := range b.N {
			fs = append(fs, &call(ctx, d, t, double, Arg{Val: i}).Fut1)
			if len(fs) == cap(fs) || i == b.N-1 {
				d.Want(fs...)
				for _, f := range fs {
					_ = f.Wait(ctx)
				}
				fs = fs[:0]
			}
		}
	})
}

func BenchmarkTaskConcurrent(b *testing.B) {
	n := newFakeNode(b)
	n.worker()
	d, t := n.driver(), taskOf(double)
	ctx := context.Background()
	reportCPU(b, func() {
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				for range b.N / 50 {
					f := &call(ctx, d, t, double, Arg{Val: 1}).Fut1
					d.Want(f)
					_ = f.Wait(ctx)
				}
			})
		}
		callers.Wait()
	})
}
