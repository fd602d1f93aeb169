package node_test

import (
	"context"
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
)

var (
	// moody returns an error, ends its process, or returns what it was given.
	moody = weft.Task1("node_test.moody", func(_ context.Context, x int) (int, error) {
		switch {
		case x%3 == 0:
			return 0, errNegative
		case x%17 == 0:
			os.Exit(9)
		}
		return x, nil
	}, weft.Isolated(), weft.RetryErrors(), weft.MaxRetries(2))

	tree *weft.Func1[int, int]
)

func init() {
	tree = weft.Task1("node_test.tree", func(ctx context.Context, depth int) (int, error) {
		if depth <= 0 {
			return 1, nil
		}
		a, b := tree.Remote(ctx, depth-1), tree.Remote(ctx, depth-2)
		x, err := a.Get(ctx)
		if err != nil {
			return 0, err
		}
		y, err := b.Get(ctx)
		return x + y, err
	})
}

// program does at random what programs do, and waits for all of it.
type program struct {
	*rand.Rand
	t      *testing.T
	ctx    context.Context
	refs   []weft.Ref[int]
	actors []weft.Actor[tally]
}

func (p *program) run(steps int) {
	for range steps {
		switch p.Intn(8) {
		case 0, 1, 2:
			p.submit()
		case 3:
			p.create()
		case 4, 5:
			p.use()
		case 6:
			p.read()
		case 7:
			if len(p.refs) > 20 {
				p.wait()
			}
		}
	}
	p.wait()
}

func (p *program) submit() {
	switch p.Intn(5) {
	case 0:
		p.refs = append(p.refs, inc.Remote(p.ctx, p.Intn(100)))
	case 1:
		p.refs = append(p.refs, moody.Remote(p.ctx, p.Intn(100)))
	case 2:
		p.refs = append(p.refs, tree.Remote(p.ctx, p.Intn(6)))
	case 3:
		if n := len(p.refs); n > 0 {
			p.refs = append(p.refs, inc.RemoteOf(p.ctx, p.refs[p.Intn(n)]))
		}
	case 4:
		ctx, cancel := context.WithCancel(p.ctx)
		p.refs = append(p.refs, tree.Remote(ctx, 5))
		time.AfterFunc(time.Duration(p.Intn(2000))*time.Microsecond, cancel)
	}
}

func (p *program) create() {
	opts := []weft.ActorOption{weft.MaxRestarts(p.Intn(3)), weft.MaxTaskRetries(p.Intn(3))}
	if p.Intn(2) == 0 {
		opts = append(opts, weft.Isolated())
	}
	p.actors = append(p.actors, tallies.New(p.ctx, p.Intn(10)-1, opts...))
	if len(p.actors) > 3 {
		p.actors = p.actors[1:] // its handle goes
	}
}

func (p *program) use() {
	if len(p.actors) == 0 {
		return
	}
	a := p.actors[p.Intn(len(p.actors))]
	switch p.Intn(8) {
	case 0:
		weft.Kill(a, p.Intn(2) == 0)
	case 1:
		if n := len(p.refs); n > 0 {
			weft.Cancel(p.refs[p.Intn(n)])
		}
	case 2:
		if n := len(p.refs); n > 0 {
			p.refs = append(p.refs, add.RemoteOf(p.ctx, a, p.refs[p.Intn(n)]))
		}
	default:
		p.refs = append(p.refs, add.Remote(p.ctx, a, 1))
	}
}

// read reads a stream, perhaps not to its end.
func (p *program) read() {
	var opts []weft.TaskOption
	if p.Intn(2) == 0 {
		opts = append(opts, weft.Isolated())
	}
	if p.Intn(2) == 0 {
		opts = append(opts, weft.Window(p.Intn(3), 0))
	}
	s := numbers.Remote(p.ctx, p.Intn(50), opts...)
	if n := len(p.actors); n > 0 && p.Intn(2) == 0 {
		s = chapter.Remote(p.ctx, p.actors[p.Intn(n)], p.Intn(50))
	}
	for _, err := range s.All(p.ctx) {
		if err != nil || p.Intn(30) == 0 {
			return
		}
	}
}

// wait waits for all results: whatever they are, they must come.
func (p *program) wait() {
	for _, r := range p.refs {
		if _, err := r.Get(p.ctx); errors.Is(err, weft.Timeout) {
			p.t.Fatal(r, err)
		}
	}
	p.refs = p.refs[:0]
}

// Whatever programs do, all of it ends, and nothing of it is left at the node.
func TestNothingIsLeftOfPrograms(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	n, err := node.New(node.Config{Socket: socket, Resources: map[string]float64{"CPU": 2}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	var programs sync.WaitGroup
	for i := range 4 {
		opt := weft.Address(socket)
		if i == 0 {
			opt = cpu(1) // a node of its own
		}
		s, err := weft.Init(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		programs.Go(func() {
			ctx, cancel := context.WithTimeout(s.Context(context.Background()), patience)
			defer cancel()
			defer end(t, s)
			p := program{Rand: rand.New(rand.NewSource(int64(i))), t: t, ctx: ctx}
			p.run(200)
		})
	}
	programs.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	until(ctx, t, "an end of it all", func() bool { return n.Left() == "" })
	if err := errors.Join(n.Check(), n.Close(ctx)); err != nil {
		t.Error(err)
	}
}
