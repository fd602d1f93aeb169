package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/leak"
)

// wires is a network within the process.
type wires struct {
	mu    sync.Mutex
	ports map[string]*bufconn.Listener
	conns []*cable
	cut   func() int // after how many bytes a connection breaks; 0 never
	flip  int        // after how many bytes that come one is changed; 0 never
}

// cable is one end of a connection.
type cable struct {
	net.Conn
	w    *wires
	left int // bytes until it breaks
	mu   sync.Mutex
	hold chan struct{} // while not nil nothing passes
}

func newWires() *wires { return &wires{ports: map[string]*bufconn.Listener{}} }

func (w *wires) listen(at string) net.Listener {
	l := bufconn.Listen(64 << 10)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[at] = l
	return l
}

func (w *wires) dial(ctx context.Context, to string) (net.Conn, error) {
	w.mu.Lock()
	l := w.ports[to]
	w.mu.Unlock()
	c, err := l.DialContext(ctx)
	if err != nil {
		return nil, syscall.ECONNREFUSED
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	here := &cable{Conn: c, w: w}
	if w.cut != nil {
		here.left = w.cut()
	}
	w.conns = append(w.conns, here)
	return here, nil
}

// cables are the connections that have been made.
func (w *wires) cables() []*cable {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*cable(nil), w.conns...)
}

func (c *cable) Read(b []byte) (int, error) {
	c.wait()
	n, err := c.Conn.Read(b)
	c.wait()
	c.w.change(b[:n])
	return n, asTCP(err)
}

// change changes a byte that has come, if it is the one.
func (w *wires) change(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flip > 0 && w.flip <= len(b) {
		b[w.flip-1]++
		w.flip = 0
	}
	w.flip = max(0, w.flip-len(b))
}

func (c *cable) Write(b []byte) (int, error) {
	c.wait()
	c.mu.Lock()
	n := len(b)
	if c.left > 0 {
		if n >= c.left {
			n = c.left - 1
		}
		c.left -= n
	}
	c.mu.Unlock()
	done, err := c.Conn.Write(b[:n])
	if err == nil && done < len(b) {
		_ = c.Close()
		err = syscall.ECONNRESET
	}
	return done, asTCP(err)
}

// asTCP is err as a connection of the network has it that was cut.
func asTCP(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return syscall.ECONNRESET
	}
	return err
}

func (c *cable) wait() {
	c.mu.Lock()
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

// stall holds everything up until the function that it returns is called.
func (c *cable) stall() (goOn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = make(chan struct{})
	return func() { close(c.hold) }
}

// party is a node of a test.
type party struct {
	*Peers
	id     id.Node
	mu     sync.Mutex
	got    map[id.Node][]uint64
	came   int
	events []Event
	done   chan error
}

// port is where a node listens.
func port(n byte) string { return strconv.Itoa(int(n)) }

// party starts a node at an address that is its number.
func (w *wires) party(t *testing.T, n byte, change func(*Config)) *party {
	t.Helper()
	p := &party{id: id.Node{n}, got: map[id.Node][]uint64{}, done: make(chan error, 1)}
	cfg := Config{Self: p.id, dial: w.dial, Receive: p.receive,
		Address: func(n id.Node) (string, bool) { return port(n[0]), true },
		Serve: func(_ context.Context, name string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(name)), nil
		},
		Event: func(e Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	}
	if change != nil {
		change(&cfg)
	}
	p.Peers = New(cfg)
	q := w.listen(port(n))
	go func() { p.done <- p.Serve(q) }()
	t.Cleanup(func() { p.end(t) })
	return p
}

func (p *party) end(t *testing.T) {
	t.Helper()
	if p.done == nil {
		return
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-p.done; err != nil {
		t.Error(err)
	}
	p.done = nil
}

func (p *party) receive(from id.Node, m []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came++
	p.got[from] = append(p.got[from], binary.BigEndian.Uint64(m))
	return nil
}

// send sends the numbers from first up to last to another.
func (p *party) send(to *party, first, last uint64, size int) {
	for n := first; n <= last; n++ {
		m := make([]byte, 8+size)
		binary.BigEndian.PutUint64(m, n)
		p.Send(to.id, m)
	}
}

// until waits for a condition of the party, asked with its lock.
func (p *party) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		p.mu.Lock()
		good := ok()
		p.mu.Unlock()
		if good {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("node %s waits in vain for %s: %d came, events %v", p.id, what, p.came, p.events)
		}
	}
}

// phase is that of the stream to another.
func (p *party) phase(to *party) phase {
	l := p.link(to.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end.phase
}

func (p *party) has(from *party, n uint64) func() bool {
	return func() bool { return len(p.got[from.id]) >= int(n) }
}

// told reports whether an event of a kind about a node has come.
func (p *party) told(k EventKind, about id.Node) func() bool {
	return func() bool {
		for _, e := range p.events {
			if e.Kind == k && e.Node == about {
				return true
			}
		}
		return false
	}
}

// check reports whether exactly the numbers up to n have come, in order.
func (p *party) check(t *testing.T, from *party, n uint64) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got[from.id]
	if len(got) != int(n) {
		t.Errorf("%d messages came of %d", len(got), n)
	}
	for i, v := range got {
		if v != uint64(i+1) {
			t.Fatalf("message %d came at place %d", v, i+1)
		}
	}
}

// Both send at once, so both open a stream.
func TestBothSend(t *testing.T) {
	leak.Check(t)
	w := newWires()
	a, b := w.party(t, 1, nil), w.party(t, 2, nil)
	const n = 3000
	var both sync.WaitGroup
	both.Go(func() { a.send(b, 1, n, 100) })
	both.Go(func() { b.send(a, 1, n, 100) })
	both.Wait()
	a.until(t, "all messages", a.has(b, n))
	b.until(t, "all messages", b.has(a, n))
	a.until(t, "acknowledgements", func() bool { return a.Unacknowledged(b.id)+b.Unacknowledged(a.id) == 0 })
	a.check(t, b, n)
	b.check(t, a, n)
}

// Connections break after any number of bytes, again and again.
func TestConnectionsBreak(t *testing.T) {
	leak.Check(t)
	w := newWires()
	seed := rand.Uint64()
	t.Log("seed", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	w.cut = func() int { return 300 + dice.IntN(2_000) }
	a, b := w.party(t, 1, nil), w.party(t, 2, nil)
	const n = 2000
	for i := uint64(0); i < n; i += 50 {
		a.send(b, i+1, i+50, 30)
		b.send(a, i+1, i+50, 300)
		b.until(t, "some messages", b.has(a, i/2))
	}
	a.until(t, "all messages", a.has(b, n))
	b.until(t, "all messages", b.has(a, n))
	a.check(t, b, n)
	b.check(t, a, n)
	if n := len(w.cables()); n < 5 {
		t.Error("only", n, "connections")
	}
}

// A stream that carries nothing is closed, and opened again by either side.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		a, b := w.party(t, 1, nil), w.party(t, 2, nil)
		a.send(b, 1, 1, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		b.send(a, 1, 1, 0)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if a.phase(b) != open {
			t.Error("it was closed early")
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if a.phase(b) != closed || a.told(Refused, b.id)() {
			t.Error("it is open, or its end was taken for a death")
		}
		b.send(a, 2, 2, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		a.send(b, 2, 2, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		a.check(t, b, 2)
		b.check(t, a, 2)
		if n := len(w.cables()); n != 2 {
			t.Error(n, "connections")
		}
		a.end(t)
		b.end(t)
	})
}

// A node that stalls for a while loses nothing and is not reported.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		a, b := w.party(t, 1, nil), w.party(t, 2, nil)
		a.send(b, 1, 10, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		goOn := w.cables()[0].stall()
		a.send(b, 11, 2000, 1000)
		b.send(a, 1, 2000, 1000)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if b.came > 10 {
			t.Error("it did not stall")
		}
		if a.Unacknowledged(b.id) != 1990*1008 {
			t.Error(a.Unacknowledged(b.id), "bytes kept")
		}
		goOn()
		time.Sleep(time.Second)
		synctest.Wait()
		b.check(t, a, 2000)
		a.check(t, b, 2000)
		if len(w.cables()) > 1 || len(a.events) > 1 || a.Unacknowledged(b.id) > 0 {
			t.Error(len(w.cables()), "connections", a.events)
		}
		a.end(t)
		b.end(t)
	})
}

// The end of a process is noticed though nothing is to be sent, and reported
// once; the answer is to forget it.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		a, b := w.party(t, 1, nil), w.party(t, 2, nil)
		b.send(a, 1, 1, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		b.end(t)
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		if !a.told(Refused, b.id)() {
			t.Error("not reported in time:", a.events)
		}
		a.send(b, 1, 5, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(a.events) != 2 {
			t.Error(a.events)
		}
		a.Forget(b.id)
		a.send(b, 6, 6, 0)
		if a.Unacknowledged(b.id) != 0 {
			t.Error("messages for the dead are kept")
		}
		a.end(t)
	})
}

// What is for a node whose address is not known waits until it is.
func TestAddressLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		known := false
		a := w.party(t, 1, func(c *Config) {
			c.Address = func(n id.Node) (string, bool) { return port(n[0]), known }
		})
		b := w.party(t, 2, nil)
		a.send(b, 1, 3, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		known = true
		a.Reachable(b.id)
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		b.check(t, a, 3)
		a.end(t)
		b.end(t)
	})
}

// A node at the address of another gets none of its messages.
func TestStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		a, b := w.party(t, 1, nil), w.party(t, 2, nil)
		gone := &party{id: id.Node{2, 7}}
		a.send(gone, 1, 3, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		if b.came > 0 || !a.told(Refused, gone.id)() {
			t.Error(b.came, a.events)
		}
		a.end(t)
		b.end(t)
	})
}

// A node that another has declared dead is told so, and not listened to.
func TestOutcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		a, b := w.party(t, 1, nil), w.party(t, 2, nil)
		a.send(b, 1, 3, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		b.Forget(a.id)
		a.send(b, 4, 5, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		if b.came != 3 || !a.told(Outcast, b.id)() || a.told(Refused, b.id)() {
			t.Error(b.came, a.events)
		}
		a.end(t)
		b.end(t)
	})
}

// A node takes what breaks the protocol for an error of that connection only.
func TestGarbage(t *testing.T) {
	leak.Check(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{Self: id.Node{1}, Address: func(id.Node) (string, bool) { return "", false }})
	done := make(chan error)
	go func() { done <- p.Serve(l) }()
	for _, garbage := range []string{"", "x", "xyz and more\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more", "\x16\x03\x01\x00\xa5\x01\x00", strings.Repeat("a", 1<<20)} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, garbage)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
