package weft

import (
	"errors"
	"fmt"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// TaskOption changes how a task function's calls are run, for all calls when
// given at registration, for one when given to Remote.
type TaskOption interface{ applyTask(*spec.Task) error }

// ActorOption changes how actors are created and run.
type ActorOption interface{ applyActor(*spec.Task) error }

// MethodOption changes how an actor's method is called.
type MethodOption interface{ applyMethod(*method) error }

// Option is an option of tasks and of actors.
type Option interface {
	TaskOption
	ActorOption
}

type taskOption func(*spec.Task) error
type actorOption func(*spec.Task) error
type bothOption func(*spec.Task) error
type methodOption func(*method) error

func (o taskOption) applyTask(t *spec.Task) error   { return o(t) }
func (o actorOption) applyActor(t *spec.Task) error { return o(t) }
func (o bothOption) applyTask(t *spec.Task) error   { return o(t) }
func (o bothOption) applyActor(t *spec.Task) error  { return o(t) }
func (o methodOption) applyMethod(m *method) error  { return o(m) }

// CPU is how many CPUs a call takes while it runs, at a precision of 0.0001.
// Tasks take 1 and actors 0 unless this says otherwise.
func CPU(n float64) Option { return Resource(resource.CPU, n) }

// GPU is how many GPUs a call takes; fractions below 1 share one.
func GPU(n float64) Option { return Resource(resource.GPU, n) }

// Memory is how many bytes of the node's memory a call takes.
func Memory(bytes int64) Option { return Resource(resource.Memory, float64(bytes)) }

// Resource is how much of a custom resource a call takes; see Resources, the
// option of Init and `weft start` that says how much a node has.
func Resource(name string, n float64) Option {
	return bothOption(func(t *spec.Task) error {
		a, err := resource.ParseAmount(name, n)
		if err != nil {
			return err
		}
		if name == "" {
			return errors.New("a resource needs a name")
		}
		t.Resources = t.Resources.Clone()
		t.Resources.Set(name, a)
		return nil
	})
}

// On restricts a call to nodes with certain labels. Each value is "v", "!v",
// "in(a,b)" or "!in(a,b)".
func On(labels map[string]string) Option {
	return bothOption(func(t *spec.Task) (err error) {
		t.Selector, err = resource.ParseSelector(labels)
		return err
	})
}

// OnNode runs a call on the node of the given id, as Nodes lists it. Soft
// allows another one when that node is gone.
func OnNode(node string, soft bool) Option {
	return bothOption(func(t *spec.Task) error {
		n, err := id.ParseNode(node)
		t.Strategy = spec.Strategy{Kind: spec.NodeAffinity, Node: n, Soft: soft}
		return err
	})
}

// Spread runs calls as evenly over nodes as possible.
func Spread() Option {
	return bothOption(func(t *spec.Task) error {
		t.Strategy = spec.Strategy{Kind: spec.Spread}
		return nil
	})
}

// In runs a call inside a bundle of a placement group; -1 is any bundle.
func In(g *Group, bundle int) Option {
	return bothOption(func(t *spec.Task) error {
		if g == nil || bundle < -1 || bundle >= g.bundles {
			return fmt.Errorf("placement group: there is no bundle %d", bundle)
		}
		t.Strategy = spec.Strategy{Kind: spec.InGroup, Group: g.id, Bundle: bundle}
		return nil
	})
}

// Isolated gives a call a worker process of its own, whose crash or exit harms
// nothing else. Without it Go calls of a program share a process.
func Isolated() Option {
	return bothOption(func(t *spec.Task) error { t.Isolated = true; return nil })
}

// Name is what people see of a task, in listings, events and errors.
func Name(name string) TaskOption {
	return taskOption(func(t *spec.Task) error { t.Name = name; return nil })
}

// MaxRetries is how often a task is run again after a system failure, such as
// the death of its worker. The default is 3; -1 is no limit.
func MaxRetries(n int) TaskOption {
	return taskOption(func(t *spec.Task) error { t.MaxRetries = n; return nil })
}

// RetryErrors has a task run again also when its function returns an error.
func RetryErrors() TaskOption {
	return taskOption(func(t *spec.Task) error { t.RetryErrors = true; return nil })
}

// Priority orders a job's waiting tasks: higher first; the default is 0.
func Priority(n int) TaskOption {
	return taskOption(func(t *spec.Task) error { t.Priority = n; return nil })
}

// Window bounds how far a stream's producer may run ahead of its consumer, in
// items and in bytes; 0 is the default of 64 items and 64 MiB.
func Window(items int, bytes int64) TaskOption {
	return taskOption(func(t *spec.Task) error {
		if items < 0 || bytes < 0 {
			return fmt.Errorf("window of %d items, %d bytes: both must be 0 or more", items, bytes)
		}
		t.WindowItems, t.WindowBytes = items, bytes
		return nil
	})
}

func returns(n int) TaskOption {
	return taskOption(func(t *spec.Task) error {
		if n < 1 {
			return fmt.Errorf("%d return values: at least one is needed", n)
		}
		t.Returns = n
		return nil
	})
}

// Named registers an actor under a name of its session's namespace, for Lookup.
func Named(name string) ActorOption {
	return actorOption(func(t *spec.Task) error {
		if name == "" {
			return errors.New("an actor's name must not be empty")
		}
		t.Actor.Name = name
		return nil
	})
}

// Namespace is where Named registers, if not in the session's namespace.
func Namespace(ns string) ActorOption {
	return actorOption(func(t *spec.Task) error { t.Actor.Namespace = ns; return nil })
}

// GetOrCreate makes New return the living actor of the same name if there is one.
func GetOrCreate() ActorOption {
	return actorOption(func(t *spec.Task) error { t.Actor.GetIfExists = true; return nil })
}

// Detached lets an actor live on when the program that created it ends.
func Detached() ActorOption {
	return actorOption(func(t *spec.Task) error { t.Actor.Detached = true; return nil })
}

// MaxRestarts is how often an actor is started again when its process dies.
// The default is 0; -1 is no limit.
func MaxRestarts(n int) ActorOption {
	return actorOption(func(t *spec.Task) error {
		if n < spec.Unlimited {
			return fmt.Errorf("MaxRestarts %d; use -1 for no limit", n)
		}
		t.Actor.MaxRestarts = n
		return nil
	})
}

// MaxTaskRetries is how often a call to an actor is repeated when the actor was
// restarted while the call was out, so that it may run twice. The default is 0.
func MaxTaskRetries(n int) ActorOption {
	return actorOption(func(t *spec.Task) error {
		if n < spec.Unlimited {
			return fmt.Errorf("MaxTaskRetries %d; use -1 for no limit", n)
		}
		t.Actor.MaxTaskRetries = n
		return nil
	})
}

// Concurrency lets n calls of an actor run at the same time, in no certain
// order. The default, 1, runs them one after the other.
func Concurrency(n int) ActorOption {
	return actorOption(func(t *spec.Task) error {
		if n < 1 {
			return fmt.Errorf("concurrency %d: at least 1 is needed", n)
		}
		t.Actor.Concurrency = n
		return nil
	})
}

// ConcurrencyGroup lets n calls of methods of the named group run at the same
// time, apart from the actor's other methods; see InConcurrencyGroup.
func ConcurrencyGroup(name string, n int) ActorOption {
	return actorOption(func(t *spec.Task) error {
		if name == "" || n < 1 {
			return fmt.Errorf("concurrency group %q of %d: a name and at least 1 are needed", name, n)
		}
		groups := map[string]int{name: n}
		for k, v := range t.Actor.Groups {
			if k != name {
				groups[k] = v
			}
		}
		t.Actor.Groups = groups
		return nil
	})
}

// MaxPending makes calls fail with code PendingCallsLimit when the caller has n
// calls of the actor outstanding.
func MaxPending(n int) ActorOption {
	return actorOption(func(t *spec.Task) error {
		if n < 0 {
			return fmt.Errorf("MaxPending %d: 0 or more", n)
		}
		t.Actor.MaxPending = n
		return nil
	})
}

// InConcurrencyGroup runs a method in a group that ConcurrencyGroup defines.
func InConcurrencyGroup(name string) MethodOption {
	return methodOption(func(m *method) error { m.group = name; return nil })
}

// MethodName registers a method under a name other than the Go method's; a
// method given as a function literal needs one.
func MethodName(name string) MethodOption {
	return methodOption(func(m *method) error { m.name = name; return nil })
}

// taskDefaults is the description of a task function's calls.
func taskDefaults(opts []TaskOption) (spec.Task, error) {
	t := spec.Task{MaxRetries: spec.DefaultMaxRetries}
	t.Resources.CPU = resource.Unit
	for _, o := range opts {
		if err := o.applyTask(&t); err != nil {
			return t, err
		}
	}
	return t, nil
}
