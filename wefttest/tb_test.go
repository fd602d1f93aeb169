package wefttest_test

import (
	"fmt"
	"os"
	"testing"
)

// exampleT is a testing.TB for an example: what it has to say is output, and
// fails the example.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper() {}

func (t *exampleT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *exampleT) Setenv(key, value string) {
	old, set := os.LookupEnv(key)
	if err := os.Setenv(key, value); err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if _ = os.Unsetenv(key); set {
			_ = os.Setenv(key, old)
		}
	})
}
