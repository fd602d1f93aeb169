package own

import (
	"time"

	"github.com/weftrun/weft/internal/id"
)

// Machine is the owner's state. It is not safe for concurrent use.
type Machine struct {
	self id.Node
	opts Options
}

// Options bound a Machine. A zero field means its default.
type Options struct {
	LineageBytes int64 // bytes of finished tasks kept for rebuilding; 256 MiB
	MaxRebuilds  int   // rebuilds of one task; 16
	Tombstones   int   // attempts remembered after they are over; 4096
	StoryLength  int   // recent events kept; 4096
	Pool         int   // unused records of each kind kept for reuse; 4096
}

// Record is one task or put that Drain exports and Adopt imports.
type Record struct {
	Task id.Task
}

// Entry is one line of a Story.
type Entry struct {
	At time.Duration
}

// New returns an empty owner for node self.
func New(self id.Node, opts Options) *Machine { return &Machine{self: self, opts: opts} }

// Step applies ev at time now and appends what the shell must do to fx.
// It keeps neither ev nor its slices.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect { return fx }

// Check returns an error if an invariant does not hold.
func (m *Machine) Check() error { return nil }

// Story returns recent events about t and its objects, oldest first.
func (m *Machine) Story(t id.Task) []Entry { return nil }
