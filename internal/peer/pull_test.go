package peer

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/weftrun/weft/internal/leak"
)

// pull reads all of what another serves by a name.
func (p *party) pull(t *testing.T, from *party, name string) string {
	t.Helper()
	r, err := p.Pull(t.Context(), from.id, name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return string(got)
}

// What is served is pulled whole, or not without an error.
func TestPull(t *testing.T) {
	leak.Check(t)
	w := newWires()
	a := w.party(t, 1, nil)
	b := w.party(t, 2, func(c *Config) {
		c.Serve = func(_ context.Context, name string) (io.ReadCloser, error) {
			switch name {
			case "object/1":
				return io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))), nil
			case "object/broken":
				return io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), iotest.ErrReader(errors.New("lost")))), nil
			}
			return nil, errors.New("there is none")
		}
	})
	if got := a.pull(t, b, "object/1"); len(got) != 1<<20 {
		t.Error(len(got), "bytes")
	}
	if _, err := a.Pull(t.Context(), b.id, "object/2"); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Error(err)
	}
	r, err := a.Pull(t.Context(), b.id, "object/broken")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil {
		t.Error("half of it was taken for the whole")
	}
	_ = r.Close()
}
