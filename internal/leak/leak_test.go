package leak_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/leak"
)

// childEnv makes this test binary a child that lives until its input ends.
const childEnv = "WEFT_LEAK_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	leak.Main(m)
}

// recorder is a test that only remembers what it is told.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) finish()          { r.cleanups[0]() }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// Each kind of leak is found while it is there and named so that it can be
// looked for.
func TestCheckFindsLeaks(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name  string
		plant func(t *testing.T) (remove func())
		want  []string // part of an error each
	}{
		{"nothing", func(*testing.T) func() { return func() {} }, nil},
		{"goroutine", plantGoroutine, []string{"leaked goroutine"}},
		{"process", plantProcess, []string{"leaked file descriptor pipe:", "leaked process"}},
		{"zombie", plantZombie, []string{"(ended, but not waited for)"}},
		{"descriptor", plantDescriptor, []string{"leaked file descriptor /dev/zero (fd "}},
		{"memfd", plantMemfd, []string{"leaked file descriptor /memfd:leak-test", "leaked shared mapping /memfd:leak-test"}},
		{"mapping", plantMapping, []string{"leaked shared mapping"}},
		{"file", func(t *testing.T) func() { return plantFile(t, dir) }, []string{"leaked file " + dir}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leak.Check(t)
			planted, clean := &recorder{}, &recorder{}
			opts := []leak.Option{leak.Dir(dir), leak.Within(time.Millisecond)}
			leak.Check(planted, opts...)
			remove := tt.plant(t)
			planted.finish()
			leak.Check(clean, opts...) // what is there already is nobody's leak
			clean.finish()
			remove()
			checkErrors(t, planted.errors, tt.want)
			checkErrors(t, clean.errors, nil)
		})
	}
}

// checkErrors wants each text of want in some error, and no error if there is
// none. A process may bring other leaks: a pipe, a pidfd where there are any.
func checkErrors(t *testing.T, got, want []string) {
	t.Helper()
	if len(want) == 0 && len(got) > 0 {
		t.Errorf("got errors %q, want none", got)
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(e string) bool { return strings.Contains(e, w) }) {
			t.Errorf("got errors %q, want one with %q", got, w)
		}
	}
}

func plantGoroutine(*testing.T) func() {
	stop := make(chan struct{})
	go func() { <-stop }()
	return func() { close(stop) }
}

func plantProcess(t *testing.T) func() {
	cmd, stdin := startChild(t)
	return func() { endChild(t, cmd, stdin) }
}

// plantZombie ends a child and puts off waiting for it.
func plantZombie(t *testing.T) func() {
	cmd, stdin := startChild(t)
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	// WNOWAIT leaves the child to be waited for again.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func startChild(t *testing.T) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin
}

func endChild(t *testing.T, cmd *exec.Cmd, stdin io.Closer) {
	t.Helper()
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func plantDescriptor(t *testing.T) func() {
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

func plantMemfd(t *testing.T) func() {
	fd, err := unix.MemfdCreate("leak-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	unmap := mapShared(t, fd)
	return func() {
		unmap()
		_ = unix.Close(fd)
	}
}

// plantMapping leaves a mapping of a file that is closed and removed.
func plantMapping(t *testing.T) func() {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	return mapShared(t, int(f.Fd()))
}

func mapShared(t *testing.T, fd int) func() {
	t.Helper()
	const size = 1 << 16
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Munmap(m) }
}

func plantFile(t *testing.T, dir string) func() {
	name := filepath.Join(dir, "left")
	if err := os.WriteFile(name, []byte("behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(name) }
}

// A thing that goes away in time is no leak.
func TestCheckWaits(t *testing.T) {
	r := &recorder{}
	leak.Check(r)
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	go func() {
		<-release
		_ = f.Close()
	}()
	close(release)
	r.finish()
	checkErrors(t, r.errors, nil)
}

// A descriptor that is closed and opened again, under another number, is the
// same one.
// What goes with the next garbage collection is no leak, however far that is.
func TestCheckCollectsGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	snapshot := leak.Take()
	fd, err := unix.MemfdCreate("garbage", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	owner := new([16]int)
	runtime.AddCleanup(owner, func(unmap func()) { unmap() }, mapShared(t, fd))
	_ = unix.Close(fd)
	if len(snapshot.Leaks()) == 0 {
		t.Error("the mapping was not seen")
	}
	runtime.KeepAlive(owner)
	if left := snapshot.Wait(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSameDescriptorElsewhere(t *testing.T) {
	first, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	leak.Check(r, leak.Within(0))
	second, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	r.finish()
	_ = second.Close()
	checkErrors(t, r.errors, nil)
}

func TestIgnoreGoroutine(t *testing.T) {
	r := &recorder{}
	leak.Check(r, leak.Within(0), leak.IgnoreGoroutine("github.com/weftrun/weft/internal/leak_test.plantGoroutine.func1"))
	remove := plantGoroutine(t)
	r.finish()
	remove()
	checkErrors(t, r.errors, nil)
}
