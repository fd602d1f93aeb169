package main

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	tests := []struct {
		unit unit
		v    float64
		want string
	}{
		{nanoseconds, 497.4, "497 ns"},
		{nanoseconds, 2310, "2.31 µs"},
		{nanoseconds, 5.2e6, "5.20 ms"},
		{nanoseconds, 3e9, "3 s"},
		{rate, 812_345, "812,000/s"},
		{rate, 999, "999/s"},
		{rate, 28_349_123, "28,300,000/s"},
		{bytesPerSecond, 12.5 * gib, "12.5 GiB/s"},
		{sizeInBytes, 709.4, "709 B"},
		{sizeInBytes, 11.1e6, "11.1 MB"},
		{count, 5.013, "5.01"},
		{count, 0, "0"},
		{percent, 100, "100%"},
	}
	for _, test := range tests {
		if got := test.unit.format(test.v); got != test.want {
			t.Errorf("%v of %v: got %q, want %q", test.unit, test.v, got, test.want)
		}
	}
}

func TestBenchLines(t *testing.T) {
	got := benchLines("goos: linux\nBenchmarkQueue-2   \t 1000\t       402.5 ns/op\t       201.2 ns/step\t       0 B/op\t       3 allocs/op\nPASS\n")
	if len(got) != 1 || got[0]["ns/op"] != 402.5 || got[0]["ns/step"] != 201.2 || got[0]["allocs/op"] != 3 {
		t.Errorf("got %v", got)
	}
}

func TestVerdict(t *testing.T) {
	samples := func(subject, limit []float64) (s []sample) {
		for i, v := range subject {
			s = append(s, sample{Row: "x/y", Round: i + 1, Value: v})
		}
		for i, v := range limit {
			s = append(s, sample{Row: "x/y", Round: i + 1, Value: v, Limit: true})
		}
		return append(s, sample{Row: "x/other", Round: 1, Value: 1e9})
	}
	w := row{name: "x/y", unit: nanoseconds, asked: "≤ 5 and ≤ 3×", reached: both(atMost(5), timesLimit(3))}
	tests := []struct {
		name           string
		subject, limit []float64
		failed         string
		want           string
	}{
		{"reached", []float64{4, 100, 5}, []float64{2, 50, 2}, "", "yes"},
		{"too slow", []float64{6, 6, 1}, []float64{6, 6, 6}, "", "**no**"},
		{"too many times the limit", []float64{4, 4, 4}, []float64{1, 1, 9}, "", "**no**"},
		{"no limit measured", []float64{4}, nil, "", "**no**"},
		{"nothing measured", nil, nil, "", "**no**: not measured"},
		{"broken off", []float64{4}, []float64{4}, "not done after 3m0s\nmore", "**no**: not done after 3m0s"},
	}
	for _, test := range tests {
		r := w.result(&finding{Samples: samples(test.subject, test.limit), Error: test.failed})
		if got := r.verdict(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{9, 1, 3}); got != 3 {
		t.Errorf("of three: %v", got)
	}
	if got := median([]float64{4, 1, 3, 9}); math.Abs(got-3.5) > 1e-9 {
		t.Errorf("of four: %v", got)
	}
}

// Each row is its topic's, has a name of its own, and is explained.
func TestRows(t *testing.T) {
	var seen []string
	for _, topic := range topics {
		for _, row := range topic.rows {
			if !strings.HasPrefix(row.name, topic.name+"/") || slices.Contains(seen, row.name) {
				t.Errorf("row %q of topic %q", row.name, topic.name)
			}
			if (row.asked != "") != (row.reached != nil) {
				t.Errorf("row %q: asked %q, but what decides it is set: %v", row.name, row.asked, row.reached != nil)
			}
			seen = append(seen, row.name)
			if !topic.matches(regexp.MustCompile(regexp.QuoteMeta(row.name) + "$")) {
				t.Errorf("row %q cannot be chosen", row.name)
			}
		}
	}
}

// Rounds begin with another part each time, and the first one is not told.
func TestAlternate(t *testing.T) {
	var order strings.Builder
	m := &meter{rounds: 3}
	part := func(name string) func() error {
		return func() error { order.WriteString(name); return nil }
	}
	if err := m.alternate(part("a"), part("b")); err != nil {
		t.Fatal(err)
	}
	if got := order.String(); got != "abbaabba" {
		t.Errorf("got %s", got)
	}
}
