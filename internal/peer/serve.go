package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	peerv1 "github.com/weftrun/weft/internal/gen/peer/v1"
	"github.com/weftrun/weft/internal/id"
)

// maxHandshakes is how many connections may be between accepted and understood.
const maxHandshakes = 256

// preface is how HTTP/2, and so gRPC, begins.
const preface = "PRI"

// linkServer is the gRPC service.
type linkServer struct {
	peerv1.UnimplementedPeerServer
	p *Peers
}

func (p *Peers) newGRPC() *grpc.Server {
	s := grpc.NewServer(grpc.Creds(&verified{}), grpc.ForceServerCodecV2(codec{}), grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(maxBatch), grpc.MaxSendMsgSize(maxBatch), grpc.MaxConcurrentStreams(4),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window), grpc.ConnectionTimeout(answerTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: answerTime}))
	peerv1.RegisterPeerServer(s, linkServer{p: p})
	return s
}

// Link implements peerv1.PeerServer.
func (s linkServer) Link(call peerv1.Peer_LinkServer) error {
	var in peerv1.Batch
	if err := call.RecvMsg(&in); err != nil {
		return err
	}
	from, err := s.p.caller(call.Context(), in.Hello)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(call.Context())
	defer cancel(nil)
	l, answer, err := s.p.accept(from, &in, cancel)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := call.SendMsg(answer); err != nil {
		cancel(err)
	}
	if answer.Hello.Refusal != peerv1.Refusal_REFUSAL_UNSPECIFIED {
		return nil
	}
	if err := l.carry(ctx, cancel, call, answer.Hello.Stream); !errors.Is(err, errIdle) {
		return status.Error(codes.Aborted, err.Error())
	}
	return nil
}

// caller returns the node that says hello, which must be that of its certificate.
func (p *Peers) caller(ctx context.Context, hello *peerv1.Hello) (from id.Node, err error) {
	if len(hello.GetFrom()) != len(from) || len(hello.GetTo()) != len(from) {
		return from, status.Error(codes.InvalidArgument, "the call does not begin with a hello")
	}
	copy(from[:], hello.From)
	info, _ := peer.FromContext(ctx)
	t, ok := info.AuthInfo.(peerInfo).conn.(*tls.Conn)
	if !ok {
		return from, nil
	}
	state := t.ConnectionState()
	if who, err := p.cfg.Identify(&state); err != nil {
		return from, status.Error(codes.PermissionDenied, err.Error())
	} else if who != from {
		return from, status.Errorf(codes.PermissionDenied, "node %s calls itself %s", who, from)
	}
	return from, nil
}

// accept answers a hello. If the answer is no refusal the stream is open, and
// cancel ends it.
func (p *Peers) accept(from id.Node, in *peerv1.Batch, cancel context.CancelCauseFunc) (*link, *peerv1.Batch, error) {
	self := p.cfg.Self
	answer := &peerv1.Batch{Hello: &peerv1.Hello{From: self[:], To: from[:], Stream: in.Hello.Stream}}
	if string(in.Hello.To) != string(self[:]) {
		answer.Hello.Refusal = peerv1.Refusal_REFUSAL_STRANGER
		return nil, answer, nil
	}
	l := p.link(from)
	if l == nil {
		if !p.isDead(from) {
			return nil, nil, errors.New("the node is being closed")
		}
		answer.Hello.Refusal = peerv1.Refusal_REFUSAL_DEAD
		return nil, answer, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	accepted, err := l.end.offered(in.Hello.Stream, in.Next)
	if err != nil {
		return nil, nil, err
	}
	answer.Next, answer.Hello.Stream = l.end.next, l.end.stream
	if !accepted {
		answer.Hello.Refusal = peerv1.Refusal_REFUSAL_OLDER
		return l, answer, nil
	}
	l.replace(cancel)
	l.begun()
	return l, answer, nil
}

// serve accepts connections and gives each to the server of its protocol.
func (p *Peers) serve(l net.Listener) error {
	to := queues{grpc: newQueue(l.Addr()), http: newQueue(l.Addr()), guests: newQueue(l.Addr())}
	if !p.enter() {
		return l.Close()
	}
	defer p.wg.Done()
	p.wg.Go(func() { _ = p.grpc.Serve(to.grpc) })
	p.wg.Go(func() { _ = p.http.Serve(to.http) })
	p.wg.Go(func() { _ = p.guests.Serve(to.guests) })
	stop := context.AfterFunc(p.ctx, func() { _ = l.Close() })
	defer stop()
	room := make(chan struct{}, maxHandshakes)
	for {
		c, err := l.Accept()
		if err != nil {
			to.close()
			if p.ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("peer: %w", err)
		}
		room <- struct{}{}
		p.wg.Go(func() {
			serve := p.sort(c, &to)
			<-room
			if serve != nil {
				serve()
			}
		})
	}
}

// sort makes the handshake of a connection and finds out which protocol it is
// for. It returns what serves it, if that is of the Others.
func (p *Peers) sort(raw net.Conn, by *queues) (serve func()) {
	stop := context.AfterFunc(p.ctx, func() { _ = raw.Close() })
	defer stop()
	_ = raw.SetDeadline(time.Now().Add(answerTime))
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(keepAlive)
		if r, err := t.SyscallConn(); err == nil {
			_ = watch(r)
		}
	}
	c, to, err := p.understand(raw, by)
	_ = raw.SetDeadline(time.Time{})
	switch {
	case err == nil && to == nil:
		return func() { p.serveOther(c.(*tls.Conn)) }
	case err != nil || !to.put(c):
		_ = raw.Close()
	}
	return nil
}

// serveOther has one of the Others serve a connection.
func (p *Peers) serveOther(c *tls.Conn) {
	defer context.AfterFunc(p.ctx, func() { _ = c.NetConn().Close() })()
	p.cfg.Others[c.ConnectionState().NegotiatedProtocol](c)
}

// understand returns the connection that a server can use, and whose it is: nil
// if it is one of the Others'.
func (p *Peers) understand(raw net.Conn, by *queues) (net.Conn, *queue, error) {
	if p.cfg.TLS == nil {
		start := make([]byte, len(preface))
		to := by.http
		_, err := io.ReadFull(raw, start)
		if string(start) == preface {
			to = by.grpc
		}
		return &begun{Conn: raw, start: start}, to, err
	}
	t := tls.Server(raw, p.servedTLS())
	if err := t.HandshakeContext(p.ctx); err != nil {
		return nil, nil, err
	}
	switch spoken := t.ConnectionState().NegotiatedProtocol; {
	case p.cfg.Others[spoken] != nil:
		return t, nil, nil
	case spoken == "h2":
		return t, by.grpc, nil
	case spoken != "" && spoken == p.cfg.GuestProtocol:
		return struct{ net.Conn }{t}, by.guests, nil // net/http would not speak to a protocol of that name
	}
	return t, by.http, nil
}

// servedTLS wants a certificate of the cluster's CA, but of guests and others,
// who can negotiate nothing else.
func (p *Peers) servedTLS() *tls.Config {
	cfg := p.cfg.TLS.Clone()
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.NextProtos = []string{"h2", "http/1.1"}
	open := map[string]*tls.Config{}
	for _, protocol := range append(slices.Collect(maps.Keys(p.cfg.Others)), p.cfg.GuestProtocol) {
		if protocol != "" {
			open[protocol] = p.cfg.TLS.Clone()
			open[protocol].NextProtos = []string{protocol}
		}
	}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 {
			return open[hello.SupportedProtos[0]], nil
		}
		return nil, nil
	}
	return cfg
}

// queues are connections for each server.
type queues struct{ grpc, http, guests *queue }

func (q *queues) close() {
	_ = q.grpc.Close()
	_ = q.http.Close()
	_ = q.guests.Close()
}

// begun is a connection of which the first bytes have been read.
type begun struct {
	net.Conn
	start []byte
}

func (b *begun) Read(buf []byte) (int, error) {
	if len(b.start) == 0 {
		return b.Conn.Read(buf)
	}
	n := copy(buf, b.start)
	b.start = b.start[n:]
	return n, nil
}

// queue is a listener whose connections somebody else accepts.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	over  chan struct{}
	close func()
}

func newQueue(a net.Addr) *queue {
	q := &queue{addr: a, conns: make(chan net.Conn), over: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.over) })
	return q
}

// put waits until a connection is taken, and reports false if none is any more.
func (q *queue) put(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.over:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error { q.close(); return nil }

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.addr }
