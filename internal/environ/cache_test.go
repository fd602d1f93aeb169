package environ

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/internal/wire"
)

// world has a cache whose builder writes a file of some size instead of running
// an interpreter.
type world struct {
	*Cache
	t      *testing.T
	now    time.Time
	blobs  map[string][]byte
	builds []Build
	fail   error
	size   int
}

func newWorld(t *testing.T, limit int64) *world {
	leak.Check(t)
	w := &world{t: t, now: time.Unix(1000, 0), blobs: map[string][]byte{}, size: 100}
	w.Cache = New(Config{Dir: filepath.Join(t.TempDir(), "e"), Limit: limit, Now: func() time.Time { return w.now }, Build: w.build})
	return w
}

func (w *world) build(_ context.Context, b *Build) error {
	w.builds = append(w.builds, *b)
	if err := os.Mkdir(b.Target, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.Target, "file"), make([]byte, w.size), 0o600); err != nil {
		return err
	}
	if b.Source != "" && !strings.Contains(b.Source, "://") {
		data, err := os.ReadFile(b.Source)
		return errors.Join(err, os.WriteFile(filepath.Join(b.Target, filepath.Base(b.Source)), data, 0o600))
	}
	return w.fail
}

func (w *world) origin() *Origin {
	return &Origin{Python: "/usr/bin/python", Variables: []string{"PATH=/bin"}, Blob: func(_ context.Context, hash []byte) ([]byte, error) {
		if data := w.blobs[string(hash)]; data != nil {
			return data, nil
		}
		return nil, &wire.Error{Code: wire.NotFound, Message: "no blob"}
	}}
}

func (w *world) acquire(text string) (*Environment, error) {
	return w.Acquire(w.t.Context(), parse(w.t, text), w.origin())
}

func (w *world) must(text string) *Environment {
	w.t.Helper()
	e, err := w.acquire(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// kept lists the folders that there are.
func (w *world) kept() (n int) {
	all, err := os.ReadDir(w.cfg.Dir)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return len(all)
}

func (w *world) upload(parts ...string) (uri string) {
	var list []byte
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		w.blobs[string(sum[:])] = []byte(p)
		list = append(list, sum[:]...)
	}
	sum := sha256.Sum256(list)
	w.blobs[string(sum[:])] = list
	return uploaded + hex.EncodeToString(sum[:]) + "/some.zip"
}

func TestEnvironmentIsItsPieces(t *testing.T) {
	w := newWorld(t, 0)
	dir := w.upload("first part, ", "second part")
	e := w.must(`{"working_dir":"` + dir + `","py_modules":["https://x/m.zip","file:///w-1-py3-none-any.whl"],"pip":{"packages":["a","b"]},` +
		`"env_vars":{"A":"1"},"py_executable":"uv run"}`)
	defer e.Release()
	if data, err := os.ReadFile(filepath.Join(e.Dir, "some.zip")); string(data) != "first part, second part" {
		t.Errorf("the package is %q, %v", data, err)
	}
	var kinds []string
	for _, b := range w.builds {
		kinds = append(kinds, b.Kind)
	}
	if want := []string{unpack, unpack, wheel, packages}; !slices.Equal(kinds, want) || w.builds[0].Strip || !w.builds[1].Strip {
		t.Errorf("built %q: %+v", kinds, w.builds)
	}
	last := w.builds[3]
	if last.Tool != "pip" || !slices.Contains(last.Variables, "A=1") || !slices.Contains(last.Variables, workingDirVariable+"="+e.Dir) {
		t.Errorf("packages are built by %+v", last)
	}
	if len(e.Path) != 2 || e.Python != filepath.Join(last.Target, "bin", "python") || !slices.Contains(e.Variables, "VIRTUAL_ENV="+last.Target) ||
		!slices.Contains(e.Variables, "PATH="+last.Target+"/bin:/bin") || slices.Contains(e.Variables, workingDirVariable+"="+e.Dir) {
		t.Errorf("the environment is %+v", e)
	}
	if got := e.Args("m"); !slices.Equal(got, []string{"sh", "-c", "exec uv run -m m"}) {
		t.Errorf("it runs %q", got)
	}
	if w.kept() != 4 {
		t.Errorf("%d folders beside the pieces", w.kept()-4)
	}
}

func TestPiecesAreBuiltOnceAndShared(t *testing.T) {
	w := newWorld(t, 0)
	a := w.must(`{"pip":{"packages":["a"]},"env_vars":{"A":"1"}}`)
	b := w.must(`{"pip":{"packages":["a"]}}`)
	a.Release()
	b.Release()
	c := w.must(`{"pip":{"packages":["a"]}}`)
	defer c.Release()
	if len(w.builds) != 1 || a.Python != c.Python {
		t.Errorf("built %d times", len(w.builds))
	}
	other := w.must(`{"uv":{"packages":["a"]}}`)
	defer other.Release()
	if other.Python == a.Python {
		t.Error("uv's and pip's are the same")
	}
}

// Who asks while a piece is built waits for it, and only until its own time is up.
func TestConcurrentAskersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var builds atomic.Int32
		free := make(chan struct{})
		c := New(Config{Dir: t.TempDir(), Build: func(_ context.Context, b *Build) error {
			builds.Add(1)
			<-free
			return os.Mkdir(b.Target, 0o700)
		}})
		d := parse(t, `{"pip":{"packages":["a"]}}`)
		got := make(chan error, 4)
		ask := func(d *Description) {
			e, err := c.Acquire(t.Context(), d, &Origin{Python: "p"})
			e.Release()
			got <- err
		}
		for range 3 {
			go ask(d)
		}
		synctest.Wait()
		hasty := parse(t, `{"pip":{"packages":["a"]},"config":{"setup_timeout_seconds":3}}`)
		ask(hasty)
		if err := <-got; err == nil || !strings.Contains(err.Error(), "within 3s") {
			t.Errorf("the hasty one: %v", err)
		}
		close(free)
		for range 3 {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		if builds.Load() != 1 {
			t.Errorf("built %d times", builds.Load())
		}
	})
}

func TestUnusedPiecesGoTheOldestFirst(t *testing.T) {
	w := newWorld(t, 250)
	use := func(name string) *Environment { return w.must(`{"pip":{"packages":["` + name + `"]}}`) }
	a, b := use("a"), use("b")
	a.Release()
	w.now = w.now.Add(time.Second)
	b.Release()
	w.now = w.now.Add(time.Second)
	use("a").Release() // again: b is the oldest now
	w.now = w.now.Add(time.Second)
	c := use("c")
	if _, err := os.Stat(b.Python); w.kept() != 2 || len(w.builds) != 3 || !os.IsNotExist(err) {
		t.Errorf("%d kept, %d builds", w.kept(), len(w.builds))
	}
	use("a").Release()
	if len(w.builds) != 3 {
		t.Error("a has gone")
	}
	d, e := use("d"), use("e")
	if w.kept() != 3 {
		t.Errorf("%d kept, but all of c, d, e are in use", w.kept())
	}
	for _, x := range []*Environment{c, d, e} {
		x.Release()
		x.Release() // is nothing
	}
	if w.kept() != 2 {
		t.Errorf("%d kept where 2 fit", w.kept())
	}
	if err := w.Close(); err != nil || w.kept() != 0 {
		t.Errorf("%d left, %v", w.kept(), err)
	}
}

func TestFailure(t *testing.T) {
	w := newWorld(t, 0)
	w.fail = &wire.Error{Message: "exit status 1", Stderr: "no such thing"}
	bad := `{"pip":{"packages":["a","bad"]}}`
	for range 2 {
		_, err := w.acquire(bad)
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != wire.SetupFailed || !strings.Contains(e.Message, "pip a, bad") || e.Stderr != "no such thing" {
			t.Errorf("got %v", err)
		}
	}
	if len(w.builds) != 1 || w.kept() != 0 {
		t.Errorf("%d builds, %d folders", len(w.builds), w.kept())
	}
	w.fail = nil
	w.must(`{"pip":{"packages":["a"]}}`).Release() // others are not concerned
	w.now = w.now.Add(failureLasts)
	w.must(bad).Release()
	if len(w.pieces) != 2 {
		t.Errorf("%d pieces", len(w.pieces))
	}
}

func TestWhatCannotBe(t *testing.T) {
	w := newWorld(t, 0)
	for _, uri := range []string{uploaded + "00/x.zip", uploaded + "nohex/x.zip", uploaded + "00/../x.zip", strings.TrimSuffix(w.upload("x"), "some.zip") + ".."} {
		if _, err := w.acquire(`{"working_dir":"` + uri + `"}`); !errors.Is(err, wire.SetupFailed) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := w.Acquire(t.Context(), parse(t, `{"pip":{"packages":["a"]}}`), &Origin{}); err == nil || !strings.Contains(err.Error(), "not in Python") {
		t.Errorf("without an interpreter: %v", err)
	}
	e, err := w.Acquire(t.Context(), parse(t, `{"env_vars":{"A":"1"}}`), &Origin{})
	if err != nil || len(e.Variables) != 1 {
		t.Errorf("variables alone: %+v, %v", e, err)
	}
	if len(w.builds) != 0 {
		t.Errorf("built %+v", w.builds)
	}
}

// The time limit ends the builder, and the error says that it was the limit.
func TestTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Dir: t.TempDir(), Build: func(ctx context.Context, _ *Build) error {
			<-ctx.Done()
			return errors.New("signal SIGKILL")
		}})
		_, err := c.Acquire(t.Context(), parse(t, `{"pip":{"packages":["a"]},"config":{"setup_timeout_seconds":3}}`), &Origin{Python: "p"})
		if err == nil || !strings.Contains(err.Error(), "not there within 3s (setup_timeout_seconds)") {
			t.Error(err)
		}
	})
}
