// Package id defines the identities of everything Weft keeps track of.
//
// Every id names its first owner, so a holder of an id knows whom to ask and
// there is no directory. All ids are comparable values, sort by their bytes
// and print as lower-case hex.
package id

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Node identifies one run of one node process: 8 random bytes.
type Node [8]byte

// Job identifies one driver's work on a cluster.
type Job [4]byte

// Task is its owner's Node followed by a sequence number (big endian).
// Actors, groups and puts draw their ids from the same sequence.
type Task [16]byte

// Actor is the id of the task that creates it.
type Actor = Task

// Group is a placement group's id.
type Group = Task

// Object is the Task that makes it followed by the index of the return value
// (big endian). A put is return 0 of a sequence number of its own.
type Object [20]byte

// Worker numbers a worker process on its node; never reused in a node's life.
type Worker uint32

// Session numbers a connection to a node; never reused in a node's life.
// It is the upper part of every sequence number the session allocates.
type Session uint32

// sessionShift leaves each session 2^40 sequence numbers.
const sessionShift = 40

// Seq composes the sequence number of a session's n-th id.
func Seq(s Session, n uint64) uint64 { return uint64(s)<<sessionShift | n }

// SplitSeq is the inverse of Seq.
func SplitSeq(seq uint64) (Session, uint64) {
	return Session(seq >> sessionShift), seq & (1<<sessionShift - 1)
}

// NewTask composes a Task from its owner and sequence number.
func NewTask(owner Node, seq uint64) (t Task) {
	copy(t[:8], owner[:])
	binary.BigEndian.PutUint64(t[8:], seq)
	return t
}

// Owner returns the node that allocated t.
func (t Task) Owner() (n Node) { copy(n[:], t[:8]); return n }

// Seq returns t's sequence number at its owner.
func (t Task) Seq() uint64 { return binary.BigEndian.Uint64(t[8:]) }

// Return returns the id of t's i-th return value or stream item.
func (t Task) Return(i uint32) (o Object) {
	copy(o[:16], t[:])
	binary.BigEndian.PutUint32(o[16:], i)
	return o
}

// Task returns the task that makes o.
func (o Object) Task() (t Task) { copy(t[:], o[:16]); return t }

// Owner returns the node that owned o first.
func (o Object) Owner() (n Node) { copy(n[:], o[:8]); return n }

// Index returns o's position among its task's returns.
func (o Object) Index() uint32 { return binary.BigEndian.Uint32(o[16:]) }

func (n Node) String() string   { return hex.EncodeToString(n[:]) }
func (j Job) String() string    { return hex.EncodeToString(j[:]) }
func (t Task) String() string   { return hex.EncodeToString(t[:]) }
func (o Object) String() string { return hex.EncodeToString(o[:]) }

// IsZero reports whether n is unset.
func (n Node) IsZero() bool { return n == Node{} }

// IsZero reports whether j is unset.
func (j Job) IsZero() bool { return j == Job{} }

// IsZero reports whether t is unset.
func (t Task) IsZero() bool { return t == Task{} }

// IsZero reports whether o is unset.
func (o Object) IsZero() bool { return o == Object{} }

// ParseTask reads what Task.String prints.
func ParseTask(s string) (t Task, err error) { return t, parse("task", t[:], s) }

// ParseObject reads what Object.String prints.
func ParseObject(s string) (o Object, err error) { return o, parse("object", o[:], s) }

// ParseNode reads what Node.String prints.
func ParseNode(s string) (n Node, err error) { return n, parse("node", n[:], s) }

func parse(kind string, dst []byte, s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(dst) {
		return fmt.Errorf("%q is not a %s id: want %d hex digits", s, kind, 2*len(dst))
	}
	copy(dst, b)
	return nil
}
