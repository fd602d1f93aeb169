package weft

import (
	"context"
	"strconv"
	"testing"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/spec"
)

var internee = Task0("test.internee", func(context.Context) (int, error) { return 0, nil })

// optioned is the description of a call with opts.
func optioned(t *testing.T, opts ...TaskOption) *spec.Task {
	t.Helper()
	s, err := internee.c.specFor(jobless{}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jobless is a session of which only Info is asked.
type jobless struct{ client.Session }

func (jobless) Info() client.Info { return client.Info{} }

// Equal options share one description, however often they are given: a session
// may describe only so many.
func TestEqualOptionsShareADescription(t *testing.T) {
	options := func(priority int) []TaskOption {
		return []TaskOption{Priority(priority), Resource("slot", 1), On(map[string]string{"zone": "a"})}
	}
	first := optioned(t, options(1)...)
	if again := optioned(t, options(1)...); again != first {
		t.Error("equal options made two descriptions")
	}
	if other := optioned(t, options(2)...); other == first || other.Priority != 2 {
		t.Error("other options shared the description")
	}
	if plain := optioned(t); plain == first || plain.Priority != 0 {
		t.Error("a call without options has some")
	}
}

// However many options are given, a function keeps a bounded number.
func TestDescriptionsKeptAreBounded(t *testing.T) {
	for i := range 10 * maxVariants {
		if s := optioned(t, Name(strconv.Itoa(i))); s.Name != strconv.Itoa(i) {
			t.Fatalf("call %d is named %s", i, s.Name)
		}
	}
	if n := len(*internee.c.variants.Load()); n != maxVariants {
		t.Errorf("%d descriptions are kept, want %d", n, maxVariants)
	}
}
