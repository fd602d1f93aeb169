package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/state"
)

// `make chaos` gives TestChaos more.
var (
	chaosSteps = flag.Int("chaos.steps", 6, "faults of TestChaos")
	chaosSeed  = flag.Uint64("chaos.seed", 0, "what they are drawn from; 0 draws that too")
)

// partSize is that of a part of chaos's sums, in bytes: it stays where it was made.
const partSize = 200_000

// stallTime is how long chaos stalls a node: not so long that it is declared dead.
const stallTime = time.Second

var (
	part = weft.Task1("weft_test.part", func(_ context.Context, n int) ([]byte, error) {
		return bytes.Repeat([]byte{byte(n)}, partSize), nil
	}, weft.CPU(0.5))
	addParts = weft.Task2("weft_test.addParts", func(_ context.Context, a, b []byte) ([]byte, error) {
		sum := make([]byte, len(a))
		for i := range a {
			sum[i] = a[i] + b[i]
		}
		return sum, nil
	}, weft.CPU(0.5))
)

// sumParts adds up 16 parts, pair by pair, on whatever nodes there are.
func sumParts(ctx context.Context) weft.Ref[[]byte] {
	var refs []weft.Ref[[]byte]
	for i := range 16 {
		refs = append(refs, part.Remote(ctx, i))
	}
	for len(refs) > 1 {
		var next []weft.Ref[[]byte]
		for i := 0; i < len(refs); i += 2 {
			next = append(next, addParts.RemoteOf(ctx, refs[i], refs[i+1]))
		}
		refs = next
	}
	return refs[0]
}

// chaos is a cluster that is under load and in trouble.
type chaos struct {
	*many
	rng  *rand.Rand
	live []int // nodes beside the head
}

// Whatever happens to nodes and workers, sums are right: what is lost is made again.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again: go test ./cmd/weft -run TestChaos -chaos.steps=%d -chaos.seed=%d", *chaosSteps, seed)
	c := &chaos{many: newMany(t, 3), rng: rand.New(rand.NewPCG(seed, 1)), live: []int{1, 2, 3}}
	c.patience *= time.Duration(*chaosSteps)
	ctx := c.drive(t, 0)
	rounds := make(chan error, 1)
	stop := make(chan struct{})
	c.until(t, "four nodes", 0, four)
	go func() { rounds <- c.load(ctx, stop) }()
	for range *chaosSteps {
		c.trouble(t)
		select {
		case err := <-rounds:
			t.Fatal("the load has ended: ", err)
		default:
		}
	}
	close(stop)
	if err := <-rounds; err != nil {
		t.Fatal(err)
	}
	c.until(t, "four nodes", 0, four)
}

func four(nodes []state.Node) bool { return len(nodes) == 4 }

// load adds up until it is stopped, and at least once more after that.
func (c *chaos) load(ctx context.Context, stop <-chan struct{}) error {
	want := bytes.Repeat([]byte{15 * 16 / 2}, partSize)
	for last := false; ; {
		got, err := sumParts(ctx).Get(ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errors.New("a sum is wrong")
		}
		if last {
			return nil
		}
		select {
		case <-stop:
			last = true
		default:
		}
	}
}

// trouble does something to a node, and puts another in its place if it is gone.
func (c *chaos) trouble(t *testing.T) {
	t.Helper()
	i := c.rng.IntN(len(c.live))
	n := &c.nodes[c.live[i]]
	switch what := c.rng.IntN(4); what {
	case 0:
		t.Log("kill node", n.Node)
		_ = syscall.Kill(n.PID, syscall.SIGKILL)
		c.replace(t, i)
	case 1:
		t.Log("drain node", n.Node)
		c.want(t, "drain", n.Node, "--address", c.nodes[0].Dir)
		c.replace(t, i)
	case 2:
		t.Log("stall node", n.Node)
		_ = syscall.Kill(n.PID, syscall.SIGSTOP)
		<-time.After(stallTime)
		_ = syscall.Kill(n.PID, syscall.SIGCONT)
		c.until(t, "four nodes", 0, four) // it is heard before it can be stalled again
	case 3:
		t.Log("kill the workers of node", n.Node)
		for _, pid := range childrenOf(n.PID) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// replace starts another node instead of the i-th living one.
func (c *chaos) replace(t *testing.T, i int) {
	t.Helper()
	c.start(t, "--address", c.nodes[0].Cluster)
	c.live[i] = len(c.nodes) - 1
	c.until(t, "four nodes", 0, four)
}

// childrenOf lists the processes that a process has started.
func childrenOf(pid int) (children []int) {
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}
