package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/examples/digits/nn"
)

// fewTrials is a job of seconds.
func fewTrials() job {
	grid := []nn.Config{
		{Hidden: 2, Rate: 0.1, Batch: 32, Momentum: 0.9, Epochs: 4, Seed: 1},
		{Hidden: 24, Rate: 0.1, Batch: 32, Momentum: 0.9, Epochs: 10, Seed: 1},
	}
	return job{grid: grid, folds: 3, workers: 2}
}

func runJob(t *testing.T, j job) (result, string) {
	t.Helper()
	session, err := weft.Init(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := session.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var shown bytes.Buffer
	res, err := j.run(t.Context(), &screen{w: &shown})
	if err != nil {
		t.Fatalf("%v\nafter\n%s", err, &shown)
	}
	return res, shown.String()
}

// The job finds the better network, trains it well, and says so; with a worker
// process killed in the sweep and another in the training, it finds the same.
func TestJobAndChaos(t *testing.T) {
	j := fewTrials()
	calm, shown := runJob(t, j)
	if calm.best.Hidden != 24 || calm.accuracy() < wanted {
		t.Errorf("best %s, accuracy %.4f", calm.best, calm.accuracy())
	}
	for _, want := range []string{"1437 digits", "sweep: 6 of 6", "hidden  24", "held-out accuracy 0.9", "times faster"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}
	j.chaos = true
	wild, shown := runJob(t, j)
	if !slices.Equal(wild.network.Params, calm.network.Params) || wild.right != calm.right {
		t.Errorf("with chaos the result is another: %08x, without %08x", wild.checksum(), calm.checksum())
	}
	if n := strings.Count(shown, "was killed in the middle of the"); n != 2 {
		t.Errorf("%d worker processes were killed, want 2:\n%s", n, shown)
	}
}

// On a terminal progress is one line that is written over, and what comes
// after it begins on a new one.
func TestScreenMovesOneLine(t *testing.T) {
	var shown bytes.Buffer
	s := &screen{w: &shown, live: true}
	s.progress("sweep", 1, 2)
	s.progress("sweep", 1, 2)
	s.progress("sweep", 2, 2)
	s.printf("done\n")
	if got := shown.String(); strings.Count(got, "\r") != 2 || !strings.HasSuffix(got, "2 of 2\x1b[K\ndone\n") {
		t.Errorf("shown: %q", got)
	}
}
