package control

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A part of a key never reaches into another part, whatever it contains.
func TestKeyPartsAreSeparate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "parts")
		key := Key(parts...)
		if got := SplitKey(key); !slices.Equal(got, parts) {
			t.Fatalf("Key(%q) is %q, which splits to %q", parts, key, got)
		}
		if n := strings.Count(key, "/"); n != len(parts)-1 {
			t.Fatalf("Key(%q) is %q with %d slashes", parts, key, n)
		}
		if !strings.HasPrefix(Key(append(parts, "x")...), Prefix(parts...)) {
			t.Fatalf("%q is not below its prefix", parts)
		}
	})
}

func TestConflictError(t *testing.T) {
	for want, err := range map[string]*ConflictError{
		`control: "a" exists, changed at revision 7: a condition does not hold`:    {Cond: Absent("a"), Have: 7},
		`control: "a" is gone: a condition does not hold`:                          {Cond: Cond{"a", 3}},
		`control: "a" was changed at revision 7, not 3: a condition does not hold`: {Cond: Cond{"a", 3}, Have: 7},
	} {
		if err.Error() != want || !errors.Is(err, ErrConflict) {
			t.Errorf("%+v prints %q, want %q", err.Cond, err, want)
		}
	}
}
