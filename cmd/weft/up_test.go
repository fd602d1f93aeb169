package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/state"
)

// machines are addresses of this machine at which an SSH server answers, each
// with a home of its own.
type machines struct {
	*terminal
	hosts    []string
	port     string // of the servers
	headPort string // of Weft's head
	key      string // file
	config   *ssh.ServerConfig
	stops    []func() // of the servers
	serving  sync.WaitGroup
}

// newMachines starts n of them.
func newMachines(t *testing.T, n int) *machines {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	m := &machines{terminal: newTerminal(t), config: &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), signer.PublicKey().Marshal()) {
				return nil, fmt.Errorf("%v is a stranger's key", key.Type())
			}
			return &ssh.Permissions{}, nil
		},
	}}
	m.config.AddHostKey(signer) // the user's key is the hosts' too
	m.key = filepath.Join(m.parent, "key")
	if err := os.WriteFile(m.key, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, stop := range m.stops {
			stop()
		}
		m.serving.Wait()
	})
	m.port = "0"
	for i := range n {
		m.serve(t, fmt.Sprintf("127.0.0.%d", 2+i))
	}
	return m
}

func (m *machines) home(host string) string { return filepath.Join(m.parent, host) }

// serve runs a host's SSH server for as long as the test.
func (m *machines) serve(t *testing.T, host string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, m.port))
	if err != nil {
		t.Fatal(err)
	}
	_, m.port, _ = net.SplitHostPort(l.Addr().String())
	if err := os.Mkdir(m.home(host), 0o700); err != nil {
		t.Fatal(err)
	}
	m.hosts = append(m.hosts, host)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // `weft down` goes through them at the test's end
	m.stops = append(m.stops, func() { cancel(); _ = l.Close() })
	m.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.serving.Go(func() { m.session(ctx, c, m.home(host)) })
		}
	})
}

// session serves one connection.
func (m *machines) session(ctx context.Context, c net.Conn, home string) {
	defer func() { _ = c.Close() }()
	conn, channels, requests, err := ssh.NewServerConn(c, m.config)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go ssh.DiscardRequests(requests)
	for asked := range channels {
		if ch, requests, err := asked.Accept(); err == nil {
			m.serving.Go(func() { m.execute(ctx, ch, requests, home) })
		}
	}
}

// execute runs the command of a channel's first request for one.
func (m *machines) execute(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request, home string) {
	defer func() { _ = ch.Close() }()
	for r := range requests {
		_ = r.Reply(r.Type == "exec", nil)
		if r.Type != "exec" {
			continue
		}
		go ssh.DiscardRequests(requests)
		var command struct{ Text string }
		_ = ssh.Unmarshal(r.Payload, &command)
		c := exec.CommandContext(ctx, "sh", "-c", command.Text)
		c.Env = slices.Concat(m.command().Env, []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + home})
		c.Stdin, c.Stdout, c.Stderr = ch, ch, ch.Stderr()
		c.WaitDelay = 100 * time.Millisecond // of a client that does not end its input
		_ = c.Run()
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(c.ProcessState.ExitCode())}))
		return
	}
}

// file writes a cluster file: the first host is the head, others are as many as
// workers says. more is further text.
func (m *machines) file(t *testing.T, workers int, more string) string {
	t.Helper()
	if m.headPort == "" {
		port, err := freePort(m.hosts[0])
		if err != nil {
			t.Fatal(err)
		}
		m.headPort = port
	}
	path := filepath.Join(m.parent, "cluster.yaml")
	text := fmt.Sprintf(`cluster_name: demo
provider:
  type: local
  head_ip: %s
  worker_ips: [%s]
auth:
  ssh_private_key: %s
  ssh_port: %s
  ssh_options: [StrictHostKeyChecking=no, UserKnownHostsFile=/dev/null]
port: %s
%s`, m.hosts[0], strings.Join(m.hosts[1:1+workers], ", "), m.key, m.port, m.headPort, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// nodes are what the head lists.
func (m *machines) nodes(t *testing.T) (nodes []state.Node) {
	t.Helper()
	for line := range strings.Lines(m.want(t, "list", "nodes", "--format", "json", "--address", filepath.Join(m.home(m.hosts[0]), ".weft", "demo"))) {
		var n state.Node
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

const kinds = `
setup_commands: ["echo set up >> $HOME/log"]
worker_setup_commands: ["echo a worker >> $HOME/log"]
head: {cpus: 1}
worker:
  cpus: 2
  resources: {special: 3}
  labels: {zone: a}
max_workers: 2
`

// A cluster file becomes a cluster, more machines join it when it is run again,
// and nothing is left when it is taken down.
func TestUpAndDown(t *testing.T) {
	m := newMachines(t, 3)
	path := m.file(t, 1, kinds)
	defer func() {
		m.want(t, "down", path)
		for _, host := range m.hosts {
			if left, _ := filepath.Glob(filepath.Join(m.home(host), ".weft", "demo")); len(left) > 0 {
				t.Error(left)
			}
		}
		if out := m.want(t, "down", path); strings.Count(out, "has no node of demo") != 3 {
			t.Error(out)
		}
	}()
	out := m.want(t, "up", path)
	for _, want := range []string{"127.0.0.2: node ", "127.0.0.3: node ", "copied weft", "max_workers is without effect", "export WEFT_ADDRESS=weft://127.0.0.2:"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	path = m.file(t, 2, kinds)
	out = m.want(t, "up", path)
	for _, want := range []string{"127.0.0.2: its node runs already", "127.0.0.3: its node runs already", "127.0.0.4: node "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	special := 0.0
	nodes := m.nodes(t)
	for _, n := range nodes {
		if special += n.Total["special"]; n.Total["special"] > 0 && (n.Labels["zone"] != "a" || n.Total["CPU"] != 2) {
			t.Error(n)
		}
	}
	if len(nodes) != 3 || special != 6 {
		t.Error(nodes)
	}
	for i, want := range []string{"set up\n", "set up\na worker\n", "set up\na worker\n"} {
		if log, err := os.ReadFile(filepath.Join(m.home(m.hosts[i]), "log")); err != nil || string(log) != want {
			t.Error(m.hosts[i], string(log), err)
		}
	}
}

// What fails on one machine is told, and keeps no other from its node.
func TestUpFails(t *testing.T) {
	m := newMachines(t, 3)
	path := m.file(t, 2, `
head: {cpus: 1}
worker: {cpus: 1}
worker_setup_commands: ['case $HOME in *127.0.0.3) echo no such wheel >&2; exit 7;; esac']
`)
	defer func() { m.want(t, "down", path) }()
	status, _, errs := m.run("up", path)
	if status != exitFailure || !strings.Contains(errs, "127.0.0.3: the setup command") || !strings.Contains(errs, "no such wheel") || strings.Contains(errs, "127.0.0.4") {
		t.Error(status, errs)
	}
	if nodes := m.nodes(t); len(nodes) != 2 {
		t.Error(nodes)
	}
}

// An unreachable machine is told by what ssh said.
func TestUpUnreachable(t *testing.T) {
	m := newMachines(t, 1)
	path := m.file(t, 0, "")
	if err := os.WriteFile(m.key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errs := m.run("up", path)
	if status != exitFailure || !strings.Contains(errs, m.hosts[0]) || !strings.Contains(errs, "Permission denied") {
		t.Error(status, errs)
	}
}

// Ctrl-C ends it, and says how to go on.
func TestUpInterrupted(t *testing.T) {
	m := newMachines(t, 1)
	reached := filepath.Join(m.parent, "reached")
	if err := unix.Mkfifo(reached, 0o600); err != nil {
		t.Fatal(err)
	}
	path := m.file(t, 0, `setup_commands: ["echo here > `+reached+`; exec sleep 1000"]`)
	c := m.command("up", path)
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(reached); err != nil { // waits for the command
		t.Error(err)
	}
	_ = c.Process.Signal(os.Interrupt)
	if err := c.Wait(); err == nil || !strings.Contains(errs.String(), "`weft up` goes on from there") {
		t.Error(err, errs.String())
	}
}
