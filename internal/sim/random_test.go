package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

var (
	seeds = flag.Int("sim.seeds", 300, "seeds of TestSeeds")
	first = flag.Uint64("sim.first", 1, "first seed of TestSeeds")
	story = flag.String("sim.story", "", "task whose story TestSeeds prints when it fails, as n1.2")
	ahead = flag.Int("sim.ops", 150, "operations of each seed of TestSeeds")
)

type rapidDice struct{ t *rapid.T }

func (d rapidDice) roll(what string, n int) int {
	if n <= 1 {
		return 0
	}
	return rapid.IntRange(0, n-1).Draw(d.t, what)
}

// TestRandom draws operations, all faults on, and shrinks what fails.
func TestRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice{t}
		x := newChaos(d, uint64(d.roll("seed", 1000)), d.roll("faults", 4) > 0)
		for range d.roll("operations", 80) {
			if err := x.step(); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(x.trace, "\n"))
			}
		}
		if err := x.finish(); err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(x.trace, "\n"))
		}
	})
}

// runSeed runs one seed and returns its cluster.
func runSeed(seed uint64, faults bool, n int) (*chaos, error) {
	x := newChaos(seeded{rand.New(rand.NewPCG(seed, 7))}, seed, faults)
	for range n {
		if err := x.step(); err != nil {
			return x, err
		}
	}
	return x, x.finish()
}

// TestSeeds runs many seeds of random operations. `make sim` gives it more.
func TestSeeds(t *testing.T) {
	for s := *first; s < *first+uint64(*seeds); s++ {
		x, err := runSeed(s, s%4 != 0, *ahead)
		if err != nil {
			t.Log(strings.Join(x.storyOf(*story), "\n"))
			t.Fatalf("seed %d: %v\n%s\nAgain: go test ./internal/sim -run TestSeeds -sim.seeds=1 -sim.first=%d", s, err, strings.Join(x.trace, "\n"), s)
		}
	}
}

// TestSameSeedSameTrace runs a seed twice.
func TestSameSeedSameTrace(t *testing.T) {
	for s := range uint64(5) {
		a, err := runSeed(s, true, 200)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := runSeed(s, true, 200)
		if a.c.Hash() != b.c.Hash() || a.c.Decisions() != b.c.Decisions() {
			t.Errorf("seed %d: hashes %x and %x after %d and %d decisions", s, a.c.Hash(), b.c.Hash(), a.c.Decisions(), b.c.Decisions())
		}
	}
}

// storyOf finds a task by the name that traces give it.
func (x *chaos) storyOf(name string) []string {
	var node, session, seq int
	if n, _ := fmt.Sscanf(name, "n%d.%d.%d", &node, &session, &seq); n < 2 || node > len(x.c.nodes) {
		return nil
	} else if n == 2 {
		session, seq = int(driver), session
	}
	return x.c.Story(id.NewTask(x.c.nodes[node-1].id, id.Seq(id.Session(session), uint64(seq))))
}
