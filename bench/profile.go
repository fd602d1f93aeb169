package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
)

// profiled runs f and, if that is wanted, writes a CPU profile of this process.
func (m *meter) profiled(f func() error) error {
	if m.prof == "" {
		return f()
	}
	if err := os.MkdirAll(m.prof, 0o755); err != nil {
		return err
	}
	to, err := os.Create(filepath.Join(m.prof, m.topic+".pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(to); err != nil {
		return errors.Join(err, to.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, to.Close())
}

// profileNode writes a CPU profile of a node's first seconds, if that is wanted.
// The function that it returns ends what is not done by then.
func (m *meter) profileNode(ctx context.Context, n *node) (stop func()) {
	if m.prof == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var fetch sync.WaitGroup
	fetch.Go(func() {
		profile, err := n.get(ctx, "/debug/pprof/profile?seconds=3")
		if err == nil {
			_ = os.WriteFile(filepath.Join(m.prof, m.topic+"-node.pprof"), profile, 0o644)
		}
	})
	return func() { cancel(); fetch.Wait() }
}
