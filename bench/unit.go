package main

import (
	"fmt"
	"strconv"
)

// unit says how values are printed.
type unit int

const (
	nanoseconds unit = iota
	rate             // a second
	bytesPerSecond
	sizeInBytes
	count
	percent
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

func (u unit) String() string {
	return [...]string{"ns", "/s", "B/s", "B", "", "%"}[u]
}

// format prints v with about three digits.
func (u unit) format(v float64) string {
	switch u {
	case nanoseconds:
		switch {
		case v < 1e3:
			return digits(v) + " ns"
		case v < 1e6:
			return digits(v/1e3) + " µs"
		case v < 1e9:
			return digits(v/1e6) + " ms"
		}
		return digits(v/1e9) + " s"
	case rate:
		return grouped(v) + "/s"
	case bytesPerSecond:
		return digits(v/gib) + " GiB/s"
	case sizeInBytes:
		if v < 1e6 {
			return grouped(v) + " B"
		}
		return digits(v/1e6) + " MB"
	case percent:
		return digits(v) + "%"
	case count:
	}
	return digits(v)
}

func digits(v float64) string {
	switch {
	case v == float64(int64(v)) && v < 1e6:
		return strconv.FormatInt(int64(v), 10)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// grouped prints a whole number with a comma at each thousand, and no more than
// three significant digits if it is large.
func grouped(v float64) string {
	n := int64(v + 0.5)
	for unit := int64(1); n/unit >= 1000; unit *= 10 {
		if n/unit < 10_000 {
			n = (n + unit*5) / (unit * 10) * (unit * 10)
			break
		}
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
