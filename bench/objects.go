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
				func() error { return m.putLarge(ctx, from) },
				func() error {
					ns, err := m.each(1, func() error { copy(to, from); return nil })
					m.limit("put/100MiB", perSecond(large, ns))
					return err
				},
			)
		}, "--store-bytes", "2GiB")
	},
}

// putLarge times puts of which each finds the memory of an earlier one.
func (m *meter) putLarge(ctx context.Context, value []byte) error {
	const puts = 5
	total := 0.0
	for range puts {
		ns, err := took(func() error { _, err := weft.Put(ctx, value); return err })
		if err != nil {
			return err
		}
		total += ns
		settle()
	}
	m.subject("put/100MiB", perSecond(puts*large, total))
	return nil
}

// settle has the references that nothing points to any more dropped.
func settle() {
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
}

var getObjects = &topic{
	name: "get",
	rows: []row{
		getRow("1MiB", "1 MiB"), getRow("100MiB", "100 MiB"),
		{name: "get/copies", what: "… gets that copied the object", asked: "0 of 100", unit: percent, reached: atMost(0)},
		{name: "get/argument", what: "task in another process that takes an object of 100 MiB, call and get",
			limit: "a frame to a process and back over a Unix socket", unit: nanoseconds},
		{name: "get/argument-copies", what: "… arguments that were copied", asked: "0 of 100", unit: percent, reached: atMost(0)},
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
					for _, row := range []string{"get/1MiB", "get/100MiB", "get/argument"} {
						m.limit(row, ns)
					}
					return err
				},
			)
		}, "--store-bytes", "3GiB")
	},
}

func getRow(name, size string) row {
	return row{name: "get/" + name, what: "get of a sealed object of " + size + " that another process made", asked: "≤ 20 µs, no copy",
		limit: "a frame to a process and back over a Unix socket", unit: nanoseconds, reached: atMost(20_000)}
}

// viewed tells, in a worker, where a task's argument is.
var viewed = weft.Task1("bench.viewed", func(_ context.Context, b []byte) (bool, error) { return inSharedMemory(b) })

func (m *meter) getAll(ctx context.Context) error {
	small, err := m.get(ctx, "get/1MiB", mib, 32)
	if err != nil {
		return err
	}
	big, err := m.get(ctx, "get/100MiB", large, 4)
	if err != nil {
		return err
	}
	m.subject("get/copies", 100*(small+big)/2)
	return m.argument(ctx)
}

// get has n objects made and times the first get of each. It returns the share
// of them that were copied on the way.
func (m *meter) get(ctx context.Context, row string, size, n int) (copied float64, err error) {
	refs, err := produced(ctx, size, n)
	if err != nil {
		return 0, err
	}
	defer settle()
	total := 0.0
	for i, ref := range refs {
		var b []byte
		ns, err := took(func() (err error) { b, err = ref.Get(ctx); return err })
		if err != nil {
			return 0, err
		}
		total += ns
		shared, err := inSharedMemory(b)
		if err != nil {
			return 0, err
		}
		if !shared {
			copied++
		}
		if sumPages(b) != sumPages(pattern(i, size)) {
			return 0, errWrong
		}
	}
	m.subject(row, total/float64(n))
	return copied / float64(n), nil
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
