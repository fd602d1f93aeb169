package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/internal/wire"
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

// memory is a source that is pulled in chunks.
type memory struct {
	*bytes.Reader
	data []byte
	open *atomic.Int32
}

func (m memory) Bytes() []byte { return m.data }
func (m memory) Close() error  { m.open.Add(-1); return nil }

// serving has a party serve data, and count what is open.
func serving(data []byte, open *atomic.Int32) func(*Config) {
	return func(c *Config) {
		c.Serve = func(context.Context, string) (io.ReadCloser, error) {
			open.Add(1)
			return memory{bytes.NewReader(data), data, open}, nil
		}
	}
}

// noise is bytes that are nowhere the same.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// Objects of all sizes come in chunks, by reads of all sizes, from one node or two.
func TestPullChunks(t *testing.T) {
	leak.Check(t)
	w := newWires()
	var open atomic.Int32
	for i, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 5*chunkSize + 77} {
		data := noise(size)
		a := w.party(t, 1, nil)
		b, c := w.party(t, 2, serving(data, &open)), w.party(t, 3, serving(data, &open))
		for _, from := range [][]id.Node{{b.id}, {b.id, c.id}} {
			for _, reader := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader} {
				r, err := a.PullAny(t.Context(), from, "object")
				if err != nil {
					t.Fatal(i, err)
				}
				got := make([]byte, size)
				if _, err := io.ReadFull(reader(r), got); err != nil || !bytes.Equal(got, data) {
					t.Error(i, "not what was served:", err)
				}
				if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
					t.Error(i, "it does not end:", n, err)
				}
				_ = r.Close()
			}
		}
		a.end(t)
		b.end(t)
		c.end(t)
	}
	if n := open.Load(); n != 0 {
		t.Error(n, "sources are open")
	}
}

// fetch reads all of an object into memory of its size.
func (p *party) fetch(t *testing.T, size int, from ...id.Node) ([]byte, error) {
	t.Helper()
	r, err := p.PullAny(t.Context(), from, "object")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	got := make([]byte, size)
	_, err = io.ReadFull(r, got)
	return got, err
}

// A chunk that was changed on its way is fetched again.
func TestPullCorrupted(t *testing.T) {
	leak.Check(t)
	w := newWires()
	var open atomic.Int32
	data := noise(3 * chunkSize)
	a := w.party(t, 1, nil)
	b := w.party(t, 2, serving(data, &open))
	w.flip = 1 << 20
	got, err := a.fetch(t, len(data), b.id)
	if err != nil || !bytes.Equal(got, data) {
		t.Error("not what was served:", err)
	}
	if w.flip != 0 {
		t.Error("nothing was changed")
	}
}

// A pull goes on after its connection broke, and elsewhere when its source died;
// without another source it ends with an error.
func TestPullCut(t *testing.T) {
	leak.Check(t)
	w := newWires()
	var open atomic.Int32
	data := noise(8 * chunkSize)
	a := w.party(t, 1, nil)
	b := w.party(t, 2, serving(data, &open))
	var at atomic.Int32
	cutting := func(change func()) func(*Config) {
		return func(cfg *Config) {
			serving(data, &open)(cfg)
			serve := cfg.Serve
			cfg.Serve = func(ctx context.Context, name string) (io.ReadCloser, error) {
				if at.Add(1) == 2 {
					change()
				}
				return serve(ctx, name)
			}
		}
	}
	c := w.party(t, 3, cutting(func() {
		for _, cable := range w.cables() {
			_ = cable.Close()
		}
	}))
	if got, err := a.fetch(t, len(data), c.id); err != nil || !bytes.Equal(got, data) {
		t.Error("after a cut:", err)
	}
	died := make(chan struct{})
	d := w.party(t, 4, func(cfg *Config) {
		serving(data, &open)(cfg)
		serve := cfg.Serve
		cfg.Serve = func(ctx context.Context, name string) (io.ReadCloser, error) {
			select {
			case <-died:
				return nil, errors.New("dead")
			default:
				return serve(ctx, name)
			}
		}
	})
	r, err := a.PullAny(t.Context(), []id.Node{d.id, b.id}, "object")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(r, got[:2*chunkSize]); err != nil {
		t.Fatal(err)
	}
	close(died)
	d.end(t)
	if _, err := io.ReadFull(r, got[2*chunkSize:]); err != nil || !bytes.Equal(got, data) {
		t.Error("after the death of a source:", err)
	}
	_ = r.Close()
	a.Forget(d.id)
	if _, err := a.fetch(t, len(data), d.id); err == nil {
		t.Error("pulled from the dead")
	}
}

// A source that is not there yet, or not any more, is asked until it is there or
// declared dead.
func TestPullWaits(t *testing.T) {
	leak.Check(t)
	w := newWires()
	var open atomic.Int32
	data := noise(3 * chunkSize)
	asked := make(chan struct{})
	var there atomic.Bool
	a := w.party(t, 1, func(c *Config) {
		c.Address = func(n id.Node) (string, bool) {
			select {
			case asked <- struct{}{}:
			default:
			}
			return port(n[0]), there.Load()
		}
	})
	type result struct {
		data []byte
		err  error
	}
	fetch := func(n id.Node) <-chan result {
		c := make(chan result, 1)
		go func() {
			got, err := a.fetch(t, len(data), n)
			c <- result{got, err}
		}()
		for range 3 {
			<-asked
		}
		return c
	}
	c := fetch(id.Node{2})
	w.party(t, 2, serving(data, &open))
	there.Store(true)
	if r := <-c; r.err != nil || !bytes.Equal(r.data, data) {
		t.Error("of a node that came later:", r.err)
	}
	there.Store(false)
	c = fetch(id.Node{3})
	a.Forget(id.Node{3})
	if r := <-c; r.err == nil || errors.Is(r.err, wire.Timeout) {
		t.Error("of a node that is dead:", r.err)
	}
}
