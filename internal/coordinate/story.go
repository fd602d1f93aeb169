package coordinate

import (
	"fmt"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// story is the last events, but for signs of life.
type story struct {
	ring []told
	n    uint64
}

// told is one event as far as a story tells it.
type told struct {
	at    time.Duration
	kind  EventKind
	node  id.Node
	other id.Node // or heir
	group id.Group
	actor id.Actor
	job   id.Job
	ok    bool
}

func (s *story) happened(now time.Duration, ev *Event) {
	switch ev.Kind {
	case Heard, Tick, Written, Recorded:
		return
	}
	t := told{at: now, kind: ev.Kind, node: ev.Node, other: ev.Other, group: ev.Group, job: ev.Job, ok: ev.OK}
	if ev.Kind == Left {
		t.other = ev.Heir
	}
	if ev.Actor != nil {
		t.actor, t.node = ev.Actor.Actor, ev.Actor.Owner
	}
	s.ring[s.n%uint64(len(s.ring))] = t
	s.n++
}

// Story returns what happened to an actor or a group, or at a node, oldest
// first, as far as it is remembered.
func (m *Machine) Story(of id.Task, at id.Node) (out []string) {
	size := uint64(len(m.story.ring))
	for i := m.story.n - min(m.story.n, size); i < m.story.n; i++ {
		t := &m.story.ring[i%size]
		if !of.IsZero() && (t.group == of || t.actor == of) || !at.IsZero() && (t.node == at || t.other == at) {
			out = append(out, t.String())
		}
	}
	return out
}

func (t *told) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s", t.at, t.kind)
	if !t.node.IsZero() {
		fmt.Fprintf(&b, " node=%s", t.node)
	}
	if !t.other.IsZero() {
		fmt.Fprintf(&b, " other=%s", t.other)
	}
	if !t.group.IsZero() {
		fmt.Fprintf(&b, " group=%s", t.group)
	}
	if !t.actor.IsZero() {
		fmt.Fprintf(&b, " actor=%s", t.actor)
	}
	if !t.job.IsZero() {
		fmt.Fprintf(&b, " job=%s", t.job)
	}
	if t.kind == Prepared {
		fmt.Fprintf(&b, " ok=%t", t.ok)
	}
	return b.String()
}

// Names of kinds, for stories and scripts.
var (
	eventNames = [...]string{Elected: "elected", Recorded: "recorded", Opened: "opened", Deposed: "deposed", Written: "written",
		Joined: "joined", Heard: "heard", Broken: "broken", Drain: "drain", Left: "left", Seek: "seek", FindNode: "find-node", NameActor: "name-actor",
		ActorAt: "actor-at", ActorGone: "actor-gone", FindActor: "find-actor", JobBegan: "job-began", JobEnded: "job-ended",
		CreateGroup: "create-group", RemoveGroup: "remove-group", FindGroup: "find-group", Prepared: "prepared", Tick: "tick"}
	effectNames = [...]string{Write: "write", Welcome: "welcome", Expel: "expel", Views: "views", Announce: "announce", Named: "named",
		NameTaken: "name-taken", Found: "found", Adopt: "adopt", EndActor: "end-actor", EndJob: "end-job", Prepare: "prepare",
		Commit: "commit", Release: "release", Placed: "placed", Waiting: "waiting", Refused: "refused"}
	opNames = [...]string{PutNode: "put-node", DropNode: "drop-node", PutHeir: "put-heir", PutActor: "put-actor", DropActor: "drop-actor",
		PutJob: "put-job", DropJob: "drop-job", PutGroup: "put-group", DropGroup: "drop-group"}
	stateNames = [...]string{Alive: "alive", Suspect: "suspect", Draining: "draining", Dead: "dead", Gone: "left"}
)

func (k EventKind) String() string  { return eventNames[k] }
func (k EffectKind) String() string { return effectNames[k] }
func (o Op) String() string         { return opNames[o] }
func (s NodeState) String() string  { return stateNames[s] }
