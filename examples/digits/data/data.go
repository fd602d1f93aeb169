// Package data holds the handwritten digits that the example learns: 1,797
// images of 8×8 pixels with 17 levels of ink each, and which digit each shows.
// README.md in the folder above says whose they are.
//
// A Set is immutable and may be read concurrently. It packs into bytes that
// cost nothing to unpack, so one copy in shared memory serves every worker.
package data

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

// What is known of every image.
const (
	Pixels  = 64 // 8×8, row by row
	Levels  = 16 // a pixel is 0 (white) to 16 (ink)
	Classes = 10 // the digits 0 to 9
)

//go:embed digits.csv
var csv string

// A Set is some of the images with their labels.
type Set struct {
	Images []byte // Pixels bytes an image
	Labels []byte // the digit an image shows
}

// Load returns all the images in the order of the original. It parses them
// once; do not change what it returns.
func Load() Set { return load() }

var load = sync.OnceValue(func() Set {
	s, err := parse(csv)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return s
})

// parse reads lines of Pixels levels and one label.
func parse(text string) (Set, error) {
	var s Set
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != Pixels+1 {
			return Set{}, fmt.Errorf("digits.csv:%d: %d fields, want %d pixels and a label", n, len(fields), Pixels)
		}
		for _, f := range fields[:Pixels] {
			level, err := strconv.ParseUint(f, 10, 8)
			if err != nil || level > Levels {
				return Set{}, fmt.Errorf("digits.csv:%d: pixel %q is not 0 to %d", n, f, Levels)
			}
			s.Images = append(s.Images, byte(level))
		}
		label, err := strconv.ParseUint(fields[Pixels], 10, 8)
		if err != nil || label >= Classes {
			return Set{}, fmt.Errorf("digits.csv:%d: label %q is not a digit", n, fields[Pixels])
		}
		s.Labels = append(s.Labels, byte(label))
	}
	return s, nil
}

// Len is the number of images.
func (s Set) Len() int { return len(s.Labels) }

// Image returns the pixels of image i.
func (s Set) Image(i int) []byte { return s.Images[i*Pixels : (i+1)*Pixels : (i+1)*Pixels] }

// Inputs returns the images as numbers from 0 to 1, Pixels of them an image.
func (s Set) Inputs() []float32 {
	inputs := make([]float32, len(s.Images))
	for i, level := range s.Images {
		inputs[i] = float32(level) / Levels
	}
	return inputs
}

// Pick returns the images of the given rows, copied.
func (s Set) Pick(rows []int) Set {
	picked := Set{Images: make([]byte, 0, len(rows)*Pixels), Labels: make([]byte, 0, len(rows))}
	for _, row := range rows {
		picked.Images = append(picked.Images, s.Image(row)...)
		picked.Labels = append(picked.Labels, s.Labels[row])
	}
	return picked
}

// Pack returns the set as bytes: the images, then the labels.
func (s Set) Pack() []byte {
	packed := make([]byte, 0, len(s.Images)+len(s.Labels))
	return append(append(packed, s.Images...), s.Labels...)
}

// Unpack is the inverse of Pack. The set refers to the bytes it is given.
func Unpack(packed []byte) (Set, error) {
	n := len(packed) / (Pixels + 1)
	if len(packed) != n*(Pixels+1) {
		return Set{}, fmt.Errorf("unpacking digits: %d bytes are no whole number of images of %d", len(packed), Pixels+1)
	}
	return Set{Images: packed[: n*Pixels : n*Pixels], Labels: packed[n*Pixels:]}, nil
}

// Deal shuffles the rows by the seed and deals them into parts so that each
// part has its share of every digit: no digit's rows differ by more than one
// between two parts. Part i holds rows i, i+parts, ... of each digit, so parts
// may be joined at will.
func (s Set) Deal(parts int, seed uint64) [][]int {
	rng := rand.New(rand.NewPCG(seed, 0x64696769_74730000))
	var byDigit [Classes][]int
	for _, row := range rng.Perm(s.Len()) {
		byDigit[s.Labels[row]] = append(byDigit[s.Labels[row]], row)
	}
	dealt := make([][]int, parts)
	next := 0 // goes on from digit to digit, so that parts are of equal size
	for _, rows := range byDigit {
		for _, row := range rows {
			dealt[next] = append(dealt[next], row)
			next = (next + 1) % parts
		}
	}
	return dealt
}

// Split puts a fifth of every digit aside, shuffled by the seed: train with
// the first set, and look at the held-out one only once, at the end.
func (s Set) Split(seed uint64) (train, heldOut Set) {
	const parts = 5
	dealt := s.Deal(parts, seed)
	var rows []int
	for _, part := range dealt[1:] {
		rows = append(rows, part...)
	}
	return s.Pick(rows), s.Pick(dealt[0])
}

// Fold returns the rows to train with and those to validate with in fold i of
// n: every row validates in one fold and trains in the others.
func (s Set) Fold(i, n int, seed uint64) (train, validate []int) {
	for part, rows := range s.Deal(n, seed) {
		if part == i {
			validate = rows
		} else {
			train = append(train, rows...)
		}
	}
	return train, validate
}
