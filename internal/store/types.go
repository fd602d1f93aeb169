package store

import (
	"log/slog"
	"time"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

// Config sets up a store. Sizes are bytes.
type Config struct {
	Node  id.Node // named in errors
	Limit int64   // memory for objects; required
	Warm  int64   // freed pages kept for reuse; 0 means half of Limit

	Disk      Disk          // where to spill and fall back; nil means nowhere
	DiskLimit int64         // used on it at most; 0 means what it has
	SpillFile int64         // size at which a new spill file is begun; 0 means 1 GiB
	Batch     int64         // spilled as one write; 0 means 1/16 of Limit, 64 MiB at most
	Workers   int           // goroutines for disk and page population; 0 means 4
	Patience  time.Duration // how long nothing may move before fallback files; 0 means 1 s

	Now     func() time.Duration // since the node's start; nil means since New
	Log     *slog.Logger         // failures of the disk; nil means silent
	Dropped func(id.Object)      // a secondary copy is gone; called without locks
	Retired func(FileID)         // nobody needs to keep this file mapped; called without locks
	Moved   func(Move)           // an object was written to disk or read back; called without locks
}

// FileID names what a process maps: a slab, or, with the upper bit set, a file
// on disk. Never reused in a store.
type FileID uint32

const diskFile FileID = 1 << 31

// OnDisk reports whether f is a spill or fallback file rather than a slab.
func (f FileID) OnDisk() bool { return f&diskFile != 0 }

// Kind is where an object's bytes are.
type Kind uint8

// Kinds of location.
const (
	InHeap Kind = iota + 1 // of the node's process: small values
	InSlab                 // shared memory
	InFile                 // a spill or fallback file
)

var kindNames = [...]string{"nowhere", "heap", "slab", "file"}

func (k Kind) String() string { return kindNames[k] }

// Location is where a pinned object, or a reservation, is.
type Location struct {
	Kind   Kind
	File   FileID // not InHeap
	Offset int64
	Size   int64
	// Bytes is the object in this process, read-only: writing to it faults or
	// corrupts the object. A reservation's is writable. Valid while pinned or
	// reserved.
	Bytes []byte
}

// Request asks for room for an object.
type Request struct {
	Job       id.Job
	Session   id.Session // who produces it; its end aborts the reservation
	Task      id.Task    // on whose behalf, for the error
	Size      int64      // bytes
	Local     bool       // it is written in this process, not the session's
	Secondary bool       // a copy of an object whose primary is elsewhere
}

// Reservation is room for an object: write to At, then [Store.Seal] it.
type Reservation struct {
	ID evict.Res
	At Location
}

// Move is an object's way to disk or back.
type Move struct {
	Object id.Object
	Job    id.Job
	Bytes  int64
	Took   time.Duration // of the write or read it was a part of
	Back   bool          // from disk
}

// Info is what [Store.Objects] and [Store.Lookup] say of an object.
type Info struct {
	ID      id.Object
	Job     id.Job
	Session id.Session // that made it
	Size    int64
	Where   Kind
	Policy  evict.Object // its state, pins and whether it is on disk too
}

// Holder is a session that keeps bytes from moving.
type Holder struct {
	Session  id.Session
	Object   id.Object // zero if it is reserved and not sealed
	Bytes    int64
	Reserved bool
}

// memory is where an object or reservation is in memory: an extent or heap.
type memory struct {
	ext  slab.Extent
	heap []byte
	set  bool
}
