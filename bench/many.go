package main

import (
	"context"

	"github.com/weftrun/weft"
)

const tenThousand = 10_000

var manyObjects = &topic{
	name: "many",
	rows: []row{
		manyRow("arguments", "a task with 10,000 objects as arguments, call and get"),
		manyRow("returns", "a task with 3,000 returns, call and get of all"),
		manyRow("get", "one get of 10,000 objects"),
		manyRow("wait", "wait on 10,000 refs"),
	},
	measure: func(ctx context.Context, m *meter) error {
		peer, err := startEcho(ctx)
		if err != nil {
			return err
		}
		defer peer.stop()
		return m.withNode(ctx, func(*node) error {
			return m.alternate(
				func() error { return m.many(ctx) },
				func() error {
					ns, err := took(func() error { return peer.stream(tenThousand) })
					for _, row := range []string{"many/arguments", "many/returns", "many/get", "many/wait"} {
						m.limit(row, ns)
					}
					return err
				},
			)
		})
	},
}

func manyRow(name, what string) row {
	return row{name: "many/" + name, what: what + ", from another process", asked: "≤ 100 ms",
		limit: "10,000 frames to a process and back", unit: nanoseconds, reached: atMost(100e6)}
}

// many measures each of the rows once, with objects of its own: what has been
// got or waited for before is not asked for again.
func (m *meter) many(ctx context.Context) error {
	defer settle()
	for _, part := range []struct {
		row string
		f   func(context.Context, []weft.Ref[int]) error
	}{
		{"many/arguments", sumRefs}, {"many/returns", splitReturns}, {"many/get", getRefs}, {"many/wait", waitRefs},
	} {
		settle()
		refs, err := putMany(ctx)
		if err != nil {
			return err
		}
		ns, err := took(func() error { return part.f(ctx, refs) })
		if err != nil {
			return err
		}
		m.subject(part.row, ns)
	}
	return nil
}

// putMany stores 0 to 9,999 and returns when the node has them.
func putMany(ctx context.Context) ([]weft.Ref[int], error) {
	refs := make([]weft.Ref[int], tenThousand)
	for i := range refs {
		ref, err := weft.Put(ctx, i)
		if err != nil {
			return nil, err
		}
		refs[i] = ref
	}
	return refs, settled(ctx)
}

func sumRefs(ctx context.Context, refs []weft.Ref[int]) error {
	v, err := sum.RemoteOf(ctx, weft.Collect(refs...)).Get(ctx)
	return right(v == tenThousand*(tenThousand-1)/2, err)
}

func splitReturns(ctx context.Context, _ []weft.Ref[int]) error {
	const n = 3000
	vs, err := weft.GetAll(ctx, split.Remote(ctx, n, n))
	return right(len(vs) == n && vs[n-1] == n-1, err)
}

func getRefs(ctx context.Context, refs []weft.Ref[int]) error {
	vs, err := weft.GetAll(ctx, refs)
	return right(len(vs) == len(refs) && vs[len(vs)-1] == len(refs)-1, err)
}

func waitRefs(ctx context.Context, refs []weft.Ref[int]) error {
	done, _, err := weft.Wait(ctx, refs, len(refs))
	return right(len(done) == len(refs), err)
}
