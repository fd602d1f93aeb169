package store

import (
	"bytes"
	"hash/crc32"
	"slices"
	"unsafe"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/slab"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spill starts writing the batch at the head of effects, one file per job, and
// returns how many effects it was.
func (s *Store) spill(effects []evict.Effect) int {
	n := 1
	for n < len(effects) && effects[n].Kind == evict.Spill && effects[n].Batch == effects[0].Batch {
		n++
	}
	batch := make([]*object, n)
	for i := range batch {
		batch[i] = s.objects[effects[i].Object]
	}
	if s.closed {
		return n // the objects are about to go
	}
	slices.SortStableFunc(batch, func(a, b *object) int { return bytes.Compare(a.job[:], b.job[:]) })
	s.after(func() {
		s.workers.submit(func() {
			for len(batch) > 0 {
				n := 1
				for n < len(batch) && batch[n].job == batch[0].job {
					n++
				}
				s.writeBatch(batch[:n])
				batch = batch[n:]
			}
		})
	})
	return n
}

// writeBatch writes objects of one job as one sequential write. They cannot
// change meanwhile: sealed objects are immutable, and the machine lets go of
// none that is being spilled.
func (s *Store) writeBatch(batch []*object) {
	began := s.cfg.Now()
	bufs := make([][]byte, len(batch))
	crcs := make([]uint32, len(batch))
	total := int64(0)
	for i, o := range batch {
		bufs[i] = s.wholePages(o)
		total += int64(len(bufs[i]))
		crcs[i] = crc32.Checksum(bufs[i][:o.size], castagnoli)
	}
	f, off, err := s.space(batch[0].job, total)
	if err == nil {
		err = f.f.WriteVec(bufs, off)
	}
	s.mu.Lock()
	defer s.unlock()
	if err != nil {
		s.spillFailed(batch, f, off, total, err)
		return
	}
	s.disk.spilled += total
	s.diskErr = nil
	for i, o := range batch {
		n := int64(len(bufs[i]))
		o.copy = diskCopy{file: f, off: off, n: n, crc: crcs[i]}
		f.users++
		off += n
		s.moved(o, began, false)
		s.step(evict.Event{Kind: evict.SpillDone, Object: o.id})
	}
	s.leaveFile(f)
}

func (s *Store) spillFailed(batch []*object, f *spillFile, off, n int64, err error) {
	s.cfg.Log.Warn("spill objects", "objects", len(batch), "bytes", n, "err", err)
	s.diskErr = err
	if f != nil {
		s.freeRange(f, off, n)
	}
	for _, o := range batch {
		s.step(evict.Event{Kind: evict.SpillFailed, Object: o.id})
	}
}

// wholePages returns an object's memory rounded up to pages, as direct I/O
// wants it. An extent is whole pages; bytes on the heap are copied.
func (s *Store) wholePages(o *object) []byte {
	if o.mem.heap == nil {
		return s.pool.Bytes(o.mem.ext)[:pageUp(o.size)]
	}
	buf := alignedPages(o.size)
	copy(buf, o.mem.heap)
	return buf
}

// alignedPages allocates whole pages that hold size bytes, page-aligned.
func alignedPages(size int64) []byte {
	n := pageUp(max(size, 1))
	raw := make([]byte, n+slab.PageSize)
	skew := int64(uintptr(unsafe.Pointer(&raw[0])) % slab.PageSize)
	start := (slab.PageSize - skew) % slab.PageSize
	return raw[start : start+n : start+n]
}
