package event

import (
	"math/bits"
	"time"
)

// Buckets is how many buckets a Histogram has.
const Buckets = 40

// Histogram counts durations by powers of two: bucket i holds those below
// 2^i nanoseconds that are not in a lower bucket. The last one holds the rest.
type Histogram struct {
	Counts [Buckets]uint64
	Sum    time.Duration
}

func (h *Histogram) observe(d time.Duration) {
	d = max(d, 0)
	h.Counts[min(bits.Len64(uint64(d)), Buckets-1)]++
	h.Sum += d
}

// Count is how many durations were observed.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Upper is the bound of bucket i.
func Upper(i int) time.Duration { return 1 << i }

// Stats are totals since the log's start: what was counted away is in them.
type Stats struct {
	Kinds  [kindEnd]uint64 // records by Kind
	Bytes  [kindEnd]int64  // their bytes
	Causes [causeEnd]uint64
	Ran    Histogram // of tasks that returned or failed
	Queued Histogram // likewise
	Names  int       // distinct names
}

// Stats returns a copy of the totals.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Names = len(l.names) - 1
	return s
}

func (s *Stats) count(r *Record) {
	if r.Kind >= kindEnd {
		return
	}
	s.Kinds[r.Kind]++
	s.Bytes[r.Kind] += r.Bytes
	if r.Kind == TaskDone || r.Kind == TaskFailed {
		s.Ran.observe(r.Ran)
		s.Queued.observe(time.Duration(r.Queued) * time.Microsecond)
	}
	if r.Cause < causeEnd && r.Kind == TaskFailed {
		s.Causes[r.Cause]++
	}
}

// AllKinds are the kinds there are, for views that have a line for each.
func AllKinds() []Kind {
	all := make([]Kind, 0, kindEnd-1)
	for k := TaskDone; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

// AllCauses are the causes there are.
func AllCauses() []Cause {
	all := make([]Cause, 0, causeEnd-1)
	for c := UserError; c < causeEnd; c++ {
		all = append(all, c)
	}
	return all
}
