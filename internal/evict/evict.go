// Package evict decides what a node's object store does when it is full.
//
// A [Machine] is pure: [Machine.Step] takes an event and the time since the
// node's start and appends effects to the caller's slice. It moves ids and
// bytes, never payload. It has no goroutine, lock, clock or I/O; its one owner
// (internal/store) calls it under its own lock, runs the effects in order, and
// reports back what came of those that take time.
//
// The nouns. A reservation ([Res]) is room that a producer asked for: it waits,
// is granted, and is sealed into an object or aborted. An object is resident
// (in memory), spilled (in a file only) or external (made in a fallback file
// because nothing could move). Readers pin objects; a pinned object stays where
// it is. A resident object is dirty until a copy of it is on disk.
//
//	Reserve ─▶ waiting ─Grant─▶ held ─Seal─▶ resident ─Spill─▶ spilling
//	              │                             ▲  ▲               │ SpillDone
//	              └─Fallback─▶ placing          │  └────clean──────┤
//	                              │          Restore               │ Evict
//	                              ▼             │                  ▼
//	                          external      restoring ◀──Pin── spilled ◀─▶ mapped
//
// The policy, in this order: an object without references is freed when its
// last pin goes; unpinned secondary copies are dropped; unpinned objects that
// are also on disk leave memory; unpinned primaries are spilled, least recently
// used first, in batches; then producers wait. Waiting is first in, first out
// within a job, and among jobs the one that was granted the fewest bytes is
// next; a large reservation at the head is not overtaken by smaller ones. When
// nothing has moved for [Config.Patience], those that wait are placed in
// fallback files, and so are new ones until something moves; when that fails
// too, the reservation fails. What releases something is never made to wait.
//
// A reader of a spilled object never waits for room: the object is restored if
// that takes nothing from a producer, and otherwise read where it is. Whoever
// finds no room has the machine spill ahead, so that the next ones do. What was
// brought back and read once goes before anything else: whoever reads more than
// memory holds, from end to end, must not push out what comes later.
package evict

import (
	"time"

	"github.com/weftrun/weft/internal/id"
)

// Res numbers a reservation; the caller never reuses one.
type Res uint64

// Kind is the kind of an event or effect.
type Kind uint8

// Events.
const (
	Reserve         Kind = iota + 1 // Res, Job, Bytes, Secondary: a producer asks for room
	NoMemory                        // Res: the machine had no memory for a Grant
	FallbackDone                    // Res: the fallback file is there
	FallbackFailed                  // Res: there is no room for it on the disk
	Abort                           // Res: the producer gave up or died; its room is free
	Seal                            // Res, Object, Bytes: an object was made, of no more bytes than reserved
	Pin                             // Object: a reader wants it; answered by its state, Restore or MapFile
	Unpin                           // Object: a reader is done with it
	Free                            // Object: nothing refers to it any more
	Promote                         // Object: a secondary copy became the primary one
	Demote                          // Object: a hint that it will not be used soon
	Prefetch                        // Object: a hint that it will: answered by Restore if there is room
	SpillDone                       // Object: a copy is on disk
	SpillFailed                     // Object: the disk refused it
	Restored                        // Object: it is in memory again
	RestoreNoMemory                 // Object: the machine had no memory for a Restore
	RestoreFailed                   // Object: its file cannot be read; the pins that waited are returned next
	Target                          // Bytes: admit only up to this much for now (memory pressure)
	Tick                            // time has passed; see Deadline
)

// Effects.
const (
	Grant    Kind = iota + 32 // Res: take the room
	Fallback                  // Res: place it in a fallback file; answer FallbackDone or FallbackFailed
	Fail                      // Res: nothing could be done; tell the producer
	Release                   // Object: it is gone; free its memory and its file
	Drop                      // Object: this secondary copy is gone; free its memory, tell its owner
	Evict                     // Object: free its memory, it is on disk
	Spill                     // Object, Batch: write it; answer SpillDone or SpillFailed
	Restore                   // Object: bring it back to memory, under the next Pin, which reads nothing; answer Restored, RestoreNoMemory or RestoreFailed
	MapFile                   // Object: serve its readers from its file
)

// Event is what happened. Which fields are set is said at its Kind.
type Event struct {
	Kind      Kind
	Secondary bool
	Job       id.Job
	Res       Res
	Object    id.Object
	Bytes     int64
}

// Effect is what to do.
type Effect struct {
	Kind   Kind
	Batch  uint32 // objects of one batch follow each other and are written as one
	Res    Res
	Object id.Object
	Bytes  int64
}

// Config bounds a machine.
type Config struct {
	Limit    int64         // bytes of memory; required
	Batch    int64         // bytes spilled as one; 0 means 1/16 of Limit, 64 MiB at most
	Patience time.Duration // how long nothing may move before fallback; 0 means 1 s
}

func (c Config) withDefaults() Config {
	if c.Batch == 0 {
		c.Batch = min(c.Limit/16, 64<<20)
	}
	if c.Patience == 0 {
		c.Patience = time.Second
	}
	return c
}

// State is where a reservation or object is in its life.
type State uint8

// States; see the package's chart.
const (
	Absent State = iota
	Waiting
	Held
	Placing
	PlacedHeld // a fallback file being written
	External
	Resident
	Spilling
	Spilled
	Restoring
	Mapped
)

var stateNames = [...]string{"absent", "waiting", "held", "placing", "held in a file", "external",
	"resident", "spilling", "spilled", "restoring", "mapped"}

func (s State) String() string { return stateNames[s] }

// inMemory reports whether an entry in this state counts as used memory.
func (s State) inMemory() bool {
	return s == Held || s == Resident || s == Spilling || s == Restoring
}

// entry is a reservation, and then the object it became.
type entry struct {
	state     State
	list      listID
	secondary bool
	disk      bool // a copy is in a file
	doomed    bool // freed, but still pinned or being moved
	restored  bool // it was spilled and came back
	loader    bool // the next pin is that of who restores it
	reads     uint8
	pins      int32
	prev      int32
	next      int32
	job       int32
	res       Res
	object    id.Object
	bytes     int64
}

// Machine is the eviction policy of one store. Make it with [New].
type Machine struct {
	cfg    Config
	target int64

	entries []entry // entry 0 is unused: index 0 means none
	spare   int32   // free entries, linked by next
	byRes   map[Res]int32
	objects map[id.Object]int32
	lists   [listCount]list

	jobs    []job // job 0 is unused
	noJob   int32
	byJob   map[id.Job]int32
	waiting []int32 // jobs with reservations that wait
	clock   int64   // virtual time, in bytes granted, of the fairness among jobs

	used, waitingBytes, spillingBytes int64
	copied                            int64 // in memory and on disk too, pinned or not

	batch    uint32
	pressure time.Duration // until then spill ahead of demand
	retry    time.Duration // the disk refused a spill; not again before then
	still    time.Duration // since when nothing moved
	stuck    bool          // fallback was used and nothing moved since

	effects []Effect // of the step in progress
	story   story
}

// New makes a machine for an empty store.
func New(cfg Config) *Machine {
	cfg = cfg.withDefaults()
	return &Machine{
		cfg: cfg, target: cfg.Limit,
		entries: make([]entry, 1), jobs: make([]job, 1),
		byRes: map[Res]int32{}, objects: map[id.Object]int32{}, byJob: map[id.Job]int32{},
	}
}
