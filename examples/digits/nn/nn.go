// Package nn is a small neural network in plain Go: one hidden layer of
// rectified units, softmax, cross-entropy, and stochastic gradient descent with
// momentum and L2 decay. It knows nothing of Weft.
//
// A Network's parameters are one slice of float32, so that they travel as one
// vector. Gradients are sums over examples, so those of two parts of a batch
// add up to that of the whole: that is all that data-parallel training needs.
// The same seed and order give the same bits.
//
// A Network may be read concurrently; each goroutine that computes gradients
// needs a Gradient of its own.
package nn

import (
	"math"
	"math/rand/v2"
)

// A Shape says how many units each layer has.
type Shape struct {
	In, Hidden, Out int
}

// Size is the number of parameters.
func (s Shape) Size() int { return s.In*s.Hidden + s.Hidden + s.Hidden*s.Out + s.Out }

// A Network computes a score for each class from an input. Its Params are the
// weights of the hidden layer (a row of Hidden for each input), its biases, the
// weights of the output (a row of Out for each hidden unit) and its biases.
type Network struct {
	Shape  Shape
	Params []float32
}

// Examples are inputs, of equal length and one after the other, and their
// classes.
type Examples struct {
	Inputs []float32
	Labels []byte
}

// Len is the number of examples.
func (e Examples) Len() int { return len(e.Labels) }

// input returns the input of a row.
func (e Examples) input(row int) []float32 {
	width := len(e.Inputs) / len(e.Labels)
	return e.Inputs[row*width : (row+1)*width]
}

// New makes a network with random weights of the size that keeps the signal's
// strength from layer to layer (He et al. 2015), and biases of zero.
func New(shape Shape, seed uint64) *Network {
	n := &Network{Shape: shape, Params: make([]float32, shape.Size())}
	rng := rand.New(rand.NewPCG(seed, 0x6e657477_6f726b00))
	v := n.view(n.Params)
	fill(v.hidden, math.Sqrt(2/float64(shape.In)), rng)
	fill(v.out, math.Sqrt(1/float64(shape.Hidden)), rng)
	return n
}

func fill(weights []float32, deviation float64, rng *rand.Rand) {
	for i := range weights {
		weights[i] = float32(rng.NormFloat64() * deviation)
	}
}

// layers are the parts of a vector of parameters or of their gradients.
type layers struct {
	hidden, hiddenBias, out, outBias []float32
}

func (n *Network) view(vector []float32) layers {
	cut := func(size int) []float32 {
		part := vector[:size:size]
		vector = vector[size:]
		return part
	}
	s := n.Shape
	return layers{cut(s.In * s.Hidden), cut(s.Hidden), cut(s.Hidden * s.Out), cut(s.Out)}
}

// activations are what flows through a network for one example.
type activations struct {
	hidden, out     []float32
	hiddenErr, prob []float32
}

func newActivations(s Shape) activations {
	return activations{
		hidden: make([]float32, s.Hidden), hiddenErr: make([]float32, s.Hidden),
		out: make([]float32, s.Out), prob: make([]float32, s.Out),
	}
}

// forward fills a.hidden and a.out. Inputs and hidden units that are zero, more
// than half of them, cost nothing.
func (n *Network) forward(v layers, input []float32, a activations) {
	copy(a.hidden, v.hiddenBias)
	for i, x := range input {
		if x != 0 {
			addScaled(a.hidden, x, v.hidden[i*n.Shape.Hidden:])
		}
	}
	copy(a.out, v.outBias)
	for j, h := range a.hidden {
		if h > 0 {
			addScaled(a.out, h, v.out[j*n.Shape.Out:])
		} else {
			a.hidden[j] = 0
		}
	}
}

// addScaled adds scale*from to, for as many as to has.
func addScaled(to []float32, scale float32, from []float32) {
	from = from[:len(to)]
	for len(to) >= 4 && len(from) >= 4 {
		to[0] += scale * from[0]
		to[1] += scale * from[1]
		to[2] += scale * from[2]
		to[3] += scale * from[3]
		to, from = to[4:], from[4:]
	}
	for i := range to {
		to[i] += scale * from[i]
	}
}

// dot is the scalar product of a and as much of b.
func dot(a, b []float32) float32 {
	var sum float32
	b = b[:len(a)]
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

// softmax turns scores into probabilities and returns the cross-entropy with
// the label.
func softmax(prob, scores []float32, label byte) (loss float64) {
	highest := scores[0]
	for _, s := range scores {
		highest = max(highest, s)
	}
	var sum float64
	for k, s := range scores {
		e := math.Exp(float64(s - highest))
		prob[k] = float32(e)
		sum += e
	}
	for k := range prob {
		prob[k] /= float32(sum)
	}
	return math.Log(sum) - float64(scores[label]-highest)
}

// Right counts the examples of the rows whose highest score is their label's.
func (n *Network) Right(e Examples, rows []int) int {
	a, v := newActivations(n.Shape), n.view(n.Params)
	right := 0
	for _, row := range rows {
		n.forward(v, e.input(row), a)
		if best(a.out) == int(e.Labels[row]) {
			right++
		}
	}
	return right
}

// Accuracy is the share of all examples that Right counts.
func (n *Network) Accuracy(e Examples) float64 {
	return float64(n.Right(e, AllRows(e))) / float64(e.Len())
}

// AllRows are the rows of the examples in order.
func AllRows(e Examples) []int {
	rows := make([]int, e.Len())
	for i := range rows {
		rows[i] = i
	}
	return rows
}

func best(scores []float32) int {
	at := 0
	for k, s := range scores {
		if s > scores[at] {
			at = k
		}
	}
	return at
}
