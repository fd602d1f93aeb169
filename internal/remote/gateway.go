package remote

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// Bounds of a Gateway: its drivers, and the connections of who has not been let
// in yet.
const (
	maxSessions  = 1024
	maxGreetings = 128
)

// recheckTime is how long a token may have been revoked unnoticed.
const recheckTime = 5 * time.Second

// Config says what a Gateway leads to.
type Config struct {
	// Socket is the node's.
	Socket string
	// Authenticate returns the role of who shows a token. When it says later that
	// there is none such any more (token.ErrUnknown), the sessions that were begun
	// with the token end. One that has expired begins no further ones.
	Authenticate func(ctx context.Context, shown string) (token.Role, error)
	// Recheck is the time between such questions: 5 s.
	Recheck time.Duration
	// Dir is a folder for the programs of Go drivers.
	Dir string
	// Python is the interpreter for jobs whose own is not on this machine.
	Python string
	// Resume is how long a driver may be gone: 30 s.
	Resume time.Duration
	Log    *slog.Logger
}

// Gateway lets drivers outside use a node.
type Gateway struct {
	cfg      Config
	programs programs
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
	greeting chan struct{} // one for each connection that is being greeted

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session // by secret
}

// NewGateway makes one that waits for connections.
func NewGateway(cfg Config) *Gateway {
	if cfg.Resume == 0 {
		cfg.Resume = resumeTime
	}
	if cfg.Recheck == 0 {
		cfg.Recheck = recheckTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, programs: programs{dir: cfg.Dir}, sessions: map[string]*session{}}
	g.greeting = make(chan struct{}, maxGreetings)
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.running.Go(g.watchTokens)
	return g
}

// Serve accepts connections, whose TLS is the listener's, until it is closed.
func (g *Gateway) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("remote: %w", err)
		}
		go g.Handle(conn)
	}
}

// Handle serves one connection and closes it.
func (g *Gateway) Handle(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if !g.enter() {
		return
	}
	defer g.running.Done()
	defer context.AfterFunc(g.ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(greetTime))
	r := bufio.NewReaderSize(conn, batch)
	s, open, err := g.greet(r)
	if errors.Is(err, io.EOF) {
		return // somebody looked who listens here
	}
	if err != nil {
		g.cfg.Log.Warn("a driver is refused", "from", conn.RemoteAddr(), "error", err)
		_, _ = conn.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, farewell(err)))
		return
	}
	s.connected(conn, r, open)
}

// enter reports whether the Gateway is open; running is then one more.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Add(1)
	return true
}

// greet finds or begins the session that a connection is for.
func (g *Gateway) greet(r *bufio.Reader) (*session, *sessionv1.Open, error) {
	select {
	case g.greeting <- struct{}{}:
		defer func() { <-g.greeting }()
	default:
		return nil, nil, &wire.Error{Code: wire.Closed, Op: "connect", Message: fmt.Sprintf("%d others connect at the same time", maxGreetings), Hint: "try again"}
	}
	open, err := readOpen(r)
	if err != nil {
		return nil, nil, err
	}
	if len(open.Session) > 0 { // which is as good as the token: there is none without
		s, err := g.find(string(open.Session))
		return s, open, err
	}
	ctx, cancel := context.WithTimeout(g.ctx, greetTime)
	defer cancel()
	role, err := g.cfg.Authenticate(ctx, open.Token)
	if err != nil {
		return nil, nil, wire.AsError(err, wire.Closed)
	}
	s, err := g.begin(open.Token, role)
	return s, open, err
}

func (g *Gateway) find(secret string) (*session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.sessions[secret]; s != nil {
		return s, nil
	}
	return nil, &wire.Error{Code: wire.Closed, Op: "resume", Message: fmt.Sprintf("the session has ended; one lives for %v without its driver", g.cfg.Resume),
		Hint: "call Init again"}
}

func (g *Gateway) begin(shown string, role token.Role) (*session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.sessions) >= maxSessions {
		return nil, &wire.Error{Code: wire.Closed, Op: "connect", Message: fmt.Sprintf("the node has %d drivers from outside, which is its limit, or is shutting down",
			len(g.sessions)), Hint: "close sessions that are not used"}
	}
	s := newSession(g, shown, role, rand.Text())
	g.sessions[s.secret] = s
	g.running.Go(s.run)
	return s, nil
}

func (g *Gateway) forget(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, s.secret)
}

// watchTokens ends sessions whose token is revoked.
func (g *Gateway) watchTokens() {
	tick := time.NewTicker(g.cfg.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			return
		}
		for shown, sessions := range g.byToken() {
			ctx, cancel := context.WithTimeout(g.ctx, greetTime)
			_, err := g.cfg.Authenticate(ctx, shown)
			cancel()
			if !errors.Is(err, token.ErrUnknown) {
				continue
			}
			for _, s := range sessions {
				g.running.Go(func() { s.link.finish(wire.AsError(err, wire.Unauthenticated)) })
			}
		}
	}
}

func (g *Gateway) byToken() map[string][]*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	by := map[string][]*session{}
	for _, s := range g.sessions {
		by[s.token] = append(by[s.token], s)
	}
	return by
}

// Close ends all sessions and waits until nothing of them is left.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	sessions := g.sessions
	g.sessions = map[string]*session{}
	g.mu.Unlock()
	var leaving sync.WaitGroup
	for _, s := range sessions {
		leaving.Go(func() { s.link.finish(&wire.Error{Code: wire.Closed, Op: "session", Message: "the node shuts down"}) })
	}
	leaving.Wait()
	g.stop()
	g.running.Wait()
}

// Sessions is how many drivers there are, connected or expected back.
func (g *Gateway) Sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions)
}
