package coordinate

import (
	"cmp"
	"math"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/spec"
)

// Options are a coordinator's settings; zero fields mean their defaults.
type Options struct {
	// Fixed: the cluster cannot grow, so a group that no node can hold never
	// has a place.
	Fixed bool
	// Sample is how many others a member sees if there are more. 64.
	Sample int
	// ViewEvery is the least time between two Views for a member. 100 ms.
	ViewEvery time.Duration
	// ViewRate bounds the views sent in a second, all members together. 256,000.
	ViewRate int
	// SuspectAfter and DeadAfter are silences. 3 s and 10 s.
	SuspectAfter, DeadAfter time.Duration
	// MaxGroups bounds the groups that are not placed. 10,000.
	MaxGroups int
	// MaxActors bounds the actors with a record. 1,000,000.
	MaxActors int
	// MaxHeirs bounds the nodes that left and are remembered. 100,000.
	MaxHeirs int
	// StoryLen is how many recent events Story looks through. 1024.
	StoryLen int
}

func (o Options) withDefaults() Options {
	o.Sample = cmp.Or(o.Sample, 64)
	o.ViewEvery = cmp.Or(o.ViewEvery, 100*time.Millisecond)
	o.ViewRate = cmp.Or(o.ViewRate, 256_000)
	o.SuspectAfter = cmp.Or(o.SuspectAfter, spec.SuspectAfter)
	o.DeadAfter = cmp.Or(o.DeadAfter, spec.DeadAfter)
	o.MaxGroups = cmp.Or(o.MaxGroups, 10_000)
	o.MaxActors = cmp.Or(o.MaxActors, 1_000_000)
	o.MaxHeirs = cmp.Or(o.MaxHeirs, 100_000)
	o.StoryLen = cmp.Or(o.StoryLen, 1024)
	return o
}

// phase is how far a term is.
type phase uint8

const (
	following   phase = iota // another leads
	reading                  // the records
	reconciling              // hearing what the members have
	leading
)

// attention is the longest time without a Tick; more than twice as much means
// that this process stood still.
const attention = 500 * time.Millisecond

// Machine is a coordinator.
type Machine struct {
	o      Options
	term   int64
	phase  phase
	opened time.Duration // in attended time, like all times of members

	last   time.Duration // of a step
	ticked time.Duration // the last Tick
	absent time.Duration // time in which nobody could have been heard

	members membership
	heirs   map[id.Node]id.Node
	dirty   []*member     // their figures changed since the last flush
	flushAt time.Duration // not before
	readers []*member     // scratch: who gets something in this flush

	jobs    map[id.Job]*JobRecord
	actors  map[id.Actor]*ActorRecord
	names   map[actorName]*ActorRecord
	groups  map[id.Group]*group
	waiting []*group         // have no place, in the order in which they try
	toTry   int              // of them, since something may fit now that did not
	orphans []orphan         // detached, and nobody owns them yet
	asked   []Event          // FindActor and NameActor of those, not answered
	views   []place.NodeView // scratch

	pending [][]Effect // what waits for each unwritten record
	story   story
	stats   Stats
}

// Stats counts what a coordinator has, and what it did in all its terms.
type Stats struct {
	Members, Suspects, Jobs, Actors, Groups, Waiting, Unwritten int
	Deaths, Views, Plans                                        uint64
}

// New returns a machine that does not lead.
func New(o Options) *Machine {
	m := &Machine{o: o.withDefaults()}
	m.story.ring = make([]told, m.o.StoryLen)
	m.reset()
	return m
}

// reset forgets everything that was of a term.
func (m *Machine) reset() {
	m.members = membership{byID: map[id.Node]*member{}}
	m.heirs = map[id.Node]id.Node{}
	m.dirty, m.readers, m.flushAt = nil, nil, 0
	m.jobs = map[id.Job]*JobRecord{}
	m.actors = map[id.Actor]*ActorRecord{}
	m.names = map[actorName]*ActorRecord{}
	m.groups = map[id.Group]*group{}
	m.waiting, m.toTry, m.orphans, m.asked, m.pending = nil, 0, nil, nil, nil
}

// Step handles ev at now and appends what the shell must do to fx.
func (m *Machine) Step(now time.Duration, ev *Event, fx []Effect) []Effect {
	now = max(now, m.last)
	if gap := now - m.last; gap > 2*attention && m.phase >= reconciling {
		m.absent += gap - attention
	}
	m.last = now
	m.story.happened(now, ev)
	switch ev.Kind {
	case Elected:
		m.reset()
		m.term, m.phase = ev.Term, reading
		return fx
	case Deposed:
		m.reset()
		m.phase = following
		return fx
	}
	if m.phase == following || m.phase == reading && ev.Kind != Recorded && ev.Kind != Opened {
		return fx
	}
	if from := sender(ev); !from.IsZero() && m.members.byID[from] == nil {
		return append(fx, Effect{Kind: Expel, Node: from})
	}
	fx = m.dispatch(now, ev, fx)
	return m.reconcile(now, fx)
}

// sender is who must be a member for an event to count.
func sender(ev *Event) (from id.Node) {
	switch ev.Kind {
	case Heard, Seek, FindNode, FindActor, JobBegan, CreateGroup, FindGroup, Prepared:
		return ev.Node
	case NameActor, ActorAt, ActorGone:
		return ev.Actor.Owner
	}
	return from
}

func (m *Machine) dispatch(now time.Duration, ev *Event, fx []Effect) []Effect {
	switch ev.Kind {
	case Recorded:
		m.recorded(&ev.Record)
	case Opened:
		m.open(now)
	case Written:
		fx = m.written(ev.N, fx)
	case Joined:
		fx = m.joined(now, ev, fx)
	case Heard:
		fx = m.heard(now, ev, fx)
	case Broken, Drain, Left:
		fx = m.leaving(ev, fx)
	case Seek:
		fx = m.seek(ev, fx)
	case FindNode:
		fx = m.findNode(ev, fx)
	case NameActor:
		fx = m.nameActor(ev, fx)
	case ActorAt:
		fx = m.actorAt(ev, fx)
	case ActorGone:
		fx = m.actorGone(ev, fx)
	case FindActor:
		fx = m.findActor(ev, fx)
	case JobBegan:
		fx = m.jobBegan(ev, fx)
	case JobEnded:
		fx = m.endJob(ev.Job, fx)
	case CreateGroup:
		fx = m.createGroup(ev, fx)
	case RemoveGroup:
		fx = m.removeGroup(ev.Group, fx)
	case FindGroup:
		fx = m.findGroup(ev, fx)
	case Prepared:
		fx = m.prepared(ev, fx)
	case Tick:
		fx = m.tick(now, fx)
	}
	return fx
}

// recorded takes one record over from the coordinator before.
func (m *Machine) recorded(r *Record) {
	switch {
	case r.Node != nil:
		n := m.members.add(r.Node.Node)
		n.draining, n.view.Address = r.Node.Draining, r.Node.Address
		if r.Node.Figures != nil {
			n.view.Figures = *r.Node.Figures
		}
		m.introduce(n)
	case r.Job != nil:
		m.jobs[r.Job.Job] = r.Job
	case r.Actor != nil:
		m.keep(r.Actor)
	case r.Group != nil:
		g := &group{GroupRecord: *r.Group}
		g.resize()
		m.groups[g.Group] = g
	case r.Heir != nil:
		m.heirs[r.Heir.Node] = r.Heir.Heir
	}
}

// open begins to hear from members: all of them have been heard of now, for
// all that is known.
func (m *Machine) open(now time.Duration) {
	m.phase, m.opened, m.ticked = reconciling, m.attended(now), now
	for n := m.members.first; n != nil; n = n.next {
		n.heard = m.opened
	}
}

// reconcile ends the time in which nothing is decided: when every member has
// reported, or those that have not have been silent for long enough.
func (m *Machine) reconcile(now time.Duration, fx []Effect) []Effect {
	if m.phase != reconciling {
		return fx
	}
	if m.members.reported < len(m.members.byID) && m.attended(now) < m.opened+m.o.SuspectAfter {
		return fx
	}
	m.phase = leading
	for _, a := range m.ownerless() {
		fx = m.orphaned(a, Dead, fx)
	}
	for _, j := range m.driverless() {
		fx = m.endJob(j, fx)
	}
	for _, n := range m.members.order {
		if n.reported {
			fx = m.reconcileHolds(n, fx)
		}
	}
	fx = m.adoptAgain(id.Node{}, fx)
	m.findLost()
	return fx
}

// attended is the time as far as members could have been heard in it.
func (m *Machine) attended(now time.Duration) time.Duration { return now - m.absent }

// Term returns the term, and whether this machine leads in it.
func (m *Machine) Term() (term int64, leads bool) { return m.term, m.phase != following }

// Deciding reports whether it leads and has reconciled.
func (m *Machine) Deciding() bool { return m.phase == leading }

// Deadline returns when Tick is next needed, and whether it is at all.
func (m *Machine) Deadline() (time.Duration, bool) {
	if m.phase < reconciling {
		return math.MaxInt64, false
	}
	at := m.ticked + attention
	if len(m.dirty) > 0 || m.phase == leading && m.toTry > 0 {
		at = min(at, max(m.flushAt, m.last))
	}
	return at, true
}

func (m *Machine) tick(now time.Duration, fx []Effect) []Effect {
	m.ticked = now
	fx = m.listen(now, fx)
	if now >= m.flushAt {
		fx = m.flush(now, fx)
		fx = m.retry(fx)
		fx = m.adopt(fx)
	}
	return fx
}

// Stats returns the counts.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Members, s.Suspects = len(m.members.byID), m.members.suspects
	s.Jobs, s.Actors, s.Groups = len(m.jobs), len(m.actors), len(m.groups)
	s.Waiting, s.Unwritten = len(m.waiting), len(m.pending)
	return s
}

// write asks for a record to be written; then comes out when it is.
func (m *Machine) write(w Effect, fx []Effect, then ...Effect) []Effect {
	w.Kind = Write
	m.pending = append(m.pending, then)
	return append(fx, w)
}

// after says something when everything decided before it is durable.
func (m *Machine) after(fx []Effect, then ...Effect) []Effect {
	if n := len(m.pending); n > 0 {
		m.pending[n-1] = append(m.pending[n-1], then...)
		return fx
	}
	return append(fx, then...)
}

// written releases what waited for the oldest n writes.
func (m *Machine) written(n int, fx []Effect) []Effect {
	n = min(n, len(m.pending))
	for _, then := range m.pending[:n] {
		fx = append(fx, then...)
	}
	m.pending = append(m.pending[:0], m.pending[n:]...)
	return fx
}
