package node

import (
	"maps"
	"slices"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/coordinate"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// A detached actor outlives the node that keeps its record. The coordinator has a
// will of each: it gives that to an heir, which is the node where the actor lives,
// if it lives, and tells whoever asks who the keeper is now.

// maxWillBlobs bounds the code that a will has in it, in bytes. Records of the
// metadata store are at most 1.5 MB.
const maxWillBlobs = 512 << 10

// will is what an heir needs of a detached actor of this node's; nil if there is
// nothing that another node could use.
func (n *Node) will(t *task) []byte {
	j := n.jobs[t.spec.Job]
	if j == nil || t.enc == nil {
		return nil
	}
	w := &nodev1.Will{Job: n.describeJob(j), Template: wire.TemplateToPB(0, t.spec)}
	for i := range t.enc.args {
		m := argumentToPB(&t.enc.args[i])
		for k, r := range m.Objects {
			if known, ok := n.describeObject(id.Object(r.Object)); ok {
				m.Objects[k] = known
			}
		}
		w.Arguments = append(w.Arguments, m)
	}
	if code := j.blobs.data[t.spec.Code]; code != nil && len(code) <= maxWillBlobs {
		w.Blobs = append(w.Blobs, &sessionv1.Blob{Hash: []byte(t.spec.Code), Data: code})
	}
	b, err := w.MarshalVT()
	if err != nil {
		return nil
	}
	return b
}

// inherit makes the job and the constructor of a will known here.
func (n *Node) inherit(a id.Actor, data []byte) (*task, error) {
	var w nodev1.Will
	if err := w.UnmarshalVT(data); err != nil {
		return nil, err
	}
	of, err := wire.ReadJob(w.GetJob().GetId())
	if err != nil {
		return nil, err
	}
	t := &task{id: a, attempt: 1, told: true, enc: &encoded{}}
	if t.spec, err = wire.TemplateFromPB(w.Template, of); err != nil {
		return nil, err
	}
	if t.enc.args, err = n.inheritArgs(w.Arguments); err != nil {
		return nil, err
	}
	j := n.jobs[of]
	if j == nil {
		j = n.newGuestJob(of, w.Job)
	}
	j.home = nil
	delete(j.keeps, a)
	for _, b := range w.Blobs {
		if _, err := j.blobs.add(b); err != nil {
			return nil, err
		}
	}
	j.orphaned, j.session.ended = true, true
	n.jobs[of] = j
	return t, nil
}

// inheritArgs makes the arguments of a constructor. Of objects it has what was
// known: the values of small ones, and where large ones were.
func (n *Node) inheritArgs(ms []*nodev1.Arg) ([]arg, error) {
	args, err := argumentsFromPB(ms)
	if err != nil {
		return nil, err
	}
	for _, m := range ms {
		for _, r := range m.Objects {
			if r.Value == nil {
				continue
			}
			if _, _, err := n.learn(r); err != nil {
				return nil, err
			}
			n.objects[id.Object(r.Object)].ready = true
		}
	}
	return args, nil
}

// adoptActor keeps the record of a detached actor from now on.
func (n *Node) adoptActor(e *coordinate.Effect) {
	a, rec := e.Actor, e.Record
	if info, known := n.actors.Get(a); rec == nil || known && !info.Remote {
		return // told twice
	}
	delete(n.keepers, a)
	t, err := n.inherit(a, rec.Data)
	if err != nil {
		n.disown(a)
		return
	}
	h := n.hosts[a]
	lives := h != nil && h.alive && h.incarnation == rec.Incarnation
	if h != nil && !lives {
		n.stopHost(a, h.incarnation, true)
	}
	n.tasks[a] = t
	ev := actor.Event{Kind: actor.Adopt, Actor: a, Spec: t.spec, Job: t.spec.Job, Incarnation: rec.Incarnation, Cause: actor.NodeDied}
	if e.State == coordinate.Gone {
		ev.Cause = actor.NodeLeft
	}
	if rec.Host == n.id {
		ev.Node = n.id
	}
	t.incarnation = rec.Incarnation
	if lives {
		ev.Worker, t.worker = h.worker, h.worker
		delete(n.hosts, a) // its calls go on
	}
	n.stepActor(&ev)
	if rec.Host == n.id && !lives { // it died when nobody kept it
		n.stepActor(&actor.Event{Kind: actor.Lost, Actor: a, Incarnation: rec.Incarnation, Cause: actor.WorkerDied})
	}
	early := n.seek.early[a]
	delete(n.seek.early, a)
	for _, of := range early {
		if p := n.peers[of]; p != nil {
			n.introduce(p, a, 1)
		}
	}
	n.meetNow(a)
}

// disown tells the coordinator that an actor is no more.
func (n *Node) disown(a id.Actor) {
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.ActorGone, Actor: &coordinate.ActorRecord{Actor: a, Owner: n.id}})
}

// seekKeeper asks who keeps a detached actor whose keeper is gone.
func (n *Node) seekKeeper(a id.Actor) {
	if n.cfg.Cluster == nil {
		n.keptBy(a, nil)
		return
	}
	if n.seek.keepers[a] {
		return
	}
	n.seek.keepers[a] = true
	n.seek.last++
	n.seek.orphans[n.seek.last] = a
	n.cfg.Cluster.Report(&coordinate.Event{Kind: coordinate.FindActor, Node: n.id, Request: n.seek.last, Actor: &coordinate.ActorRecord{Actor: a, Owner: n.id}})
}

// keptBy takes the answer: the actor's record, or nil if it is dead.
func (n *Node) keptBy(a id.Actor, rec *coordinate.ActorRecord) {
	delete(n.seek.keepers, a)
	ev := actor.Event{Kind: actor.Kept, Actor: a}
	if rec != nil {
		ev.From = rec.Owner
	}
	if ev.From == n.id {
		return // adoptActor
	}
	n.turnEarlyAway(a)
	n.keptFor(a, rec)
	if n.dead[ev.From] {
		n.seekKeeper(a) // that has died too
		return
	}
	if h := n.hosts[a]; h != nil && h.keeper.gone {
		n.stopHost(a, h.incarnation, true) // it lives on elsewhere, or is dead
	}
	delete(n.keepers, a)
	if ev.From != a.Owner() && !ev.From.IsZero() {
		n.keepers[a] = ev.From
	}
	info, known := n.actors.Get(a)
	n.stepActor(&ev)
	p := n.peer(ev.From)
	if ev.From.IsZero() || p == nil {
		n.meetNow(a)
		return
	}
	if known && info.Remote || len(n.meeting[a]) > 0 {
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Handle{Handle: &nodev1.Handle{Actor: slices.Clone(a[:]), N: 1}}})
	}
	n.passOn(a)
}

// turnEarlyAway tells those who took this node for the keeper of an actor that it
// is dead: if another node had it they would know.
func (n *Node) turnEarlyAway(a id.Actor) {
	for _, of := range n.seek.early[a] {
		if p := n.peers[of]; p != nil {
			n.post(p, &nodev1.Message{Body: &nodev1.Message_Told{Told: &nodev1.Told{Actor: slices.Clone(a[:]), State: uint32(actor.Dead), Cause: uint32(actor.Unknown)}}})
		}
	}
	delete(n.seek.early, a)
}

// standIns is how many nodes keep what a detached actor needs, beside the one
// where it lives.
const standIns = 2

// keepElsewhere has others keep what the next incarnation of a detached actor of
// this node's needs.
func (n *Node) keepElsewhere(a id.Actor) {
	info, known := n.actors.Get(a)
	if !known || info.Remote || !n.adoptable(&info) {
		return
	}
	j := n.jobs[info.Job]
	if j == nil {
		return
	}
	m := &nodev1.Keep{Actor: slices.Clone(a[:]), Job: slices.Clone(info.Job[:]), Program: info.Spec.Language != wire.Python}
	for _, hash := range slices.Sorted(maps.Keys(j.blobs.data)) {
		m.Blobs = append(m.Blobs, []byte(hash))
	}
	left := standIns
	for _, p := range n.peersInOrder() {
		if left == 0 || p.draining || p.id == info.Node {
			continue
		}
		left--
		n.tellJob(p, info.Job)
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Keep{Keep: m}})
	}
}

// keepAllElsewhere is keepElsewhere of all: one that kept may be gone.
func (n *Node) keepAllElsewhere() {
	n.eachOwnActor(func(a *actor.Info) {
		if a.State == actor.Alive {
			n.keepElsewhere(a.Actor)
		}
	})
}

// gotKeep keeps what a detached actor of another node's needs.
func (n *Node) gotKeep(m *nodev1.Keep) error {
	a, err := wire.ReadTask(m.Actor)
	if err != nil {
		return err
	}
	of, err := wire.ReadJob(m.Job)
	if err != nil {
		return err
	}
	j := n.jobs[of]
	if j == nil || j.home == nil {
		return nil
	}
	if j.keeps == nil {
		j.keeps = map[id.Actor]bool{}
	}
	j.keeps[a] = true
	n.later(func() {
		n.spawnHere(func() {
			for _, hash := range m.Blobs {
				data, err := n.jobBlob(n.ctx, j, hash)
				if err != nil {
					return // it is gone: so is what this was for
				}
				n.lock()
				_, _ = j.blobs.add(&sessionv1.Blob{Hash: hash, Data: data})
				n.unlock()
			}
			if m.Program {
				_, _ = n.driverProgram(j)
			}
		})
	})
	return nil
}

// keptFor notes who has the record of an actor for whose sake a job is kept.
func (n *Node) keptFor(a id.Actor, rec *coordinate.ActorRecord) {
	for _, j := range n.jobs {
		switch {
		case !j.keeps[a]:
		case rec == nil:
			delete(j.keeps, a)
			n.releaseJob(j.id)
		case rec.Owner != n.id:
			j.home = n.peer(rec.Owner)
		}
	}
}

// passOn sends what is for the keeper itself of what has waited for it.
func (n *Node) passOn(a id.Actor) {
	waiting := n.meeting[a]
	kept := waiting[:0]
	for _, ev := range waiting {
		if ev.Kind == actor.Kill || ev.Kind == actor.Exit {
			n.toActor(&ev)
		} else {
			kept = append(kept, ev)
		}
	}
	if n.meeting[a] = kept; len(kept) == 0 {
		delete(n.meeting, a)
	}
}

// meetNow hands over what has waited for an actor that this node keeps, or that
// nobody does.
func (n *Node) meetNow(a id.Actor) {
	waiting := n.meeting[a]
	delete(n.meeting, a)
	for i := range waiting {
		n.stepActor(&waiting[i])
	}
	n.introduced(a)
}

// keeperOf is the node that keeps an actor's record, as far as this one knows.
func (n *Node) keeperOf(a id.Actor) id.Node {
	if of, adopted := n.keepers[a]; adopted {
		return of
	}
	if info, known := n.actors.Get(a); known && !info.Remote {
		return n.id
	}
	return a.Owner()
}
