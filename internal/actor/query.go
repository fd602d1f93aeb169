package actor

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
)

// Info is what is known of an actor.
type Info struct {
	Actor       id.Actor
	Spec        *spec.Task
	Job         id.Job
	State       State
	Cause       Cause   // why it is Dead, or why it last restarted
	Node        id.Node // zero until placed
	Worker      id.Worker
	Incarnation uint32
	Restarts    int
	Handles     int
	Queued      int // calls not sent
	Sent        int // calls sent and not answered
	Remote      bool
}

// Stats are counts of a machine.
type Stats struct {
	States   [Dead + 1]int // actors by State
	Calls    int           // known and not answered
	Sent     uint64        // calls sent, ever
	Finished uint64        // calls answered, ever
	Restarts uint64
}

// Stats returns the machine's counts.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Calls = m.calls.live
	return s
}

// Find returns the living actor of that name.
func (m *Machine) Find(namespace, name string) (id.Actor, bool) {
	if r := m.names[nameKey{namespace, name}]; r != nil {
		return r.actor, true
	}
	return id.Actor{}, false
}

// Get returns what is known of an actor.
func (m *Machine) Get(actor id.Actor) (Info, bool) {
	r := m.actors[actor]
	if r == nil {
		return Info{}, false
	}
	return r.info(), true
}

func (r *record) info() Info {
	return Info{
		Actor: r.actor, Spec: r.spec, Job: r.job, State: r.state, Cause: r.cause,
		Node: r.node, Worker: r.worker, Incarnation: r.incarnation, Restarts: r.restarts,
		Handles: r.handles, Queued: r.calls - r.out, Sent: r.out, Remote: r.remote,
	}
}

// List returns at most n actors behind after, sorted by id.
func (m *Machine) List(after id.Actor, n int) []Info {
	var all []*record
	for r := m.first; r != nil; r = r.next {
		if bytes.Compare(r.actor[:], after[:]) > 0 {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *record) int { return bytes.Compare(a.actor[:], b.actor[:]) })
	all = all[:min(n, len(all))]
	out := make([]Info, len(all))
	for i, r := range all {
		out[i] = r.info()
	}
	return out
}

// On returns the actors whose current incarnation is at a worker, in order of
// creation: those that are lost with it.
func (m *Machine) On(node id.Node, worker id.Worker) []id.Actor {
	var out []id.Actor
	for r := m.first; r != nil; r = r.next {
		if r.state != Dead && r.node == node && r.worker == worker {
			out = append(out, r.actor)
		}
	}
	return out
}

// ActorOf returns the actor that a known call is for.
func (m *Machine) ActorOf(task id.Task) (id.Actor, bool) {
	at := m.tasks.find(&m.calls, &task)
	if at == 0 {
		return id.Actor{}, false
	}
	return m.callers[m.calls.at(at).caller].rec.actor, true
}

// Waiting says what a call or an actor waits for; "" if it waits for nothing
// that is known here. On is what to ask next: the call or actor in the way.
func (m *Machine) Waiting(task id.Task) (why string, on id.Task) {
	if r := m.actors[task]; r != nil {
		return r.waiting(), id.Task{}
	}
	at := m.tasks.find(&m.calls, &task)
	if at == 0 {
		return "", id.Task{}
	}
	k := m.calls.at(at)
	c := m.callers[k.caller]
	r := c.rec
	switch head := c.unsent.head; {
	case k.state == sent:
		return fmt.Sprintf("sent to %s, incarnation %d, on node %s worker %d; %d calls are out there",
			r.label(), r.incarnation, r.node, r.worker, r.out), r.actor
	case !k.ready:
		return fmt.Sprintf("an argument of this call to %s is not available yet", r.label()), id.Task{}
	case !m.calls.at(head).ready:
		first := m.calls.at(head).task
		return fmt.Sprintf("calls of one caller run in order: call %s to %s is before it and an argument of that is not available yet",
			first, r.label()), first
	case r.state != Alive:
		return fmt.Sprintf("%s is %s: %s", r.label(), r.state, r.waiting()), r.actor
	default:
		return fmt.Sprintf("%s is busy: %d calls are out, %d wait, of them %d of this caller",
			r.label(), r.out, r.calls-r.out, c.unsent.n), r.actor
	}
}

func (r *record) waiting() string {
	switch {
	case r.state == Alive || r.state == Dead:
		return ""
	case r.node.IsZero():
		return fmt.Sprintf("its creation task (incarnation %d) has not been given to a worker", r.incarnation)
	}
	return fmt.Sprintf("its constructor (incarnation %d) runs on node %s worker %d", r.incarnation, r.node, r.worker)
}

func (r *record) label() string {
	a := r.spec.Actor
	if a.Name != "" {
		return fmt.Sprintf("actor %s %q (%s)", a.Class, a.Name, r.actor)
	}
	return fmt.Sprintf("actor %s (%s)", a.Class, r.actor)
}

func (s State) String() string {
	return pick([]string{"?", "PENDING", "ALIVE", "RESTARTING", "DEAD"}, int(s))
}

func (c Cause) String() string {
	return pick([]string{
		"not dead", "its last handle went", "killed", "it exited by itself", "its constructor failed",
		"its worker process died", "its node died",
		"its job ended", "no node can ever hold it", "its worker could not be set up",
		"the session that made the call ended", "the actor has ended and is forgotten", "its node left the cluster",
	}, int(c))
}

func (k EventKind) String() string {
	return pick([]string{
		"?", "create", "lookup", "placed", "started", "init-error", "lost", "cannot-place", "kill", "exit", "handle",
		"session-end", "job-end", "call", "args-ready", "finished", "cancel", "told", "node-dead", "kept", "adopt", "tick",
	}, int(k))
}

func (k EffectKind) String() string {
	return pick([]string{
		"?", "begin", "deliver", "fail-call", "stop", "changed", "name-taken", "forget", "found", "refuse", "tell", "release", "orphaned",
	}, int(k))
}

func pick(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%d?", i)
}
