package node

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// A large object that many nodes want at once goes from node to node: its owner
// tells each from which other to read, so that they make a tree in which nobody
// has more than fanOut readers. Who reads passes on what has come while the rest
// is still coming, so a tree of any depth takes little longer than one copy.

const (
	// fanOut is how many nodes read an object from one.
	fanOut = 2
	// relayBytes is the size from which on an object is worth it.
	relayBytes = 8 << 20
	// relayAfter is how long a node that is asked to pass an object on may take to
	// begin to read it: both were told at about the same time.
	relayAfter = time.Second
	// pieceBytes is what is passed on at once where nothing else says how much came.
	pieceBytes = 4 << 20
)

// tree is the nodes that were told where to read an object, in order: the k-th
// reads from the one at k/fanOut, the first ones from the source.
type tree struct {
	source  id.Node
	readers []id.Node
}

// relayFor is from whom reader is to read, zero for the source itself.
func (t *tree) relayFor(reader id.Node) (from id.Node) {
	at := slices.Index(t.readers, reader)
	if at < 0 {
		at = len(t.readers)
		t.readers = append(t.readers, reader)
	}
	if at < fanOut {
		return from
	}
	return t.readers[at/fanOut-1]
}

// without takes a node out that is gone: those who read from it turn to the source.
func (t *tree) without(gone id.Node) {
	t.readers = slices.DeleteFunc(t.readers, func(r id.Node) bool { return r == gone })
}

// relayTo completes the description of one of this node's objects for p, which
// will read it.
func (n *Node) relayTo(p *peer, o id.Object, r *nodev1.Return) {
	e, a := n.objects[o], n.away[o]
	if e == nil || e.size < relayBytes || len(r.Node) == 0 || o.Task().Owner() != n.id {
		return
	}
	source := n.id
	if a != nil {
		source = a.node
	}
	if source == p.id {
		return
	}
	t := n.trees[o]
	if t == nil || t.source != source {
		t = &tree{source: source}
		n.trees[o] = t
	}
	if from := t.relayFor(p.id); !from.IsZero() {
		r.Relay = from[:]
	}
}

// arrival is an object that is being copied here.
type arrival struct {
	mu      sync.Mutex
	buf     []byte
	came    []span        // disjoint, in order
	changed chan struct{} // closed when more has come, or it is over
	over    bool          // the store has it, or nobody: once settled
	size    int64
	settled chan struct{}
}

// span is the bytes from one offset up to another.
type span struct{ from, to int64 }

// add notes that bytes have come.
func (a *arrival) add(from, to int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, _ := slices.BinarySearchFunc(a.came, from, func(s span, at int64) int { return int(s.from - at) })
	a.came = slices.Insert(a.came, i, span{from, to})
	for k := max(i-1, 0); k+1 < len(a.came); {
		if a.came[k].to < a.came[k+1].from {
			k++
			continue
		}
		a.came[k].to = max(a.came[k].to, a.came[k+1].to)
		a.came = slices.Delete(a.came, k+1, k+2)
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// end takes the memory away. Nobody reads it any more when it returns.
func (a *arrival) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over, a.buf = true, nil
	close(a.changed)
}

// part copies bytes that have come; over says that none will any more.
func (a *arrival) part(ctx context.Context, from, to int64) (data []byte, over bool, err error) {
	for {
		a.mu.Lock()
		changed := a.changed
		has := slices.ContainsFunc(a.came, func(s span) bool { return s.from <= from && to <= s.to })
		switch {
		case a.over:
			over = true
		case has:
			data = slices.Clone(a.buf[from:to])
		}
		a.mu.Unlock()
		if over || has {
			return data, over, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// relayed is an object that is, or is about to be, copied here, as others read it.
type relayed struct {
	n    *Node
	ctx  context.Context //nolint:containedctx // of the request
	o    id.Object
	a    *arrival
	size int64
	at   int64
}

// Part returns bytes of the object once they have come, and how many it has in all.
func (r *relayed) Part(from, to int64) (data []byte, size int64, err error) {
	to = min(to, r.size)
	if from < 0 || from > to {
		return nil, r.size, errors.New("no such part")
	}
	data, over, err := r.a.part(r.ctx, from, to)
	if err != nil || !over {
		return data, r.size, err
	}
	select {
	case <-r.a.settled:
	case <-r.ctx.Done():
		return nil, r.size, context.Cause(r.ctx)
	}
	whole, err := r.n.serveObject(r.ctx, r.o)
	if err != nil {
		return nil, r.size, err
	}
	defer func() { _ = whole.Close() }()
	return slices.Clone(whole.(*pinnedReader).data[from:to]), r.size, nil
}

// Read implements io.Reader.
func (r *relayed) Read(b []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	data, _, err := r.Part(r.at, r.at+int64(len(b)))
	r.at += int64(len(data))
	return copy(b, data), err
}

// Close implements io.Closer.
func (r *relayed) Close() error { return nil }

// serveRelayed opens an object that was said to be about to come here.
func (n *Node) serveRelayed(ctx context.Context, o id.Object) (io.ReadCloser, error) {
	waiting, cancel := context.WithTimeout(ctx, relayAfter)
	defer cancel()
	var a *arrival
	err := n.until(waiting, func() bool {
		e := n.objects[o]
		a = n.arrivals[o]
		return a != nil || e != nil && e.at
	})
	switch {
	case err != nil:
		return nil, &wire.Error{Code: wire.NotFound, Op: "serve " + o.String(), Node: n.id, Message: "it is not being copied here"}
	case a == nil:
		return n.serveObject(ctx, o)
	}
	return &relayed{n: n, ctx: ctx, o: o, a: a, size: a.size}, nil
}

// arrive makes an object known that is being copied into buf.
func (n *Node) arrive(o id.Object, buf []byte) *arrival {
	a := &arrival{buf: buf, size: int64(len(buf)), changed: make(chan struct{}), settled: make(chan struct{})}
	n.lock()
	defer n.unlock()
	n.arrivals[o] = a
	return a
}

// arrived ends an arrival: the store has the object, or nobody.
func (n *Node) arrived(o id.Object, a *arrival, seal func() error) error {
	a.end()
	err := seal()
	close(a.settled)
	n.lock()
	defer n.unlock()
	delete(n.arrivals, o)
	return err
}
