// Package spec holds the immutable descriptions of tasks, actors and placement
// groups. A description is made once, validated once, and then shared by
// pointer between sessions, machines and wire templates; nobody changes it.
package spec

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// DefaultMaxRetries is how often a task is run again after a system failure.
const DefaultMaxRetries = 3

// The window of a stream that names none: how many items, and bytes of items, its
// producer may be ahead of its consumer.
const (
	DefaultWindowItems = 64
	DefaultWindowBytes = 64 << 20
)

// Unlimited as a number of retries or restarts means no limit.
const Unlimited = -1

// Kind says what running a Task means.
type Kind uint8

// Kinds of Task.
const (
	KindTask   Kind = iota // call a function
	KindCreate             // run an actor's constructor; holds its resources for the actor's life
	KindMethod             // call a method of a living actor; holds no resources
)

// Task describes every call of one function with one set of options.
type Task struct {
	Kind     Kind
	Job      id.Job
	Name     string // what people see; defaults to Function
	Function string // registered name
	Sig      uint64 // hash of the argument and return types, with Function the function's id; 0: the caller does not know them
	Language string // of the function: "" is Go, or "python"
	Code     string // SHA-256 of the blob that the function is in, as bytes; "": it is found by its name
	Portable bool   // of a Python function: its caller is of another language

	Returns int  // number of return values; 0 with Stream
	Stream  bool // returns arrive one by one as they are made

	Resources resource.Vector
	Strategy  Strategy
	Selector  resource.Selector
	Isolated  bool       // a worker process of its own
	Env       RuntimeEnv // what that process needs
	MaxCalls  int        // it leaves after that many calls of Function; 0 is unlimited

	MaxRetries  int  // after system failures; Unlimited allowed
	RetryErrors bool // also after user errors
	Priority    int  // higher first within a job

	// Window bounds a stream's undelivered items and bytes; Seal replaces 0 by
	// the default.
	WindowItems int
	WindowBytes int64

	Actor *Actor // for KindCreate

	key Key
}

// Actor describes what outlives an actor's constructor.
type Actor struct {
	Class          string
	Name           string // registered name, or ""
	Namespace      string
	Detached       bool
	GetIfExists    bool
	MaxRestarts    int
	MaxTaskRetries int
	Concurrency    int            // calls that may run at once; at least 1
	Groups         map[string]int // concurrency groups and their limits
	OutOfOrder     bool           // calls may run in any order
	Meta           []byte         // what a handle that is found by name must know
	MaxPending     int            // calls a caller may have outstanding; 0 is unbounded
}

// Registered reports whether a cluster has a record of the actor, so that others
// can find it, or a node can keep it that did not make it.
func (a *Actor) Registered() bool { return a.Name != "" || a.Detached }

// StrategyKind says how a node is chosen.
type StrategyKind uint8

// Strategies of placement.
const (
	Default      StrategyKind = iota // data locality, then local until half full, then the best of a sample
	Spread                           // as evenly over nodes as possible
	NodeAffinity                     // a given node
	InGroup                          // a bundle of a placement group
)

// Strategy is a Task's wish for placement.
type Strategy struct {
	Kind   StrategyKind
	Node   id.Node  // NodeAffinity
	Soft   bool     // NodeAffinity: any node if that one is gone
	Group  id.Group // InGroup
	Bundle int      // InGroup; -1 is any bundle
	// Captures, InGroup: what it submits runs in the group as well. Its worker sees to that.
	Captures bool
}

// In reports whether it is a bundle of g that is asked for.
func (s *Strategy) In(g id.Group) bool { return s.Kind == InGroup && s.Group == g }

// Key identifies tasks that one lease can serve: same job, resources,
// environment, selector, strategy and isolation.
type Key uint64

// Key returns t's lease key. It is computed by Seal.
func (t *Task) Key() Key { return t.key }

// Seal validates t and computes what is derived; t is immutable afterwards.
func (t *Task) Seal() error {
	switch {
	case t.Function == "":
		return errors.New("spec: a task without a function")
	case t.Returns < 0:
		return fmt.Errorf("spec: %s: %d return values", t.Function, t.Returns)
	case t.MaxRetries < Unlimited:
		return fmt.Errorf("spec: %s: MaxRetries %d; use -1 for no limit", t.Function, t.MaxRetries)
	case t.MaxCalls < 0:
		return fmt.Errorf("spec: %s: MaxCalls %d; use 0 for no limit", t.Function, t.MaxCalls)
	case !t.Env.IsZero() && t.Kind != KindMethod && !t.Isolated:
		return fmt.Errorf("spec: %s: a runtime environment needs a process of its own", t.Function)
	}
	for name, a := range t.Resources.All {
		if a < 0 {
			return fmt.Errorf("spec: %s: resource %q: %s is negative", t.Function, name, a)
		}
	}
	if t.Name == "" {
		t.Name = t.Function
	}
	if t.Stream {
		t.WindowItems = cmp.Or(t.WindowItems, DefaultWindowItems)
		t.WindowBytes = cmp.Or(t.WindowBytes, DefaultWindowBytes)
	}
	h := fnv.New64a()
	fmt.Fprint(h, t.Kind == KindCreate, t.Job, t.Resources, t.Env, t.Selector, t.Strategy, t.Isolated, t.Language)
	t.key = Key(h.Sum64())
	return nil
}

// Apart returns t with a worker process of its own.
func (t *Task) Apart() *Task {
	if t.Isolated {
		return t
	}
	a := *t
	a.Isolated = true
	if err := a.Seal(); err != nil {
		panic(fmt.Sprintf("spec: %s was valid: %v", t.Function, err))
	}
	return &a
}

// PackKind says how a placement group's bundles are laid over nodes.
type PackKind uint8

// Layouts of a placement group.
const (
	Pack         PackKind = iota // on as few nodes as possible
	SpreadOut                    // over as many nodes as possible
	StrictPack                   // on one node or not at all
	StrictSpread                 // each on a node of its own or not at all
)

// Group describes a placement group: bundles of resources reserved together.
type Group struct {
	Job      id.Job
	Name     string
	Detached bool
	Layout   PackKind
	Bundles  []Bundle
}

// Bundle is one reservation of a Group; it lies on one node.
type Bundle struct {
	Resources resource.Vector
	Selector  resource.Selector
}

// Timing of the protocol between nodes, in one place so that the simulation
// and the nodes agree.
const (
	LeaseTerm    = 200 * time.Millisecond // a busy lease is renewed by use
	LeaseIdle    = 5 * time.Millisecond   // an idle lease goes back after this
	StealAfter   = 2 * time.Millisecond   // unstarted pipelined work is taken back after this
	SuspectAfter = 3 * time.Second
	DeadAfter    = 10 * time.Second
)
