// Package control is the interface to a cluster's metadata: named actors, jobs,
// placement groups, nodes, and the key-value records that programs keep.
//
// The nouns: a [Record] is a key's value and the [Revision]s at which it was
// made and last changed; a [Txn] is a set of conditions and of changes that
// happen together or not at all; a [Watcher] delivers the changes below a
// prefix; a [Lease] is a promise to come back, whose records go when it is
// broken. Every change of the store has a revision of its own, one more than
// the change before it.
//
// Two adapters implement [Store]: control/mem, in this process, and etcd.
// What they must do beyond the words here is written as tests, in
// control/controltest; both pass it.
//
// On them stand [Keep], which renews a lease, and [Campaign], which elects one
// leader with a term: they need no more of an adapter than the interface.
//
// A Store may be used concurrently. Its reads see every change that had been
// committed when they began. It owns what it returns in no way: callers may
// keep and change the bytes they get and gave.
package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Limits that every adapter has, so that a program that works with one works
// with the other.
const (
	MaxKey   = 1 << 10 // bytes
	MaxValue = 1 << 20 // bytes, of all values of a Txn together
	MaxOps   = 128     // conditions, and changes, of a Txn
)

// Errors, wrapped with what was attempted.
var (
	ErrNotFound  = errors.New("no such record")
	ErrConflict  = errors.New("a condition does not hold")
	ErrCompacted = errors.New("the history from there on is gone; list again and watch from the listing's revision")
	ErrNoLease   = errors.New("no such lease, or it has expired")
	ErrClosed    = errors.New("the metadata store is closed")
	ErrInvalid   = errors.New("invalid request")

	// ErrFull refuses what adds; deletes and reads are served.
	ErrFull = errors.New("the metadata store is full, by its quota or its disk; delete records or give it room, then reclaim it")
	// ErrUnavailable is an error that may be over when tried again.
	ErrUnavailable = errors.New("the metadata store has no majority of its members, or cannot be reached")
)

// Revision numbers a change of the store. The empty store is at revision 1.
type Revision int64

// LeaseID names a lease; zero is no lease.
type LeaseID int64

// Record is a key and its value.
type Record struct {
	Key      string
	Value    []byte
	Created  Revision // of the change that made it, anew after a delete
	Modified Revision // of the last change
	Lease    LeaseID  // the record goes with it
}

// Cond is true while Key was last changed at Revision; zero means that there
// is no such record.
type Cond struct {
	Key      string
	Modified Revision
}

// Absent is the condition that there is no such record.
func Absent(key string) Cond { return Cond{Key: key} }

// Unchanged is the condition that r is still as it was read.
func Unchanged(r Record) Cond { return Cond{r.Key, r.Modified} }

// OpKind says what an Op does.
type OpKind uint8

// Kinds of Op.
const (
	Put OpKind = iota + 1
	Delete
	DeletePrefix // all records whose key begins with Key, which is not ""
)

// Op is one change. Deleting what is not there is no error.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte
	Lease LeaseID // for Put; replaces what the record had
}

// Set is the Op that gives key a value.
func Set(key string, value []byte) Op { return Op{Kind: Put, Key: key, Value: value} }

// Remove is the Op that deletes key.
func Remove(key string) Op { return Op{Kind: Delete, Key: key} }

// Txn changes records together, if all conditions hold. A key may be put once
// in it, and not also deleted.
type Txn struct {
	If []Cond
	Do []Op
}

// Range selects records for List.
type Range struct {
	Prefix string // "" is everything
	After  string // only greater keys: the last key of the page before
	Limit  int    // at most that many; 0 is no limit
}

// Listing is a moment's records, sorted by key.
type Listing struct {
	Records  []Record
	Revision Revision // of the moment: Watch from here to miss nothing
	More     bool     // there are more records after the last one
}

// Event is one change as a Watcher sees it.
type Event struct {
	Record  // with Deleted: Key, and Modified, the revision of the deletion
	Deleted bool
}

// Store is the metadata of a cluster.
type Store interface {
	// Get returns one record, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)

	// List returns the records of a range.
	List(ctx context.Context, r Range) (Listing, error)

	// Commit makes a change and returns its revision. If a condition does not
	// hold it returns a *ConflictError, which is an ErrConflict, and nothing
	// has changed. After any other error the change may have happened. A Txn
	// that deletes only what is not there, or does nothing, changes nothing
	// and returns the current revision.
	Commit(ctx context.Context, t Txn) (Revision, error)

	// Watch delivers the changes below prefix that come after a revision. It
	// returns ErrCompacted if the store has forgotten some of them. ctx is for
	// the call alone.
	Watch(ctx context.Context, prefix string, after Revision) (Watcher, error)

	// Grant makes a lease that expires when it is not renewed for ttl, or up
	// to a second later.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)

	// Renew starts the lease's time anew, or returns ErrNoLease.
	Renew(ctx context.Context, l LeaseID) error

	// Revoke ends a lease: its records are deleted in one change. A lease that
	// is not there is no error.
	Revoke(ctx context.Context, l LeaseID) error

	// Close releases what the store has and ends its watchers with ErrClosed.
	Close() error
}

// Watcher delivers changes in order: all those of one revision in one batch,
// each revision once. It holds nothing for a reader that is slow: one that
// falls behind the store's history gets ErrCompacted, and no more after it.
// Next is for one goroutine, Close for any.
type Watcher interface {
	// Next waits for changes. A ctx that ends loses nothing: the next call
	// goes on where this one stopped.
	Next(ctx context.Context) ([]Event, error)
	Close()
}

// ConflictError says which condition of a Txn does not hold.
type ConflictError struct {
	Cond Cond
	Have Revision // 0: there is no such record
}

// Error names the key and both revisions.
func (e *ConflictError) Error() string {
	switch {
	case e.Cond.Modified == 0:
		return fmt.Sprintf("control: %q exists, changed at revision %d: %v", e.Cond.Key, e.Have, ErrConflict)
	case e.Have == 0:
		return fmt.Sprintf("control: %q is gone: %v", e.Cond.Key, ErrConflict)
	}
	return fmt.Sprintf("control: %q was changed at revision %d, not %d: %v", e.Cond.Key, e.Have, e.Cond.Modified, ErrConflict)
}

// Is matches ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
