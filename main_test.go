package weft_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/wefttest"
)

// TestMain also makes this binary the programs that tests can kill.
func TestMain(m *testing.M) {
	if client.IsWorker() && os.Args[0] == unready {
		fmt.Fprintln(os.Stderr, "a main that has other plans")
		os.Exit(3)
	}
	if name := os.Getenv(programEnv); name != "" && !client.IsWorker() {
		os.Exit(program(name))
	}
	wefttest.Main(m)
}

// clusters are the two ways to run a node. What a program sees is the same.
var clusters = []struct {
	name  string
	start func(t testing.TB, o wefttest.Options) *wefttest.Cluster
}{
	{"embedded", func(t testing.TB, o wefttest.Options) *wefttest.Cluster {
		return wefttest.Start(t, weft.Resources(o.Resources), weft.StoreBytes(o.StoreBytes), weft.MemoryLimit(o.Memory),
			weft.SpillDir(o.SpillDir, o.SpillBytes))
	}},
	{"joined", wefttest.Join},
}

// onBoth runs a test's body with each kind of cluster.
func onBoth(t *testing.T, o wefttest.Options, body func(t *testing.T, c *wefttest.Cluster)) {
	for _, kind := range clusters {
		t.Run(kind.name, func(t *testing.T) {
			c := kind.start(t, o)
			body(t, c)
			c.Check()
		})
	}
}

// small is a node whose room for tasks is known.
var small = wefttest.Options{Resources: map[string]float64{"CPU": 2, "slot": 1}}

// signal is something that happens once, seen by every process: a file.
type signal string

func newSignal(t *testing.T) signal { return signal(filepath.Join(t.TempDir(), "signal")) }

// set makes it happen, or happen once more.
func (s signal) set() error {
	f, err := os.OpenFile(string(s), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{'x'})
	return errors.Join(err, f.Close())
}

// count is how often it has happened.
func (s signal) count() int {
	b, _ := os.ReadFile(string(s)) // none is not yet
	return len(b)
}

func (s signal) happened() bool { return s.count() > 0 }

// wait returns when it has happened, or ctx's error.
func (s signal) wait(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !s.happened() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// isCode fails the test unless err is of code want and its text has all of parts.
func isCode(t *testing.T, err error, want weft.Code, parts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v\nis not of code %q", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q\ndoes not say %q", err, part)
		}
	}
}

// equal fails the test unless there is no error and got is want.
func equal[T comparable](t *testing.T, want T) func(got T, err error) {
	return func(got T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// must returns v, or fails the test.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
