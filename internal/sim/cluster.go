package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/place"
	"github.com/weftrun/weft/internal/resource"
)

// Options describe a Cluster. The zero value is a perfect network of small
// nodes with every check on.
type Options struct {
	Seed    uint64
	Network Network
	// Nodes' resources and the time to start a worker.
	CPU   float64
	Spawn time.Duration
	// Bandwidth of a transfer of an object, in bytes a second; default 1 GiB/s.
	Bandwidth int64
	// Neighbours is how many other nodes each node sees; default 16, all of a
	// small cluster.
	Neighbours int
	// ViewEvery is the least time between two reports of a node; default 100 ms.
	ViewEvery time.Duration
	// Story is how many events each machine remembers; default 256.
	Story int
	// Unchecked turns the oracle off, for measuring the machines alone.
	Unchecked bool
	// Manual holds every message until Deliver.
	Manual bool
}

func (o *Options) defaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if o.CPU == 0 {
		o.CPU = 4
	}
	if o.Bandwidth == 0 {
		o.Bandwidth = 1 << 30
	}
	if o.Neighbours == 0 {
		o.Neighbours = 16
	}
	if o.Story == 0 {
		o.Story = 256
	}
	def(&o.ViewEvery, 100*time.Millisecond)
	def(&o.Network.Resend, 5*time.Millisecond)
}

// Cluster is a simulated cluster. It is not safe for concurrent use.
type Cluster struct {
	opts   Options
	rng    *rand.Rand
	now    time.Duration
	seq    uint64
	events heap
	work   int // events under way that are not background

	nodes  []*node
	byID   map[id.Node]*node
	cuts   map[pair]bool
	manual bool
	spare  []*message // delivered ones, for reuse

	queue  effects
	places []id.Node // scratch
	oracle oracle
	log    []string // what scripts show; only while logging
	chatty bool

	hash      uint64        // of the trace
	decisions uint64        // steps of machines
	changed   time.Duration // when something last happened, ticks apart
	messages  uint64
	failure   error // the first broken invariant
}

// New returns a cluster without nodes.
func New(o Options) *Cluster {
	o.defaults()
	return &Cluster{
		opts:   o,
		rng:    rand.New(rand.NewPCG(o.Seed, 0x5eed)),
		byID:   map[id.Node]*node{},
		cuts:   map[pair]bool{},
		manual: o.Manual,
		oracle: newOracle(),
	}
}

// Decisions returns how many steps the machines have made.
func (c *Cluster) Decisions() uint64 { return c.decisions }

// Hash identifies the trace: equal seeds and programs have equal hashes.
func (c *Cluster) Hash() uint64 { return c.hash }

// Now returns the virtual time.
func (c *Cluster) Now() time.Duration { return c.now }

// Err returns the first broken invariant.
func (c *Cluster) Err() error { return c.failure }

func (c *Cluster) fail(format string, args ...any) {
	if c.failure == nil {
		c.failure = fmt.Errorf("%v: %w", c.now, fmt.Errorf(format, args...))
	}
}

func (c *Cluster) note(format string, args ...any) {
	if c.chatty {
		c.log = append(c.log, fmt.Sprintf("%-8v ", c.now)+fmt.Sprintf(format, args...))
	}
}

// mix adds a decision to the trace's hash.
func (c *Cluster) mix(v uint64) {
	c.hash = (c.hash ^ v ^ uint64(c.now)) * 0x100000001b3
	c.hash ^= c.hash >> 29
}

// AddNodes adds n nodes that know each other, or a sample of each other.
func (c *Cluster) AddNodes(n int) {
	first := len(c.nodes)
	for range n {
		x := c.newNode()
		x.total, _ = resource.FromMap(map[string]float64{resource.CPU: c.opts.CPU})
		x.stepDispatch(&dispatch.Event{Kind: dispatch.Capacity, Total: x.total})
		c.nodes = append(c.nodes, x)
	}
	up, dead := c.living()
	for _, x := range c.nodes[first:] {
		for _, d := range dead {
			x.told(d)
		}
		x.join(up)
	}
	for _, x := range c.nodes[:first] {
		if !x.down && !x.condemned {
			for _, y := range c.nodes[first:] {
				c.introduce(x, y)
			}
		}
	}
	c.flush()
}

// told learns, when it joins, of a node that was there before.
func (n *node) told(old *node) {
	if old.heir != nil {
		n.farewell(old, old.heir)
	} else {
		n.mourn(old)
	}
}

// living returns the nodes that run and those that are, or are to be, dead.
func (c *Cluster) living() (up, dead []*node) {
	for _, x := range c.nodes {
		if x.condemned || x.down {
			dead = append(dead, x)
		} else {
			up = append(up, x)
		}
	}
	return up, dead
}

func (c *Cluster) newNode() *node {
	var name id.Node
	name[0] = 0xA0
	for i, v := 7, len(c.nodes)+1; v > 0; i, v = i-1, v>>8 {
		name[i] = byte(v)
	}
	story := c.opts.Story
	n := &node{
		c: c, index: int32(len(c.nodes)), id: name, speed: 1,
		own:      own.New(name, own.Options{StoryLength: story}),
		place:    place.New(name, place.Options{StoryLen: story}),
		dispatch: dispatch.New(dispatch.Options{StoryLen: story}),
		actor:    actor.New(name, actor.Options{Story: story}),
		tasks:    map[id.Task]*work{},
		execs:    map[attemptKey]*execution{},
		workers:  map[id.Worker]*worker{},
		lanes:    map[dispatch.Lease]*lane{},
		store:    map[id.Object]copyOf{},
		fetches:  map[id.Object]*fetch{},
		waits:    map[id.Object][]func(){},
		hosts:    map[id.Actor]*host{},
		gone:     map[int32]bool{},
		links:    map[int32]*link{},
		tokens:   map[id.Actor]int{},
		seen:     map[int32]bool{},
		sessions: map[id.Session]*session{},
	}
	c.byID[name] = n
	return n
}

// join gives a new node its view of the others.
func (n *node) join(nodes []*node) {
	n.introduceTo(n)
	if len(nodes)-1 <= n.c.opts.Neighbours {
		for _, x := range nodes {
			if x != n {
				n.introduceTo(x)
			}
		}
		return
	}
	for range n.c.opts.Neighbours {
		if x := nodes[n.c.rng.IntN(len(nodes))]; x != n {
			n.introduceTo(x)
		}
	}
}

// introduce lets x know y if x's view has room.
func (c *Cluster) introduce(x, y *node) {
	if len(x.seen) <= c.opts.Neighbours {
		x.introduceTo(y)
	}
}

func (n *node) introduceTo(x *node) {
	if n.seen[x.index] {
		return
	}
	n.seen[x.index] = true
	x.watchers = append(x.watchers, n)
	n.stepPlace(x.figures())
	if x.draining {
		n.stepPlace(&place.Event{Kind: place.Draining, Node: x.id}) // it was announced before n joined
	}
}
