package client

import (
	"encoding/binary"
	"math"
	"reflect"
)

// What follows encodes the commonest plain types, and slices of numbers, as
// package cbor would, an order of magnitude faster: without reflection, and
// with one allocation. What it does not handle is left to that package, and so
// is every error.

// CBOR major types, in the upper three bits of an item's first byte.
const (
	majorUint  = 0 << 5
	majorNint  = 1 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5

	cborFalse   = 0xf4
	cborTrue    = 0xf5
	cborFloat32 = 0xfa
	cborFloat64 = 0xfb
)

// isPlain reports whether appendPlain and readPlain may handle values of t.
func isPlain(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[int](), reflect.TypeFor[int64](), reflect.TypeFor[uint64](), reflect.TypeFor[string](),
		reflect.TypeFor[bool](), reflect.TypeFor[float64](), reflect.TypeFor[struct{}](),
		reflect.TypeFor[[]float64](), reflect.TypeFor[[]float32](), reflect.TypeFor[[]int](), reflect.TypeFor[[]int64]():
		return true
	}
	return false
}

// appendPlain returns v's encoding, or nil if package cbor must make it.
func appendPlain(v any) []byte {
	switch v := v.(type) {
	case int:
		return appendInt(make([]byte, 0, 9), int64(v))
	case int64:
		return appendInt(make([]byte, 0, 9), v)
	case uint64:
		return appendHead(make([]byte, 0, 9), majorUint, v)
	case string:
		return append(appendHead(make([]byte, 0, 9+len(v)), majorText, uint64(len(v))), v...)
	case bool:
		if v {
			return []byte{cborTrue}
		}
		return []byte{cborFalse}
	case float64:
		if finite(v) {
			return appendFloat64(make([]byte, 0, 9), v)
		}
	case struct{}:
		return []byte{0xa0} // an empty map
	case []float64:
		return appendFloats64(v)
	case []float32:
		return appendFloats32(v)
	case []int:
		return appendInts(v)
	case []int64:
		return appendInts(v)
	}
	return nil
}

// finite reports whether v has one encoding that everybody agrees on.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNint, uint64(^v))
	}
	return appendHead(b, majorUint, uint64(v))
}

func appendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, cborFloat64), math.Float64bits(v))
}

func appendFloats64(vs []float64) []byte {
	if vs == nil {
		return nil
	}
	b := appendHead(make([]byte, 0, 9+9*len(vs)), majorArray, uint64(len(vs)))
	for _, v := range vs {
		if !finite(v) {
			return nil
		}
		b = appendFloat64(b, v)
	}
	return b
}

func appendFloats32(vs []float32) []byte {
	if vs == nil {
		return nil
	}
	b := appendHead(make([]byte, 0, 9+5*len(vs)), majorArray, uint64(len(vs)))
	for _, v := range vs {
		if !finite(float64(v)) {
			return nil
		}
		b = binary.BigEndian.AppendUint32(append(b, cborFloat32), math.Float32bits(v))
	}
	return b
}

func appendInts[T int | int64](vs []T) []byte {
	if vs == nil {
		return nil
	}
	b := appendHead(make([]byte, 0, 9+3*len(vs)), majorArray, uint64(len(vs)))
	for _, v := range vs {
		b = appendInt(b, int64(v))
	}
	return b
}

// readPlain is appendPlain's inverse: a value of type t, or nil if package cbor
// must read it or say what is wrong.
func readPlain(t reflect.Type, b []byte) any {
	switch t {
	case reflect.TypeFor[int]():
		if v, rest, ok := readInt(b); ok && len(rest) == 0 && int64(int(v)) == v {
			return int(v)
		}
	case reflect.TypeFor[int64]():
		if v, rest, ok := readInt(b); ok && len(rest) == 0 {
			return v
		}
	case reflect.TypeFor[uint64]():
		if major, v, rest, ok := readHead(b); ok && major == majorUint && len(rest) == 0 {
			return v
		}
	case reflect.TypeFor[string]():
		if major, n, rest, ok := readHead(b); ok && major == majorText && n == uint64(len(rest)) {
			return string(rest)
		}
	case reflect.TypeFor[bool]():
		if len(b) == 1 && (b[0] == cborTrue || b[0] == cborFalse) {
			return b[0] == cborTrue
		}
	case reflect.TypeFor[float64]():
		if len(b) == 9 && b[0] == cborFloat64 {
			return math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
		}
	case reflect.TypeFor[[]float64]():
		return readFloats64(b)
	case reflect.TypeFor[[]float32]():
		return readFloats32(b)
	case reflect.TypeFor[[]int]():
		return readInts[int](b)
	case reflect.TypeFor[[]int64]():
		return readInts[int64](b)
	}
	return nil
}

// readHead reads the first bytes of an item.
func readHead(b []byte) (major byte, n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, nil, false
	}
	major, n, rest = b[0]&0xe0, uint64(b[0]&0x1f), b[1:]
	if n < 24 {
		return major, n, rest, true
	}
	size := 1 << (n - 24)
	if n > 27 || len(rest) < size {
		return 0, 0, nil, false
	}
	n = 0
	for _, c := range rest[:size] {
		n = n<<8 | uint64(c)
	}
	return major, n, rest[size:], true
}

func readInt(b []byte) (int64, []byte, bool) {
	major, n, rest, ok := readHead(b)
	switch {
	case !ok || n > math.MaxInt64:
		return 0, nil, false
	case major == majorUint:
		return int64(n), rest, true
	case major == majorNint:
		return ^int64(n), rest, true
	}
	return 0, nil, false
}

// readArray reads the head of an array whose items have at least size bytes,
// or exactly so many.
func readArray(b []byte, size int, exact bool) (n int, rest []byte, ok bool) {
	major, count, rest, ok := readHead(b)
	if !ok || major != majorArray || count > uint64(len(rest)/size) || exact && count != uint64(len(rest)/size) {
		return 0, nil, false
	}
	return int(count), rest, !exact || len(rest)%size == 0
}

func readFloats64(b []byte) any {
	n, rest, ok := readArray(b, 9, true)
	if !ok {
		return nil
	}
	vs := make([]float64, n)
	for i := range vs {
		if rest[0] != cborFloat64 {
			return nil
		}
		vs[i] = math.Float64frombits(binary.BigEndian.Uint64(rest[1:]))
		rest = rest[9:]
	}
	return vs
}

func readFloats32(b []byte) any {
	n, rest, ok := readArray(b, 5, true)
	if !ok {
		return nil
	}
	vs := make([]float32, n)
	for i := range vs {
		if rest[0] != cborFloat32 {
			return nil
		}
		vs[i] = math.Float32frombits(binary.BigEndian.Uint32(rest[1:]))
		rest = rest[5:]
	}
	return vs
}

func readInts[T int | int64](b []byte) any {
	n, rest, ok := readArray(b, 1, false)
	if !ok {
		return nil
	}
	vs := make([]T, n)
	for i := range vs {
		var v int64
		if v, rest, ok = readInt(rest); !ok || int64(T(v)) != v {
			return nil
		}
		vs[i] = T(v)
	}
	if len(rest) > 0 {
		return nil
	}
	return vs
}
