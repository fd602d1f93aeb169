package slab

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

const mib = 1 << 20

// child is set in the environment of a process that a test started.
const child = "WEFT_TEST_SLAB_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		os.Exit(runChild())
	}
	os.Exit(m.Run())
}

// runChild is a producer in a process of its own: it maps the slab it was given
// as descriptor 3 and writes where it is told.
func runChild() int {
	var size, off, n int64
	if _, err := fmt.Sscan(os.Getenv(child), &size, &off, &n); err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := Map(3, size, true)
	if err != nil {
		fmt.Println("refused:", err)
		return 2
	}
	b, err := m.Bytes(off, n)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m.Prepare(off, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	if err := m.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func newPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	before := openFiles(t)
	p, err := NewPool(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Check(), p.Close()); err != nil {
			t.Error(err)
		}
		if after := openFiles(t); after != before {
			t.Errorf("%d memfds before, %d after", before, after)
		}
	})
	return p
}

func openFiles(t testing.TB) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "memfd:weft") {
			n++
		}
	}
	return n
}

func who(s int) Writer { return Writer{Job: id.Job{1}, Session: id.Session(s)} }

func alloc(t testing.TB, p *Pool, w Writer, size int64) Extent {
	t.Helper()
	e, err := p.Alloc(w, size)
	if err != nil {
		t.Fatal(err)
	}
	if e.Size < size || e.Offset%PageSize != 0 {
		t.Fatalf("%d bytes at %+v", size, e)
	}
	return e
}

// resident compares the account with the kernel's.
func resident(t testing.TB, p *Pool) int64 {
	t.Helper()
	n, err := p.Resident()
	if err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); n != st.Populated {
		t.Errorf("%d bytes resident, %d accounted", n, st.Populated)
	}
	return n
}

func TestChargeIsAClass(t *testing.T) {
	p := newPool(t, Config{Limit: 100 * PageSize})
	for _, c := range []struct{ size, pages int64 }{
		{0, 1}, {1, 1}, {PageSize, 1}, {PageSize + 1, 2}, {16 * PageSize, 16}, {17 * PageSize, 18}, {31 * PageSize, 32},
		{33 * PageSize, 36}, {97 * PageSize, 100}, {100 * PageSize, 100}, {101 * PageSize, 104},
	} {
		if got := p.Charge(c.size); got != c.pages*PageSize {
			t.Errorf("charge of %d bytes: %d pages, want %d", c.size, got/PageSize, c.pages)
		}
	}
}

func TestAnotherProcessWrites(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib})
	e := alloc(t, p, who(1), 3*mib)
	defer p.Free(e)
	if out, err := produce(t, p, e, true); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	view, err := p.View(e)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * mib {
		if view[i] != byte(i%251) {
			t.Fatalf("byte %d is %d", i, view[i])
		}
	}
	resident(t, p)
}

// produce runs a child on an extent, with the writer's or a reader's descriptor.
func produce(t *testing.T, p *Pool, e Extent, writable bool) (string, error) {
	t.Helper()
	f, size, err := p.File(e.Slab, writable)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d", child, size, e.Offset, e.Size))
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestReaderCannotWrite(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib})
	e := alloc(t, p, who(1), mib)
	defer p.Free(e)
	if out, err := produce(t, p, e, false); err == nil || !strings.Contains(out, "refused") {
		t.Errorf("a reader mapped the slab writable: %v %s", err, out)
	}
}

func TestNobodyTruncates(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib})
	e := alloc(t, p, who(1), mib)
	defer p.Free(e)
	f, size, err := p.File(e.Slab, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range []int64{0, size + PageSize} {
		if err := f.Truncate(n); err == nil {
			t.Errorf("the writer's descriptor could be truncated to %d", n)
		}
	}
}

func TestLastFreedIsReusedFirst(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib})
	a, b := alloc(t, p, who(1), mib), alloc(t, p, who(1), mib)
	p.Bytes(b)[5] = 42
	p.Free(a)
	p.Free(b)
	if again := alloc(t, p, who(1), mib); again != b || p.Bytes(again)[5] != 42 {
		t.Errorf("reused %+v, not the warm %+v", again, b)
	}
	if other := alloc(t, p, who(2), mib); other.Slab == a.Slab {
		t.Error("another session's process got pages of this one")
	} else {
		p.Free(other)
	}
	p.Free(b)
	if st := p.Stats(); st.Hits != 1 || st.Warm != 3*mib {
		t.Errorf("%v", st)
	}
	resident(t, p)
}

func TestWarmPagesGoBeyondTheCap(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib, Warm: 2 * mib})
	var all []Extent
	for range 4 {
		all = append(all, alloc(t, p, who(1), mib))
	}
	for _, e := range all {
		p.Free(e)
	}
	p.Settle()
	if st := p.Stats(); st.Warm != 2*mib || resident(t, p) != 2*mib {
		t.Errorf("%v", st)
	}
	p.Trim(0)
	if resident(t, p) != 0 {
		t.Errorf("%v", p.Stats())
	}
}

func TestRoomIsTakenFromOtherWritersWarmPages(t *testing.T) {
	p := newPool(t, Config{Limit: 8 * mib, Warm: 8 * mib})
	e := alloc(t, p, who(1), 6*mib)
	p.Free(e)
	f := alloc(t, p, who(2), 6*mib)
	if resident(t, p) > 8*mib {
		t.Errorf("%v", p.Stats())
	}
	full := &NoRoomError{}
	if _, err := p.Alloc(who(3), 3*mib); !errors.As(err, &full) || full.Live != 6*mib {
		t.Errorf("%v", err)
	}
	p.Free(f)
}

func TestBigExtentsHaveTheirOwnMemfd(t *testing.T) {
	var gone []ID
	p := newPool(t, Config{Limit: 64 * mib, Warm: -1, Retired: func(i ID) { gone = append(gone, i) }})
	small, big := alloc(t, p, who(1), mib), alloc(t, p, who(1), 5*mib)
	if small.Slab == big.Slab {
		t.Error("a big extent shares a slab")
	}
	p.Free(big)
	p.Settle()
	if len(gone) != 1 || gone[0] != big.Slab {
		t.Errorf("retired %v, want %d", gone, big.Slab)
	}
	if _, _, err := p.File(big.Slab, false); err == nil {
		t.Error("a retired slab has a descriptor")
	}
	p.Free(small)
}

func TestShrinkFreesTheTail(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib})
	e := p.Shrink(alloc(t, p, who(1), mib), 5000)
	if st := p.Stats(); e.Size != 2*PageSize || st.Live != 2*PageSize || st.Warm != mib-2*PageSize {
		t.Errorf("%+v %v", e, st)
	}
	p.Free(e)
}

func TestWriterGoneLeavesOnlyWhatIsInUse(t *testing.T) {
	p := newPool(t, Config{Limit: 64 * mib})
	a, b := alloc(t, p, who(1), mib), alloc(t, p, who(1), mib)
	p.Free(a)
	p.CloseWriter(who(1))
	if resident(t, p) != mib {
		t.Errorf("%v", p.Stats())
	}
	copy(p.Bytes(b), "still here")
	p.Free(b)
	p.Settle()
	if st := p.Stats(); st.Slabs != 0 || resident(t, p) != 0 {
		t.Errorf("%v", st)
	}
}

func TestCloseKeepsViewsInUse(t *testing.T) {
	p, err := NewPool(Config{Limit: 64 * mib})
	if err != nil {
		t.Fatal(err)
	}
	e := alloc(t, p, who(1), mib)
	copy(p.Bytes(e), "kept")
	view, err := p.View(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err == nil {
		t.Error("closed with an extent in use and no error")
	}
	if !bytes.HasPrefix(view, []byte("kept")) {
		t.Error("the view is gone")
	}
	if _, err := p.Alloc(who(1), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestBadMappings(t *testing.T) {
	for _, size := range []int64{-1, 0, 1 << 20} {
		if m, err := Map(-1, size, false); err == nil {
			t.Errorf("mapped %d bytes of nothing: %v", size, m)
		}
	}
	p := newPool(t, Config{Limit: 64 * mib})
	e := alloc(t, p, who(1), mib)
	defer p.Free(e)
	f, size, err := p.File(e.Slab, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := Map(int(f.Fd()), size, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{-1, 1}, {0, -1}, {size, 1}, {1, size}, {1 << 62, 1 << 62}} {
		if _, err := m.Bytes(r[0], r[1]); err == nil {
			t.Errorf("bytes %v of %d", r, size)
		}
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
}

// TestExtentsNeverOverlap allocates and frees at random, with content that
// would show an overlap or a page punched under a live extent.
func TestExtentsNeverOverlap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, err := NewPool(Config{Limit: 4 * mib, Warm: mib, Slab: mib})
		if err != nil {
			rt.Fatal(err)
		}
		o := &overlap{p: p, live: map[Extent]byte{}}
		rt.Repeat(map[string]func(*rapid.T){"": o.check, "alloc": o.alloc, "free": o.free, "shrink": o.shrink, "gone": o.gone})
		for e := range o.live {
			p.Free(e)
		}
		p.Trim(0)
		if err := p.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

type overlap struct {
	p    *Pool
	live map[Extent]byte
	list []Extent
	mark byte
}

func (o *overlap) alloc(t *rapid.T) {
	size := rapid.Int64Range(1, rapid.SampledFrom([]int64{3, 40, 300}).Draw(t, "scale")*PageSize).Draw(t, "size")
	before := o.p.Stats().Live
	e, err := o.p.Alloc(who(rapid.IntRange(0, 2).Draw(t, "writer")), size)
	fits := before+o.p.Charge(size) <= o.p.Limit()
	if fits != (err == nil) {
		t.Fatalf("%d bytes with %d live: %v", size, before, err)
	}
	if err != nil {
		return
	}
	o.mark++
	o.fill(e, o.mark)
}

func (o *overlap) fill(e Extent, mark byte) {
	b := o.p.Bytes(e)
	for i := 0; i < len(b); i += PageSize {
		b[i], b[i+PageSize-1] = mark, mark
	}
	o.live[e] = mark
	o.list = append(o.list, e)
}

func (o *overlap) take(t *rapid.T) (e Extent, ok bool) {
	if len(o.list) == 0 {
		return e, false
	}
	i := rapid.IntRange(0, len(o.list)-1).Draw(t, "extent")
	e = o.list[i]
	o.list = append(o.list[:i], o.list[i+1:]...)
	delete(o.live, e)
	return e, true
}

func (o *overlap) free(t *rapid.T) {
	if e, ok := o.take(t); ok {
		o.p.Free(e)
		o.p.Settle()
	}
}

func (o *overlap) shrink(t *rapid.T) {
	if e, ok := o.take(t); ok {
		e = o.p.Shrink(e, rapid.Int64Range(0, e.Size).Draw(t, "keep"))
		o.mark++
		o.fill(e, o.mark)
	}
}

func (o *overlap) gone(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
		o.p.CloseWriter(who(rapid.IntRange(0, 2).Draw(t, "writer")))
	}
}

func (o *overlap) check(t *rapid.T) {
	for e, mark := range o.live {
		b := o.p.Bytes(e)
		for i := 0; i < len(b); i += PageSize {
			if b[i] != mark || b[i+PageSize-1] != mark {
				t.Fatalf("extent %+v was overwritten at %d", e, i)
			}
		}
	}
	if err := o.p.Check(); err != nil {
		t.Fatal(err)
	}
	if n, err := o.p.Resident(); err != nil || n != o.p.Stats().Populated {
		t.Fatalf("%d resident: %v, %v", n, o.p.Stats(), err)
	}
}

func TestConcurrentWriters(t *testing.T) {
	p := newPool(t, Config{Limit: 16 * mib, Warm: 4 * mib})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 200 {
				e, err := p.Alloc(who(w), 1+r.Int64N(3*mib)) // 4 of these always fit
				if err != nil {
					t.Error(err)
					return
				}
				p.Bytes(e)[e.Size-1] = byte(w)
				if p.Bytes(e)[e.Size-1] != byte(w) {
					t.Error("overlap")
				}
				p.Free(e)
				p.Settle()
			}
			p.CloseWriter(who(w))
		})
	}
	all.Wait()
	if n := resident(t, p); n != 0 {
		t.Errorf("%d bytes resident after all writers left", n)
	}
}
