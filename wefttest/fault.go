package wefttest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weftrun/weft"
)

// Workers returns the process numbers of the node's workers, oldest first.
func (c *Cluster) Workers() []int {
	c.t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		c.t.Fatalf("wefttest: %v", err)
	}
	var pids []int
	for _, f := range files {
		b, _ := os.ReadFile(f) // a thread that has ended meanwhile has no children
		for field := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// KillWorker kills one worker process with SIGKILL and returns its number. It
// waits until there is one.
func (c *Cluster) KillWorker() int {
	c.t.Helper()
	pid := 0
	c.Eventually("a worker process", func() bool {
		for _, pid = range c.Workers() {
			return true
		}
		return false
	})
	c.signal(pid, syscall.SIGKILL)
	return pid
}

// Pause stops a worker process, as if its machine had become very slow, until
// resume is called.
func (c *Cluster) Pause(pid int) (resume func()) {
	c.t.Helper()
	c.signal(pid, syscall.SIGSTOP)
	return func() { c.signal(pid, syscall.SIGCONT) }
}

func (c *Cluster) signal(pid int, s syscall.Signal) {
	c.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		c.t.Fatalf("wefttest: signal %v to worker %d: %v", s, pid, err)
	}
}

// KillNode ends the node of Join under the program's feet.
func (c *Cluster) KillNode() {
	if c.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	if err := c.node.Close(ctx); err != nil {
		c.t.Errorf("wefttest: the node does not end: %v", err)
	}
}

// FillStore puts objects of size bytes and keeps them mapped, so that they can
// neither be freed nor spilled, until release is called.
func (c *Cluster) FillStore(size, count int) (release func()) {
	c.t.Helper()
	views := make([]*weft.Bytes, count)
	refs := make([]weft.Ref[[]byte], count)
	for i := range views {
		var err error
		if refs[i], err = weft.Put(c.ctx, make([]byte, size)); err != nil {
			c.t.Fatalf("wefttest: fill store: %v", err)
		}
		if views[i], err = weft.View(c.ctx, refs[i]); err != nil {
			c.t.Fatalf("wefttest: fill store: %v", err)
		}
	}
	return func() {
		for i := range views {
			views[i].Release()
		}
		clear(refs)
	}
}

// Eventually waits until cond holds, looking again and again; the test fails if
// it never does.
func (c *Cluster) Eventually(what string, cond func() bool) {
	c.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			c.t.Fatalf("wefttest: waited in vain for %s", what)
		}
	}
}
