package data

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	s := Load()
	if s.Len() != 1797 || len(s.Images) != 1797*Pixels {
		t.Fatalf("loaded %d labels and %d pixels", s.Len(), len(s.Images))
	}
	// The counts that the set's authors published.
	want := []int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}
	if got := counts(s); !slices.Equal(got, want) {
		t.Errorf("images of each digit: %v, want %v", got, want)
	}
	if got := s.Image(0)[:5]; !slices.Equal(got, []byte{0, 0, 5, 13, 9}) || s.Labels[0] != 0 {
		t.Errorf("the first image begins %v and shows %d", got, s.Labels[0])
	}
	if in := s.Inputs(); in[3] != 13.0/16 {
		t.Errorf("input 3 is %v, want 13/16", in[3])
	}
}

func counts(s Set) []int {
	n := make([]int, Classes)
	for _, label := range s.Labels {
		n[label]++
	}
	return n
}

func TestParseRejects(t *testing.T) {
	zeros := strings.Repeat("0,", Pixels-1)
	for _, line := range []string{"1,2,3", zeros + "17,3", zeros + "x,3", zeros + "1,10", zeros + "1,"} {
		if _, err := parse(zeros + "1,3\n" + line); err == nil || !strings.Contains(err.Error(), "digits.csv:2:") {
			t.Errorf("parsing %q: error %v, want one about line 2", line, err)
		}
	}
}

func TestPack(t *testing.T) {
	s := Load()
	got, err := Unpack(s.Pack())
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("unpacked %d images, error %v", got.Len(), err)
	}
	if _, err := Unpack(make([]byte, Pixels)); err == nil {
		t.Error("unpacked half an image")
	}
}

func TestSplit(t *testing.T) {
	s := Load()
	train, heldOut := s.Split(1)
	if train.Len()+heldOut.Len() != s.Len() {
		t.Errorf("%d + %d images, want %d", train.Len(), heldOut.Len(), s.Len())
	}
	for digit, n := range counts(heldOut) {
		if share := float64(n) / float64(counts(s)[digit]); share < 0.19 || share > 0.21 {
			t.Errorf("%.3f of the images of %d are held out, want a fifth", share, digit)
		}
	}
	again, _ := s.Split(1)
	other, _ := s.Split(2)
	if !reflect.DeepEqual(again, train) || reflect.DeepEqual(other, train) {
		t.Error("the seed must decide the split, and nothing else")
	}
}

func TestFolds(t *testing.T) {
	const folds = 5
	s, _ := Load().Split(1)
	seen := make([]int, s.Len())
	for i := range folds {
		train, validate := s.Fold(i, folds, 7)
		if len(train)+len(validate) != s.Len() {
			t.Errorf("fold %d: %d + %d rows", i, len(train), len(validate))
		}
		for _, row := range validate {
			seen[row]++
			if slices.Contains(train, row) {
				t.Fatalf("fold %d: row %d trains and validates", i, row)
			}
		}
	}
	if slices.Min(seen) != 1 || slices.Max(seen) != 1 {
		t.Error("not every row validates exactly once")
	}
}
