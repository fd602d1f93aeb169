package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func socketPair(t testing.TB, pollFor time.Duration) (a, b *Socket) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*Socket
	for i, fd := range fds {
		if ends[i], err = NewSocket(fd, pollFor); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends[0], ends[1]
}

// More than the socket's buffer goes through, whichever side is slower.
func TestSocketStream(t *testing.T) {
	for _, pollFor := range []time.Duration{0, PollFor} {
		a, b := socketPair(t, pollFor)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
		var writer sync.WaitGroup
		writer.Go(func() {
			if n, err := a.Write(sent); n != len(sent) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
			a.Shutdown()
		})
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(sent))
		}
		writer.Wait()
	}
}

// Close wakes whoever reads and whoever writes into a full socket.
func TestSocketClose(t *testing.T) {
	a, b := socketPair(t, PollFor)
	var users sync.WaitGroup
	users.Go(func() {
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read: got %v, want EOF", err)
		}
	})
	full := make(chan struct{})
	users.Go(func() {
		for {
			if _, err := Send(a.fd, make([]byte, 4096)); errors.Is(err, unix.EAGAIN) {
				break
			}
		}
		close(full)
		if _, err := a.Write(make([]byte, 1<<20)); err == nil {
			t.Error("wrote to a full socket that was closed")
		}
	})
	<-full
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	users.Wait()
	if _, err := a.Write([]byte{1}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after Close: got %v", err)
	}
	_ = b
}

// Messages that come at once keep a reader looking; one that takes its time
// makes it sleep.
func TestPatience(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := Patience{Limit: time.Millisecond}
	looks := 0
	soon := func() bool { looks++; return true }
	never := func() bool { looks++; return false }
	check := func(what string, got bool, looked bool) {
		t.Helper()
		if (looks > 0) != looked {
			t.Errorf("%s: looked %d times, want any: %t", what, looks, looked)
		}
		if got != looked && looked {
			t.Errorf("%s: found nothing", what)
		}
		looks = 0
	}
	check("at first", p.Look(soon), false)
	p.Slept(2 * time.Millisecond)
	check("after a short sleep", p.Look(soon), true)
	if p.Look(never) {
		t.Error("found what never comes")
	}
	looks = 0
	check("after looking in vain", p.Look(soon), false)
	for range 3 {
		p.Slept(2 * time.Millisecond)
	}
	check("after three short sleeps", p.Look(soon), true)
	p.Slept(time.Second)
	check("after a long sleep", p.Look(soon), false)
}

// A reader keeps its thread for a message that is there or comes, not for one that
// does not, and not where others have only that thread.
func TestDoze(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	a, b := socketPair(t, 0)
	p := Patience{Limit: PollFor}
	if p.Doze(b.FD()) {
		t.Error("woken by nothing")
	}
	if _, err := a.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if !p.Doze(b.FD()) {
		t.Error("not woken by a message")
	}
	if never := (Patience{}); never.Doze(b.FD()) {
		t.Error("dozed without patience")
	}
	runtime.GOMAXPROCS(1)
	if p.Doze(b.FD()) {
		t.Error("dozed with the only processor")
	}
}

// The round trip of a small message between two goroutines, each with a thread.
func BenchmarkSocketRoundTrip(b *testing.B) {
	for name, pollFor := range map[string]time.Duration{"sleep": 0, "look": PollFor} {
		b.Run(name, func(b *testing.B) {
			x, y := socketPair(b, pollFor)
			var echo sync.WaitGroup
			echo.Go(func() {
				buf := make([]byte, 1<<16)
				for {
					n, err := y.Read(buf)
					if err != nil {
						return
					}
					if _, err := y.Write(buf[:n]); err != nil {
						return
					}
				}
			})
			b.ReportAllocs()
			buf := make([]byte, 1<<16)
			for b.Loop() {
				if _, err := x.Write(buf[:40]); err != nil {
					b.Fatal(err)
				}
				if _, err := x.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
			_ = x.Close()
			echo.Wait()
		})
	}
}
