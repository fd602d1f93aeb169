package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/control/mem"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/event"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
	proto "github.com/weftrun/weft/internal/session"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
	"github.com/weftrun/weft/internal/worker"
)

// New makes a node. It opens nothing before Start.
func New(cfg Config) (*Node, error) {
	asked := cfg.MemoryLimit
	total, err := capacity(&cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, start: time.Now(), total: total, out: &batch{},
		tasks: map[id.Task]*task{}, streams: map[id.Task]*stream{}, objects: map[id.Object]*object{}, sessions: map[id.Session]*session{},
		leases: map[dispatch.Lease]*runner{}, groups: map[id.Group]*group{}, workers: map[id.Worker]*process{},
		jobs: map[id.Job]*job{}, instances: map[id.Actor]*instance{}, unwatch: map[id.Task]func() bool{},
		waitsOn: map[id.Task][]id.Object{}, peers: map[id.Node]*peer{}, dead: map[id.Node]bool{}, away: map[id.Object]*away{},
		coming: map[id.Task]*arguments{}, guests: map[id.Task]*guest{}, hosts: map[id.Actor]*host{}, arrivals: map[id.Object]*arrival{}, trees: map[id.Object]*tree{}, meeting: map[id.Actor][]actor.Event{}, keepers: map[id.Actor]id.Node{}, seek: newSeekers(), held: map[id.Group]map[int]bool{}, elsewhere: map[id.Task]id.Node{}, deaths: map[id.Actor]*wire.Error{}, callees: map[event.Name]callee{}, nextWorker: inProcess, quiet: make(chan struct{})}
	if n.id = cfg.ID; n.id.IsZero() {
		rand.Read(n.id[:])
	}
	if n.cfg.Job.IsZero() {
		rand.Read(n.cfg.Job[:])
	}
	if n.cfg.Namespace == "" {
		n.cfg.Namespace = n.cfg.Job.String()
	}
	n.where = fmt.Sprintf("pid %d", os.Getpid())
	n.events = event.New(event.Config{Start: n.start, Node: n.id})
	n.meta = newMetadata(mem.New(mem.Config{}))
	n.own = own.New(n.id, own.Options{})
	n.place = place.New(n.id, place.Options{Fixed: cfg.Network == nil})
	n.dispatch = dispatch.New(dispatch.Options{WorkerIdle: cfg.WorkerIdle})
	n.actors = actor.New(n.id, actor.Options{})
	n.memory = newMemory(asked)
	n.ledger = newLedger(cfg.QueueBytes)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n, nil
}

// ID is the node's id, new with every start.
func (n *Node) ID() id.Node { return n.id }

// Start makes the node's resources available and serves cfg.Socket if there is
// one. The end of ctx during Start abandons it; afterwards only Close ends a node.
func (n *Node) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.open(); err != nil {
		n.abandon()
		return err
	}
	n.spawnHere(n.writeMetadata)
	n.spawnHere(n.watchMemory)
	n.lock()
	n.timer = time.AfterFunc(time.Hour, n.tick)
	n.stepDispatch(&dispatch.Event{Kind: dispatch.Capacity, Total: n.total, Labels: n.cfg.Labels})
	n.stepPlace(&place.Event{Kind: place.View, Node: n.id, Total: n.total, Free: n.total, Labels: n.cfg.Labels})
	n.announceNode()
	n.events.Note(n.now, event.Record{Kind: event.NodeStarted, ID: event.IDOf(n.id)}, n.cfg.Socket)
	n.unlock()
	if n.cfg.Socket == "" {
		return nil
	}
	if err := n.server.Listen(n.cfg.Socket); err != nil { // drivers may come from now on
		_ = n.Close(ctx)
		return err
	}
	return nil
}

// abandon gives up what open has made.
func (n *Node) abandon() {
	n.cancel()
	if n.server != nil {
		n.server.Close()
	}
	n.running.Wait()
	n.closeFiles()
	n.lock()
	n.closed = true
	n.unlock()
	close(n.quiet)
}

// open makes what the node needs outside its memory.
func (n *Node) open() (err error) {
	if n.dir = n.cfg.Dir; n.dir == "" {
		if n.dir, err = os.MkdirTemp("", "weft-"); err != nil {
			return fmt.Errorf("weft: the node's folder: %w", err)
		}
	}
	spill := n.cfg.SpillDir
	if spill == "" {
		spill = filepath.Join(n.dir, spillFolder)
	}
	disk, err := store.NewDir(spill)
	if err != nil {
		return err
	}
	n.store, err = store.New(store.Config{Node: n.id, Limit: n.cfg.StoreBytes, Disk: disk, DiskLimit: n.cfg.SpillBytes,
		Now: func() time.Duration { return time.Since(n.start) }, Log: n.cfg.Log, Moved: n.moveRecord})
	if err != nil {
		return err
	}
	if err := n.publish(); err != nil {
		return err
	}
	if err := n.openEnvirons(); err != nil {
		return err
	}
	n.server, err = proto.NewServer(proto.Config{Accept: n.welcomeDriver})
	return err
}

// spillFolder is where objects go that memory cannot hold, unless configured.
const spillFolder = "spill"

// eventsFolder is where a node with a folder of its own keeps its events.
const eventsFolder = "events"

// publish has the events written where the configuration wants them.
func (n *Node) publish() error {
	var sinks []event.Sink
	if n.cfg.Log != nil {
		sinks = append(sinks, event.NewLogger(n.events, n.cfg.Log))
	}
	if n.cfg.Dir != "" {
		s, err := event.OpenSegments(n.events, event.SegmentConfig{Dir: filepath.Join(n.cfg.Dir, eventsFolder)})
		if err != nil {
			return err
		}
		sinks = append(sinks, s)
	}
	if len(sinks) > 0 {
		n.spawnHere(func() { _ = n.events.Drain(n.ctx, drainEvery, sinks...) })
	}
	return nil
}

// drainEvery is how often events are written out.
const drainEvery = 100 * time.Millisecond

// capacity completes cfg and returns what the node has.
func capacity(cfg *Config) (resource.Vector, error) {
	total, err := resource.FromMap(cfg.Resources)
	if err != nil {
		return total, &wire.Error{Code: wire.Invalid, Op: "start node", Message: err.Error()}
	}
	if min(cfg.StoreBytes, cfg.SpillBytes, cfg.MemoryLimit, cfg.QueueBytes) < 0 {
		return total, &wire.Error{Code: wire.Invalid, Op: "start node", Message: "a size in bytes is negative"}
	}
	if cfg.MemoryLimit == 0 {
		cfg.MemoryLimit = memoryLimit()
	}
	if cfg.StoreBytes == 0 {
		cfg.StoreBytes = cfg.MemoryLimit * 3 / 10
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = cfg.MemoryLimit / 4
	}
	if _, given := cfg.Resources[resource.CPU]; !given {
		total.CPU = resource.Amount(runtime.NumCPU()) * resource.Unit
	}
	if _, given := cfg.Resources[resource.GPU]; !given {
		visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
		total.GPU = resource.Amount(gpus(gpuFolder, visible, set)) * resource.Unit
	}
	if _, given := cfg.Resources[resource.Memory]; !given {
		total.Memory = resource.Amount(max(cfg.MemoryLimit-cfg.StoreBytes, 0)) * resource.Unit
	}
	cfg.IP = cmp.Or(cfg.IP, "127.0.0.1")
	if cfg.Socket != "" {
		total.Set(resource.Store, resource.Amount(cfg.StoreBytes)*resource.Unit)
		total.Set(resource.OfNode+cfg.IP, resource.Unit)
		if cfg.Cluster == nil {
			total.Set(resource.Head, resource.Unit)
		}
	}
	return total, nil
}

// welcomeDriver accepts a driver: a new session and a job of its own.
func (n *Node) welcomeDriver(c *proto.Conn, m *sessionv1.Hello) (proto.Handler, *sessionv1.Welcome, error) {
	if m.Role != "driver" {
		return nil, nil, &wire.Error{Code: wire.Unauthenticated, Op: "hello",
			Message: fmt.Sprintf("role %q at the socket of drivers", m.Role)}
	}
	n.leave()
	j := newJob(c, m)
	n.lock()
	defer n.unlock()
	if err := n.refusal(); err != nil {
		j.close()
		return nil, nil, err
	}
	s := n.newSession()
	rand.Read(s.job[:])
	s.program, s.pid = strings.Clone(m.Name), c.Peer().PID
	if s.namespace = strings.Clone(m.Namespace); s.namespace == "" {
		s.namespace = s.job.String()
	}
	s.attach(n, c)
	j.id, j.session = s.job, s
	n.jobs[s.job] = j
	if m.Language == wire.Python {
		n.spawnHere(func() { n.zygotes.Warm(worker.Spec{Path: j.python}) })
	}
	n.jobRecord(j, false)
	n.events.Note(n.now, event.Record{Kind: event.JobStarted, Job: s.job}, s.program)
	return &handler{n: n, s: s}, n.welcome(s), nil
}

// attach gives the session its connection.
func (s *session) attach(n *Node, c *proto.Conn) { s.conn = newConn(n, s, c) }

// endJob ends what belongs to a driver's job.
func (n *Node) endJob(s *session) {
	n.stepActor(&actor.Event{Kind: actor.JobEnd, Job: s.job})
	n.stepDispatch(&dispatch.Event{Kind: dispatch.JobEnd, Class: dispatch.Class{Job: s.job}})
	n.settle()
	n.killAll(s.job)
	n.placeDetached(s.job)
	n.events.Note(n.now, event.Record{Kind: event.JobEnded, Job: s.job}, s.program)
	if n.releaseJob(s.job); n.jobs[s.job] != nil {
		n.tellJobEnd(s.job)
	}
}

// releaseJob forgets a job whose driver has gone, once no detached actor of it
// may need a new worker.
func (n *Node) releaseJob(id id.Job) {
	j := n.jobs[id]
	if j == nil || !j.session.ended || len(n.detached(id)) > 0 || n.hostsFor(id) || len(j.keeps) > 0 {
		return
	}
	n.later(j.close) // a worker that is just being started with it fails
	if j.home == nil {
		n.jobRecord(j, true)
		n.tellJobEnd(id)
	}
	for _, p := range n.peers {
		delete(p.jobs, id)
	}
	delete(n.jobs, id)
}

// placeDetached places constructors of detached actors again, which dispatch has
// dropped with the rest of the job's queues.
func (n *Node) placeDetached(j id.Job) {
	for _, a := range n.detached(j) {
		info, ok := n.own.Task(a.Actor)
		if t := n.tasks[a.Actor]; t != nil && a.Node.IsZero() && ok && info.State != own.Waiting {
			n.placeTask(t, a.Incarnation)
		}
	}
}

// detached lists a job's living detached actors.
func (n *Node) detached(j id.Job) (live []actor.Info) {
	for after := (id.Actor{}); ; {
		page := n.actors.List(after, pageSize)
		for i := range page {
			a := &page[i]
			if a.Job == j && a.State != actor.Dead && a.Spec.Actor.Detached && !a.Remote {
				live = append(live, *a)
			}
			after = a.Actor
		}
		if len(page) < pageSize {
			return live
		}
	}
}

// Close ends the node: its sessions, tasks, actors, workers and files. When it
// returns nothing of the node is left. The end of ctx stops the waiting, not
// the ending; a second call waits like the first.
func (n *Node) Close(ctx context.Context) error {
	n.ending.Do(n.endAll)
	select {
	case <-n.quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endAll ends everything, and closes n.quiet when it has.
func (n *Node) endAll() {
	n.lock()
	if n.closed { // Start gave up
		n.unlock()
		return
	}
	n.events.Note(n.now, event.Record{Kind: event.NodeStopping, ID: event.IDOf(n.id)}, "Close")
	sessions := make([]*session, 0, len(n.sessions))
	for _, s := range n.sessions {
		sessions = append(sessions, s)
	}
	n.unlock()
	for _, s := range sessions {
		if s.worker == nil {
			n.endSession(s)
		}
	}
	n.shut()
	go func() {
		n.running.Wait()
		n.closeFiles()
		close(n.quiet)
	}()
}

// shut stops everything that could begin something new.
func (n *Node) shut() {
	n.lock()
	n.failLeft()
	n.settle()
	n.closed = true
	for _, j := range n.jobs {
		n.later(j.close)
	}
	if n.timer != nil {
		n.timer.Stop()
	}
	n.killAll(id.Job{})
	n.unlock()
	n.cancel()
	n.zygotes.Close()
	if n.server != nil {
		n.server.Close()
	}
}

// failLeft completes the futures of what is still there: nobody else will.
func (n *Node) failLeft() {
	for _, t := range n.tasks {
		if c := t.run; c != nil {
			n.later(func() { c.Cancel(wire.Closed) })
		}
		if t.call != nil {
			failAll(t.call, errClosed())
		}
	}
	for _, s := range n.streams {
		s.end()
	}
	for _, e := range n.objects {
		for _, f := range e.futures {
			f.Complete(closedResult())
		}
	}
}

// closeFiles gives memory and disk back.
func (n *Node) closeFiles() {
	if n.store != nil {
		_ = n.store.Close()
	}
	_ = n.meta.store.Close()
	if n.environs != nil {
		_ = n.environs.Close() // what it leaves is removed at the next start
	}
	switch {
	case n.cfg.Dir == "" && n.dir != "":
		_ = os.RemoveAll(n.dir)
	case n.cfg.SpillDir == "" && n.dir != "":
		_ = os.Remove(filepath.Join(n.dir, spillFolder)) // empty: its files have no names
	}
}
