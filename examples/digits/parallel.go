package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/examples/digits/data"
	"github.com/weftrun/weft/examples/digits/nn"
)

// maxWorkers is how many workers can wait for each other in the server.
const maxWorkers = 64

// server is the parameter server: it owns the network, collects the gradients
// of every worker's share of a batch, and takes the step when all are there.
// Shares are added in the order of the workers, so the result does not depend
// on who was first; a share that comes twice, from a worker that was started
// again, counts once.
type server struct {
	mu      sync.Mutex
	network *nn.Network
	descent nn.Descent
	shares  []*share // of the current step, by worker; nil has not come
	state   state
	stepped chan struct{} // closed when state changes
}

// state is how far the training is. Its parameters never change.
type state struct {
	Step   int // steps taken
	Params []float32
}

// share is one worker's part of the gradient of a step.
type share struct {
	Worker int
	Step   int
	Rate   float32
	Sum    []float32
	Loss   float64
	Count  int
}

// team is what a server is made for.
type team struct {
	Config  nn.Config
	Workers int
}

var (
	serverClass = weft.Actor1("digits.Server", newServer, weft.Concurrency(maxWorkers+1))
	current     = weft.Method0(serverClass, (*server).Current)
	exchange    = weft.Method1(serverClass, (*server).Exchange)
)

func newServer(_ context.Context, t team) (*server, error) {
	if t.Workers < 1 || t.Workers > maxWorkers {
		return nil, fmt.Errorf("%d workers: use 1 to %d", t.Workers, maxWorkers)
	}
	s := &server{
		network: nn.New(shapeOf(t.Config), t.Config.Seed),
		descent: nn.Descent{Momentum: t.Config.Momentum, Decay: t.Config.Decay},
		shares:  make([]*share, t.Workers),
		stepped: make(chan struct{}),
	}
	s.state.Params = append([]float32(nil), s.network.Params...)
	return s, nil
}

func shapeOf(c nn.Config) nn.Shape {
	s := shape
	s.Hidden = c.Hidden
	return s
}

// Current returns the state of the training.
func (s *server) Current(context.Context) (state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, nil
}

// Exchange takes a worker's share and returns the state after its step. A
// share of a step that is over changes nothing.
func (s *server) Exchange(ctx context.Context, sh share) (state, error) {
	s.mu.Lock()
	if sh.Step != s.state.Step {
		defer s.mu.Unlock()
		return s.state, nil
	}
	s.shares[sh.Worker] = &sh
	stepped := s.stepped
	s.stepLocked()
	s.mu.Unlock()
	select {
	case <-stepped:
		return s.Current(ctx)
	case <-ctx.Done():
		return state{}, context.Cause(ctx)
	}
}

// stepLocked takes the step if every share is there.
func (s *server) stepLocked() {
	total := nn.NewGradient(s.network.Shape)
	for _, sh := range s.shares {
		if sh == nil {
			return
		}
		total.Join(&nn.Gradient{Sum: sh.Sum, Loss: sh.Loss, Count: sh.Count})
	}
	s.descent.Step(s.network, total, s.shares[0].Rate)
	s.state = state{Step: s.state.Step + 1, Params: append([]float32(nil), s.network.Params...)}
	clear(s.shares)
	close(s.stepped)
	s.stepped = make(chan struct{})
}

// place is a worker's place in a team.
type place struct {
	Team    team
	Worker  int
	Server  weft.Actor[server]
	Trouble trouble
}

// work is a worker: for every batch it exchanges the gradient of its share for
// new parameters. Started again, it goes on with the step the server is at.
// It returns how many gradients it computed.
var work = weft.Task2("digits.work", func(ctx context.Context, images []byte, p place) (int, error) {
	set, err := data.Unpack(images)
	if err != nil {
		return 0, err
	}
	at, err := current.Call(ctx, p.Server)
	if err != nil {
		return 0, err
	}
	return p.learn(examples(set), at, func(sh share) (state, error) { return exchange.Call(ctx, p.Server, sh) })
})

// learn goes through the batches of all epochs from the given state on.
func (p place) learn(e nn.Examples, at state, exchange func(share) (state, error)) (int, error) {
	c := p.Team.Config
	n := &nn.Network{Shape: shapeOf(c)}
	rows := nn.AllRows(e)
	step, computed := 0, 0
	for epoch := range c.Epochs {
		err := c.Batches(epoch, rows, func(batch []int, rate float32) (err error) {
			defer func() { step++ }()
			if step < at.Step {
				return nil
			}
			n.Params = at.Params
			g := nn.NewGradient(n.Shape) // a new one: what is sent must not change
			g.Add(n, e, partOf(batch, p.Worker, p.Team.Workers))
			computed++
			at, err = exchange(share{Worker: p.Worker, Step: step, Rate: rate, Sum: g.Sum, Loss: g.Loss, Count: g.Count})
			return err
		})
		if err == nil && epoch == c.Epochs/2 {
			err = p.Trouble.strike()
		}
		if err != nil {
			return computed, err
		}
	}
	return computed, nil
}

// partOf is the i-th of n parts of a batch.
func partOf(batch []int, i, n int) []int {
	return batch[len(batch)*i/n : len(batch)*(i+1)/n]
}

// trainTogether trains a network of the configuration with j.workers workers.
func (j job) trainTogether(ctx context.Context, c nn.Config, images weft.Ref[[]byte], examples int, t trouble, out *screen) (*nn.Network, error) {
	tm := team{Config: c, Workers: j.workers}
	srv := serverClass.New(ctx, tm)
	if err := srv.Ready(ctx); err != nil {
		return nil, err
	}
	var workers []weft.Ref[int]
	for i := range j.workers {
		p := place{Team: tm, Worker: i, Server: srv, Trouble: t.at("training")}
		workers = append(workers, work.RemoteOf(ctx, images, weft.Val(p), t.options()...))
	}
	steps := c.Epochs * ((examples + c.Batch - 1) / c.Batch)
	if err := watch(ctx, srv, workers, steps, out); err != nil {
		return nil, err
	}
	end, err := current.Call(ctx, srv)
	if err == nil && end.Step != steps {
		err = fmt.Errorf("the server took %d steps of %d", end.Step, steps)
	}
	t.report("training", out)
	return &nn.Network{Shape: shapeOf(c), Params: end.Params}, err
}
