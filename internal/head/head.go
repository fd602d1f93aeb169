package head

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/coordinate"
	controlv1 "github.com/weftrun/weft/internal/gen/control/v1"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// Config says what a Head is.
type Config struct {
	Self    id.Node
	Address string // where other nodes reach it
	Store   control.Store
	// Send takes a message for a node, or for this one. It does not wait and
	// does not call the Head.
	Send func(to id.Node, m *nodev1.Message)
	// Know is told where a node can be reached.
	Know func(node id.Node, address string)
	// Options are the coordinator's.
	Options coordinate.Options
	// Lease is how long a leader that is not heard of by the store stays one. 0 is three seconds.
	Lease time.Duration
	Log   *slog.Logger
}

// followEvery is how often a head looks who leads and which others there are;
// again is how long it waits after an error of the store, lastTime for the store
// when it ends.
const (
	followEvery = time.Second
	again       = 500 * time.Millisecond
	lastTime    = time.Second
)

// Head is the coordinator's shell on one of the heads.
type Head struct {
	cfg    Config
	start  time.Time
	cancel context.CancelFunc
	done   sync.WaitGroup
	poke   chan struct{} // there is something to write

	mu      sync.Mutex
	m       *coordinate.Machine
	fx      []coordinate.Effect
	timer   *time.Timer
	leads   *control.Leadership // while this head does
	leader  *controlv1.Head     // as far as is known
	term    int64               // of leader
	heads   []*controlv1.Head
	writes  [][]control.Op // not committed yet
	issued  uint64         // Writes of this term
	durable uint64         // of those
	acks    []ack
}

// ack is owed to a member once so many Writes are durable.
type ack struct {
	to  id.Node
	seq uint64
	at  uint64
}

// New returns a Head that takes part in elections until Close.
func New(cfg Config) *Head {
	if cfg.Lease == 0 {
		cfg.Lease = 3 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Head{cfg: cfg, start: time.Now(), cancel: cancel, poke: make(chan struct{}, 1), m: coordinate.New(cfg.Options)}
	h.heads = []*controlv1.Head{h.self()}
	h.timer = time.AfterFunc(time.Hour, h.tick)
	h.timer.Stop()
	h.done.Go(func() { h.register(ctx) })
	h.done.Go(func() { h.follow(ctx) })
	h.done.Go(func() { h.campaign(ctx) })
	return h
}

func (h *Head) self() *controlv1.Head {
	return &controlv1.Head{Node: nodeBytes(h.cfg.Self), Address: h.cfg.Address}
}

// Close gives up leading, for the next to begin at once.
func (h *Head) Close() {
	h.cancel()
	h.done.Wait()
	h.timer.Stop()
}

// Leads reports whether the coordinator is here.
func (h *Head) Leads() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leads != nil
}

// register keeps the record by which other heads know this one.
func (h *Head) register(ctx context.Context) {
	for ctx.Err() == nil {
		lease, err := h.cfg.Store.Grant(ctx, h.cfg.Lease)
		if err == nil {
			op := put(control.HeadKey(h.cfg.Self), h.self())
			op[0].Lease = lease
			if _, err = h.cfg.Store.Commit(ctx, control.Txn{Do: op}); err == nil {
				err = control.Keep(ctx, h.cfg.Store, lease, h.cfg.Lease)
			}
			last(ctx, func(ctx context.Context) error { return h.cfg.Store.Revoke(ctx, lease) })
		}
		h.complain(ctx, "head is not registered", err)
	}
}

// last does a last thing with the store, also once ctx has ended. Without an
// answer the lease that it would end expires.
func last(ctx context.Context, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	_ = f(ctx)
}

// complain logs an error of the store and waits a little.
func (h *Head) complain(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	h.cfg.Log.Warn(what, "error", err)
	pause(ctx, again)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow looks who leads.
func (h *Head) follow(ctx context.Context) {
	for ctx.Err() == nil {
		h.look(ctx)
		pause(ctx, followEvery)
	}
}

func (h *Head) look(ctx context.Context) {
	var heads []*controlv1.Head
	list, err := h.cfg.Store.List(ctx, control.Range{Prefix: control.Prefix("heads")})
	if err != nil {
		return
	}
	for _, r := range list.Records {
		var other controlv1.Head
		if other.UnmarshalVT(r.Value) == nil {
			heads = append(heads, &other)
		}
	}
	leading, err := h.cfg.Store.Get(ctx, control.CoordinatorKey)
	var leader controlv1.Head
	if err != nil || leader.UnmarshalVT(leading.Value) != nil {
		leader.Node = nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(heads) > 0 {
		h.heads = heads
	}
	// Of itself it says so only once it has begun (open): before, it hears no report.
	if leader.Node != nil && !slices.Equal(leader.Node, h.self().Node) && int64(leading.Modified) > h.term {
		h.leader, h.term = &leader, int64(leading.Modified)
	}
	for _, o := range h.heads {
		h.know(o.Node, o.Address)
	}
}

func (h *Head) know(node []byte, address string) {
	if n, err := wire.ReadNode(node); err == nil && n != h.cfg.Self {
		h.cfg.Know(n, address)
	}
}

// campaign leads whenever it is this head's turn.
func (h *Head) campaign(ctx context.Context) {
	value := put(control.CoordinatorKey, h.self())[0].Value
	for ctx.Err() == nil {
		l, err := control.Campaign(ctx, h.cfg.Store, control.CoordinatorKey, value, h.cfg.Lease)
		if err != nil {
			h.complain(ctx, "head cannot stand for election", err)
			continue
		}
		err = h.lead(ctx, l)
		h.depose()
		last(ctx, l.Resign)
		h.complain(ctx, "head does not lead any more", err)
	}
}

// lead is the coordinator until the leadership is lost.
func (h *Head) lead(ctx context.Context, l *control.Leadership) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-l.Lost():
			stop()
		case <-ctx.Done():
		}
	}()
	var records []coordinate.Record
	if err := readRecords(ctx, h.cfg.Store, func(r coordinate.Record) { records = append(records, r) }); err != nil {
		return err
	}
	h.open(l, records)
	h.cfg.Log.Info("this head is the coordinator's", "term", l.Term())
	h.write(ctx, l)
	return l.Err()
}

// open begins a term.
func (h *Head) open(l *control.Leadership, records []coordinate.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leads, h.leader, h.term = l, h.self(), int64(l.Term())
	h.writes, h.issued, h.durable, h.acks = nil, 0, 0, nil
	h.step(&coordinate.Event{Kind: coordinate.Elected, Term: h.term})
	for i := range records {
		if n := records[i].Node; n != nil && n.Node != h.cfg.Self {
			h.cfg.Know(n.Node, n.Address)
		}
		h.step(&coordinate.Event{Kind: coordinate.Recorded, Record: records[i]})
	}
	h.step(&coordinate.Event{Kind: coordinate.Opened})
	for _, n := range h.m.Nodes() {
		h.tellLeader(n, 0)
	}
}

func (h *Head) depose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leads == nil {
		return
	}
	h.leads, h.leader = nil, nil
	h.writes, h.acks = nil, nil
	h.step(&coordinate.Event{Kind: coordinate.Deposed})
}

// Report takes what a member says. The error is one of protocol.
func (h *Head) Report(from id.Node, r *nodev1.Report) error {
	ev, err := reportFromPB(r)
	if err != nil {
		return &wire.Error{Code: wire.Protocol, Op: "report of node " + from.String(), Message: err.Error()}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leads == nil || ev.Kind == 0 {
		h.tellLeader(from, 0)
		return nil
	}
	signed(ev, from)
	if ev.Kind == coordinate.Joined {
		h.know(from[:], ev.Address)
	}
	h.step(ev)
	if r.Seq > 0 {
		h.acks = append(h.acks, ack{to: from, seq: r.Seq, at: h.issued})
		h.acknowledge()
	} else if ev.Kind == coordinate.Heard {
		h.tellLeader(from, 0)
	}
	return nil
}

// signed makes an event the sender's own: no node speaks for another, but of
// one whose process is gone, or that is to leave.
func signed(ev *coordinate.Event, from id.Node) {
	if ev.Kind != coordinate.Broken && ev.Kind != coordinate.Drain {
		ev.Node = from
	}
	if ev.Actor != nil {
		ev.Actor.Owner = from
	}
}

// Drain has a member leave.
func (h *Head) Drain(n id.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.step(&coordinate.Event{Kind: coordinate.Drain, Node: n})
}

// tellLeader tells a node who leads, and acknowledges its reports up to seq.
func (h *Head) tellLeader(to id.Node, seq uint64) {
	c := &nodev1.Command{Term: h.term, Heads: wheresToPB(h.heads), Ack: seq}
	if h.leader != nil {
		c.Leader = h.leader.Node
		if !slices.ContainsFunc(c.Heads, func(w *nodev1.Where) bool { return slices.Equal(w.Node, c.Leader) }) {
			c.Heads = append(c.Heads, wheresToPB([]*controlv1.Head{h.leader})...)
		}
	}
	h.send(to, c)
}

func (h *Head) send(to id.Node, c *nodev1.Command) {
	h.cfg.Send(to, &nodev1.Message{Body: &nodev1.Message_Command{Command: c}})
}

// step steps the machine and does what it wants.
func (h *Head) step(ev *coordinate.Event) {
	h.fx = h.m.Step(time.Since(h.start), ev, h.fx[:0])
	for i := range h.fx {
		h.effect(&h.fx[i])
	}
	if at, ok := h.m.Deadline(); ok {
		h.timer.Reset(max(at-time.Since(h.start), time.Millisecond))
	}
}

func (h *Head) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leads != nil {
		h.step(&coordinate.Event{Kind: coordinate.Tick})
	}
}

func (h *Head) effect(e *coordinate.Effect) {
	switch {
	case e.Kind == coordinate.Write:
		h.issued++
		h.writes = append(h.writes, h.changes(e))
		select {
		case h.poke <- struct{}{}:
		default:
		}
	case e.Kind == coordinate.Announce && e.To.IsZero():
		h.toAll(e, e.Node)
	case e.Kind == coordinate.Announce:
		h.send(e.To, commandToPB(h.term, e))
	case e.Kind == coordinate.EndJob:
		h.toAll(e, id.Node{})
	default:
		h.send(e.Node, commandToPB(h.term, e))
	}
}

// toAll sends a command to every member, and to one that may be none any more.
func (h *Head) toAll(e *coordinate.Effect, also id.Node) {
	nodes := h.m.Nodes()
	if !also.IsZero() && !slices.Contains(nodes, also) {
		nodes = append(nodes, also)
	}
	for _, n := range nodes {
		h.send(n, commandToPB(h.term, e))
	}
}

// acknowledge answers for the reports whose changes are written.
func (h *Head) acknowledge() {
	done := 0
	for _, a := range h.acks {
		if a.at > h.durable {
			break
		}
		h.tellLeader(a.to, a.seq)
		done++
	}
	h.acks = slices.Delete(h.acks, 0, done)
}

// write commits what the machine writes, until ctx ends.
func (h *Head) write(ctx context.Context, l *control.Leadership) {
	for {
		select {
		case <-h.poke:
		case <-ctx.Done():
			return
		}
		for h.writeSome(ctx, l) {
		}
	}
}

// writeSome commits one transaction and reports whether there may be more to do.
func (h *Head) writeSome(ctx context.Context, l *control.Leadership) bool {
	h.mu.Lock()
	ops, n := batch(h.writes)
	h.mu.Unlock()
	if n == 0 {
		return false
	}
	for len(ops) > 0 {
		_, err := h.cfg.Store.Commit(ctx, control.Txn{If: []control.Cond{l.Cond()}, Do: ops})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		h.complain(ctx, "records are not written: nothing is created meanwhile", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leads != l {
		return false
	}
	h.writes = slices.Delete(h.writes, 0, n)
	h.durable += uint64(n)
	h.step(&coordinate.Event{Kind: coordinate.Written, N: n})
	h.acknowledge()
	return true
}

// batch joins the first writes that fit into one transaction: no key twice.
func batch(writes [][]control.Op) (ops []control.Op, n int) {
	keys := map[string]bool{}
	size := 0
	for _, w := range writes {
		for _, op := range w {
			if size += len(op.Value); keys[op.Key] {
				return ops, n
			}
		}
		if n > 0 && (len(ops)+len(w) > control.MaxOps-1 || size > control.MaxValue) {
			return ops, n
		}
		for _, op := range w {
			keys[op.Key] = true
		}
		ops = append(ops, w...)
		n++
	}
	return ops, n
}
