package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// redialAfter is the pause between attempts to connect again.
const redialAfter = 200 * time.Millisecond

// keepAlive notices a connection that is silently gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

// Target is where a Proxy leads to.
type Target struct {
	Address   string // HOST:PORT
	otherwise string // likewise, if nothing listens there
	Token     string
	whose     string      // where the token is from, for people
	TLS       *tls.Config // for Protocol, by which the other side is known
	// Program starts workers of compiled languages; "" is what Hello names, if it does.
	Program string
	// Memory bounds the values that the program has in memory: a quarter of the machine's.
	Memory int64
}

// Proxy is a node of another machine, for one program on this.
type Proxy struct {
	target Target
	link   *link
	calls  *net.UnixConn
	sides  *net.UnixConn
	memory *memory

	secret []byte
	resume time.Duration // how long the other side waits for another connection
	done   chan struct{}
	ctx    context.Context // of connections
	stop   context.CancelFunc
}

// Start makes a Proxy and returns the descriptors of the program's two lanes.
// What goes wrong the program is told as by a node, in a Goodbye.
func Start(t Target) (p *Proxy, call, side int, err error) {
	var pairs [2][2]int
	for i := range pairs {
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			closeAll(pairs[:i])
			return nil, 0, 0, os.NewSyscallError("socketpair", err)
		}
	}
	p, err = Serve(t, os.NewFile(uintptr(pairs[0][1]), "call lane"), os.NewFile(uintptr(pairs[1][1]), "side lane"))
	if err != nil {
		_, _ = unix.Close(pairs[0][0]), unix.Close(pairs[1][0])
		return nil, 0, 0, err
	}
	return p, pairs[0][0], pairs[1][0], nil
}

func closeAll(pairs [][2]int) {
	for _, pair := range pairs {
		_, _ = unix.Close(pair[0]), unix.Close(pair[1])
	}
}

// Serve is Start with the Proxy's ends of two lanes given, which it takes over.
func Serve(t Target, call, side *os.File) (*Proxy, error) {
	calls, err := unixConn(call)
	if err != nil {
		_ = side.Close()
		return nil, err
	}
	sides, err := unixConn(side)
	if err != nil {
		_ = calls.Close()
		return nil, err
	}
	m, err := newMemory(t.Memory, sides)
	if err != nil {
		_, _ = calls.Close(), sides.Close()
		return nil, err
	}
	p := &Proxy{target: t, link: newLink(), calls: calls, sides: sides, memory: m, done: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(context.Background())
	go p.run()
	return p, nil
}

// Refuse says on a program's call lane why there is no Proxy.
func Refuse(call *os.File, err error) error {
	_, failed := call.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, farewell(err)))
	return failed
}

func unixConn(f *os.File) (*net.UnixConn, error) {
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("remote: a lane is a %T, want a Unix socket", c)
	}
	return u, nil
}

// Done is closed when the session is over and nothing of it is left.
func (p *Proxy) Done() <-chan struct{} { return p.done }

// Close returns when the session is over, which the program has ended. If ctx
// ends first, the other side is not waited for.
func (p *Proxy) Close(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.link.end(errOver)
		p.stop()
		<-p.done
	}
}

// run is the life of a session.
func (p *Proxy) run() {
	defer close(p.done)
	defer p.stop()
	r := wire.NewReader(p.calls)
	var tasks, hearing sync.WaitGroup
	if err := p.begin(r, &tasks); err != nil {
		p.link.end(err)
		_, _ = p.calls.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, farewell(err)))
	} else {
		tasks.Go(p.readSide)
		hearing.Go(func() { p.hear(sideLane) })
		hearing.Go(func() { p.hear(callLane) })
		p.readCalls(r)
	}
	p.stop()
	soon := time.Now().Add(partTime) // the program may not read its last messages
	_, _ = p.calls.SetWriteDeadline(soon), p.sides.SetWriteDeadline(soon)
	hearing.Wait()
	_, _ = p.calls.Close(), p.sides.Close()
	tasks.Wait()
	p.memory.close()
}

// begin reads the program's Hello and opens the session with it.
func (p *Proxy) begin(r *wire.Reader, tasks *sync.WaitGroup) error {
	kind, body, err := r.Next()
	if err != nil {
		return err
	}
	var hello sessionv1.Hello
	if err := hello.UnmarshalVT(body); err != nil || kind != sessionv1.Kind_KIND_HELLO {
		return &wire.Error{Code: wire.Protocol, Message: "the first message is no Hello"}
	}
	program, err := openProgram(p.target.Program, &hello)
	if err != nil {
		return err
	}
	defer program.close()
	conn, in, opened, err := p.dial(&sessionv1.Open{Token: p.target.Token, Program: program.hash})
	if err != nil {
		return err
	}
	p.secret, p.resume = opened.Session, time.Duration(opened.ResumeMs)*time.Millisecond
	if err := p.link.attach(conn, [2]uint64{}); err != nil {
		return err
	}
	tasks.Go(func() { p.carry(conn, in) })
	if !opened.Program {
		if err := program.send(p.link); err != nil {
			return err
		}
	}
	return p.link.send(kind, &hello)
}

// carry keeps the link connected until it is over.
func (p *Proxy) carry(conn net.Conn, in *wire.Reader) {
	for {
		lost := p.link.carry(conn, in)
		deadline := time.Now().Add(p.resume)
		for {
			var err error
			if conn, in, err = p.again(); err == nil {
				break
			}
			if p.link.over() {
				return
			}
			e := wire.AsError(err, wire.Closed)
			if e.Code == wire.Unauthenticated || time.Now().After(deadline) || ended(e) {
				p.link.end(&wire.Error{Code: wire.Closed, Op: "session", Message: fmt.Sprintf("the connection to %s is lost (%v) and has not come back", p.target.Address, lost),
					Err: err, Hint: "call Init again"})
				return
			}
			select {
			case <-time.After(redialAfter):
			case <-p.ctx.Done():
			}
		}
	}
}

// ended reports whether the other side has said that the session is no more.
func ended(e *wire.Error) bool { return e.Op == "resume" }

func (p *Proxy) again() (net.Conn, *wire.Reader, error) {
	if p.link.over() {
		return nil, nil, errOver
	}
	got := p.link.take()
	conn, in, opened, err := p.dial(&sessionv1.Open{Token: p.target.Token, Session: p.secret, Call: got[callLane], Side: got[sideLane]})
	if err != nil {
		return nil, nil, err
	}
	if err := p.link.attach(conn, [2]uint64{opened.Call, opened.Side}); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, in, nil
}

// dial connects and says Open.
func (p *Proxy) dial(open *sessionv1.Open) (net.Conn, *wire.Reader, *sessionv1.Opened, error) {
	ctx, cancel := context.WithTimeout(p.ctx, greetTime)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{KeepAliveConfig: keepAlive}, Config: p.target.TLS}
	conn, err := d.DialContext(ctx, "tcp", p.target.Address)
	if p.target.otherwise != "" && errors.Is(err, unix.ECONNREFUSED) {
		conn, err = d.DialContext(ctx, "tcp", p.target.otherwise)
		if err == nil {
			p.target.Address, p.target.otherwise = p.target.otherwise, ""
		}
	}
	if err != nil {
		return nil, nil, nil, p.target.unreached(err)
	}
	stop := context.AfterFunc(p.ctx, func() { _ = conn.SetDeadline(time.Now().Add(partTime)) })
	opened, in, err := greet(conn, open)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, nil, nil, err
	}
	return conn, in, opened, nil
}

func greet(conn net.Conn, open *sessionv1.Open) (*sessionv1.Opened, *wire.Reader, error) {
	_ = conn.SetDeadline(time.Now().Add(greetTime))
	if _, err := conn.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_OPEN, open)); err != nil {
		return nil, nil, err
	}
	in := wire.NewReader(conn)
	kind, body, err := in.Next()
	if err != nil {
		return nil, nil, err
	}
	if kind == sessionv1.Kind_KIND_GOODBYE {
		return nil, nil, goodbyeError(body)
	}
	var m sessionv1.Opened
	if err := m.UnmarshalVT(body); err != nil || kind != sessionv1.Kind_KIND_OPENED {
		return nil, nil, &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("the answer to Open is %s", kind)}
	}
	return &m, in, conn.SetDeadline(time.Time{})
}

// unreached says why there is no connection, and what to do.
func (t *Target) unreached(err error) error {
	e := &wire.Error{Code: wire.Closed, Op: "connect", Message: t.Address + " cannot be reached", Err: err,
		Hint: "`weft start --head --listen HOST:PORT` there serves programs of other machines, at port " + defaultPort + " if it is told no other"}
	if t.otherwise != "" {
		e.Message = "neither " + t.Address + " nor " + t.otherwise + " can be reached"
	}
	network, _ := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, token.ErrStranger):
		e.Code, e.Message, e.Err = wire.Unauthenticated, t.Address+" is of another cluster than the token "+t.whose, err
		e.Hint = "`weft token create --role driver` at a head of that cluster makes one; put it into " + token.Env
	case network == nil || network.Op != "dial":
		e.Message, e.Hint = "what listens at "+t.Address+" serves no programs of other machines", "is it a node that was started with --head or has joined a head?"
	}
	return e
}

// readCalls hands on what the program says, until it leaves or the session ends.
func (p *Proxy) readCalls(r *wire.Reader) {
	for {
		kind, body, err := r.Next()
		if err != nil { // it has died, or the session is over
			p.link.finish(&wire.Error{Code: wire.Closed, Op: "session", Message: "the driver is gone"})
			return
		}
		if err := p.fromProgram(kind, body); err != nil {
			p.link.end(err)
			return
		}
		if kind == sessionv1.Kind_KIND_GOODBYE {
			p.link.part(errOver)
			return
		}
	}
}

func (p *Proxy) fromProgram(kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_UNPIN:
		var m sessionv1.Counts
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return err
		}
		return p.memory.unpin(&m)
	case sessionv1.Kind_KIND_SEAL:
		var m sessionv1.Seal
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return err
		}
		if err := p.memory.seal(p.link, &m); err != nil {
			return err
		}
	case sessionv1.Kind_KIND_ABORT:
		var m sessionv1.Abort
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return err
		}
		p.memory.abort(m.Reservation)
	}
	return p.link.pass(kind, body)
}

// readSide reads the program's side lane, on which a driver says nothing that
// matters to the other side.
func (p *Proxy) readSide() {
	buf := make([]byte, 512)
	for {
		if _, err := p.sides.Read(buf); err != nil {
			return
		}
	}
}

// hear hands the program what comes on a lane, until the session is over. Its
// last word is a Goodbye, whoever's.
func (p *Proxy) hear(k laneKind) {
	to := p.calls
	if k == sideLane {
		to = p.sides
	}
	for {
		kind, body, err := p.link.receive(k)
		var frame []byte
		if err == nil {
			frame, err = p.toProgram(kind, body)
		}
		if err != nil && k == callLane {
			_, _ = to.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, farewell(err)))
		}
		if err == nil && len(frame) > 0 {
			_, err = to.Write(frame)
		}
		if err != nil || kind == sessionv1.Kind_KIND_GOODBYE {
			p.link.end(errOver)
			_ = p.calls.CloseRead() // which ends readCalls
			return
		}
	}
}

// toProgram returns what the program is sent instead of a message.
func (p *Proxy) toProgram(kind sessionv1.Kind, body []byte) ([]byte, error) {
	switch kind {
	case sessionv1.Kind_KIND_CHUNK:
		var m sessionv1.Chunk
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return nil, err
		}
		return nil, p.memory.chunk(&m)
	case sessionv1.Kind_KIND_VALUE:
		var m sessionv1.ObjectValue
		if err := m.UnmarshalVTUnsafe(body); err != nil || m.Value.GetAt() == nil {
			return wire.AppendBody(nil, kind, body), err
		}
		o, err := wire.ReadObject(m.Object)
		if err == nil {
			m.Value, err = p.memory.place(o, m.Value)
		}
		return wire.AppendFrame(nil, kind, &m), err
	case sessionv1.Kind_KIND_ITEM:
		var m sessionv1.Item
		if err := m.UnmarshalVTUnsafe(body); err != nil || m.Value.GetAt() == nil {
			return wire.AppendBody(nil, kind, body), err
		}
		t, err := wire.ReadTask(m.Task)
		if err == nil {
			m.Value, err = p.memory.place(t.Return(m.Index), m.Value)
		}
		return wire.AppendFrame(nil, kind, &m), err
	case sessionv1.Kind_KIND_RESERVED:
		var m sessionv1.Reserved
		if err := m.UnmarshalVT(body); err != nil || m.At == nil {
			return wire.AppendBody(nil, kind, body), err
		}
		if err := p.memory.reserve(&m); err != nil {
			m.At, m.Error = nil, wire.ErrorToPB(wire.AsError(err, wire.StoreFull))
			_ = p.link.send(sessionv1.Kind_KIND_ABORT, &sessionv1.Abort{Reservation: m.Reservation})
		}
		return wire.AppendFrame(nil, kind, &m), nil
	}
	return wire.AppendBody(nil, kind, body), nil
}
