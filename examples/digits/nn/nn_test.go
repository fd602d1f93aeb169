package nn

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weftrun/weft/examples/digits/data"
)

var shape = Shape{In: data.Pixels, Out: data.Classes}

func examplesOf(s data.Set) Examples { return Examples{Inputs: s.Inputs(), Labels: s.Labels} }

// The gradient is the slope of the loss: moving one parameter a little either
// way changes the loss by twice that much of it.
func TestGradientAgainstFiniteDifferences(t *testing.T) {
	s := Shape{In: 5, Hidden: 7, Out: 3}
	rng := rand.New(rand.NewPCG(3, 3))
	var e Examples
	for range 4 {
		for range s.In {
			e.Inputs = append(e.Inputs, rng.Float32())
		}
		e.Labels = append(e.Labels, byte(rng.IntN(s.Out)))
	}
	n := New(s, 5)
	rows := AllRows(e)
	g := NewGradient(s)
	g.Add(n, e, rows)

	const step = 5e-3 // smaller ones drown in float32's rounding
	at := func(i int, w float32) float64 {
		kept := n.Params[i]
		defer func() { n.Params[i] = kept }()
		n.Params[i] = w
		moved := NewGradient(s)
		moved.Add(n, e, rows)
		return moved.Loss
	}
	for i, w := range n.Params {
		slope := (at(i, w+step) - at(i, w-step)) / (2 * step)
		if got := float64(g.Sum[i]); math.Abs(got-slope) > 1e-3+1e-2*math.Abs(slope) {
			t.Errorf("gradient of parameter %d is %v, the slope %v", i, got, slope)
		}
	}
}

// Gradients of parts add up to that of the whole, which is what makes
// data-parallel training the same training.
func TestGradientAddsUp(t *testing.T) {
	e := examplesOf(data.Load())
	n := New(Shape{shape.In, 8, shape.Out}, 1)
	whole, parts := NewGradient(n.Shape), NewGradient(n.Shape)
	whole.Add(n, e, []int{1, 2, 3, 4})
	parts.Add(n, e, []int{1, 2})
	parts.Add(n, e, []int{3, 4})
	if !slices.Equal(whole.Sum, parts.Sum) || whole.Loss != parts.Loss || whole.Count != parts.Count {
		t.Error("two halves differ from the whole")
	}
	whole.Reset()
	if whole.Count != 0 || whole.Loss != 0 || slices.Max(whole.Sum) != 0 {
		t.Error("a reset gradient is not empty")
	}
}

// One step, by hand: w = 1, gradient 2 over 2 examples, decay 0.5, rate 0.1.
func TestDescentStep(t *testing.T) {
	n := &Network{Shape: Shape{1, 1, 1}, Params: []float32{1, 1, 1, 1}}
	g := &Gradient{Sum: []float32{2, 2, 2, 2}, Count: 2}
	d := Descent{Momentum: 0.5, Decay: 0.5}
	want := [][]float32{
		{0.85, 0.9, 0.85, 0.9},       // v = -0.1*(1+0.5) for weights, -0.1*1 for biases
		{0.6325, 0.75, 0.6325, 0.75}, // v = 0.5*v - 0.1*(1+0.5*0.85), 0.5*v - 0.1
	}
	for step, w := range want {
		d.Step(n, g, 0.1)
		for i := range w {
			if math.Abs(float64(n.Params[i]-w[i])) > 1e-6 {
				t.Errorf("step %d: parameters %v, want %v", step, n.Params, w)
			}
		}
	}
}

func TestBatchesCoverRowsOnce(t *testing.T) {
	c := Config{Batch: 4, Epochs: 2, Rate: 1, Seed: 9}
	rows := []int{2, 3, 5, 7, 11, 13, 17, 19, 23, 29}
	var seen []int
	var rates []float32
	for epoch := range c.Epochs {
		err := c.Batches(epoch, rows, func(batch []int, rate float32) error {
			seen = append(seen, batch...)
			rates = append(rates, rate)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if slices.Equal(seen[:10], seen[10:]) {
		t.Error("both epochs go in the same order")
	}
	for _, epoch := range [][]int{seen[:10], seen[10:]} {
		slices.Sort(epoch)
		if !slices.Equal(epoch, rows) {
			t.Errorf("an epoch goes over %v, want %v", epoch, rows)
		}
	}
	if rates[0] != 1 || !slices.IsSortedFunc(rates, func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) }) {
		t.Errorf("rates %v do not fall from 1", rates)
	}
}

// The network learns: held-out digits are read right, 19 of 20 at least.
func TestTrainHeldOutAccuracy(t *testing.T) {
	train, heldOut := data.Load().Split(1)
	e := examplesOf(train)
	c := Config{Hidden: 32, Rate: 0.1, Decay: 0.001, Batch: 32, Momentum: 0.9, Epochs: 20, Seed: 1}
	var losses []float64
	n, err := c.Train(shape, e, AllRows(e), func(_ int, loss float64) error {
		losses = append(losses, loss)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if acc := n.Accuracy(examplesOf(heldOut)); acc < 0.95 {
		t.Errorf("held-out accuracy %.3f, want 0.95", acc)
	}
	if first, last := losses[0], losses[len(losses)-1]; len(losses) != c.Epochs || last > first/5 {
		t.Errorf("%d epochs, loss from %.3f to %.3f", len(losses), first, last)
	}
}

func TestTrainIsDeterministicAndStops(t *testing.T) {
	train, _ := data.Load().Split(1)
	e := examplesOf(train)
	rows := AllRows(e)[:200]
	c := Config{Hidden: 8, Rate: 0.1, Batch: 16, Momentum: 0.9, Epochs: 3, Seed: 4}
	a, errA := c.Train(shape, e, rows, nil)
	b, errB := c.Train(shape, e, rows, nil)
	if errA != nil || errB != nil || !slices.Equal(a.Params, b.Params) {
		t.Errorf("two trainings differ (errors %v, %v)", errA, errB)
	}
	stop := errors.New("stop")
	epochs := 0
	_, err := c.Train(shape, e, rows, func(int, float64) error { epochs++; return stop })
	if !errors.Is(err, stop) || epochs != 1 {
		t.Errorf("training went on for %d epochs, error %v", epochs, err)
	}
}

func TestGrid(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Grid() {
		seen[c.String()] = true
	}
	if len(seen) < 24 {
		t.Errorf("%d configurations, want 24", len(seen))
	}
}

func BenchmarkEpoch(b *testing.B) {
	train, _ := data.Load().Split(1)
	e := examplesOf(train)
	rows := AllRows(e)
	c := Config{Hidden: 32, Rate: 0.1, Batch: 32, Momentum: 0.9, Epochs: 1, Seed: 4}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Train(shape, e, rows, nil); err != nil {
			b.Fatal(err)
		}
	}
}
