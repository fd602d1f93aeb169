package slab

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/weftrun/weft/internal/id"
)

// PageSize is the unit of everything here: extents are whole pages of it.
const PageSize = 4096

// bigShare is the part of the limit above which an extent gets its own memfd.
const bigShare = 16

// ID numbers a slab in its pool; never reused.
type ID uint32

// Writer is whose process may write a slab: a session of a job. Session 0 is
// the node's own process, which is also where embedded sessions write.
type Writer struct {
	Job     id.Job
	Session id.Session
}

// Extent is a range of a slab, handed out by [Pool.Alloc]. A value: whoever
// frees it must do so once.
type Extent struct {
	Slab   ID
	Offset int64
	Size   int64 // bytes charged: whole pages, at least what was asked
}

// Config bounds a pool.
type Config struct {
	Limit   int64    // bytes populated at most; required
	Warm    int64    // freed bytes kept populated at most; 0 means half of Limit
	Slab    int64    // address space of a shared slab (sparse); 0 means Limit, between 1 MiB and 1 GiB
	Retired func(ID) // called, without locks, when a slab is gone and its mappings are of no more use
}

func (c Config) withDefaults() (Config, error) {
	if c.Limit < PageSize {
		return c, fmt.Errorf("slab: limit %d bytes: want at least one page of %d", c.Limit, PageSize)
	}
	c.Limit &^= PageSize - 1
	if c.Warm == 0 {
		c.Warm = c.Limit / 2
	}
	if c.Slab == 0 {
		c.Slab = min(max(c.Limit, 1<<20), 1<<30)
	}
	c.Slab = (c.Slab + PageSize - 1) &^ (PageSize - 1)
	if c.Retired == nil {
		c.Retired = func(ID) {}
	}
	return c, nil
}

// Pool is a node's shared memory.
type Pool struct {
	cfg Config

	mu        sync.Mutex
	punchDone sync.Cond // what was busy is free
	slabs     map[ID]*file
	writers   map[Writer]*writer
	nextID    ID
	closed    bool

	// All in bytes. populated is what the memfds keep resident; it is the sum of
	// live (in extents), warm (freed, kept) and busy (being punched right now).
	populated, live, warm, busy int64

	oldest, newest *free // warm extents of every writer, in the order they were freed
	doomed         []*free
	nodes          *free // reused list nodes

	hits, misses, punched int64
}

// NewPool makes an empty pool; it takes memory only as extents are allocated.
func NewPool(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, slabs: map[ID]*file{}, writers: map[Writer]*writer{}}
	p.punchDone.L = &p.mu
	return p, nil
}

// Limit returns the bytes the pool may populate.
func (p *Pool) Limit() int64 { return p.cfg.Limit }

// Charge returns the bytes an extent for size bytes takes of the limit, or more
// than the limit if it can never fit.
func (p *Pool) Charge(size int64) int64 {
	pages := classPages(size)
	limit := p.cfg.Limit / PageSize
	if exact := max(1, (size+PageSize-1)/PageSize); pages > limit && exact <= limit {
		pages = limit
	}
	return pages * PageSize
}

// classPages rounds a size up to its class: eight classes between two powers of
// two, so that near sizes reuse each other's extents and waste under an eighth.
func classPages(size int64) int64 {
	n := max(1, (size+PageSize-1)/PageSize)
	if n <= 16 {
		return n
	}
	step := int64(1) << (bits.Len64(uint64(n-1)) - 4)
	return (n + step - 1) &^ (step - 1)
}

func (p *Pool) isBig(pages int64) bool { return pages*PageSize > p.cfg.Limit/bigShare }

// NoRoomError says that an extent does not fit the pool's limit now.
type NoRoomError struct{ Asked, Live, Limit int64 }

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("slab: no room for %d bytes: %d of %d bytes are in use; free or spill objects first", e.Asked, e.Live, e.Limit)
}

// NoMemoryError says that the machine had no memory for pages within the limit.
type NoMemoryError struct {
	Asked int64
	Op    string
	Err   error
}

func (e *NoMemoryError) Error() string {
	return fmt.Sprintf("slab: %s for %d bytes of shared memory: %v; the machine or its cgroup has less memory than the store's limit", e.Op, e.Asked, e.Err)
}

func (e *NoMemoryError) Unwrap() error { return e.Err }
