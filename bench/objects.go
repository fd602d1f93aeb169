package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/weftrun/weft"
)

const large = 100 * mib

var putObjects = &topic{
	name: "put",
	rows: []row{
		{name: "put/100MiB", what: "put of 100 MiB from another process, warm", asked: "≥ 12 GiB/s, or 65% of memcpy",
			limit: "memcpy", unit: bytesPerSecond, reached: either(atLeast(12*gib), ofLimit(0.65))},
	},
	measure: func(ctx context.Context, m *meter) error {
		from, to := pattern(1, large), make([]byte, large)
		return m.withNode(ctx, func(*node) error {
			return m.alternate(
				func() error {
					return largeCopies(m.subject, func() error { _, err := weft.Put(ctx, from); return err })
				},
				func() error { return largeCopies(m.limit, func() error { copy(to, from); return nil }) },
			)
		}, "--store-bytes", "2GiB")
	},
}

// largeCopies times copies of which each has time before it for the memory of
// the last one to be free again. The limit rests as well: on a busy machine who
// has rested gets the processor first.
func largeCopies(tell func(string, float64), put func() error) error {
	const copies = 5
	total := 0.0
	for range copies {
		settle()
		ns, err := took(put)
		if err != nil {
			return err
		}
		total += ns
	}
	tell("put/100MiB", perSecond(copies*large, total))
	return nil
}

// settle has the references that nothing points to any more dropped.
func settle() {
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
}

const frameAndBack = "a frame to a process and back over a Unix socket"

var getObjects = &topic{
	name: "get",
	rows: []row{
		{name: "get/1MiB", what: "get (`View`) of a sealed object of 1 MiB that another process made", asked: "≤ 20 µs, no copy",
			limit: frameAndBack, unit: nanoseconds, reached: atMost(20_000)},
		{name: "get/100MiB", what: "… of 100 MiB", asked: "≤ 20 µs, no copy",
			limit: frameAndBack, unit: nanoseconds, reached: atMost(20_000)},
		{name: "get/copies", what: "… of these, copied", asked: "0%", unit: percent, reached: atMost(0)},
		{name: "get/Get", what: "… of 100 MiB by `Get`, which copies", limit: frameAndBack, unit: nanoseconds},
		{name: "get/argument", what: "task in another process that takes an object of 100 MiB, call and get",
			limit: frameAndBack, unit: nanoseconds},
		{name: "get/argument-copies", what: "… of these arguments, copied", asked: "0%", unit: percent, reached: atMost(0)},
	},
	measure: func(ctx context.Context, m *meter) error {
		peer, err := startEcho(ctx)
		if err != nil {
			return err
		}
		defer peer.stop()
		return m.withNode(ctx, func(*node) error {
			return m.alternate(
				func() error { return m.getAll(ctx) },
				func() error {
					ns, err := m.each(1, peer.ping)
					for _, row := range []string{"get/1MiB", "get/100MiB", "get/Get", "get/argument"} {
						m.limit(row, ns)
					}
					return err
				},
			)
		}, "--store-bytes", "3GiB")
	},
}

// viewed tells, in a worker, where a task's argument is.
var viewed = weft.Task1("bench.viewed", func(_ context.Context, b []byte) (bool, error) { return inSharedMemory(b) })

// reader gets the bytes of an object, and has them for as long as it exists.
type reader func(context.Context, weft.Ref[[]byte]) (data []byte, release func(), err error)

func view(ctx context.Context, ref weft.Ref[[]byte]) ([]byte, func(), error) {
	b, err := weft.View(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	return b.Data(), b.Release, nil
}

func get(ctx context.Context, ref weft.Ref[[]byte]) ([]byte, func(), error) {
	b, err := ref.Get(ctx)
	return b, func() {}, err
}

func (m *meter) getAll(ctx context.Context) error {
	small, err := m.read(ctx, view, "get/1MiB", mib, 32)
	if err != nil {
		return err
	}
	big, err := m.read(ctx, view, "get/100MiB", large, 4)
	if err != nil {
		return err
	}
	m.subject("get/copies", 100*float64(small+big)/36)
	if _, err = m.read(ctx, get, "get/Get", large, 2); err != nil {
		return err
	}
	return m.argument(ctx)
}

// read has n objects made and times the first reading of each, one after the
// other. It returns how many of them were copied on the way.
func (m *meter) read(ctx context.Context, by reader, row string, size, n int) (copied int, err error) {
	refs, err := produced(ctx, size, n)
	if err != nil {
		return 0, err
	}
	defer settle()
	got := make([][]byte, n)
	start := time.Now()
	for i, ref := range refs {
		data, release, err := by(ctx, ref)
		if err != nil {
			return 0, err
		}
		defer release()
		got[i] = data
	}
	m.subject(row, float64(time.Since(start))/float64(n))
	for i, data := range got {
		shared, err := inSharedMemory(data)
		if err != nil {
			return 0, err
		}
		if !shared {
			copied++
		}
		if sumPages(data) != sumPages(pattern(i, size)) {
			return 0, errWrong
		}
	}
	return copied, nil
}

// produced has n objects made by tasks and waits until they are there.
func produced(ctx context.Context, size, n int) ([]weft.Ref[[]byte], error) {
	refs := make([]weft.Ref[[]byte], n)
	for i := range refs {
		refs[i] = produce.Remote(ctx, i, size)
	}
	_, _, err := weft.Wait(ctx, refs, n)
	return refs, err
}

func (m *meter) argument(ctx context.Context) error {
	refs, err := produced(ctx, large, 1)
	if err != nil {
		return err
	}
	defer settle()
	shared, err := viewed.RemoteOf(ctx, refs[0]).Get(ctx)
	if err != nil {
		return err
	}
	copied := 100.0
	if shared {
		copied = 0
	}
	m.subject("get/argument-copies", copied)
	ns, err := m.each(1, func() error { _, err := size.RemoteOf(ctx, refs[0]).Get(ctx); return err })
	m.subject("get/argument", ns)
	return err
}

var size = weft.Task1("bench.size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })

// inSharedMemory reports whether b lies in memory that processes share.
func inSharedMemory(b []byte) (bool, error) {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return false, err
	}
	defer maps.Close()
	at := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &from, &to); err != nil {
			return false, err
		}
		if from <= at && at < to {
			return strings.Contains(lines.Text(), "/memfd:"), nil
		}
	}
	return false, lines.Err()
}
