package dispatch

import "github.com/weftrun/weft/internal/id"

// entry is a waiting task: 32 bytes without a pointer, so that a million of
// them are 32 MB that the garbage collector does not look into.
type entry struct {
	task    id.Task
	seq     uint64 // order of arrival over all queues
	attempt uint32
	fn      uint32 // index of its function's figures
}

// Sizes of chunks double from small to large, so that a key with one task
// costs little and a key with a million few allocations.
const (
	chunkClasses = 7
	smallChunk   = 4
	largeChunk   = smallChunk << (chunkClasses - 1)
	sparePerSize = 64
)

// chunk is an array of entries of which at[head:tail] are taken.
type chunk struct {
	next       *chunk
	head, tail int
	class      int
	at         []entry
}

// spares keeps a bounded number of empty chunks for the next queue.
type spares [chunkClasses][]*chunk

func (s *spares) get(class int) *chunk {
	free := s[class]
	if n := len(free); n > 0 {
		c := free[n-1]
		s[class] = free[:n-1]
		return c
	}
	return &chunk{class: class, at: make([]entry, smallChunk<<class)}
}

func (s *spares) put(c *chunk) {
	c.next, c.head, c.tail = nil, 0, 0
	if len(s[c.class]) < sparePerSize {
		s[c.class] = append(s[c.class], c)
	}
}

// fifo is a queue of entries that gives its memory back as it drains.
type fifo struct {
	first, last *chunk
	n           int
}

func (f *fifo) push(s *spares, e entry) {
	c := f.last
	if c == nil || c.tail == len(c.at) {
		c = f.grow(s)
	}
	c.at[c.tail] = e
	c.tail++
	f.n++
}

func (f *fifo) grow(s *spares) *chunk {
	class := 0
	if f.last != nil {
		class = min(f.last.class+1, chunkClasses-1)
	}
	c := s.get(class)
	if f.last == nil {
		f.first = c
	} else {
		f.last.next = c
	}
	f.last = c
	return c
}

// pushFront puts back what was taken from the front.
func (f *fifo) pushFront(s *spares, e entry) {
	c := f.first
	if c != nil && c.head == c.tail { // the only chunk, empty
		c.head, c.tail = len(c.at), len(c.at)
	}
	if c == nil || c.head == 0 {
		c = s.get(0)
		c.head, c.tail = len(c.at), len(c.at)
		c.next = f.first
		f.first = c
		if f.last == nil {
			f.last = c
		}
	}
	c.head--
	c.at[c.head] = e
	f.n++
}

// peek returns the oldest entry of a fifo that is not empty.
func (f *fifo) peek() *entry { return &f.first.at[f.first.head] }

// pop takes the oldest entry of a fifo that is not empty.
func (f *fifo) pop(s *spares) entry {
	c := f.first
	e := c.at[c.head]
	c.head++
	f.n--
	if c.head == c.tail {
		f.retire(s, c)
	}
	return e
}

// retire gives the drained first chunk back, except a lone small one.
func (f *fifo) retire(s *spares, c *chunk) {
	switch {
	case c.next != nil:
		f.first = c.next
		s.put(c)
	case c.class == 0:
		c.head, c.tail = 0, 0
	default:
		f.first, f.last = nil, nil
		s.put(c)
	}
}

// all calls yield for each entry from the oldest.
func (f *fifo) all(yield func(*entry) bool) {
	for c := f.first; c != nil; c = c.next {
		for i := c.head; i < c.tail; i++ {
			if !yield(&c.at[i]) {
				return
			}
		}
	}
}

// filter keeps the entries for which keep returns true.
func (f *fifo) filter(s *spares, keep func(*entry) bool) {
	var g fifo
	for f.n > 0 {
		if e := f.pop(s); keep(&e) {
			g.push(s, e)
		}
	}
	f.free(s)
	*f = g
}

// free gives every chunk back.
func (f *fifo) free(s *spares) {
	for c := f.first; c != nil; {
		next := c.next
		s.put(c)
		c = next
	}
	*f = fifo{}
}
