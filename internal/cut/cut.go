// Package cut is for tests of what happens when connections are cut: a [Way] to
// an address passes bytes on until the test says so.
package cut

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Way is an address that leads to another.
type Way struct {
	Address string
	to      string
	l       net.Listener
	wg      sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool
	shut    bool                     // new connections are refused
	held    map[string]chan struct{} // by the host that connections come from: closed when they go on

	limit    atomic.Int64
	accepted atomic.Int64
}

// NewWay makes a way that lasts as long as the test.
func NewWay(t *testing.T, to string) *Way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		t.Fatal(err)
	}
	w := &Way{Address: l.Addr().String(), to: to, l: l, open: map[net.Conn]bool{}, held: map[string]chan struct{}{}}
	w.wg.Go(w.serve)
	t.Cleanup(func() {
		_ = w.l.Close()
		w.Cut(true)
		w.goOn()
		w.wg.Wait()
	})
	return w
}

// Accepted is how many connections there have been.
func (w *Way) Accepted() int64 { return w.accepted.Load() }

// Limit is how many bytes a connection made from now on lasts for, in either
// direction; 0: for ever.
func (w *Way) Limit(bytes int64) { w.limit.Store(bytes) }

// Cut ends all connections; with shut there are no further ones until Cut is
// called without.
func (w *Way) Cut(shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = shut
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	clear(w.open)
}

// Hold lets nothing through of connections from a host, in either direction, and
// says so to nobody, until the function that it returns is called.
func (w *Way) Hold(host string) (goOn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{})
	w.held[host] = c
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.held[host] == c {
			delete(w.held, host)
			close(c)
		}
	})
}

// goOn ends all holds.
func (w *Way) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for host, c := range w.held {
		close(c)
		delete(w.held, host)
	}
}

func (w *Way) serve() {
	for {
		from, err := w.l.Accept()
		if err != nil {
			return
		}
		w.accepted.Add(1)
		to, err := net.Dial("tcp", w.to) //nolint:noctx // to this machine
		if err != nil || !w.add(from, to) {
			_ = from.Close()
			if to != nil {
				_ = to.Close()
			}
			continue
		}
		host, _, _ := net.SplitHostPort(from.RemoteAddr().String())
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			w.wg.Go(func() { w.carry(host, pair[0], pair[1]) })
		}
	}
}

func (w *Way) carry(host string, from, to net.Conn) {
	if limit := w.limit.Load(); limit > 0 {
		_, _ = io.CopyN(to, from, limit)
		_, _ = from.Close(), to.Close()
		return
	}
	_, _ = io.Copy(to, &held{w, host, from})
	_ = to.(*net.TCPConn).CloseWrite()
}

// held is a connection of which what was read waits while its host is held.
type held struct {
	w    *Way
	host string
	net.Conn
}

func (h *held) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.w.mu.Lock()
	hold := h.w.held[h.host]
	h.w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return n, err
}

// add reports whether the way is open.
func (w *Way) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.shut {
		for _, c := range conns {
			w.open[c] = true
		}
	}
	return !w.shut
}
