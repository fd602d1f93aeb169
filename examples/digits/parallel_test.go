package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/weftrun/weft/examples/digits/data"
	"github.com/weftrun/weft/examples/digits/nn"
)

var small = nn.Config{Hidden: 8, Rate: 0.1, Decay: 0.001, Batch: 9, Momentum: 0.9, Epochs: 2, Seed: 1}

// startWorkers runs the workers against a server in this process, without
// Weft, and returns what the server ends with. Worker 0's exchange goes
// through wrap.
func startWorkers(t *testing.T, workers int, e nn.Examples, wrap func(exchanger) exchanger) state {
	t.Helper()
	ctx := t.Context()
	tm := team{Config: small, Workers: workers}
	srv, err := newServer(ctx, tm)
	if err != nil {
		t.Fatal(err)
	}
	direct := func(sh share) (state, error) { return srv.Exchange(ctx, sh) }
	errs := make(chan error)
	for i := range workers {
		call := direct
		if i == 0 && wrap != nil {
			call = wrap(direct)
		}
		go func() { errs <- workUntilDone(ctx, srv, place{Team: tm, Worker: i}, e, call) }()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	end, err := srv.Current(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

type exchanger = func(share) (state, error)

var errCrash = errors.New("crashed")

// workUntilDone starts a worker again when it crashes, as Weft would.
func workUntilDone(ctx context.Context, srv *server, p place, e nn.Examples, call exchanger) error {
	for {
		at, err := srv.Current(ctx)
		if err != nil {
			return err
		}
		if _, err = p.learn(e, at, call); !errors.Is(err, errCrash) {
			return err
		}
	}
}

func fewExamples() nn.Examples {
	train, _ := data.Load().Split(seed)
	return examples(train.Pick(train.Deal(10, seed)[0]))
}

// One worker trains what a plain loop trains.
func TestOneWorkerIsThePlainLoop(t *testing.T) {
	e := fewExamples()
	want, err := small.Train(shape, e, nn.AllRows(e), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := startWorkers(t, 1, e, nil); !slices.Equal(got.Params, want.Params) {
		t.Error("the parameters differ")
	}
}

// Workers may crash before their share has arrived or before the answer has:
// the result is the same to the bit.
func TestCrashesChangeNothing(t *testing.T) {
	e := fewExamples()
	want := startWorkers(t, 3, e, nil)
	crash := func(before bool) func(exchanger) exchanger {
		return func(call exchanger) exchanger {
			left := 5
			return func(sh share) (state, error) {
				if before && sh.Step%4 == 1 && left > 0 {
					left--
					return state{}, errCrash
				}
				at, err := call(sh)
				if err == nil && sh.Step%4 == 2 && left > 0 {
					left--
					return state{}, errCrash
				}
				return at, err
			}
		}
	}
	for _, before := range []bool{true, false} {
		got := startWorkers(t, 3, e, crash(before))
		if got.Step != want.Step || !slices.Equal(got.Params, want.Params) {
			t.Errorf("crashing (before the share arrives: %v) changed the result: step %d, want %d", before, got.Step, want.Step)
		}
	}
}

// A share that comes twice counts once, and an old one not at all.
func TestServerCountsSharesOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv, err := newServer(ctx, team{Config: small, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	sum := make([]float32, len(srv.network.Params))
	cancel() // nobody waits for the second worker
	for range 2 {
		if _, err := srv.Exchange(ctx, share{Worker: 0, Sum: sum, Count: 1}); !errors.Is(err, context.Canceled) {
			t.Fatalf("half a step: error %v", err)
		}
	}
	if srv.state.Step != 0 {
		t.Fatal("one worker's share, sent twice, made a step")
	}
	if _, err := srv.Exchange(t.Context(), share{Worker: 1, Sum: sum, Count: 1}); err != nil || srv.state.Step != 1 {
		t.Fatalf("both shares are there: step %d, error %v", srv.state.Step, err)
	}
	if at, err := srv.Exchange(t.Context(), share{Worker: 1, Step: 0, Sum: sum, Count: 1}); err != nil || at.Step != 1 {
		t.Errorf("an old share: step %d, error %v, want the present step", at.Step, err)
	}
}

func TestServerRefusesTeams(t *testing.T) {
	for _, n := range []int{-1, 0, maxWorkers + 1} {
		if _, err := newServer(t.Context(), team{Config: small, Workers: n}); err == nil {
			t.Errorf("made a server for %d workers", n)
		}
	}
}

func TestPartsOfABatch(t *testing.T) {
	batch := []int{1, 2, 3, 4, 5, 6, 7}
	for _, n := range []int{1, 2, 3, 9} {
		var joined []int
		for i := range n {
			joined = append(joined, partOf(batch, i, n)...)
		}
		if !slices.Equal(joined, batch) {
			t.Errorf("%d parts make up %v", n, joined)
		}
	}
}
