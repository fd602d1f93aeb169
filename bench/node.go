package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft"
)

// node is a node in another process: `weft start` in a directory of its own.
type node struct {
	cmd *exec.Cmd
	dir string

	// What it said when it was ready.
	Address string `json:"address"`
	API     string `json:"api"`
	Node    string `json:"node"`
	Cluster string `json:"cluster"` // where nodes join; "" of one that is alone
}

// nodeCPUs is what nodes are given, so that figures do not hang on the machine.
const nodeCPUs = 2

func (m *meter) startNode(ctx context.Context, flags ...string) (*node, error) {
	dir, err := os.MkdirTemp(m.dir, "node-")
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir}
	args := append([]string{"--format", "json", "start", "--dir", dir, "--cpus", strconv.Itoa(nodeCPUs), "--log-level", "error"}, flags...)
	n.cmd = exec.CommandContext(ctx, m.weft, args...)
	n.cmd.Stderr = os.Stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, n)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("weft start did not say that it is ready: %w", err), n.stop())
	}
	return n, nil
}

// stopTimeout is how long a node may take to end.
const stopTimeout = 30 * time.Second

// stop ends the node and waits until it is gone.
func (n *node) stop() error {
	_ = n.cmd.Process.Signal(unix.SIGTERM)
	timer := time.AfterFunc(stopTimeout, func() { _ = n.cmd.Process.Kill() })
	err := n.cmd.Wait()
	if !timer.Stop() {
		err = fmt.Errorf("the node did not end within %s", stopTimeout)
	}
	if err != nil {
		err = fmt.Errorf("weft start: %w", err)
	}
	return errors.Join(err, os.RemoveAll(n.dir))
}

// join opens a session with the node, which becomes the program's.
func (n *node) join(ctx context.Context) (*weft.Session, error) {
	return weft.Init(ctx, weft.Address(n.Address))
}

// withNode starts a node, joins it, and ends both after f.
func (m *meter) withNode(ctx context.Context, f func(*node) error, flags ...string) (err error) {
	n, err := m.startNode(ctx, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	s, err := n.join(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Shutdown(ctx)) }()
	defer m.profileNode(ctx, n)()
	return f(n)
}

// resident is the node's resident memory, in bytes.
func (n *node) resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb * kib, err
		}
	}
	return 0, errors.New("the node is gone")
}

// shared is how much shared memory the node's slabs take, as the kernel counts it:
// the sum over its slabs at one moment, which is when looking at all of them twice
// says the same. Pages that go from one to another are not counted twice. It is 0
// if they do not keep still.
func (n *node) shared() int64 {
	before, _ := n.slabs()
	for range 10 {
		now, total := n.slabs()
		if maps.Equal(before, now) {
			return total
		}
		before = now
	}
	return 0
}

// slabs is what each of the node's slabs takes, by inode, one after the other.
func (n *node) slabs() (sizes map[uint64]int64, total int64) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.cmd.Process.Pid))
	sizes = map[uint64]int64{}
	for _, fd := range fds {
		var st unix.Stat_t
		target, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(target, "/memfd:") || unix.Stat(fd, &st) != nil || sizes[st.Ino] > 0 {
			continue
		}
		sizes[st.Ino] = st.Blocks * 512
		total += sizes[st.Ino]
	}
	return sizes, total
}

// heap is how many bytes live on the node's Go heap, after a collection.
func (n *node) heap(ctx context.Context) (int64, error) {
	text, err := n.get(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "# HeapAlloc = ")
	digits, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(digits, 10, 64)
}

// get reads a page of the node's API.
func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.API)
	}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
