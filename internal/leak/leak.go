package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// DefaultBound is how long what a test started may take to go away.
const DefaultBound = 5 * time.Second

// An Option changes what a Snapshot looks at.
type Option func(*config)

type config struct {
	bound      time.Duration
	dirs       []string
	goroutines []goleak.Option
}

// Dir also watches the files below dir, which need not exist yet.
func Dir(dir string) Option {
	return func(c *config) { c.dirs = append(c.dirs, dir) }
}

// Within sets how long to wait for everything to go away, DefaultBound if
// unset.
func Within(bound time.Duration) Option {
	return func(c *config) { c.bound = bound }
}

// IgnoreGoroutine overlooks goroutines that have the function, given by its
// full name, on their stack: those that a dependency keeps for ever.
func IgnoreGoroutine(function string) Option {
	return func(c *config) { c.goroutines = append(c.goroutines, goleak.IgnoreAnyFunction(function)) }
}

// Check fails the test, after all cleanups registered later, if the process
// then has what it does not have now. It must come first in a test, and not in
// a parallel one.
func Check(t testing.TB, opts ...Option) {
	t.Helper()
	before := Take(opts...)
	t.Cleanup(func() {
		t.Helper()
		for _, l := range before.Wait() {
			t.Errorf("leaked %s", l)
		}
	})
}

// Main runs the tests of a package and exits: with 1 if they pass and leave
// something behind. Use it as the body of TestMain.
func Main(m *testing.M, opts ...Option) {
	before := Take(opts...)
	code := m.Run()
	if code == 0 {
		for _, l := range before.Wait() {
			fmt.Fprintf(os.Stderr, "tests passed, but leaked %s\n", l)
			code = 1
		}
	}
	os.Exit(code)
}

// A Snapshot is what the process had when it was taken.
type Snapshot struct {
	config     config
	goroutines goleak.Option
	had        census
}

// A Leak is one thing that is there and was not.
type Leak struct {
	Kind Kind
	What string // enough to find it: a stack, a command line, a path, a size
}

// Kind is the kind of thing that leaked.
type Kind string

// Kinds of Leak.
const (
	Goroutine Kind = "goroutine"
	Process   Kind = "process"
	FD        Kind = "file descriptor"
	Mapping   Kind = "shared mapping"
	File      Kind = "file"
)

// String names the kind and the thing.
func (l Leak) String() string { return string(l.Kind) + " " + l.What }

// Take takes a Snapshot.
func Take(opts ...Option) *Snapshot {
	c := config{bound: DefaultBound}
	for _, o := range opts {
		o(&c)
	}
	startPoller()
	return &Snapshot{config: c, goroutines: goleak.IgnoreCurrent(), had: count(c.dirs)}
}

// Wait asks for Leaks until there is none or the bound is over, and returns
// what is left.
func (s *Snapshot) Wait() []Leak {
	const longest = 50 * time.Millisecond
	deadline := time.Now().Add(s.config.bound)
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		leaks := s.Leaks()
		if len(leaks) == 0 || time.Now().After(deadline) {
			return leaks
		}
		runtime.GC() // what only garbage still holds is no leak
		time.Sleep(pause)
	}
}

// Leaks returns what the process has now and had not then, without waiting
// for anything but goroutines, which get up to a second.
func (s *Snapshot) Leaks() []Leak {
	leaks := count(s.config.dirs).beyond(s.had)
	if len(leaks) > 0 {
		return append(leaks, s.newGoroutines()...)
	}
	return s.newGoroutines()
}

func (s *Snapshot) newGoroutines() []Leak {
	// goleak keeps the slice it is given.
	opts := append([]goleak.Option{s.goroutines}, s.config.goroutines...)
	if err := goleak.Find(opts...); err != nil {
		return []Leak{{Goroutine, strings.TrimPrefix(err.Error(), "found unexpected goroutines:\n")}}
	}
	return nil
}

// startPoller makes the runtime open the descriptors it polls with, which it
// keeps, before they are counted.
func startPoller() {
	r, w, err := os.Pipe()
	if err != nil {
		return // out of descriptors: the test will say so itself
	}
	_ = r.Close()
	_ = w.Close()
}
