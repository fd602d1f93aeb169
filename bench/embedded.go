package main

import (
	"context"
	"errors"
	"runtime"

	"github.com/weftrun/weft"
)

// window is how many calls are out at a time when they are pipelined.
const window = 1000

const goroutine = "a goroutine and a channel"

var embeddedTasks = &topic{
	name: "embedded",
	rows: []row{
		{name: "embedded/call", what: "embedded task, call and get", asked: "≤ 2.5 µs and ≤ 3× a goroutine and a channel",
			limit: goroutine, unit: nanoseconds, reached: both(atMost(2500), timesLimit(3))},
		{name: "embedded/pipelined", what: "embedded tasks, pipelined", asked: "≥ 800,000/s",
			limit: goroutine, unit: rate, reached: atLeast(800_000)},
		{name: "embedded/allocations", what: "embedded tasks, pipelined: allocations a task", asked: "≤ 6",
			limit: goroutine, unit: count, reached: atMost(6)},
	},
	measure: func(ctx context.Context, m *meter) error {
		return withEmbedded(ctx, func() error {
			return m.alternate(
				func() error {
					return m.callAndPipeline("embedded", func() error { return callTask(ctx) }, func() error { return pipelineTasks(ctx) }, m.subject)
				},
				func() error { return m.callAndPipeline("embedded", callGoroutine, pipelineGoroutines, m.limit) },
			)
		})
	},
}

var embeddedActors = &topic{
	name: "actor",
	rows: []row{
		{name: "actor/call", what: "embedded actor, call and get", asked: "≤ 2.5 µs",
			limit: "a goroutine that owns a value, and channels", unit: nanoseconds, reached: atMost(2500)},
		{name: "actor/pipelined", what: "embedded actor, pipelined", asked: "≥ 1,000,000/s",
			limit: "a goroutine that owns a value, and channels", unit: rate, reached: atLeast(1_000_000)},
		{name: "actor/allocations", what: "embedded actor, pipelined: allocations a call",
			limit: "a goroutine that owns a value, and channels", unit: count},
	},
	measure: func(ctx context.Context, m *meter) error {
		return withEmbedded(ctx, func() error { return m.actorAndOwner(ctx) })
	},
}

func (m *meter) actorAndOwner(ctx context.Context) error {
	a := counters.New(ctx, 0)
	if err := a.Ready(ctx); err != nil {
		return err
	}
	owner := startOwner()
	defer close(owner)
	return m.alternate(
		func() error {
			return m.callAndPipeline("actor", func() error { return callActor(ctx, a) }, func() error { return pipelineActor(ctx, a) }, m.subject)
		},
		func() error { return m.callAndPipeline("actor", owner.call, owner.pipeline, m.limit) },
	)
}

// withEmbedded runs f with a node in this process.
func withEmbedded(ctx context.Context, f func() error) (err error) {
	s, err := weft.Init(ctx, weft.Resources(map[string]float64{"CPU": nodeCPUs}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Shutdown(ctx)) }()
	return f()
}

// callAndPipeline measures a topic's call, pipelined and allocations rows.
func (m *meter) callAndPipeline(topic string, call, pipeline func() error, tell func(string, float64)) error {
	ns, err := m.each(100, func() error {
		for range 100 {
			if err := call(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	tell(topic+"/call", ns)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	windows := 0
	ns, err = m.each(window, func() error { windows++; return pipeline() })
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	tell(topic+"/pipelined", 1e9/ns)
	tell(topic+"/allocations", float64(after.Mallocs-before.Mallocs)/float64(windows*window))
	return nil
}

func callTask(ctx context.Context, opts ...weft.TaskOption) error {
	v, err := square.Call(ctx, 7, opts...)
	return right(v == 49, err)
}

func pipelineTasks(ctx context.Context, opts ...weft.TaskOption) error {
	var refs [window]weft.Ref[int]
	for i := range refs {
		refs[i] = square.Remote(ctx, 7, opts...)
	}
	for _, r := range refs {
		if v, err := r.Get(ctx); err != nil || v != 49 {
			return right(false, err)
		}
	}
	return nil
}

func callActor(ctx context.Context, a weft.Actor[counter]) error {
	_, err := add.Call(ctx, a, 1)
	return err
}

func pipelineActor(ctx context.Context, a weft.Actor[counter]) error {
	var refs [window]weft.Ref[int]
	for i := range refs {
		refs[i] = add.Remote(ctx, a, 1)
	}
	for _, r := range refs {
		if _, err := r.Get(ctx); err != nil {
			return err
		}
	}
	return nil
}
