package spec

import (
	"strings"
	"testing"
)

func sealed(t *testing.T, change func(*Task)) *Task {
	t.Helper()
	a := &Task{Function: "f", Isolated: true}
	change(a)
	if err := a.Seal(); err != nil {
		t.Fatal(err)
	}
	return a
}

// A worker of one environment is not used for another.
func TestKeyTellsEnvironmentsApart(t *testing.T) {
	none, empty := sealed(t, func(*Task) {}), sealed(t, func(a *Task) { a.Env = NewRuntimeEnv("{}") })
	x := sealed(t, func(a *Task) { a.Env = NewRuntimeEnv(`{"pip":["x"]}`) })
	again := sealed(t, func(a *Task) { a.Env, a.MaxCalls = NewRuntimeEnv(strings.Clone(`{"pip":["x"]}`)), 3 })
	y := sealed(t, func(a *Task) { a.Env = NewRuntimeEnv(`{"pip":["y"]}`) })
	if none.Key() != empty.Key() || x.Key() != again.Key() || x.Env != again.Env {
		t.Error("equal environments have keys of their own")
	}
	if none.Key() == x.Key() || x.Key() == y.Key() || x.Env == y.Env {
		t.Error("different environments share a key")
	}
}

func TestSealRefuses(t *testing.T) {
	for says, a := range map[string]*Task{
		"a process of its own": {Function: "f", Env: NewRuntimeEnv(`{"pip":["x"]}`)},
		"MaxCalls -1":          {Function: "f", MaxCalls: -1},
	} {
		if err := a.Seal(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}
