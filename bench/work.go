package main

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/weftrun/weft"
)

// The tasks and actors that are measured. Every process of this program, the
// workers too, registers them.
var (
	square = weft.Task1("bench.square", func(_ context.Context, x int) (int, error) { return x * x, nil })

	// hold keeps its resources until it is cancelled.
	hold = weft.Task0("bench.hold", func(ctx context.Context) (int, error) {
		held.Add(1)
		<-ctx.Done()
		return 0, ctx.Err()
	})

	// tick counts itself down, in an embedded node; see [queuedTasks].
	tick = weft.Task1("bench.tick", func(_ context.Context, _ int) (int, error) {
		if left.Add(-1) == 0 {
			close(drained)
		}
		return 0, nil
	})

	sum = weft.Task1("bench.sum", func(_ context.Context, xs []int) (int, error) {
		total := 0
		for _, x := range xs {
			total += x
		}
		return total, nil
	})
	split = weft.Split1("bench.split", func(_ context.Context, n int) ([]int, error) { return sequence(n), nil })

	// produce makes an object; pages reads one.
	produce = weft.Task2("bench.produce", func(_ context.Context, seed, size int) ([]byte, error) { return pattern(seed, size), nil })
	pages   = weft.Task1("bench.pages", func(_ context.Context, b []byte) (uint64, error) { return sumPages(b), nil })

	counters = weft.Actor1("bench.counter", func(_ context.Context, start int) (*counter, error) { return &counter{start}, nil })
	add      = weft.Method1(counters, (*counter).Add)
)

// What hold and tick tell the program when its node is embedded.
var (
	held    atomic.Int64
	left    atomic.Int64
	drained chan struct{}
)

type counter struct{ n int }

// Add adds d.
func (c *counter) Add(_ context.Context, d int) (int, error) {
	c.n += d
	return c.n, nil
}

func sequence(n int) []int {
	xs := make([]int, n)
	for i := range xs {
		xs[i] = i
	}
	return xs
}

const pageSize = 4 * kib

// pattern makes size bytes that no file system can shrink, of which each page
// begins with a number of its own.
func pattern(seed, size int) []byte {
	b := make([]byte, size)
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := 0; i+8 <= size; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b
}

// sumPages reads each page of b once.
func sumPages(b []byte) uint64 {
	total := uint64(0)
	for i := 0; i+8 <= len(b); i += pageSize {
		total += binary.LittleEndian.Uint64(b[i:])
	}
	return total
}

var errWrong = errors.New("a result is wrong")

// right turns a wrong result into an error: what is measured must also be true.
func right(ok bool, err error) error {
	if err == nil && !ok {
		err = errWrong
	}
	return err
}
