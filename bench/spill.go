package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft"
)

// spilling keeps three times the store alive: what memory cannot hold, two
// thirds of it, goes to disk and comes back.
var spilling = &topic{
	name: "spill", rounds: 3, timeout: 10 * time.Minute,
	rows: []row{
		{name: "spill/write", what: "live data three times the store, put: what must go to disk, from when the store is full", asked: "≥ 70% of the disk's sequential rate",
			limit: "the disk, written sequentially", unit: bytesPerSecond, reached: ofLimit(0.7)},
		{name: "spill/write-all", what: "… the same, in the time of all puts", asked: "≥ 70% of the disk's sequential rate",
			limit: "the disk, written sequentially", unit: bytesPerSecond, reached: ofLimit(0.7)},
		{name: "spill/read", what: "… read by tasks: what must come from disk, in the time of all of it", asked: "≥ 70% of the disk's sequential rate",
			limit: "the disk, read sequentially", unit: bytesPerSecond, reached: ofLimit(0.7)},
		{name: "spill/shared", what: "… most shared memory at any time, of the store's limit", asked: "≤ 100%", unit: percent, reached: atMost(100)},
	},
	measure: func(ctx context.Context, m *meter) error {
		w := &workload{meter: m, store: m.pick(512*mib, 64*mib), object: m.pick(8*mib, mib)}
		return m.cold(
			func() error {
				return m.withNode(ctx, func(n *node) error { return w.run(ctx, n) }, "--store-bytes", strconv.Itoa(w.store))
			},
			w.disk,
		)
	},
}

// workload is live data of three times a store.
type workload struct {
	*meter

	store, object int // bytes
}

func (w *workload) run(ctx context.Context, n *node) error {
	peak := n.watchShared()
	refs, sums, err := w.put(ctx)
	if err == nil {
		err = w.read(ctx, refs, sums)
	}
	w.subject("spill/shared", 100*float64(peak())/float64(w.store))
	return err
}

// put stores everything, of a few values in turn. What must go to disk is told as
// the rate from when the store is full to the end, and as that of the whole.
func (w *workload) put(ctx context.Context) (refs []weft.Ref[[]byte], sums []uint64, err error) {
	var values [8][]byte
	for i := range values {
		values[i] = pattern(i, w.object)
		sums = append(sums, sumPages(values[i]))
	}
	full, all := w.store/w.object, 3*w.store/w.object
	begin := time.Now()
	var start time.Time // of what needs the disk
	for i := range all {
		if i == full {
			start = time.Now()
		}
		ref, err := weft.Put(ctx, values[i%len(values)])
		if err != nil {
			return nil, nil, fmt.Errorf("put of object %d of %d: %w", i, all, err)
		}
		refs = append(refs, ref)
	}
	w.subject("spill/write", perSecond((all-full)*w.object, float64(time.Since(start))))
	w.subject("spill/write-all", perSecond((all-full)*w.object, float64(time.Since(begin))))
	return refs, sums, nil
}

// read has tasks read every page of every object.
func (w *workload) read(ctx context.Context, refs []weft.Ref[[]byte], sums []uint64) error {
	ns, err := took(func() error {
		got := make([]weft.Ref[uint64], len(refs))
		for i, ref := range refs {
			got[i] = pages.RemoteOf(ctx, ref)
		}
		for i, ref := range got {
			if v, err := ref.Get(ctx); err != nil || v != sums[i%len(sums)] {
				return fmt.Errorf("read of object %d: %w", i, right(false, err))
			}
		}
		return nil
	})
	w.subject("spill/read", perSecond(2*w.store, ns))
	return err
}

// watchShared looks at the node's shared memory until peak is called.
func (n *node) watchShared() (peak func() int64) {
	stop := make(chan struct{})
	var most int64
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			most = max(most, n.shared())
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	})
	return func() int64 { close(stop); watcher.Wait(); return most }
}

// disk writes and reads, one after the other, as much as the workload must.
func (w *workload) disk() error {
	f, how, err := openDirect(w.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const chunk = 16 * mib
	buf, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // page-aligned
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(buf) }()
	copy(buf, pattern(1, chunk))
	for _, pass := range []struct {
		rows []string
		io   func([]byte, int64) (int, error)
	}{{[]string{"spill/write", "spill/write-all"}, f.WriteAt}, {[]string{"spill/read"}, f.ReadAt}} {
		ns, err := took(func() error {
			for off := 0; off < 2*w.store; off += chunk {
				if _, err := pass.io(buf, int64(off)); err != nil {
					return err
				}
			}
			return f.Sync()
		})
		if err != nil {
			return err
		}
		for _, row := range pass.rows {
			w.limit(row, perSecond(2*w.store, ns))
			w.remark(row, how)
		}
	}
	return nil
}

// openDirect makes a file that is gone when it is closed, past the page cache
// where the file system can.
func openDirect(dir string) (f *os.File, how string, err error) {
	f, err = os.CreateTemp(dir, "disk-")
	if err != nil {
		return nil, "", err
	}
	defer os.Remove(f.Name())
	direct, err := os.OpenFile(f.Name(), os.O_RDWR|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return f, "no O_DIRECT here: written with fsync, read from the page cache", nil
	}
	return direct, "O_DIRECT", errors.Join(err, f.Close())
}
