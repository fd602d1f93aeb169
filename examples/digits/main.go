// Digits is the main job of Weft: a sweep of small neural networks over
// handwritten digits, then data-parallel training of the best one.
//
// The images are put once and shared. Each of 24 configurations times 5 folds
// is a task (sweep.go). The best configuration is trained by tasks that each
// compute the gradient of their share of every batch and exchange it for new
// parameters with a parameter server, an actor (parallel.go). With -chaos a
// worker process is killed in the middle of both, and the result is the same.
//
// It runs on a node inside this program, or on the one that WEFT_ADDRESS names.
package main

import (
	"context"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"os/signal"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/examples/digits/data"
	"github.com/weftrun/weft/examples/digits/nn"
)

// seed decides every split, order and first weight: the same seed, the same
// result, whatever happens on the way.
const seed = 1

// wanted is the held-out accuracy below which something is broken.
const wanted = 0.95

// job is what the user asked for.
type job struct {
	grid    []nn.Config
	folds   int
	workers int  // that train the best network together
	chaos   bool // kill a worker process in the sweep and one in the training
}

func main() {
	ctx := context.Background()
	session, err := weft.Init(ctx) // first: in a worker process it does not return
	if err != nil {
		fail(err)
	}
	err = mainJob(ctx)
	if endErr := session.Shutdown(ctx); err == nil {
		err = endErr
	}
	if err != nil {
		fail(err)
	}
}

// mainJob does what the command line asks for, until it is interrupted.
func mainJob(ctx context.Context) error {
	j := job{grid: nn.Grid(), folds: 5}
	flag.BoolVar(&j.chaos, "chaos", false, "kill a worker process in the middle; the result is the same")
	flag.IntVar(&j.workers, "workers", 2, "workers that train the best network together")
	flag.Parse()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	res, err := j.run(ctx, newScreen(os.Stdout))
	if err != nil {
		return err
	}
	if res.accuracy() < wanted {
		return fmt.Errorf("held-out accuracy %.4f is below %.2f", res.accuracy(), wanted)
	}
	return nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "digits:", err)
	os.Exit(1)
}

// result is what the whole job found.
type result struct {
	best     nn.Config
	network  *nn.Network
	right    int // of heldOut
	heldOut  int
	speedUp  float64
	duration time.Duration
}

func (r result) accuracy() float64 { return float64(r.right) / float64(r.heldOut) }

// checksum tells whether two runs trained the same network to the bit.
func (r result) checksum() uint32 {
	sum := crc32.NewIEEE()
	for _, p := range r.network.Params {
		bits := math.Float32bits(p)
		_, _ = sum.Write([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)}) // never fails
	}
	return sum.Sum32()
}

// run does the job and shows it on the screen.
func (j job) run(ctx context.Context, out *screen) (result, error) {
	start := time.Now()
	trouble, err := newTrouble(j.chaos)
	if err != nil {
		return result{}, err
	}
	defer trouble.remove()
	train, heldOut := data.Load().Split(seed)
	out.printf("%d digits to learn from, %d held out\n", train.Len(), heldOut.Len())
	images, err := weft.Put(ctx, train.Pack())
	if err != nil {
		return result{}, err
	}

	oneCore, err := j.timeOnOneCore(train)
	if err != nil {
		return result{}, err
	}
	sweepStart := time.Now()
	table, err := j.sweep(ctx, images, trouble, out)
	if err != nil {
		return result{}, fmt.Errorf("sweep: %w", err)
	}
	took := time.Since(sweepStart)
	res := result{best: table[0].config, speedUp: oneCore.Seconds() / took.Seconds(), heldOut: heldOut.Len()}
	showTable(out, table, took, oneCore)

	res.network, err = j.trainTogether(ctx, res.best, images, train.Len(), trouble, out)
	if err != nil {
		return result{}, fmt.Errorf("training: %w", err)
	}
	held := examples(heldOut)
	res.right = res.network.Right(held, nn.AllRows(held))
	res.duration = time.Since(start)
	showResult(out, res, j.workers)
	return res, nil
}

// timeOnOneCore says how long the sweep would take in a plain loop, from one
// fold of it.
func (j job) timeOnOneCore(train data.Set) (time.Duration, error) {
	start := time.Now()
	for _, c := range j.grid {
		if _, err := score(train, trial{Config: c, Fold: 0, Folds: j.folds}, nil); err != nil {
			return 0, err
		}
	}
	return time.Since(start) * time.Duration(j.folds), nil
}

func showTable(out *screen, table []row, took, oneCore time.Duration) {
	out.printf("\n%-55s  accuracy\n", "configuration")
	for _, r := range table {
		out.printf("%-55s  %.4f\n", r.config, r.accuracy())
	}
	out.printf("\n%.2f s; one core would take %.2f s (measured on one fold): %.2f times faster\n",
		took.Seconds(), oneCore.Seconds(), oneCore.Seconds()/took.Seconds())
}

func showResult(out io.Writer, res result, workers int) {
	fmt.Fprintf(out, "\ntrained %s with %d workers\n", res.best, workers)
	fmt.Fprintf(out, "held-out accuracy %.4f (%d of %d), parameters %08x\n",
		res.accuracy(), res.right, res.heldOut, res.checksum())
	fmt.Fprintf(out, "all of it in %.2f s, sweep %.2f times as fast as one core\n", res.duration.Seconds(), res.speedUp)
}

// examples makes a set of images what a network learns from.
func examples(s data.Set) nn.Examples { return nn.Examples{Inputs: s.Inputs(), Labels: s.Labels} }
