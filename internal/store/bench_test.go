package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/slab"
)

const gib = 1 << 30

// rate turns bytes and time into GiB a second.
func rate(bytes int64, d time.Duration) float64 { return float64(bytes) / d.Seconds() / gib }

// BenchmarkPut is a producer's put with a mapping of its own, as another process
// has: reserve, copy, seal, and the object freed again. The same copy between
// two buffers is measured beside it, in the same run.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{100 << 10, mib, 100 * mib} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) { benchmarkPut(b, size) })
	}
}

func benchmarkPut(b *testing.B, size int) {
	s, _ := open(b, func(c *Config) { c.Limit = gib })
	src, dst := content(1, size), make([]byte, size)
	maps := map[FileID]*slab.Mapping{}
	putOnce := func(n int) {
		r, err := s.ReserveWait(b.Context(), Request{Job: jobA, Session: 7, Size: int64(size)})
		if err != nil {
			b.Fatal(err)
		}
		to, err := mapOnce(s, maps, r.At.File).Bytes(r.At.Offset, r.At.Size)
		if err != nil {
			b.Fatal(err)
		}
		copy(to, src)
		if err := s.Seal(7, r.ID, oid(n), int64(size)); err != nil {
			b.Fatal(err)
		}
		s.Free(oid(n))
	}
	putOnce(1)
	copy(dst, src)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var copied time.Duration
	n := 0
	for b.Loop() {
		n++
		putOnce(n)
		b.StopTimer()
		start := time.Now()
		copy(dst, src)
		copied += time.Since(start)
		b.StartTimer()
	}
	total := int64(n) * int64(size)
	b.ReportMetric(rate(total, copied), "memcpy-GiB/s")
	b.ReportMetric(rate(total, b.Elapsed()), "put-GiB/s")
	b.ReportMetric(100*copied.Seconds()/b.Elapsed().Seconds(), "%-of-memcpy")
	for _, m := range maps {
		if err := m.Close(); err != nil {
			b.Error(err)
		}
	}
	s.EndSession(7)
}

func mapOnce(s *Store, maps map[FileID]*slab.Mapping, id FileID) *slab.Mapping {
	if m := maps[id]; m != nil {
		return m
	}
	f, size, err := s.File(id, true)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	m, err := slab.Map(int(f.Fd()), size, true)
	if err != nil {
		panic(err)
	}
	maps[id] = m
	return m
}

// BenchmarkPutCold is the first put of 100 MiB, whose pages must be populated.
func BenchmarkPutCold(b *testing.B) {
	s, _ := open(b, func(c *Config) { c.Limit, c.Warm = gib, -1 })
	src := content(1, 100*mib)
	b.SetBytes(100 * mib)
	n := 0
	for b.Loop() {
		n++
		r, err := s.ReserveWait(b.Context(), Request{Job: jobA, Session: 7, Size: 100 * mib, Local: true})
		if err != nil {
			b.Fatal(err)
		}
		copy(r.At.Bytes, src)
		if err := s.Seal(7, r.ID, oid(n), 100*mib); err != nil {
			b.Fatal(err)
		}
		s.Free(oid(n))
	}
}

// BenchmarkPin is a reader's pin and unpin of an object in memory.
func BenchmarkPin(b *testing.B) {
	s, _ := open(b, nil)
	put(b, s, 1, mib)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := s.TryPin(2, oid(1)); !ok || err != nil {
			b.Fatal(ok, err)
		}
		s.Unpin(2, oid(1), 1)
	}
	s.EndSession(2)
}

// BenchmarkThreeTimesTheStore puts objects of 8 MiB, three times the store's
// limit of live data, and reads all of it back; beside it, the disk's own rate
// for the same bytes written and read sequentially by the same calls. put is
// all of the data in all of the time, spill what went to disk since the store
// was full.
func BenchmarkThreeTimesTheStore(b *testing.B) {
	const storeLimit, size, count = 512 * mib, 8 * mib, 3 * 512 / 8
	src := content(1, size)
	var write, spill, read, rawWrite, rawRead time.Duration
	var spilled, reread int64
	for b.Loop() {
		s, disk := open(b, func(c *Config) { c.Limit = storeLimit })
		rw, rr := rawDisk(b, disk.Disk, src, count)
		rawWrite, rawRead = rawWrite+rw, rawRead+rr
		start := time.Now()
		full := start
		for n := range count {
			if n == storeLimit/size {
				full = time.Now()
			}
			r, err := s.ReserveWait(b.Context(), Request{Job: jobA, Session: 7, Size: size, Local: true})
			if err != nil {
				b.Fatal(err)
			}
			copy(r.At.Bytes, src)
			if err := s.Seal(7, r.ID, oid(n), size); err != nil {
				b.Fatal(err)
			}
		}
		write, spill = write+time.Since(start), spill+time.Since(full)
		spilled += s.Stats().Spilled
		start = time.Now()
		for n := range count {
			at := pin(b, s, 2, n)
			if at.Bytes[size-1] != src[size-1] {
				b.Fatal("not what was put")
			}
			s.Unpin(2, oid(n), 1)
		}
		read += time.Since(start)
		st := s.Stats()
		reread += st.Mapped + st.Restored
		for n := range count {
			s.Free(oid(n))
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
	raw := int64(b.N) * count * size
	b.ReportMetric(rate(raw, rawWrite), "disk-write-GiB/s")
	b.ReportMetric(rate(raw, write), "put-GiB/s")
	b.ReportMetric(rate(spilled, spill), "spill-GiB/s")
	b.ReportMetric(rate(raw, rawRead), "disk-read-GiB/s")
	b.ReportMetric(rate(reread, read), "reread-GiB/s")
	b.ReportMetric(0, "ns/op")
}

func rawDisk(b *testing.B, d Disk, src []byte, count int) (write, read time.Duration) {
	size := int64(len(src))
	f, err := d.Create("raw", size*int64(count))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := alignedPages(8 * size)
	for i := range int64(8) {
		copy(buf[i*size:], src)
	}
	start := time.Now()
	for off := int64(0); off < size*int64(count); off += int64(len(buf)) {
		if err := f.WriteVec([][]byte{buf}, off); err != nil {
			b.Fatal(err)
		}
	}
	write = time.Since(start)
	start = time.Now()
	for off := int64(0); off < size*int64(count); off += size {
		if err := f.ReadAt(buf[:size], off); err != nil {
			b.Fatal(err)
		}
	}
	return write, time.Since(start)
}
