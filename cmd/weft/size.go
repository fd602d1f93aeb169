package main

import (
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// size is a flag in bytes: a number, and a unit such as GiB, G or GB.
type size int64

var _ pflag.Value = (*size)(nil)

// Set implements pflag.Value. K, M, G and T are powers of 1024, with or
// without "iB"; KB, MB, GB and TB are powers of 1000.
func (s *size) Set(text string) error {
	digits := strings.TrimRight(text, "KMGTiBb ")
	unit := strings.TrimSpace(text[len(digits):])
	v, err := strconv.ParseFloat(digits, 64)
	factor, known := unitOf(unit)
	if err != nil || !known || !(v >= 0 && v*factor < math.MaxInt64/2) {
		return usagef("%q is not a size; write it as 4GiB, 500M or 1000000", text)
	}
	*s = size(v * factor)
	return nil
}

func unitOf(unit string) (factor float64, known bool) {
	if unit == "" || unit == "B" {
		return 1, true
	}
	power := strings.IndexByte("KMGT", unit[0]) + 1
	switch unit[1:] {
	case "", "i", "iB":
		return math.Pow(1024, float64(power)), power > 0
	case "B":
		return math.Pow(1000, float64(power)), power > 0
	}
	return 0, false
}

// String implements pflag.Value.
func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value.
func (s *size) Type() string { return "size" }
