package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/guard"
	"github.com/weftrun/weft/internal/guard/meminfo"
	"github.com/weftrun/weft/internal/node"
)

func TestMain(m *testing.M) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	goleak.VerifyTestMain(m)
}

const mib = 1 << 20

// fakeMeter reads what processes claim to use in files named for their ids.
type fakeMeter struct{ dir string }

func (fakeMeter) Read() (meminfo.Memory, error) {
	return meminfo.Memory{Total: 1000 * mib, Limit: 1000 * mib, Available: meminfo.Unknown}, nil
}

func (m fakeMeter) Process(pid int) (int64, error) {
	b, err := os.ReadFile(filepath.Join(m.dir, strconv.Itoa(pid)))
	if err != nil {
		return 10 * mib, nil //nolint:nilerr // a process that did not say what it uses
	}
	n, _ := strconv.ParseInt(string(b), 10, 64)
	return n * mib, nil
}

// claim says that this process uses n MiB. It renames, so that nobody reads half
// a number.
func claim(dir string, n int) error {
	name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(name+".new", []byte(strconv.Itoa(n)), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// hog uses all memory the first time it runs, and little the second.
var hog = weft.Task1("node_test.hog", func(ctx context.Context, dir string) (int, error) {
	attempt := weft.Runtime(ctx).Attempt
	if attempt > 1 {
		return attempt, nil
	}
	if err := claim(dir, 900); err != nil {
		return 0, err
	}
	<-ctx.Done()
	return 0, ctx.Err()
}, weft.Isolated())

// glutton always uses all memory.
var glutton = weft.Task1("node_test.glutton", func(ctx context.Context, dir string) (int, error) {
	if err := claim(dir, 970); err != nil {
		return 0, err
	}
	<-ctx.Done()
	return 0, ctx.Err()
}, weft.Isolated(), weft.MaxRetries(0))

// steady uses some until it is let go: until the pipe in dir has a writer. It
// says so by making a file.
var steady = weft.Task1("node_test.steady", func(ctx context.Context, dir string) (int, error) {
	if err := claim(dir, 60); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "steady"), nil, 0o600); err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(dir, "go"))
	if err != nil {
		return 0, err
	}
	return weft.Runtime(ctx).Attempt, f.Close()
}, weft.Isolated())

// crash ends its process.
var crash = weft.Task1("node_test.crash", func(context.Context, int) (int, error) {
	os.Exit(3)
	return 0, nil
}, weft.Isolated(), weft.MaxRetries(2))

// eater takes memory, 4 MiB each millisecond and at most 400 MiB, and waits for
// what comes.
var eater = weft.Task1("node_test.eater", func(ctx context.Context, step int) (int, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var eaten [][]byte
	for {
		select {
		case <-ctx.Done():
			return len(eaten), ctx.Err()
		case <-tick.C:
			if len(eaten) < 100 {
				eaten = append(eaten, bytes.Repeat([]byte{1}, step))
			}
		}
	}
}, weft.Isolated(), weft.MaxRetries(0))

// guardedNode starts a node whose memory is what its workers claim in dir, with
// a session.
func guardedNode(t *testing.T) (ctx context.Context, n *node.Node, dir string) {
	dir = t.TempDir()
	n = newNode(t, node.Config{Dir: dir, StoreBytes: 64 * mib, Resources: map[string]float64{"CPU": 4}})
	n.SetMeter(fakeMeter{dir}, guard.Options{Patience: time.Hour})
	return startSession(t, n, dir), n, dir
}

func newNode(t *testing.T, cfg node.Config) *node.Node {
	cfg.Socket = filepath.Join(cfg.Dir, "s")
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// startSession starts the node and joins it.
func startSession(t *testing.T, n *node.Node, dir string) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(ctx); err != nil {
			t.Error("close:", err)
		}
	})
	s, err := weft.Init(ctx, weft.Address(filepath.Join(dir, "s")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(ctx) })
	return s.Context(ctx)
}

// until waits for a condition that other processes bring about.
func until(ctx context.Context, t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("there never was", what)
		}
	}
}

// TestVictimIsEndedAndRunsAgain: the younger task takes what is left, dies for
// it and runs again; the older one does not notice.
func TestVictimIsEndedAndRunsAgain(t *testing.T) {
	ctx, n, dir := guardedNode(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "go"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := steady.Remote(ctx, dir)
	until(ctx, t, "a steady task", func() bool {
		_, err := os.Stat(filepath.Join(dir, "steady"))
		return err == nil
	})
	young := hog.Remote(ctx, dir)
	until(ctx, t, "a victim", func() bool { return ends(n) == 1 })
	// It takes so much that it has to wait until it is alone.
	until(ctx, t, "a task that waits for memory", func() bool { return n.WaitForMemory() == 1 })
	f, err := os.OpenFile(filepath.Join(dir, "go"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for ref, want := range map[weft.Ref[int]]int{old: 1, young: 2} {
		if got, err := ref.Get(ctx); got != want || err != nil {
			t.Errorf("attempt %d, %v, want %d", got, err, want)
		}
	}
	n.Guard(func(m *guard.Machine) {
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		if st := m.Stats(); st.Ends != 1 || st.Tasks != 0 {
			t.Errorf("%+v", st)
		}
	})
	var levels []string
	entries, _, _ := n.Events().Read(event.Cursor{}, nil, 1000)
	for i := range entries {
		if entries[i].Kind == event.NodePressure {
			levels = append(levels, entries[i].Text)
		}
	}
	if len(levels) < 1 || !strings.Contains(levels[0], "node_test.hog") {
		t.Errorf("pressure was noted as %q", levels)
	}
}

func ends(n *node.Node) (ends uint64) {
	n.Guard(func(m *guard.Machine) { ends = m.Stats().Ends })
	return ends
}

// TestVictimThatMayNotRunAgain says who used what.
func TestVictimThatMayNotRunAgain(t *testing.T) {
	ctx, n, dir := guardedNode(t)
	_, err := glutton.Call(ctx, dir)
	if !errors.Is(err, weft.OutOfMemory) {
		t.Fatal(err)
	}
	for _, want := range []string{"node_test.glutton", "970.0 MiB", "memory guard", "1000.0 MiB", "weft.Memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	until(ctx, t, "an end of the pressure", func() bool {
		calm := false
		n.Guard(func(m *guard.Machine) { calm = m.Level() == guard.None })
		return calm
	})
}

// TestTaskThatIsTooLarge runs twice more, though it may run five times, and then
// says what it used and what to do.
func TestTaskThatIsTooLarge(t *testing.T) {
	ctx, n, dir := guardedNode(t)
	_, err := glutton.Call(ctx, dir, weft.MaxRetries(5))
	if !errors.Is(err, weft.OutOfMemory) {
		t.Fatal(err)
	}
	for _, want := range []string{"attempt 3", "970.0 MiB of 1000.0 MiB", "alone", "smaller pieces", "--memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if got := ends(n); got != 3 {
		t.Errorf("it was ended %d times, want 3", got)
	}
}

// TestIsolatedTaskThatCrashesIsNotRunForEver: each crash counts, since it had
// begun.
func TestIsolatedTaskThatCrashesIsNotRunForEver(t *testing.T) {
	ctx, _, _ := guardedNode(t)
	if _, err := crash.Call(ctx, 1); !errors.Is(err, weft.WorkerCrashed) || !strings.Contains(fmt.Sprint(err), "attempt 3") {
		t.Error(err)
	}
}

// TestPressureComesAndGoes: a node whose own process takes the memory holds its
// store down and still runs one task at a time; later the store has its room
// again.
func TestPressureComesAndGoes(t *testing.T) {
	ctx, n, dir := guardedNode(t)
	level := func() (l guard.Level) {
		n.Guard(func(m *guard.Machine) { l = m.Level() })
		return l
	}
	uses := func(n string) {
		if err := os.WriteFile(filepath.Join(dir, "0.new"), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "0.new"), filepath.Join(dir, "0")); err != nil {
			t.Fatal(err)
		}
	}
	uses("920")
	until(ctx, t, "a smaller store", func() bool { return level() == guard.SpillObjects && n.StoreTarget() == 0 })
	if got, err := mild.Call(ctx, 7); got != 7 || err != nil {
		t.Error(got, err)
	}
	uses("10")
	until(ctx, t, "room for the store", func() bool { return level() == guard.None && n.StoreTarget() == 64*mib })
}

// mild needs no memory to speak of.
var mild = weft.Task1("node_test.mild", func(_ context.Context, x int) (int, error) { return x, nil })

// TestMemoryThatIsReal: the figures come from the machine.
func TestMemoryThatIsReal(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t, node.Config{Dir: dir, StoreBytes: 16 * mib, MemoryLimit: 256 * mib})
	ctx := startSession(t, n, dir)
	if _, err := eater.Call(ctx, 4*mib); !errors.Is(err, weft.OutOfMemory) || !strings.Contains(err.Error(), "of 256.0 MiB") {
		t.Error(err)
	} else {
		t.Log(err)
	}
}
