package coordinate

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
)

type actorName struct{ namespace, name string }

func nameOf(a *ActorRecord) actorName { return actorName{a.Namespace, a.Name} }

// keep enters an actor's record.
func (m *Machine) keep(a *ActorRecord) {
	m.actors[a.Actor] = a
	if a.Name != "" {
		m.names[nameOf(a)] = a
	}
}

// drop removes an actor's record; its name is free at once, and for everybody
// when that is written.
func (m *Machine) drop(a *ActorRecord, fx []Effect, then ...Effect) []Effect {
	delete(m.actors, a.Actor)
	if m.names[nameOf(a)] == a {
		delete(m.names, nameOf(a))
	}
	return m.write(Effect{Op: DropActor, Actor: a.Actor, Namespace: a.Namespace, Name: a.Name}, fx, then...)
}

// nameActor registers an actor, unless its name is taken.
func (m *Machine) nameActor(ev *Event, fx []Effect) []Effect {
	a := ev.Actor
	if m.actors[a.Actor] != nil {
		return m.after(fx, Effect{Kind: Named, Node: a.Owner, Actor: a.Actor})
	}
	if held := m.names[nameOf(a)]; held != nil && a.Name != "" {
		if m.members.byID[held.Owner] == nil {
			m.asked = append(m.asked, *ev)
			return fx
		}
		kind := NameTaken
		if ev.Get {
			kind = Found
		}
		return m.after(fx, Effect{Kind: kind, Node: a.Owner, Actor: a.Actor, Record: where(held)})
	}
	if len(m.actors) >= m.o.MaxActors {
		return append(fx, Effect{Kind: Refused, Node: a.Owner, Actor: a.Actor, Why: "too many named or detached actors: end some"})
	}
	own := *a
	m.keep(&own)
	return m.write(Effect{Op: PutActor, Actor: a.Actor}, fx, Effect{Kind: Named, Node: a.Owner, Actor: a.Actor})
}

// actorAt takes what an actor's owner says of it. An owner whose actor is
// another's by now, or gone, must end it.
func (m *Machine) actorAt(ev *Event, fx []Effect) []Effect {
	a := m.actors[ev.Actor.Actor]
	switch {
	case a == nil || a.Owner != ev.Actor.Owner:
		return m.after(fx, Effect{Kind: EndActor, Node: ev.Actor.Owner, Actor: ev.Actor.Actor})
	case ev.Actor.Incarnation < a.Incarnation:
		return fx
	}
	a.State, a.Incarnation, a.Host = ev.Actor.State, ev.Actor.Incarnation, ev.Actor.Host
	if ev.Actor.Data != nil {
		a.Data = ev.Actor.Data
	}
	return m.write(Effect{Op: PutActor, Actor: a.Actor}, fx)
}

// actorGone forgets an actor that its owner ended.
func (m *Machine) actorGone(ev *Event, fx []Effect) []Effect {
	if a := m.actors[ev.Actor.Actor]; a != nil && a.Owner == ev.Actor.Owner {
		return m.drop(a, fx)
	}
	return fx
}

// findActor answers when the answer cannot be lost any more, and of one that
// nobody owns when somebody does.
func (m *Machine) findActor(ev *Event, fx []Effect) []Effect {
	a := m.names[actorName{ev.Namespace, ev.Name}]
	if ev.Actor != nil {
		a = m.actors[ev.Actor.Actor]
	}
	if a != nil && m.members.byID[a.Owner] == nil {
		m.asked = append(m.asked, *ev)
		return fx
	}
	return m.after(fx, Effect{Kind: Found, Node: ev.Node, Request: ev.Request, Record: where(a)})
}

// where is what those who ask for an actor are told of it, nil of none.
func where(a *ActorRecord) *ActorRecord {
	if a == nil {
		return nil
	}
	r := *a
	r.Data = nil
	return &r
}

// orphaned handles the end of an actor's owner: a detached one gets another, any
// other ends with its own.
func (m *Machine) orphaned(a *ActorRecord, end NodeState, fx []Effect) []Effect {
	if !a.Detached {
		return m.drop(a, fx)
	}
	m.orphans = append(m.orphans, orphan{a, end})
	return fx
}

// orphan is a detached actor whose owner is no member any more: it is Dead, or
// Gone.
type orphan struct {
	*ActorRecord
	end NodeState
}

// adopt finds owners for the orphans: the node where one lives, which then goes
// on as it is, or else the one with the most room, for its next incarnation.
func (m *Machine) adopt(fx []Effect) []Effect {
	if m.phase != leading || len(m.orphans) == 0 {
		return fx
	}
	heir := m.roomiest()
	if heir == nil {
		return fx
	}
	for _, o := range m.orphans {
		a := o.ActorRecord
		if m.actors[a.Actor] != a {
			continue
		}
		if host := m.members.byID[a.Host]; host != nil && !host.draining {
			a.Owner = a.Host
		} else {
			a.Owner, a.Host = heir.id(), id.Node{}
			a.Incarnation++
		}
		told := adoption(a)
		told.State = o.end
		fx = m.write(Effect{Op: PutActor, Actor: a.Actor}, fx, told)
	}
	m.orphans = nil
	asked := m.asked
	m.asked = nil
	for i := range asked {
		if asked[i].Kind == NameActor {
			fx = m.nameActor(&asked[i], fx)
		} else {
			fx = m.findActor(&asked[i], fx)
		}
	}
	return fx
}

// adoption tells an actor's owner that it is.
func adoption(a *ActorRecord) Effect {
	return Effect{Kind: Adopt, Node: a.Owner, Actor: a.Actor, Record: copyOf(a), State: Dead}
}

// adoptAgain repeats the adoptions that a coordinator before may not have told
// of, for one owner or all. Who has heard of them knows.
func (m *Machine) adoptAgain(owner id.Node, fx []Effect) []Effect {
	for _, a := range m.actorsIf(func(a *ActorRecord) bool {
		return a.Detached && a.Actor.Owner() != a.Owner && (owner.IsZero() || a.Owner == owner)
	}) {
		if n := m.members.byID[a.Owner]; n != nil && n.reported {
			fx = m.after(fx, adoption(a))
		}
	}
	return fx
}

// copyOf is a record as it is now, for an effect that waits.
func copyOf(a *ActorRecord) *ActorRecord {
	r := *a
	return &r
}

// roomiest is the member that can take the most on, or nil.
func (m *Machine) roomiest() (best *member) {
	for _, n := range m.members.order {
		if !n.usable() {
			continue
		}
		if best == nil || n.view.Free.CPU > best.view.Free.CPU {
			best = n
		}
	}
	return best
}

// usable reports whether anything new may be put on n.
func (n *member) usable() bool { return n.reported && !n.suspect && !n.draining }

// ownedBy lists a node's actors by id.
func (m *Machine) ownedBy(node id.Node) []*ActorRecord {
	return m.actorsIf(func(a *ActorRecord) bool { return a.Owner == node })
}

// ownerless lists the actors whose owner is no member.
func (m *Machine) ownerless() []*ActorRecord {
	return m.actorsIf(func(a *ActorRecord) bool { return m.members.byID[a.Owner] == nil })
}

func (m *Machine) actorsIf(is func(*ActorRecord) bool) []*ActorRecord {
	var out []*ActorRecord
	for _, a := range m.actors {
		if is(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *ActorRecord) int { return slices.Compare(a.Actor[:], b.Actor[:]) })
	return out
}

// jobBegan records a job.
func (m *Machine) jobBegan(ev *Event, fx []Effect) []Effect {
	if m.jobs[ev.Job] != nil {
		return fx
	}
	m.jobs[ev.Job] = &JobRecord{Job: ev.Job, Node: ev.Node}
	return m.write(Effect{Op: PutJob, Job: ev.Job}, fx)
}

// endJob ends a job: its groups go, and every node ends what is its there.
func (m *Machine) endJob(j id.Job, fx []Effect) []Effect {
	if m.jobs[j] == nil {
		return fx
	}
	delete(m.jobs, j)
	for _, g := range m.groupsIf(func(g *group) bool { return g.Spec.Job == j && !g.Spec.Detached }) {
		fx = m.removeGroup(g.Group, fx)
	}
	return m.write(Effect{Op: DropJob, Job: j}, fx, Effect{Kind: EndJob, Job: j})
}

// jobsOf lists the jobs whose driver is at a node.
func (m *Machine) jobsOf(node id.Node) []id.Job {
	return m.jobsIf(func(j *JobRecord) bool { return j.Node == node })
}

// driverless lists the jobs whose driver's node is no member.
func (m *Machine) driverless() []id.Job {
	return m.jobsIf(func(j *JobRecord) bool { return m.members.byID[j.Node] == nil })
}

func (m *Machine) jobsIf(is func(*JobRecord) bool) []id.Job {
	var out []id.Job
	for _, j := range m.jobs {
		if is(j) {
			out = append(out, j.Job)
		}
	}
	slices.SortFunc(out, func(a, b id.Job) int { return slices.Compare(a[:], b[:]) })
	return out
}
