package head

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/coordinate"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// Node is what a Member needs of its node.
type Node interface {
	// Command does what the coordinator wants. The error is one of protocol.
	Command(e *coordinate.Effect) error
	Figures() *coordinate.Figures
	Holds() []coordinate.Held
	// PeerDown, PeerLeft and PeerDraining say how another node is.
	PeerDown(other id.Node)
	PeerLeft(other, heir id.Node)
	PeerDraining(other id.Node)
}

// Where says where a node can be reached.
type Where struct {
	Node    id.Node
	Address string
}

// MemberConfig says what a Member is.
type MemberConfig struct {
	Self    id.Node
	Address string // where other nodes reach it
	// Send takes a message for a node, or for this one. It does not wait and
	// does not call the Member or the node.
	Send func(to id.Node, m *nodev1.Message)
	// Know is told where a node can be reached.
	Know func(node id.Node, address string)
	// Heads are some that may lead; the others are learnt from them.
	Heads []Where
	// Expelled is called when the cluster has declared this node dead, or it
	// has left: nobody waits for what it runs.
	Expelled func()
	// Draining is called when the cluster wants it to leave.
	Draining func()
}

// How often a Member looks whether there is something to say, says that it
// lives, and, without a leader, asks for one; and how long a leader may be silent.
const (
	lookEvery   = 100 * time.Millisecond
	heardEvery  = 500 * time.Millisecond
	leaderAfter = 2 * time.Second
	leaveEvery  = 5 * time.Millisecond
	// heedAfter is how long a report of the node itself may be without an answer:
	// who leads by the store may not have begun to, and then hears nothing.
	heedAfter = time.Second
	// seekEvery is how often Find asks for one node, maxSought for how many in that time.
	seekEvery = time.Second
	maxSought = 1024
)

// Member is a node's side of the coordinator.
type Member struct {
	cfg    MemberConfig
	node   Node
	cancel context.CancelFunc
	done   sync.WaitGroup
	joined chan struct{} // closed at the first Welcome
	poke   chan struct{}

	mu      sync.Mutex
	term    int64
	leader  id.Node
	open    bool // it reported to leader in term
	opened  time.Time
	heeded  bool // leader has answered that
	welcome bool // it is a member
	heard   time.Time
	seq     uint64
	pending []pending // not acknowledged, in order
	told    *coordinate.Figures
	toldAt  time.Time
	asked   time.Time // who leads
	sought  map[id.Node]time.Time
	heads   []id.Node
}

// pending is an event that the next coordinator must hear too.
type pending struct {
	seq uint64
	ev  *coordinate.Event
}

// NewMember returns a Member that reports from Start on.
func NewMember(cfg MemberConfig) *Member {
	m := &Member{cfg: cfg, joined: make(chan struct{}), poke: make(chan struct{}, 1), sought: map[id.Node]time.Time{}}
	for _, h := range cfg.Heads {
		m.learn(h.Node, h.Address)
		m.heads = append(m.heads, h.Node)
	}
	return m
}

// Start begins to report for n.
func (m *Member) Start(n Node) {
	ctx, cancel := context.WithCancel(context.Background())
	m.node, m.cancel = n, cancel
	m.done.Go(func() { m.run(ctx) })
}

// Close ends it; the coordinator hears no more of the node.
func (m *Member) Close() {
	m.cancel()
	m.done.Wait()
}

// Leave says that the node is about to end, and to whom it has handed over, and
// waits until that is written.
func (m *Member) Leave(ctx context.Context, heir id.Node) {
	m.Report(&coordinate.Event{Kind: coordinate.Left, Heir: heir})
	for ctx.Err() == nil {
		m.mu.Lock()
		left := !slices.ContainsFunc(m.pending, func(p pending) bool { return p.ev.Kind == coordinate.Left })
		m.mu.Unlock()
		if left {
			return
		}
		pause(ctx, leaveEvery)
	}
}

// Join waits until the node is a member.
func (m *Member) Join(ctx context.Context) error {
	select {
	case <-m.joined:
		return nil
	case <-ctx.Done():
		return &wire.Error{Code: wire.Timeout, Op: "join", Message: "no head of the cluster has taken this node in: " + context.Cause(ctx).Error(),
			Hint: "see whether the head runs and its address is reached from here", Err: context.Cause(ctx)}
	}
}

func (m *Member) learn(n id.Node, address string) {
	if n != m.cfg.Self && address != "" {
		m.cfg.Know(n, address)
	}
}

// Report implements node.Cluster.
func (m *Member) Report(ev *coordinate.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(ev)
	p := pending{ev: ev}
	if kept(ev.Kind) {
		m.seq++
		p.seq = m.seq
		m.pending = append(m.pending, p)
	}
	if ev.Figures != nil {
		m.told = ev.Figures
	}
	if m.open {
		m.send(p)
	}
}

// Find asks where a node is whose address is not known, at most once in seekEvery.
func (m *Member) Find(other id.Node) {
	now := time.Now()
	m.mu.Lock()
	maps.DeleteFunc(m.sought, func(_ id.Node, at time.Time) bool { return now.Sub(at) >= seekEvery })
	_, recently := m.sought[other]
	ask := !recently && len(m.sought) < maxSought
	if ask {
		m.sought[other] = now
	}
	m.mu.Unlock()
	if ask {
		m.Report(&coordinate.Event{Kind: coordinate.FindNode, Other: other})
	}
}

// kept reports whether an event must reach the coordinator, or the next one.
func kept(k coordinate.EventKind) bool {
	return answered(k) || slices.Contains([]coordinate.EventKind{coordinate.ActorAt, coordinate.ActorGone, coordinate.JobBegan,
		coordinate.JobEnded, coordinate.RemoveGroup, coordinate.Drain, coordinate.Left}, k)
}

// answered reports whether an event is kept until its answer comes, and not
// until it is acknowledged.
func answered(k coordinate.EventKind) bool {
	return slices.Contains([]coordinate.EventKind{coordinate.NameActor, coordinate.FindActor, coordinate.CreateGroup, coordinate.FindGroup}, k)
}

// settle drops what a new event makes needless.
func (m *Member) settle(ev *coordinate.Event) {
	switch ev.Kind {
	case coordinate.RemoveGroup:
		m.drop(func(p *coordinate.Event) bool { return p.Group == ev.Group })
	case coordinate.ActorAt, coordinate.ActorGone:
		m.drop(func(p *coordinate.Event) bool {
			return p.Actor != nil && p.Actor.Actor == ev.Actor.Actor && p.Kind != coordinate.NameActor
		})
	}
}

func (m *Member) drop(needless func(*coordinate.Event) bool) {
	m.pending = slices.DeleteFunc(m.pending, func(p pending) bool { return needless(p.ev) })
}

func (m *Member) send(p pending) {
	m.cfg.Send(m.leader, &nodev1.Message{Body: &nodev1.Message_Report{Report: reportToPB(p.seq, p.ev)}})
}

// run reports until ctx ends.
func (m *Member) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	m.heard = time.Now()
	for {
		m.look(m.node.Figures())
		select {
		case <-tick.C:
		case <-m.poke:
		case <-ctx.Done():
			return
		}
	}
}

// look says what there is to say.
func (m *Member) look(f *coordinate.Figures) {
	m.mu.Lock()
	now := time.Now()
	if m.leader.IsZero() || now.Sub(m.heard) >= leaderAfter {
		m.ask(now)
	}
	if m.open && !m.heeded && now.Sub(m.opened) >= heedAfter {
		m.open = false
	}
	if m.open || m.leader.IsZero() {
		m.say(now, f)
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	m.rejoin(f, m.node.Holds())
}

// Heads are the nodes that this one knows to be heads.
func (m *Member) Heads() []id.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heads)
}

// ask looks for the one who leads.
func (m *Member) ask(now time.Time) {
	if now.Sub(m.asked) < heardEvery {
		return
	}
	m.asked = now
	for _, h := range m.heads {
		m.cfg.Send(h, &nodev1.Message{Body: &nodev1.Message_Report{Report: &nodev1.Report{}}})
	}
}

// say tells the leader that the node lives, and its figures if they changed.
func (m *Member) say(now time.Time, f *coordinate.Figures) {
	changed := m.told == nil || coordinate.Changed(m.told, f)
	if !m.open || !changed && now.Sub(m.toldAt) < heardEvery {
		return
	}
	ev := &coordinate.Event{Kind: coordinate.Heard}
	if changed {
		ev.Figures, m.told = f, f
	}
	m.toldAt = now
	m.send(pending{ev: ev})
}

// rejoin reports to a new leader: first the node, then what is not acknowledged.
func (m *Member) rejoin(f *coordinate.Figures, holds []coordinate.Held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open {
		return
	}
	m.open, m.opened, m.heeded = true, time.Now(), false
	m.told, m.toldAt = f, m.opened
	m.send(pending{ev: &coordinate.Event{Kind: coordinate.Joined, Address: m.cfg.Address, Figures: f, Holds: holds, Again: m.welcome}})
	for _, p := range m.pending {
		m.send(p)
	}
}

// command takes what the coordinator or another head says.
func (m *Member) command(c *nodev1.Command) error {
	e, err := commandFromPB(c)
	var r reader
	leader := r.node(c.Leader)
	if err = errors.Join(err, r.err); err != nil {
		return &wire.Error{Code: wire.Protocol, Op: "command of the coordinator", Message: err.Error()}
	}
	if !m.admit(c, leader) {
		return nil
	}
	for _, v := range e.Views {
		m.learn(v.Node, v.Address)
	}
	switch e.Kind {
	case 0:
	case coordinate.Welcome:
		m.welcomed()
	case coordinate.Expel:
		m.expelled()
	case coordinate.Announce:
		m.announced(e)
	default:
		m.answer(e)
		return m.node.Command(e)
	}
	return nil
}

// admit notes who leads and what is acknowledged. It reports false if the
// command is of one who leads no more.
func (m *Member) admit(c *nodev1.Command, leader id.Node) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Term < m.term {
		return false
	}
	for _, h := range c.Heads {
		n, err := wire.ReadNode(h.Node)
		if err != nil {
			continue
		}
		m.learn(n, h.Address)
		if !slices.Contains(m.heads, n) {
			m.heads = append(m.heads, n)
		}
	}
	if c.Term > m.term && !leader.IsZero() {
		m.term, m.leader, m.open = c.Term, leader, false
		select {
		case m.poke <- struct{}{}:
		default:
		}
	}
	if c.Term == m.term {
		m.heard = time.Now()
	}
	m.pending = slices.DeleteFunc(m.pending, func(p pending) bool { return p.seq <= c.Ack && !answered(p.ev.Kind) })
	return c.Kind == 0 || c.Term == m.term
}

func (m *Member) welcomed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heeded = true
	if !m.welcome {
		m.welcome = true
		close(m.joined)
	}
}

// expelled ends the node's membership. One that never was a member is unknown to
// the leader only because that has not heard its report, and says so again.
func (m *Member) expelled() {
	m.mu.Lock()
	member := m.welcome
	m.open = m.open && member
	m.mu.Unlock()
	if member {
		m.cfg.Expelled()
	}
}

func (m *Member) announced(e *coordinate.Effect) {
	switch {
	case e.Node == m.cfg.Self && (e.State == coordinate.Dead || e.State == coordinate.Gone):
		m.cfg.Expelled()
	case e.Node == m.cfg.Self && e.State == coordinate.Draining:
		m.cfg.Draining()
	case e.Node == m.cfg.Self:
	case e.State == coordinate.Dead:
		m.node.PeerDown(e.Node)
	case e.State == coordinate.Gone:
		m.node.PeerLeft(e.Node, e.Heir)
	case e.State == coordinate.Draining:
		m.node.PeerDraining(e.Node)
	}
}

// answer drops what the coordinator has answered.
func (m *Member) answer(e *coordinate.Effect) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(func(p *coordinate.Event) bool {
		switch e.Kind {
		case coordinate.Named, coordinate.NameTaken:
			return p.Kind == coordinate.NameActor && p.Actor.Actor == e.Actor
		case coordinate.Found:
			return p.Kind == coordinate.FindActor && p.Request == e.Request && e.Request != 0 ||
				p.Kind == coordinate.NameActor && p.Actor.Actor == e.Actor
		case coordinate.Refused:
			return p.Kind == coordinate.NameActor && p.Actor.Actor == e.Actor ||
				p.Kind == coordinate.CreateGroup && p.Group == e.Group && e.Actor.IsZero()
		case coordinate.Placed:
			return answered(p.Kind) && p.Group == e.Group && !p.Group.IsZero() && e.At == nil
		}
		return false
	})
}
