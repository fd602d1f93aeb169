package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	peerv1 "github.com/weftrun/weft/internal/gen/peer/v1"
	"github.com/weftrun/weft/internal/id"
)

const (
	// answerTime is how long a call waits for its answer, connecting included.
	answerTime = 5 * time.Second
	// userTimeout is how long sent bytes may be unacknowledged by the other
	// machine, in milliseconds.
	userTimeout = 8000
)

// call opens stream n and carries it until it ends. It reports whether the
// stream was open and why it ended, or why it was not.
func (l *link) call(ctx context.Context, cancel context.CancelCauseFunc, n uint64, hello *peerv1.Batch) (wasUp bool, err error) {
	patience := time.AfterFunc(answerTime, func() { cancel(errSilent) })
	defer patience.Stop()
	conn, err := l.p.connect(ctx, l.peer, "h2")
	if err != nil {
		l.gaveUp(n, 0)
		return false, errors.Join(err, context.Cause(ctx))
	}
	client, s, err := startCall(ctx, conn)
	if err == nil {
		defer func() { _ = client.Close() }()
		err = l.ask(s, n, hello)
	}
	patience.Stop()
	if err != nil {
		_ = conn.Close()
		return false, errors.Join(err, conn.failure(), context.Cause(ctx))
	}
	var idle *time.Timer
	idle = time.AfterFunc(time.Hour, func() { l.closeIfIdle(idle) })
	idle.Reset(l.p.cfg.Idle)
	defer idle.Stop()
	return true, l.carry(ctx, cancel, s, n)
}

// startCall makes the gRPC call over a connection. Closing client closes it.
func startCall(ctx context.Context, conn net.Conn) (client *grpc.ClientConn, s peerv1.Peer_LinkClient, err error) {
	once := make(chan net.Conn, 1)
	once <- conn
	client, err = grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(&verified{}), grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-once:
				return c, nil
			default:
				return nil, errors.New("it has broken")
			}
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(maxBatch), grpc.MaxCallSendMsgSize(maxBatch)))
	if err != nil {
		return nil, nil, err
	}
	if s, err = peerv1.NewPeerClient(client).Link(ctx); err != nil {
		_ = client.Close()
	}
	return client, s, err
}

// ask says hello on a stream and hears the answer.
func (l *link) ask(s stream, n uint64, hello *peerv1.Batch) error {
	var in peerv1.Batch
	err := s.SendMsg(hello)
	if heard := s.RecvMsg(&in); heard != nil {
		err = heard // says more than SendMsg
	}
	if err == nil && in.Hello == nil {
		err = errors.New("its answer has no hello")
	}
	if err != nil {
		l.gaveUp(n, 0)
		return err
	}
	switch in.Hello.Refusal {
	case peerv1.Refusal_REFUSAL_UNSPECIFIED:
		return l.answered(n, in.Next)
	case peerv1.Refusal_REFUSAL_OLDER:
		err = errOlder
	case peerv1.Refusal_REFUSAL_DEAD:
		err = errOutcast
	case peerv1.Refusal_REFUSAL_STRANGER:
		err = errStranger
	default:
		err = fmt.Errorf("it refuses with the unknown reason %d", in.Hello.Refusal)
	}
	l.gaveUp(n, in.Hello.Stream)
	return err
}

// gaveUp notes that stream n is not opened; highest is the number of a stream
// that the peer knows of.
func (l *link) gaveUp(n, highest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end.refused(n, highest)
}

// answered notes that the peer has accepted stream n.
func (l *link) answered(n, next uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	accepted, err := l.end.answered(n, next)
	if err != nil {
		return err
	}
	if !accepted {
		return errReplaced
	}
	l.begun()
	return nil
}

// connect makes a connection to a node, for one of the protocols of its port.
func (p *Peers) connect(ctx context.Context, to id.Node, protocol string) (*noted, error) {
	address, ok := p.cfg.Address(to)
	if !ok {
		return nil, errNoAddress
	}
	c, err := p.cfg.dial(ctx, address)
	if err != nil || p.cfg.TLS == nil {
		return &noted{Conn: c}, err
	}
	t := tls.Client(c, p.callerTLS(to, protocol))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("at %s: %w", address, err)
	}
	return &noted{Conn: t}, nil
}

// callerTLS verifies that the certificate is of the cluster's CA and of the node
// that is called. Nodes' certificates name no host.
func (p *Peers) callerTLS(to id.Node, protocol string) *tls.Config {
	cfg := p.cfg.TLS.Clone()
	cfg.NextProtos = []string{protocol}
	cfg.InsecureSkipVerify = true // VerifyConnection does it
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: cfg.RootCAs, Intermediates: between}); err != nil {
			return err
		}
		if who, err := p.cfg.Identify(&s); err != nil {
			return err
		} else if who != to {
			return fmt.Errorf("%w: %s", errStranger, who)
		}
		return nil
	}
	return cfg
}

// dialTCP connects and has the kernel watch the connection.
func (p *Peers) dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: p.cfg.From, KeepAliveConfig: keepAlive, Control: func(_, _ string, c syscall.RawConn) error { return watch(c) }}
	return d.DialContext(ctx, "tcp", address)
}

// keepAlive finds that the other machine is silent while nothing is sent.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 5}

// watch finds it while something is.
func watch(c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout)
	}), err)
}

// noted is a connection that remembers how reading it failed, which gRPC's error
// only has as text.
type noted struct {
	net.Conn
	mu  sync.Mutex
	err error
}

func (n *noted) Read(b []byte) (int, error) {
	c, err := n.Conn.Read(b)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.err = err
	}
	return c, err
}

func (n *noted) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}
