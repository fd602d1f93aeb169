// Cross is the Go program of Python's tests of both languages in one program: run
// by itself it is a driver that calls Python; named in init(go_program=…) its
// functions and actors are called from Python.
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/weftrun/weft"
)

// Person is plain data on both sides.
type Person struct {
	Name string
	Age  int
	Tags []string
}

// Parts has references inside.
type Parts struct{ Parts []weft.Ref[int] }

var (
	square = weft.Task1("cross.square", func(_ context.Context, x int) (int, error) { return x * x, nil })
	_      = weft.Task1("cross.older", func(_ context.Context, p Person) (Person, error) {
		p.Age++
		return p, nil
	})
	_ = weft.Task1("cross.reverse", func(_ context.Context, b []byte) ([]byte, error) {
		out := make([]byte, len(b))
		for i := range b {
			out[len(b)-1-i] = b[i]
		}
		return out, nil
	})
	_ = weft.Task1("cross.sum", func(ctx context.Context, p Parts) (int, error) {
		total := 0
		for _, part := range p.Parts {
			n, err := part.Get(ctx)
			if err != nil {
				return 0, err
			}
			total += n
		}
		return total, nil
	})
	_ = weft.Task0("cross.fail", func(context.Context) (int, error) { return 0, errors.New("out of cheese") })
	_ = weft.Task0("cross.panic", func(context.Context) (int, error) { panic("no cheese at all") })
	_ = weft.Pair1("cross.divide", func(_ context.Context, a int) (int, int, error) { return a / 10, a % 10, nil })
	_ = weft.Stream1("cross.count", func(_ context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	})
	_ = weft.Task1("cross.echoArrow", func(_ context.Context, a weft.Arrow) (weft.Arrow, error) { return a, nil })
	_ = weft.Task0("cross.put", func(ctx context.Context) (weft.Ref[string], error) { return weft.Put(ctx, "put by Go") })
	// It fails because Python does, so that both tracebacks are in what its caller sees.
	_ = weft.Task0("cross.failInPython", func(ctx context.Context) (int, error) {
		_, err := pyFail.Call(ctx, "deep inside")
		return 0, fmt.Errorf("from Go to Python: %w", err)
	})
)

// Counter is an actor of Go's.
type Counter struct{ n int }

// Add adds.
func (c *Counter) Add(_ context.Context, n int) (int, error) {
	c.n += n
	return c.n, nil
}

var (
	counters   = weft.Actor1("cross.Counter", func(_ context.Context, n int) (*Counter, error) { return &Counter{n}, nil })
	counterAdd = weft.Method1(counters, (*Counter).Add)
	_          = weft.Task1("cross.addTo", func(ctx context.Context, a weft.Actor[Counter]) (int, error) {
		return counterAdd.Call(ctx, a, 100)
	})
	_ = weft.Task1("cross.meet", func(ctx context.Context, a weft.Actor[ledger]) (string, error) {
		return ledgerNote.Call(ctx, a, "from Go")
	})
)

// ledger stands for Python's class.
type ledger struct{}

var (
	pyAdd    = weft.PyTask2[int, int, int]("functions", "add")
	pyOlder  = weft.PyTask1[Person, Person]("functions", "older")
	pySize   = weft.PyTask1[[]byte, int]("functions", "size")
	pyBytes  = weft.PyTask1[int, []byte]("functions", "make_bytes")
	pyTotal  = weft.PyTask1[[]int, int]("functions", "total")
	pySum    = weft.PyTask1[Parts, int]("functions", "sum_parts")
	pyFail   = weft.PyTask1[string, int]("functions", "fail")
	pyObject = weft.PyTask0[int]("functions", "make_object")
	pyPickle = weft.PyTask0[weft.Ref[int]]("functions", "put_pickle")
	pyCount  = weft.PyStream1[int, int]("functions", "count")
	pyNobody = weft.PyTask0[int]("functions", "nobody")
	pyNoFile = weft.PyTask0[int]("no_such_module", "f")
	pyOnce   = weft.PyTask1[string, int]("functions", "die_once")
	pyName   = weft.PyTask0[string]("functions", "task_name")
	pyBump   = weft.PyTask1[weft.Actor[Counter], int]("functions", "bump")

	ledgers    = weft.PyActor1[string, ledger]("functions", "Ledger")
	ledgerNote = weft.PyMethod1[ledger, string, string](ledgers, "note")
	ledgerAll  = weft.PyMethod0[ledger, []string](ledgers, "all")
)

func main() {
	ctx := context.Background()
	s, err := weft.Init(ctx, weft.Resources(map[string]float64{"CPU": 2}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	failures := drive(ctx)
	if err := s.Shutdown(ctx); err != nil {
		failures = append(failures, err.Error())
	}
	for _, f := range failures {
		fmt.Println("FAIL", f)
	}
	fmt.Println("checks failed:", len(failures))
}
