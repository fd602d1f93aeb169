package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/weftrun/weft/internal/id"
)

// Config is what Peers need to know. Self, Address, Receive and Serve must be
// set.
type Config struct {
	Self id.Node

	// TLS has this node's certificate (Certificates, or GetCertificate and
	// GetClientCertificate) and the cluster's CA (RootCAs and ClientCAs). Nil
	// is plain TCP, and only a loopback address may then be served.
	TLS *tls.Config
	// Identify returns the node that the other side's certificate names, once
	// it has been verified. It must be set if TLS is.
	Identify func(*tls.ConnectionState) (id.Node, error)

	// Guest answers who has no certificate yet and negotiates GuestProtocol;
	// nil: nobody does.
	Guest         http.Handler
	GuestProtocol string
	// Others take connections that negotiate another protocol and need no
	// certificate: what they serve is theirs to guard. They are called on a
	// goroutine for each, close the connection, and return soon once it is closed.
	Others map[string]func(net.Conn)

	// Address returns where a node listens, "HOST:PORT", if that is known. What
	// is for others waits until it is; see Reachable.
	Address func(id.Node) (string, bool)
	// Receive takes a message in, which it may keep. It must not wait. An error
	// is reported (Broken); the message counts as received.
	Receive func(from id.Node, message []byte) error
	// Serve opens what another node pulls from this one. A source with a method
	// Bytes() []byte is pulled in chunks: opened for each, and its bytes must
	// stay until it is closed.
	Serve func(ctx context.Context, name string) (io.ReadCloser, error)
	// Event is told what happens to links; it may call Forget but not Close.
	// Events of one node come in order. Nil for nobody.
	Event func(Event)

	// Idle is how long a link carries nothing before its stream is closed, at
	// least and up to twice that. 0 is a minute.
	Idle time.Duration
	// RefusedAfter is how long connections to a node must have been refused for
	// the event Refused. 0 is 300 ms.
	RefusedAfter time.Duration
	// PullAfter is how long a pull asks nodes that cannot be reached. 0 is 15 s,
	// in which one that is dead has been declared so.
	PullAfter time.Duration

	// From is the address that connections to others come from; nil leaves that
	// to the kernel.
	From net.Addr

	dial func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
}

// Peers are the other nodes as one node reaches them.
type Peers struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	grpc   *grpc.Server
	http   *http.Server
	guests *http.Server
	pulls  *http.Transport
	wg     sync.WaitGroup

	mu     sync.Mutex
	links  map[id.Node]*link
	dead   map[id.Node]bool // forgotten; ids are never used again
	closed bool
}

// New returns the Peers of a node. Close ends them.
func New(cfg Config) *Peers {
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.RefusedAfter == 0 {
		cfg.RefusedAfter = 300 * time.Millisecond
	}
	if cfg.PullAfter == 0 {
		cfg.PullAfter = 15 * time.Second
	}
	if cfg.Event == nil {
		cfg.Event = func(Event) {}
	}
	p := &Peers{cfg: cfg, links: map[id.Node]*link{}, dead: map[id.Node]bool{}}
	if cfg.dial == nil {
		p.cfg.dial = p.dialTCP
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.grpc = p.newGRPC()
	p.http = p.newHTTP()
	p.guests = &http.Server{Handler: cfg.Guest, ReadHeaderTimeout: answerTime, ReadTimeout: answerTime,
		BaseContext: func(net.Listener) context.Context { return p.ctx }, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	p.pulls = p.newTransport()
	return p
}

// Send takes a message for a node. It keeps message, which must not change,
// and does not wait. Nothing is sent to a node that has been forgotten.
func (p *Peers) Send(to id.Node, message []byte) {
	if l := p.link(to); l != nil {
		l.send(message)
	}
}

// Unacknowledged is how many bytes of messages for a node are kept here until
// it says that they have come.
func (p *Peers) Unacknowledged(to id.Node) int64 {
	p.mu.Lock()
	l := p.links[to]
	p.mu.Unlock()
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end.bytes
}

// Flush waits until all that was sent has been acknowledged by those it was for,
// or they have been forgotten.
func (p *Peers) Flush(ctx context.Context) error {
	for tick := time.NewTicker(time.Millisecond); ; {
		if p.flushed() {
			tick.Stop()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return context.Cause(ctx)
		}
	}
}

func (p *Peers) flushed() bool {
	p.mu.Lock()
	links := slices.Collect(maps.Values(p.links))
	p.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
		left := l.end.bytes
		l.mu.Unlock()
		if left > 0 {
			return false
		}
	}
	return true
}

// Forget declares a node dead: its link is cut, what was to be sent there is
// dropped, and it is not spoken to again.
func (p *Peers) Forget(n id.Node) {
	p.mu.Lock()
	l := p.links[n]
	delete(p.links, n)
	p.dead[n] = true
	p.mu.Unlock()
	if l != nil {
		l.drop()
	}
}

// Reachable says that a node's address has become known, so that what waits for
// it is sent at once.
func (p *Peers) Reachable(n id.Node) {
	p.mu.Lock()
	l := p.links[n]
	p.mu.Unlock()
	if l != nil {
		l.hurry()
	}
}

// link returns the link to a node, nil if there is to be none.
func (p *Peers) link(n id.Node) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[n]
	if l == nil && !p.closed && !p.dead[n] && n != p.cfg.Self {
		l = newLink(p, n)
		p.links[n] = l
	}
	return l
}

// enter counts work that Close waits for. It reports false if there is to be none.
func (p *Peers) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.wg.Add(1)
	}
	return !p.closed
}

// isDead reports whether a node has been forgotten.
func (p *Peers) isDead(n id.Node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead[n]
}

// Serve answers other nodes at a listener, which it closes, until Close. It
// returns nil after Close.
func (p *Peers) Serve(l net.Listener) error {
	if p.cfg.TLS == nil && !loopback(l.Addr()) {
		return errors.Join(fmt.Errorf("peer: %s can be reached from other machines, so it needs TLS; give this node a certificate or a loopback address", l.Addr()), l.Close())
	}
	return p.serve(l)
}

// Close cuts all links and ends what is served. What is not yet acknowledged is
// lost.
func (p *Peers) Close() error {
	p.mu.Lock()
	links := p.links
	p.links, p.closed = nil, true
	p.mu.Unlock()
	p.cancel()
	for _, l := range links {
		l.drop()
	}
	p.grpc.Stop()
	err := errors.Join(p.http.Close(), p.guests.Close())
	p.pulls.CloseIdleConnections()
	p.wg.Wait()
	return err
}

func loopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}
