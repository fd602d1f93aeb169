package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/examples/digits/data"
	"github.com/weftrun/weft/examples/digits/nn"
)

// shape is that of every network here, but for the hidden layer.
var shape = nn.Shape{In: data.Pixels, Out: data.Classes}

// trial is one configuration on one fold.
type trial struct {
	Row     int // of the configuration in the grid
	Config  nn.Config
	Fold    int
	Folds   int
	Trouble trouble
}

// outcome is what a trial found.
type outcome struct {
	Row   int
	Right int // of Of
	Of    int
}

// evaluate trains and validates in a task. The images come from shared memory:
// every task on a node reads the same bytes.
var evaluate = weft.Task2("digits.evaluate", func(ctx context.Context, images []byte, t trial) (outcome, error) {
	set, err := data.Unpack(images)
	if err != nil {
		return outcome{}, err
	}
	return score(set, t, func(epoch int, _ float64) error {
		if epoch == t.Config.Epochs/2 {
			if err := t.Trouble.strike(); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
})

// score trains on all folds but one and counts what it gets right in that.
func score(set data.Set, t trial, progress func(int, float64) error) (outcome, error) {
	e := examples(set)
	train, validate := set.Fold(t.Fold, t.Folds, seed)
	n, err := t.Config.Train(shape, e, train, progress)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Row: t.Row, Right: n.Right(e, validate), Of: len(validate)}, nil
}

// row is a configuration and what all its folds found together.
type row struct {
	config nn.Config
	right  int
	of     int
}

func (r row) accuracy() float64 { return float64(r.right) / float64(r.of) }

// sweep tries every configuration on every fold and returns them best first;
// of equals the earlier in the grid.
func (j job) sweep(ctx context.Context, images weft.Ref[[]byte], t trouble, out *screen) ([]row, error) {
	opts := t.options()
	var pending []weft.Ref[outcome]
	for i, c := range j.grid {
		for fold := range j.folds {
			tr := trial{Row: i, Config: c, Fold: fold, Folds: j.folds, Trouble: t.at("sweep")}
			pending = append(pending, evaluate.RemoteOf(ctx, images, weft.Val(tr), opts...))
		}
	}
	table := make([]row, len(j.grid))
	for i, c := range j.grid {
		table[i].config = c
	}
	done := 0
	for o, err := range weft.Completed(ctx, pending) {
		if err != nil {
			return nil, err
		}
		done++
		table[o.Row].right += o.Right
		table[o.Row].of += o.Of
		out.progress("sweep", done, len(pending))
	}
	slices.SortStableFunc(table, func(a, b row) int { return cmp.Compare(b.accuracy(), a.accuracy()) })
	t.report("sweep", out)
	return table, nil
}
