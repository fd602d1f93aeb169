package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/cut"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/token"
)

// drives as the value of asWeft makes this test's binary a driver that waits.
const drives = "drives"

// driveMain submits a task without an end and waits for Ctrl-C.
func driveMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	s, err := weft.Init(ctx)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	hang.Remote(ctx)
	if got, err := spin.Call(ctx, 1); err != nil {
		fmt.Println(got, err)
		return 1
	}
	fmt.Println("drives")
	<-ctx.Done()
	if err := s.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

var (
	hang = weft.Task0("weft_test.hang", func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}, weft.CPU(0))
	twice = weft.Task1("weft_test.twice", func(_ context.Context, b []byte) ([]byte, error) { return append(bytes.Clone(b), b...), nil })
	fails = weft.Task0("weft_test.fails", func(context.Context) (int, error) { return 0, errors.New("it was asked to") })
	next  = weft.Method0(box, (*boxed).Next)
)

func (b *boxed) Next(context.Context) (int, error) { b.n++; return b.n, nil }

// driverToken makes a token for drivers at the head.
func (m *many) driverToken(t *testing.T, args ...string) string {
	t.Helper()
	line := m.want(t, append([]string{"token", "create", "--role", "driver", "--address", m.nodes[0].Dir}, args...)...)
	want := "export WEFT_ADDRESS=weft://" + m.nodes[0].Cluster + " WEFT_TOKEN="
	secret, ok := strings.CutPrefix(strings.TrimSpace(line), want)
	if !ok {
		t.Fatalf("%q, want %q and a token", line, want)
	}
	return secret
}

// outside is a driver elsewhere.
func outside(t *testing.T, secret, address string) context.Context {
	t.Helper()
	s, err := weft.Init(context.Background(), weft.Address("weft://"+secret+"@"+address))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(context.Background()), time.Minute)
	t.Cleanup(func() {
		cancel()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Log("shutdown:", err)
		}
	})
	return ctx
}

// A program of another machine uses a cluster at any of its nodes.
func TestDriverOutside(t *testing.T) {
	m := newMany(t, 1)
	m.until(t, "a cluster of two", 0, func(nodes []state.Node) bool { return len(nodes) == 2 })
	secret := m.driverToken(t)
	for _, n := range m.nodes {
		ctx := outside(t, secret, n.Cluster)
		if got, err := spin.Call(ctx, 1); err != nil || got == 0 {
			t.Fatal(got, err)
		}
		b := box.New(ctx, 5, weft.CPU(0))
		for want := 6; want < 20; want++ {
			if got, err := next.Call(ctx, b); err != nil || got != want {
				t.Fatal(got, err)
			}
		}
		data := bytes.Repeat([]byte("0123456789"), 1<<20)
		if got, err := twice.Call(ctx, data); err != nil || !bytes.Equal(got, append(bytes.Clone(data), data...)) {
			t.Fatal(len(got), err)
		}
		if ref, err := weft.Put(ctx, data); err != nil {
			t.Fatal(err)
		} else if got, err := ref.Get(ctx); err != nil || !bytes.Equal(got, data) {
			t.Fatal(len(got), err)
		}
		if _, err := fails.Call(ctx); !errors.Is(err, weft.UserError) || !strings.Contains(err.Error(), "it was asked to") {
			t.Fatal(err)
		}
	}
}

// A driver whose connection is cut for some seconds loses nothing, and nothing is done twice.
func TestDriverCut(t *testing.T) {
	m := newMany(t, 0)
	way := cut.NewWay(t, m.nodes[0].Cluster)
	ctx := outside(t, m.driverToken(t), way.Address)
	b := box.New(ctx, 0, weft.CPU(0))
	const calls = 200
	var counts [calls]weft.Ref[int]
	var results [calls]weft.Ref[int]
	for i := range calls {
		counts[i], results[i] = next.Remote(ctx, b), spin.Remote(ctx, i)
		if i == calls/2 {
			way.Cut(true)
		}
	}
	tries := way.Accepted()
	for way.Accepted() < tries+10 { // 200 ms each
		m.want(t, "status", "--address", m.nodes[0].Dir) // the node is well
	}
	way.Cut(false)
	for i := range calls {
		if got, err := counts[i].Get(ctx); err != nil || got != i+1 {
			t.Fatal(i, got, err)
		}
		if got, err := results[i].Get(ctx); err != nil || got == 0 {
			t.Fatal(i, got, err)
		}
	}
}

// startDriver starts a program that waits, and returns what ends it.
func (m *many) startDriver(t *testing.T, secret string) func(syscall.Signal) error {
	t.Helper()
	c := m.command()
	c.Env = append(c.Env, asWeft+"="+drives, addressVariable+"=weft://"+m.nodes[0].Cluster, token.Env+"="+secret)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "drives\n" {
		t.Fatal(line, err)
	}
	return func(s syscall.Signal) error {
		return errors.Join(c.Process.Signal(s), c.Wait())
	}
}

// jobs are what the head lists.
func (m *many) jobs(t *testing.T) (jobs []state.Job) {
	t.Helper()
	for line := range strings.Lines(m.want(t, "list", "jobs", "--format", "json", "--address", m.nodes[0].Dir)) {
		var j state.Job
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, j)
	}
	return jobs
}

func (m *many) untilNoJob(t *testing.T, why string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(m.jobs(t)) > 0 {
		if time.Now().After(deadline) {
			t.Fatal(why, m.jobs(t))
		}
	}
}

// A driver that is interrupted ends its job; that of one that is killed ends when
// it could not come back any more.
func TestDriverEnds(t *testing.T) {
	for _, x := range []struct {
		name    string
		timeout string
		signal  syscall.Signal
	}{{"Ctrl-C", "1h", syscall.SIGINT}, {"kill -9", "1s", syscall.SIGKILL}} {
		t.Run(x.name, func(t *testing.T) {
			m := &many{terminal: newTerminal(t)}
			m.start(t, "--head", "--listen", "127.0.0.1:0", "--driver-timeout", x.timeout)
			end := m.startDriver(t, m.driverToken(t))
			if len(m.jobs(t)) != 1 {
				t.Fatal(m.jobs(t))
			}
			if err := end(x.signal); (err != nil) != (x.signal == syscall.SIGKILL) {
				t.Fatal(err)
			}
			m.untilNoJob(t, "the job of a driver that has ended goes on")
		})
	}
}

// Beside a head of its own user a program needs no token.
func TestDriverNextDoor(t *testing.T) {
	m := newMany(t, 0)
	t.Setenv("XDG_RUNTIME_DIR", m.parent)
	t.Setenv(token.Env, "")
	s, err := weft.Init(t.Context(), weft.Address("weft://"+m.nodes[0].Cluster))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := spin.Call(s.Context(t.Context()), 1); err != nil || got == 0 {
		t.Error(got, err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who shows no good token is refused at heads and at other nodes, and hears why;
// one that is revoked ends the sessions that it let in.
func TestDriverTokens(t *testing.T) {
	m := newMany(t, 1)
	other := newMany(t, 0)
	expired, revoked := m.driverToken(t, "--ttl", "1ns"), m.driverToken(t)
	node := m.want(t, "token", "create", "--address", m.nodes[0].Dir)
	name := named(t, revoked)
	member := outside(t, revoked, m.nodes[1].Cluster)
	head := outside(t, revoked, m.nodes[0].Cluster)
	if got, err := spin.Call(member, 1); err != nil || got == 0 {
		t.Fatal(got, err)
	}
	if list := m.want(t, "token", "list", "--address", m.nodes[0].Dir); !strings.Contains(list, name+"  lets in any driver, for another 7") {
		t.Error(list)
	}
	m.want(t, "token", "revoke", name, "--address", m.nodes[0].Dir)
	for _, ctx := range []context.Context{member, head} {
		if _, err := hang.Call(ctx); !errors.Is(err, weft.Unauthenticated) || !strings.Contains(err.Error(), "has been used or revoked") {
			t.Error(err)
		}
	}
	for _, x := range []struct{ what, secret, says string }{
		{"expired", expired, "the token has expired"},
		{"revoked", revoked, "has been used or revoked"},
		{"a node's", node[strings.LastIndex(node, "weft-"):], "the token is for nodes, not for drivers"},
		{"another cluster's", other.driverToken(t), "is of another cluster than the token"},
	} {
		for _, n := range m.nodes {
			_, err := weft.Init(t.Context(), weft.Address("weft://"+strings.TrimSpace(x.secret)+"@"+n.Cluster))
			if !errors.Is(err, weft.Unauthenticated) || !strings.Contains(err.Error(), x.says) || !strings.Contains(err.Error(), "weft token create --role driver") {
				t.Errorf("%s at %s: %v", x.what, n.Cluster, err)
			}
		}
	}
	status, _, errs := m.run("start", "--address", m.nodes[0].Cluster, "--token", m.driverToken(t), "--dir", m.dir)
	if status == exitOK || !strings.Contains(errs, "for drivers, not for nodes") {
		t.Error(status, errs)
	}
}

func named(t *testing.T, secret string) string {
	t.Helper()
	parsed, err := token.Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Name()
}

// Where no node listens, or something else does, the error says what to do.
func TestDriverNowhere(t *testing.T) {
	m := newMany(t, 0)
	secret := m.driverToken(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, x := range []struct{ address, says string }{
		{"127.0.0.1:1", "127.0.0.1:1 cannot be reached"},
		{plain.Listener.Addr().String(), "serves no programs of other machines"},
	} {
		if _, err := weft.Init(t.Context(), weft.Address("weft://"+secret+"@"+x.address)); !errors.Is(err, weft.Closed) || !strings.Contains(err.Error(), x.says) {
			t.Error(err)
		}
	}
	if status, _, errs := m.run("status", "--address", "weft://"+m.nodes[0].Cluster); status != exitUsage || !strings.Contains(errs, "is for programs") {
		t.Error(status, errs)
	}
	if status, _, errs := m.run("token", "create", "--role", "king", "--address", m.nodes[0].Dir); status != exitUsage || !strings.Contains(errs, "want reader, driver or admin") {
		t.Error(status, errs)
	}
	if status, _, errs := m.run("start", "--listen", "127.0.0.1:0", "--dir", m.dir); status != exitUsage || !strings.Contains(errs, "a cluster of one") {
		t.Error(status, errs)
	}
}
