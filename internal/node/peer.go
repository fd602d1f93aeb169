package node

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Network is how a node reaches others.
type Network interface {
	// Send takes an encoded message for a node. Those to one node arrive in
	// order, each once, for as long as it lives. Send does not wait; it keeps
	// frame.
	Send(to id.Node, frame []byte)
	// Pull reads something large of a node by the name that its [Node.Serve]
	// knows it by. The error has code Timeout if the node did not answer and may
	// yet have it; otherwise it is not there.
	Pull(ctx context.Context, from id.Node, name string) (io.ReadCloser, error)
}

// peer is another node that lives. What is to be sent is queued under this
// node's lock, in the order of the effects that caused it, and encoded and
// sent by one goroutine at a time without it.
type peer struct {
	id       id.Node
	view     place.Event // its figures
	asks     map[*spec.Task]uint32
	jobs     map[id.Job]bool       // that it knows of
	specs    map[uint32]*spec.Task // that it has told of
	due      bool                  // in the current batch
	gone     bool
	draining bool // it is to leave
	sendMu   sync.Mutex
	queue    []*nodev1.Message
	busy     bool // somebody sends
}

// peer returns what is known of another node, which may be new; nil if it has
// been declared dead.
func (n *Node) peer(other id.Node) *peer {
	if p := n.peers[other]; p != nil || n.closed || other == n.id || n.dead[other] {
		return p
	}
	p := &peer{id: other, asks: map[*spec.Task]uint32{}, jobs: map[id.Job]bool{}, specs: map[uint32]*spec.Task{}}
	n.peers[other] = p
	return p
}

// PeerDown declares another node dead: nothing more comes from it or goes there.
// What it ran is run again, what it owned is gone.
func (n *Node) PeerDown(other id.Node) { n.peerGone(other, id.Node{}, actor.NodeDied) }

// PeerLeft is PeerDown of a node that has left in good order: what it owned is
// its heir's, if it has one.
func (n *Node) PeerLeft(other, heir id.Node) { n.peerGone(other, heir, actor.NodeLeft) }

func (n *Node) peerGone(other, heir id.Node, cause actor.Cause) {
	n.lock()
	defer n.unlock()
	if n.dead[other] || other == n.id {
		return
	}
	n.dead[other] = true
	if p := n.peers[other]; p != nil {
		p.gone = true
	}
	delete(n.peers, other)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.HolderGone, Node: other})
	n.dropHostsOf(other)
	n.dropGuestsOf(other)
	n.stepPlace(&place.Event{Kind: place.NodeGone, Node: other})
	if heir.IsZero() || heir == n.id { // which has adopted everything
		n.stepOwn(&own.Event{Kind: own.NodeDead, Node: other})
	} else {
		n.stepOwn(&own.Event{Kind: own.Heir, Node: other, To: heir})
	}
	n.forgetPlaces(other)
	for _, t := range n.trees {
		t.without(other)
	}
	n.stepActor(&actor.Event{Kind: actor.NodeDead, Node: other, Cause: cause})
	n.meetNobody(other)
	n.settle()
	n.endJobsOf(other)
	n.keepAllElsewhere()
}

// peersInOrder lists the other nodes by id.
func (n *Node) peersInOrder() []*peer {
	ps := make([]*peer, 0, len(n.peers))
	for _, p := range n.peers {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b *peer) int { return slices.Compare(a.id[:], b.id[:]) })
	return ps
}

// figures is what this node says about itself.
func (n *Node) figures() place.Event {
	return place.Event{Kind: place.View, Node: n.id, Total: n.total, Free: n.dispatch.Free(), Labels: n.cfg.Labels, Queued: n.dispatch.Queued()}
}

func (n *Node) tellView(p *peer, v place.Event) {
	free := wire.VectorToPB(&v.Free)
	for name, a := range free {
		free[name] = max(a, 0) // tasks that waited and go on may have more than there is
	}
	n.post(p, &nodev1.Message{Body: &nodev1.Message_View{View: &nodev1.View{Total: wire.VectorToPB(&v.Total), Free: free,
		Labels: v.Labels, Queued: uint32(v.Queued)}}})
}

// post queues a message for p.
func (n *Node) post(p *peer, m *nodev1.Message) {
	p.sendMu.Lock()
	p.queue = append(p.queue, m)
	p.sendMu.Unlock()
	if !p.due {
		p.due = true
		n.out.peers = append(n.out.peers, p)
	}
}

// flush sends what is queued, unless another goroutine is at it, which then
// does so.
func (p *peer) flush(n *Node) {
	p.sendMu.Lock()
	defer p.sendMu.Unlock()
	if p.busy {
		return
	}
	p.busy = true
	for len(p.queue) > 0 {
		batch := p.queue
		p.queue = nil
		p.sendMu.Unlock()
		for _, m := range batch {
			frame, err := m.MarshalVT()
			if err == nil {
				n.cfg.Network.Send(p.id, frame)
			}
		}
		p.sendMu.Lock()
	}
	p.busy = false
}

// describe is the number under which p knows s, its job and itself included.
func (n *Node) describe(p *peer, s *spec.Task) uint32 {
	n.tellJob(p, s.Job)
	if number, known := p.asks[s]; known {
		return number
	}
	if len(p.asks) == maxTemplates {
		clear(p.asks)
	}
	number := uint32(len(p.asks) + 1)
	p.asks[s] = number
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Template{Template: &nodev1.Template{Job: s.Job[:], Template: wire.TemplateToPB(number, s)}}})
	return number
}

// Receive takes a message of another node in. An error says that the node does
// not keep to the protocol. Messages of one node must not come concurrently.
func (n *Node) Receive(from id.Node, frame []byte) error {
	var m nodev1.Message
	if err := m.UnmarshalVT(frame); err != nil {
		return &wire.Error{Code: wire.Protocol, Op: "message of node " + from.String(), Message: err.Error()}
	}
	switch m.Body.(type) {
	case *nodev1.Message_Report, *nodev1.Message_Command:
		if n.cfg.Cluster == nil {
			return &wire.Error{Code: wire.Protocol, Op: "message of node " + from.String(), Message: "this node is in no cluster"}
		}
		return n.cfg.Cluster.Receive(from, &m)
	}
	n.lock()
	defer n.unlock()
	p := n.peer(from)
	if p == nil || n.closed {
		return nil // declared dead, and it will hear
	}
	if err := n.receive(p, &m); err != nil {
		return fmt.Errorf("node %s: %w", from, err)
	}
	return nil
}

// receive handles one message of p.
func (n *Node) receive(p *peer, m *nodev1.Message) error {
	switch b := m.Body.(type) {
	case *nodev1.Message_View:
		return n.gotView(p, b.View)
	case *nodev1.Message_Job:
		return n.gotJob(p, b.Job)
	case *nodev1.Message_JobEnd:
		return n.gotJobEnd(b.JobEnd)
	case *nodev1.Message_Log:
		return n.gotLog(b.Log)
	case *nodev1.Message_Template:
		return n.gotTemplate(p, b.Template)
	case *nodev1.Message_Own:
		return n.gotOwn(p, b.Own)
	case *nodev1.Message_Ask:
		return n.gotAsk(p, b.Ask)
	case *nodev1.Message_Grant:
		n.stepPlace(&place.Event{Kind: place.Granted, Node: p.id, Lease: b.Grant.Lease, Key: spec.Key(b.Grant.Key)})
	case *nodev1.Message_Refuse:
		n.stepPlace(&place.Event{Kind: place.Refused, Node: p.id, Key: spec.Key(b.Refuse.Key), N: int(b.Refuse.N), Never: b.Refuse.Never})
	case *nodev1.Message_End:
		n.stepPlace(&place.Event{Kind: place.Revoked, Node: p.id, Lease: b.End.Lease})
	case *nodev1.Message_GiveBack:
		n.stepDispatch(&dispatch.Event{Kind: dispatch.Return, Lease: dispatch.Lease(b.GiveBack.Lease)})
	case *nodev1.Message_Push:
		return n.gotPush(p, b.Push)
	case *nodev1.Message_Outcome:
		return n.gotOutcome(p, b.Outcome)
	case *nodev1.Message_Item:
		return n.gotItem(p, b.Item)
	case *nodev1.Message_Credit:
		return n.gotCredit(b.Credit)
	case *nodev1.Message_Actor:
		return n.gotActor(p, b.Actor)
	case *nodev1.Message_StopActor:
		return n.gotStopActor(b.StopActor)
	case *nodev1.Message_Take:
		return n.gotTake(p, b.Take)
	case *nodev1.Message_Taken:
		return n.gotTaken(p, b.Taken)
	case *nodev1.Message_Adopt:
		return n.gotAdopt(p, b.Adopt)
	case *nodev1.Message_Keep:
		return n.gotKeep(b.Keep)
	case *nodev1.Message_Told:
		return n.gotTold(p, b.Told)
	case *nodev1.Message_Handle:
		return n.gotHandle(p, b.Handle)
	case *nodev1.Message_Kill:
		return n.gotKill(b.Kill)
	default:
		return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("an unknown message %T", m.Body)}
	}
	return nil
}

func (n *Node) gotView(p *peer, m *nodev1.View) error {
	total, err := wire.VectorFromPB(m.Total)
	if err != nil {
		return err
	}
	free, err := wire.VectorFromPB(m.Free)
	if err != nil {
		return err
	}
	p.view = place.Event{Kind: place.View, Node: p.id, Total: total, Free: free, Labels: resource.Labels(m.Labels), Queued: int(m.Queued)}
	n.stepPlace(&p.view)
	return nil
}

func (n *Node) gotTemplate(p *peer, m *nodev1.Template) error {
	job, err := wire.ReadJob(m.Job)
	if err != nil {
		return err
	}
	t, err := wire.TemplateFromPB(m.Template, job)
	if err != nil {
		return err
	}
	p.specs[m.Template.Id] = t
	return nil
}

func (n *Node) gotAsk(p *peer, m *nodev1.Ask) error {
	s := p.specs[m.Template]
	if s == nil {
		return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("asks for leases of the unknown template %d", m.Template)}
	}
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Request, Node: p.id, Spec: s, N: int(m.N), NoWait: m.NoWait})
	return nil
}

// leaseAnswer tells the node that asked about its leases here, with fresh figures.
func (n *Node) leaseAnswer(e *dispatch.Effect) {
	p := n.peers[e.Node]
	if p == nil {
		return
	}
	n.tellView(p, n.figures())
	lease := &nodev1.Lease{Key: uint64(e.Key), Lease: uint64(e.Lease)}
	switch e.Kind {
	case dispatch.Grant:
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Grant{Grant: lease}})
	case dispatch.Refuse:
		n.post(p, &nodev1.Message{Body: &nodev1.Message_Refuse{Refuse: &nodev1.Refuse{Key: uint64(e.Key), N: uint32(e.N), Never: e.Resource != ""}}})
	case dispatch.End:
		n.post(p, &nodev1.Message{Body: &nodev1.Message_End{End: lease}})
	}
}
