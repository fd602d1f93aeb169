package nn

import (
	"fmt"
	"math/rand/v2"
)

// A Gradient adds up, over examples, how the loss changes with each parameter.
type Gradient struct {
	Sum   []float32 // by parameter
	Loss  float64   // the loss itself, added up
	Count int       // examples that were added

	scratch activations
}

// NewGradient makes an empty gradient for networks of the shape.
func NewGradient(s Shape) *Gradient {
	return &Gradient{Sum: make([]float32, s.Size()), scratch: newActivations(s)}
}

// Reset empties the gradient.
func (g *Gradient) Reset() {
	clear(g.Sum)
	g.Loss, g.Count = 0, 0
}

// Add adds the examples of the rows.
func (g *Gradient) Add(n *Network, e Examples, rows []int) {
	params, sums := n.view(n.Params), n.view(g.Sum)
	for _, row := range rows {
		g.addOne(n, params, sums, e.input(row), e.Labels[row])
	}
	g.Count += len(rows)
}

// Join adds another gradient.
func (g *Gradient) Join(other *Gradient) {
	addScaled(g.Sum, 1, other.Sum)
	g.Loss += other.Loss
	g.Count += other.Count
}

// addOne adds one example: forward, then the error back through the layers.
func (g *Gradient) addOne(n *Network, params, sums layers, input []float32, label byte) {
	a := g.scratch
	n.forward(params, input, a)
	g.Loss += softmax(a.prob, a.out, label)
	outErr := a.prob // the error of softmax and cross-entropy: probability less truth
	outErr[label]--

	addScaled(sums.outBias, 1, outErr)
	for j, h := range a.hidden {
		a.hiddenErr[j] = 0
		if h > 0 {
			at := j * n.Shape.Out
			addScaled(sums.out[at:at+n.Shape.Out], h, outErr)
			a.hiddenErr[j] = dot(outErr, params.out[at:])
		}
	}
	addScaled(sums.hiddenBias, 1, a.hiddenErr)
	for i, x := range input {
		if x != 0 {
			at := i * n.Shape.Hidden
			addScaled(sums.hidden[at:at+n.Shape.Hidden], x, a.hiddenErr)
		}
	}
}

// Descent moves parameters against their gradients: v ← µv − η(g + λw), w ← w + v.
type Descent struct {
	Momentum float32 // µ, how much of the last move goes on
	Decay    float32 // λ, the pull of the weights towards zero; biases have none

	velocity []float32
}

// Step moves the network by the mean of the gradient, at the rate η.
func (d *Descent) Step(n *Network, g *Gradient, rate float32) {
	if d.velocity == nil {
		d.velocity = make([]float32, len(n.Params))
	}
	params, sums, speed := n.view(n.Params), n.view(g.Sum), n.view(d.velocity)
	scale := 1 / float32(g.Count)
	d.move(params.hidden, sums.hidden, speed.hidden, rate, scale, d.Decay)
	d.move(params.hiddenBias, sums.hiddenBias, speed.hiddenBias, rate, scale, 0)
	d.move(params.out, sums.out, speed.out, rate, scale, d.Decay)
	d.move(params.outBias, sums.outBias, speed.outBias, rate, scale, 0)
}

func (d *Descent) move(params, sums, speed []float32, rate, scale, decay float32) {
	sums, speed = sums[:len(params)], speed[:len(params)]
	for i, w := range params {
		v := d.Momentum*speed[i] - rate*(scale*sums[i]+decay*w)
		speed[i] = v
		params[i] = w + v
	}
}

// A Config is one way to train.
type Config struct {
	Hidden   int     // units in the hidden layer
	Rate     float32 // η at the start; it falls to zero on a straight line
	Decay    float32 // λ
	Batch    int     // examples a step
	Momentum float32 // µ
	Epochs   int     // passes over the examples
	Seed     uint64  // of the first weights and of the order of the examples
}

// String is what tells configurations of a Grid apart.
func (c Config) String() string {
	return fmt.Sprintf("hidden %3d, rate %.3f, decay %.4f, batch %2d", c.Hidden, c.Rate, c.Decay, c.Batch)
}

// Grid lists the configurations to try.
func Grid() []Config {
	var grid []Config
	for _, hidden := range []int{16, 32, 64} {
		for _, rate := range []float32{0.02, 0.1} {
			for _, decay := range []float32{0, 0.001} {
				for _, batch := range []int{8, 32} {
					grid = append(grid, Config{
						Hidden: hidden, Rate: rate, Decay: decay, Batch: batch, Momentum: 0.9, Epochs: 20, Seed: 1,
					})
				}
			}
		}
	}
	return grid
}

// Batches calls step for each batch of an epoch, in an order that seed and
// epoch decide, with the rate for it. It stops at the first error. The slice
// of rows is valid during the call.
func (c Config) Batches(epoch int, rows []int, step func(batch []int, rate float32) error) error {
	rng := rand.New(rand.NewPCG(c.Seed, uint64(epoch)))
	order := append([]int(nil), rows...)
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for at := 0; at < len(order); at += c.Batch {
		done := (float32(epoch) + float32(at)/float32(len(order))) / float32(c.Epochs)
		if err := step(order[at:min(at+c.Batch, len(order))], c.Rate*(1-done)); err != nil {
			return err
		}
	}
	return nil
}

// Train trains a new network with the examples of the rows. After each epoch
// it calls progress, unless nil, with the mean loss over it; it stops early
// with progress's error.
func (c Config) Train(shape Shape, e Examples, rows []int, progress func(epoch int, loss float64) error) (*Network, error) {
	shape.Hidden = c.Hidden
	n := New(shape, c.Seed)
	d := Descent{Momentum: c.Momentum, Decay: c.Decay}
	g := NewGradient(shape)
	for epoch := range c.Epochs {
		var loss float64
		err := c.Batches(epoch, rows, func(batch []int, rate float32) error {
			g.Reset()
			g.Add(n, e, batch)
			d.Step(n, g, rate)
			loss += g.Loss
			return nil
		})
		if err == nil && progress != nil {
			err = progress(epoch, loss/float64(len(rows)))
		}
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}
