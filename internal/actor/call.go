package actor

import (
	"encoding/binary"
	"math/bits"

	"github.com/weftrun/weft/internal/id"
)

// ref is the index of a call in a slab; 0 is none.
type ref uint32

// callState says in which list of its caller a call is.
type callState uint8

const (
	waiting callState = iota + 1 // in caller.unsent
	parked                       // in caller.parked: OutOfOrder, arguments not ready
	sent                         // in caller.out
)

// call is a method call that has not been answered. It has no pointers, so
// that a million of them cost the garbage collector nothing.
type call struct {
	task       id.Task
	prev, next ref
	caller     uint32
	state      callState
	ready      bool // its arguments are available
	again      bool // a retry: before every call that is not
}

const (
	chunkBits = 9
	chunkLen  = 1 << chunkBits
	// keepChunks is how much of an emptied slab stays for the next burst.
	keepChunks = 32
)

// slab holds calls at indices that stay valid until freed.
type slab struct {
	chunks []*[chunkLen]call
	free   ref // linked by next
	used   ref // indices ever handed out; 0 is never
	live   int
}

func (s *slab) at(r ref) *call { return &s.chunks[r>>chunkBits][r&(chunkLen-1)] }

func (s *slab) alloc() (ref, *call) {
	s.live++
	if r := s.free; r != 0 {
		c := s.at(r)
		s.free = c.next
		*c = call{}
		return r, c
	}
	s.used++
	if int(s.used)>>chunkBits == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkLen]call))
	}
	return s.used, s.at(s.used)
}

func (s *slab) release(r ref) {
	*s.at(r) = call{next: s.free}
	s.free = r
	s.live--
}

// shrink gives the memory of a past burst back once nothing is in use.
func (s *slab) shrink() bool {
	if s.live != 0 || len(s.chunks) <= keepChunks {
		return false
	}
	*s = slab{}
	return true
}

// shards bounds the work of one growth of an index of a million calls to a
// few thousand moves.
const shards = 64

// index finds calls by task: open addressing over slab indices, 4 bytes a
// slot. Go's map would need more than the calls themselves.
type index struct {
	shard [shards]shard
	n     int
}

type shard struct {
	slots []ref
	n     int
}

func hash(t *id.Task) uint64 {
	hi, lo := bits.Mul64(
		binary.LittleEndian.Uint64(t[:8])^0x9e3779b97f4a7c15,
		binary.LittleEndian.Uint64(t[8:])^0xd1342543de82ef95)
	return (hi ^ lo) * 0xff51afd7ed558ccd
}

func (x *index) find(s *slab, t *id.Task) ref {
	h := hash(t)
	sh := &x.shard[h>>58]
	if sh.n == 0 {
		return 0
	}
	mask := uint64(len(sh.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		r := sh.slots[i]
		if r == 0 || s.at(r).task == *t {
			return r
		}
	}
}

// insert adds a call whose task is not in the index.
func (x *index) insert(s *slab, r ref) {
	h := hash(&s.at(r).task)
	sh := &x.shard[h>>58]
	if sh.n*4 >= len(sh.slots)*3 {
		sh.grow(s)
	}
	sh.place(h, r)
	sh.n++
	x.n++
}

func (sh *shard) place(h uint64, r ref) {
	mask := uint64(len(sh.slots) - 1)
	i := h & mask
	for sh.slots[i] != 0 {
		i = (i + 1) & mask
	}
	sh.slots[i] = r
}

func (sh *shard) grow(s *slab) {
	old := sh.slots
	sh.slots = make([]ref, max(8, 2*len(old)))
	for _, r := range old {
		if r != 0 {
			sh.place(hash(&s.at(r).task), r)
		}
	}
}

// remove takes a call out and closes the gap it leaves, so that a search
// never needs tombstones. It must come before slab.release.
func (x *index) remove(s *slab, r ref) {
	h := hash(&s.at(r).task)
	sh := &x.shard[h>>58]
	mask := uint64(len(sh.slots) - 1)
	i := h & mask
	for sh.slots[i] != r {
		i = (i + 1) & mask
	}
	sh.n--
	x.n--
	for j := (i + 1) & mask; sh.slots[j] != 0; j = (j + 1) & mask {
		home := hash(&s.at(sh.slots[j]).task) & mask
		if (j-home)&mask >= (j-i)&mask { // its home is not between the gap and it
			sh.slots[i] = sh.slots[j]
			i = j
		}
	}
	sh.slots[i] = 0
}

// list is a queue of calls linked through the slab.
type list struct {
	head, tail ref
	n          int
}

func (l *list) push(s *slab, r ref) { l.insertAfter(s, l.tail, r) }

// insertAfter puts r behind at, or first if at is 0.
func (l *list) insertAfter(s *slab, at, r ref) {
	c := s.at(r)
	c.prev = at
	if at == 0 {
		c.next, l.head = l.head, r
	} else {
		a := s.at(at)
		c.next, a.next = a.next, r
	}
	if c.next == 0 {
		l.tail = r
	} else {
		s.at(c.next).prev = r
	}
	l.n++
}

func (l *list) remove(s *slab, r ref) {
	c := s.at(r)
	if c.prev == 0 {
		l.head = c.next
	} else {
		s.at(c.prev).next = c.next
	}
	if c.next == 0 {
		l.tail = c.prev
	} else {
		s.at(c.next).prev = c.prev
	}
	c.prev, c.next = 0, 0
	l.n--
}
