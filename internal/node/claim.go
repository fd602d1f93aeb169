package node

import (
	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/coordinate"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// claim is a named actor that is made once the coordinator has given it its name.
type claim struct {
	t    *task
	s    *session
	then func(id.Actor, error)
}

// find is a question for a named actor.
type find struct {
	session         id.Session
	namespace, name string
	then            func(client.ActorInfo, error)
}

// createRegistered makes a named actor, or has one that there is already found. The
// answer may come later: the name is the cluster's to give.
func (n *Node) createRegistered(t *task, s *session, then func(id.Actor, error)) {
	a := t.spec.Actor
	if _, taken := n.actors.Find(a.Namespace, a.Name); taken || !a.Registered() || n.cfg.Cluster == nil {
		then(n.createActor(t, s))
		return
	}
	n.seek.claims[t.id] = &claim{t: t, s: s, then: then}
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.NameActor, Get: a.GetIfExists, Actor: &coordinate.ActorRecord{
		Actor: t.id, Job: s.job, Namespace: a.Namespace, Name: a.Name, Detached: a.Detached, Owner: n.id}})
}

// claimAnswered goes on with the creation of a named actor.
func (n *Node) claimAnswered(e *coordinate.Effect) {
	c := n.seek.claims[e.Actor]
	if c == nil {
		return // answered before
	}
	delete(n.seek.claims, e.Actor)
	a := c.t.spec.Actor
	switch {
	case e.Kind == coordinate.NameTaken:
		c.then(id.Actor{}, nameTaken(a.Class, a.Name, e.Record.Actor))
	case e.Kind == coordinate.Refused:
		c.then(id.Actor{}, &wire.Error{Code: wire.Unschedulable, Op: a.Class, Message: e.Why})
	case e.Kind == coordinate.Found:
		n.noteKeeper(e.Record)
		n.acquaint(c.s.id, e.Record.Actor, func() { c.then(e.Record.Actor, nil) })
	case c.s.ended:
		n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.ActorGone, Actor: &coordinate.ActorRecord{Actor: e.Actor, Owner: n.id}})
		c.then(id.Actor{}, errClosed())
	default:
		c.then(n.createActor(c.t, c.s))
	}
}

// lookup finds a named actor, on any node, and gives the session a handle on it.
func (n *Node) lookup(s id.Session, namespace, name string, then func(client.ActorInfo, error)) {
	if n.closed {
		then(client.ActorInfo{}, errClosed())
		return
	}
	if a, ok := n.actors.Find(namespace, name); ok {
		info, _ := n.actors.Get(a)
		n.stepActor(&actor.Event{Kind: actor.Handle, Actor: a, Session: s, N: 1})
		then(actorInfo(a, info.Spec), nil)
		return
	}
	if n.cfg.Cluster == nil {
		then(client.ActorInfo{}, noSuchName(namespace, name))
		return
	}
	n.seek.last++
	n.seek.finds[n.seek.last] = &find{session: s, namespace: namespace, name: name, then: then}
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.FindActor, Node: n.id, Request: n.seek.last, Namespace: namespace, Name: name})
}

func noSuchName(namespace, name string) *wire.Error {
	return &wire.Error{Code: wire.NotFound, Op: "lookup " + name,
		Message: "no living actor has this name in namespace \"" + namespace + "\"",
		Hint:    "`weft list actors` shows all of them"}
}

func nameTaken(class, name string, by id.Actor) *wire.Error {
	return &wire.Error{Code: wire.AlreadyExists, Op: class, Actor: by,
		Message: "the name \"" + name + "\" is that of actor " + by.String(),
		Hint:    "use GetOrCreate, another name, or Kill the old one"}
}

// found takes the answer to a lookup, or to a claim that an existing one will do for.
func (n *Node) found(e *coordinate.Effect) {
	if e.Request == 0 {
		n.claimAnswered(e)
		return
	}
	if a, asked := n.seek.orphans[e.Request]; asked {
		delete(n.seek.orphans, e.Request)
		n.keptBy(a, e.Record)
		return
	}
	f := n.seek.finds[e.Request]
	if f == nil {
		return
	}
	delete(n.seek.finds, e.Request)
	if e.Record == nil {
		f.then(client.ActorInfo{}, noSuchName(f.namespace, f.name))
		return
	}
	a := e.Record.Actor
	n.noteKeeper(e.Record)
	n.acquaint(f.session, a, func() {
		info, ok := n.actors.Get(a)
		if !ok || info.State == actor.Dead {
			f.then(client.ActorInfo{}, noSuchName(f.namespace, f.name))
			return
		}
		f.then(actorInfo(a, info.Spec), nil)
	})
}

// noteKeeper remembers who keeps an actor that another node has adopted.
func (n *Node) noteKeeper(rec *coordinate.ActorRecord) {
	if a := rec.Actor; rec.Owner != a.Owner() && rec.Owner != n.id {
		n.keepers[a] = rec.Owner
	}
}

// acquaint gives a session a handle on an actor and calls then when the actor's
// state is known, or it is known to be none.
func (n *Node) acquaint(s id.Session, a id.Actor, then func()) {
	n.toActor(&actor.Event{Kind: actor.Handle, Actor: a, Session: s, N: 1})
	if len(n.meeting[a]) == 0 {
		then()
		return
	}
	n.seek.met[a] = append(n.seek.met[a], then)
}

// introduced calls those who wanted to know an actor.
func (n *Node) introduced(a id.Actor) {
	waiting := n.seek.met[a]
	delete(n.seek.met, a)
	for _, then := range waiting {
		then()
	}
}

// reportActor tells the coordinator how an actor is that others can find, or that
// outlives its job.
func (n *Node) reportActor(e *actor.Effect, info *actor.Info) {
	a := info.Spec.Actor
	rec := &coordinate.ActorRecord{Actor: e.Actor, Job: info.Job, Namespace: a.Namespace, Name: a.Name, Detached: a.Detached,
		Owner: n.id, State: uint8(e.State), Incarnation: info.Incarnation, Host: info.Node}
	if t := n.task(e.Actor); a.Detached && t != nil && e.State == actor.Pending {
		rec.Data = n.will(t)
	}
	kind := coordinate.ActorAt
	if e.State == actor.Dead {
		kind = coordinate.ActorGone
	}
	n.cfg.Cluster.Report(&coordinate.Event{Kind: kind, Actor: rec})
}
