package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/coordinate"
	"github.com/weftrun/weft/internal/event"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/head"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/peer"
	"github.com/weftrun/weft/internal/remote"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/state"
)

// Config says what a member is.
type Config struct {
	Node node.Config // without ID, Network and Cluster
	// Listen is where other nodes reach this one, HOST:PORT; port 0 draws one.
	Listen string
	// Advertise is that address as others know it; "" is Listen's.
	Advertise string
	// ID is the node's; it has not been another's.
	ID id.Node
	// Credentials are the node's, and Heads the heads that it can turn to first,
	// itself if it is one.
	Credentials *identity.Credentials
	Heads       []head.Where
	// Store is the cluster's metadata, on a head; nil: this is none. Desk lets
	// others in there.
	Store control.Store
	Desk  *identity.Desk
	// Away is how long a driver from outside may be gone: 30 s. Python is the
	// interpreter of those whose own is not on this machine.
	Away   time.Duration
	Python string
	// Expelled is called, at most once, when the cluster has declared this node
	// dead or let it go. What it runs is nobody's any more: close it.
	Expelled func()
	// Draining is called when the cluster wants the node to leave in good order:
	// Drain and Close it.
	Draining func()
	Options  coordinate.Options
}

// leaveTime is how long a member that ends waits for the coordinator to hear of
// it; joinTime how long one tries to come in.
const (
	leaveTime = time.Second
	joinTime  = 30 * time.Second
)

// Member is one node of a cluster.
type Member struct {
	cfg      Config
	id       id.Node
	node     *node.Node
	seat     *head.Seat
	peers    *peer.Peers
	drivers  *remote.Gateway // nil before Start
	address  string
	listener net.Listener
	serving  sync.WaitGroup
	expelled sync.Once
	started  bool
	leaving  atomic.Bool // it drains, by its own wish or by the cluster's
	heir     id.Node     // who has what it owned

	mu        sync.Mutex
	addresses map[id.Node]string
	here      []*nodev1.Message // to this node itself, about the cluster
	poke      chan struct{}
	ended     chan struct{}
}

// New makes a member. It opens nothing before Start.
func New(cfg Config) *Member {
	if cfg.Node.Log == nil {
		cfg.Node.Log = slog.New(slog.DiscardHandler)
	}
	m := &Member{cfg: cfg, id: cfg.ID, addresses: map[id.Node]string{}, poke: make(chan struct{}, 1), ended: make(chan struct{})}
	p := peer.Config{Self: m.id, From: from(cfg.Listen), TLS: cfg.Credentials.TLS(), Identify: identity.Identify, Address: m.where, Receive: m.receive,
		Serve: m.serve, Event: m.linked}
	p.Others = map[string]func(net.Conn){remote.Protocol: func(c net.Conn) { m.drivers.Handle(c) }}
	if cfg.Desk != nil {
		p.Guest, p.GuestProtocol = cfg.Desk, identity.Protocol
	}
	m.peers = peer.New(p)
	return m
}

// from is where a node's connections come from that listens at one of this
// machine's own addresses, of which it has many: the same one, so that nodes which
// share the machine can be told apart.
func from(listen string) net.Addr {
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.To4() != nil && ip.IsLoopback() {
		return &net.TCPAddr{IP: ip}
	}
	return nil
}

// Start makes the node and brings it into its cluster.
func (m *Member) Start(ctx context.Context) (err error) {
	if err := m.listen(ctx); err != nil {
		return err
	}
	heads := m.cfg.Heads
	if m.cfg.Store != nil {
		heads = append(slices.Clone(heads), head.Where{Node: m.id, Address: m.address})
	}
	m.seat = &head.Seat{Member: head.NewMember(head.MemberConfig{Self: m.id, Address: m.address, Send: m.tell, Know: m.know,
		Heads: heads, Expelled: m.expel, Draining: m.drain})}
	cfg := m.cfg.Node
	cfg.ID, cfg.Network, cfg.Cluster = m.id, m.peers, m.seat
	cfg.IP, _, _ = net.SplitHostPort(m.address)
	if m.cfg.Store != nil {
		has := map[string]float64{resource.Head: 1}
		maps.Copy(has, cfg.Resources)
		cfg.Resources = has
	}
	if m.node, err = node.New(cfg); err != nil {
		return err
	}
	if err := m.node.Start(ctx); err != nil {
		return err
	}
	if m.cfg.Store != nil {
		m.seat.Head = head.New(head.Config{Self: m.id, Address: m.address, Store: m.cfg.Store, Send: m.tell, Know: m.know,
			Options: m.cfg.Options, Log: m.cfg.Node.Log})
	}
	m.drivers = remote.NewGateway(remote.Config{Socket: cfg.Socket, Authenticate: m.roleOf, Dir: filepath.Join(cfg.Dir, "programs"),
		Python: m.cfg.Python, Resume: m.cfg.Away, Log: cfg.Log})
	m.started = true
	m.serving.Go(m.hearItself)
	m.serving.Go(func() {
		if err := m.peers.Serve(m.listener); err != nil {
			m.cfg.Node.Log.Error("other nodes are not served", "error", err)
		}
	})
	m.seat.Start(local{m})
	ctx, cancel := context.WithTimeoutCause(ctx, joinTime, fmt.Errorf("it did not answer for %v", joinTime))
	defer cancel()
	return m.seat.Join(ctx)
}

// listen opens the port for other nodes.
func (m *Member) listen(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if m.listener, err = lc.Listen(ctx, "tcp", m.cfg.Listen); err != nil {
		return fmt.Errorf("the port for other nodes: %w; --listen names another", err)
	}
	if m.address = m.cfg.Advertise; m.address == "" {
		m.address = m.listener.Addr().String()
	}
	return nil
}

// Address is where other nodes reach this one.
func (m *Member) Address() string { return m.address }

// ID is the node's.
func (m *Member) ID() id.Node { return m.id }

// State is that of the cluster.
func (m *Member) State() state.Source { return m.node.State() }

// Events are the node's.
func (m *Member) Events() *event.Log { return m.node.Events() }

// Drain has the cluster give the node nothing more, waits until nothing runs, and
// hands over what others need of it to another node.
func (m *Member) Drain(ctx context.Context) error {
	m.leaving.Store(true)
	m.seat.Report(&coordinate.Event{Kind: coordinate.Drain, Node: m.id})
	err := m.node.Drain(ctx)
	if err == nil {
		m.heir, err = m.node.HandOver(ctx)
	}
	if err == nil {
		err = m.peers.Flush(ctx)
	}
	return err
}

// drain is told that the cluster wants this node to leave.
func (m *Member) drain() {
	if !m.leaving.Swap(true) && m.cfg.Draining != nil {
		m.cfg.Draining()
	}
}

// DrainOther has the cluster ask a node, this one or another, to leave.
func (m *Member) DrainOther(other id.Node) {
	m.seat.Report(&coordinate.Event{Kind: coordinate.Drain, Node: other})
}

// Close leaves the cluster and ends the node. First nobody is served any more:
// what others pull is memory that goes with the node, and drivers hear why.
func (m *Member) Close(ctx context.Context) error {
	if m.started {
		leaving, cancel := context.WithTimeout(ctx, leaveTime)
		m.seat.Leave(leaving, m.heir)
		cancel()
		m.seat.Close()
	}
	if m.seat != nil && m.seat.Head != nil {
		m.seat.Head.Close()
	}
	if m.drivers != nil {
		m.drivers.Close()
	}
	err := m.peers.Close()
	if m.node != nil {
		err = errors.Join(err, m.node.Close(ctx))
	}
	if m.listener != nil && !m.started {
		err = errors.Join(err, m.listener.Close())
	}
	close(m.ended)
	m.serving.Wait()
	return err
}

func (m *Member) expel() {
	m.expelled.Do(func() {
		if m.cfg.Expelled != nil {
			m.cfg.Expelled()
		}
	})
}

// local is the node as its seat sees it.
type local struct{ m *Member }

func (l local) Command(e *coordinate.Effect) error { return l.m.node.Command(e) }
func (l local) Figures() *coordinate.Figures       { return l.m.node.Figures() }
func (l local) Holds() []coordinate.Held           { return l.m.node.Holds() }
func (l local) PeerDraining(other id.Node)         { l.m.node.PeerDraining(other) }

// PeerDown ends what there is between this node and one that is dead.
func (l local) PeerDown(other id.Node) {
	l.m.node.PeerDown(other)
	l.m.forget(other)
}

// PeerLeft is PeerDown of one that has left.
func (l local) PeerLeft(other, heir id.Node) {
	l.m.node.PeerLeft(other, heir)
	l.m.forget(other)
}

func (m *Member) forget(other id.Node) {
	m.peers.Forget(other)
	m.mu.Lock()
	delete(m.addresses, other)
	m.mu.Unlock()
}
