// Package resource holds vectors of resource amounts, node labels and label
// selectors: what work asks for and what nodes have.
//
// Amounts are fixed point with four decimals, so that a thousand reservations
// of 0.1 CPU and their returns add up to exactly zero.
package resource

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Amount is a quantity in units of 1/10,000. Memory is in bytes.
type Amount int64

// Unit is the Amount of one whole CPU, GPU or byte.
const Unit Amount = 10_000

// Names of the resources every node knows.
const (
	CPU    = "CPU"
	GPU    = "GPU"
	Memory = "memory"
)

// Names of what a node that serves sessions has beside, as Ray's nodes do: programs
// look at them, or ask for a little of one to run at a certain node.
const (
	Store  = "object_store_memory"    // bytes of shared memory for objects; nobody takes of it as a resource
	OfNode = "node:"                  // and the node's IP address: one
	Head   = "node:__internal_head__" // one at each head
)

// Implied reports whether a node has the resource called name whatever it is.
func Implied(name string) bool { return name == Store || strings.HasPrefix(name, OfNode) }

// ParseAmount converts a float to an Amount. It refuses NaN, infinities,
// negative values and values that do not fit.
func ParseAmount(name string, v float64) (Amount, error) {
	switch {
	case math.IsNaN(v):
		return 0, fmt.Errorf("resource %q: NaN is not an amount", name)
	case v < 0:
		return 0, fmt.Errorf("resource %q: %v is negative", name, v)
	case v > float64(math.MaxInt64/int64(Unit)/2):
		return 0, fmt.Errorf("resource %q: %v is too large", name, v)
	}
	return Amount(math.Round(v * float64(Unit))), nil
}

// Float returns a in whole units.
func (a Amount) Float() float64 { return float64(a) / float64(Unit) }

func (a Amount) String() string { return strconv.FormatFloat(a.Float(), 'f', -1, 64) }

// Entry is one custom resource of a Vector.
type Entry struct {
	Name   string
	Amount Amount
}

// Accelerators are the resources that are made of devices: a task gets particular
// ones, which its process is told.
var Accelerators = [...]string{GPU, "TPU", "neuron_cores", "NPU", "HPU", "RBLN", "FURIOSA", "MBLT", "TTNPU"}

// Vector is an amount of every resource. The zero Vector asks for nothing.
// Custom is sorted by name, has no zero entries and is never changed in place
// once the Vector is shared.
type Vector struct {
	CPU, GPU, Memory Amount
	Custom           []Entry
}

// FromMap builds a Vector; keys "CPU", "GPU" and "memory" are the built-in ones.
func FromMap(m map[string]float64) (Vector, error) {
	var v Vector
	for name, f := range m {
		a, err := ParseAmount(name, f)
		if err != nil {
			return Vector{}, err
		}
		v.Set(name, a)
	}
	return v, nil
}

// Set gives the resource called name the amount a.
func (v *Vector) Set(name string, a Amount) {
	switch name {
	case CPU:
		v.CPU = a
	case GPU:
		v.GPU = a
	case Memory:
		v.Memory = a
	default:
		i, ok := slices.BinarySearchFunc(v.Custom, name, func(e Entry, n string) int { return strings.Compare(e.Name, n) })
		switch {
		case ok && a == 0:
			v.Custom = slices.Delete(slices.Clone(v.Custom), i, i+1)
		case ok:
			v.Custom = slices.Clone(v.Custom)
			v.Custom[i].Amount = a
		case a != 0:
			v.Custom = slices.Insert(slices.Clone(v.Custom), i, Entry{name, a})
		}
	}
}

// Get returns the amount of the resource called name.
func (v *Vector) Get(name string) Amount {
	switch name {
	case CPU:
		return v.CPU
	case GPU:
		return v.GPU
	case Memory:
		return v.Memory
	}
	for i := range v.Custom {
		if v.Custom[i].Name == name {
			return v.Custom[i].Amount
		}
	}
	return 0
}

// All calls yield for each non-zero amount: CPU, GPU, memory, then by name.
func (v *Vector) All(yield func(string, Amount) bool) {
	for _, e := range [3]Entry{{CPU, v.CPU}, {GPU, v.GPU}, {Memory, v.Memory}} {
		if e.Amount != 0 && !yield(e.Name, e.Amount) {
			return
		}
	}
	for _, e := range v.Custom {
		if !yield(e.Name, e.Amount) {
			return
		}
	}
}

// IsZero reports whether v asks for nothing.
func (v *Vector) IsZero() bool {
	return v.CPU == 0 && v.GPU == 0 && v.Memory == 0 && len(v.Custom) == 0
}

// Fits reports whether v has at least need of every resource.
func (v *Vector) Fits(need *Vector) bool {
	if need.CPU > max(v.CPU, 0) || need.GPU > max(v.GPU, 0) || need.Memory > max(v.Memory, 0) {
		return false
	}
	for i := range need.Custom {
		if need.Custom[i].Amount > v.Get(need.Custom[i].Name) {
			return false
		}
	}
	return true
}

// Missing names the first resource of which v has less than need, with both amounts.
func (v *Vector) Missing(need *Vector) (name string, asked, have Amount, missing bool) {
	for n, a := range need.All {
		if h := v.Get(n); h < a {
			return n, a, h, true
		}
	}
	return "", 0, 0, false
}

// Add adds w to v in place. Amounts may go below zero and come back, as when
// a blocked task that lent its CPU resumes.
func (v *Vector) Add(w *Vector) { v.combine(w, 1) }

// Sub subtracts w from v in place.
func (v *Vector) Sub(w *Vector) { v.combine(w, -1) }

func (v *Vector) combine(w *Vector, sign Amount) {
	v.CPU += sign * w.CPU
	v.GPU += sign * w.GPU
	v.Memory += sign * w.Memory
	for i := range w.Custom {
		e := &w.Custom[i]
		found := false
		for j := range v.Custom {
			if v.Custom[j].Name == e.Name {
				v.Custom[j].Amount += sign * e.Amount
				found = true
				break
			}
		}
		if !found {
			v.Set(e.Name, sign*e.Amount)
		}
	}
}

// Clone returns a Vector that shares no memory with v.
func (v *Vector) Clone() Vector {
	w := *v
	w.Custom = slices.Clone(v.Custom)
	return w
}

// Equal reports whether v and w ask for the same.
func (v *Vector) Equal(w *Vector) bool {
	return v.CPU == w.CPU && v.GPU == w.GPU && v.Memory == w.Memory && slices.Equal(v.Custom, w.Custom)
}

// Map returns the non-zero amounts by name, in whole units.
func (v *Vector) Map() map[string]float64 {
	m := map[string]float64{}
	for n, a := range v.All {
		m[n] = a.Float()
	}
	return m
}

func (v Vector) String() string {
	var b strings.Builder
	for n, a := range v.All {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", n, a)
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}
