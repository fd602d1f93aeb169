package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/control"
	"github.com/weftrun/weft/internal/control/controltest"
	"github.com/weftrun/weft/internal/leak"
)

// address is a free one on this machine.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// member describes one that stays alone unless others join it.
func member(t *testing.T, name string) Config {
	t.Helper()
	return Config{Dir: filepath.Join(t.TempDir(), name), Name: name, Client: address(t), Peer: address(t), Heartbeat: 20 * time.Millisecond}
}

func start(t *testing.T, cfg Config) *Member {
	t.Helper()
	m, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, m) })
	return m
}

func stop(t *testing.T, m *Member) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func client(t *testing.T, s *Store) *Store {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, s control.Store, key, value string) {
	t.Helper()
	if _, err := s.Commit(within(t), control.Txn{Do: []control.Op{control.Set(key, []byte(value))}}); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, s control.Store, key, value string) {
	t.Helper()
	if r, err := s.Get(within(t), key); err != nil || string(r.Value) != value {
		t.Fatalf("%s is %q, %v; want %q", key, r.Value, err, value)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// forgetful is a store whose history is as short as the suite wants it: it is
// compacted every few changes, and not every few minutes.
type forgetful struct {
	*Store

	n atomic.Int64
}

const history = 2 * watchQueue

func (s *forgetful) Commit(ctx context.Context, t control.Txn) (control.Revision, error) {
	rev, err := s.Store.Commit(ctx, t)
	if err == nil && s.n.Add(1)%(history/2) == 0 {
		_, err = s.client.Compact(ctx, int64(rev))
	}
	return rev, err
}

// Both ways to a member pass the suite.
func TestConformance(t *testing.T) { //nolint:tparallel // a leak check has the whole process
	leak.Check(t)
	for name, open := range map[string]func(*Member) (*Store, error){
		"in process": func(m *Member) (*Store, error) { return m.Store(), nil },
		"by network": func(m *Member) (*Store, error) { return Open([]string{m.cfg.Client}, nil) },
	} {
		m := start(t, member(t, "head"))
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is mostly waiting for leases
			rules := 0
			controltest.Run(t, func(t *testing.T) controltest.Fixture {
				s, err := open(m)
				if err != nil {
					t.Fatal(err)
				}
				rules++
				s.root = fmt.Sprintf("%d/", rules) // an empty store
				client(t, s)
				return controltest.Fixture{
					Store:   &forgetful{Store: s},
					Advance: func(d time.Duration) { <-time.After(d) },
					History: history + 1,
				}
			})
		})
	}
}

func TestRestart(t *testing.T) {
	leak.Check(t)
	cfg := member(t, "head")
	m := start(t, cfg)
	s := m.Store()
	put(t, s, "a", "1")
	before, err := s.Get(within(t), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stop(t, m)
	s = client(t, start(t, cfg).Store())
	if after, err := s.Get(within(t), "a"); err != nil || after.Modified != before.Modified || string(after.Value) != "1" {
		t.Fatalf("%+v became %+v, %v", before, after, err)
	}
}

// A watcher and a client outlive the restart of their member.
func TestWatchOverRestart(t *testing.T) {
	leak.Check(t)
	cfg := member(t, "head")
	m := start(t, cfg)
	s, err := Open([]string{cfg.Client}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client(t, s)
	put(t, s, "a", "1")
	w, err := s.Watch(within(t), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if events, err := w.Next(within(t)); err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	stop(t, m)
	start(t, cfg)
	put(t, s, "a", "2")
	if events, err := w.Next(within(t)); err != nil || len(events) != 1 || string(events[0].Value) != "2" {
		t.Fatal(events, err)
	}
}

// three starts a cluster of three members.
func three(t *testing.T) []*Member {
	t.Helper()
	all := []*Member{start(t, member(t, "one"))}
	for _, name := range []string{"two", "three"} {
		cfg := member(t, name)
		cfg.Join = []string{all[0].cfg.Client}
		all = append(all, start(t, cfg))
	}
	return all
}

// Heads come and go.
func TestThreeMembers(t *testing.T) {
	leak.Check(t)
	all := three(t)
	var urls []string
	for _, m := range all {
		urls = append(urls, m.cfg.Client)
	}
	s, err := Open(urls, nil)
	if err != nil {
		t.Fatal(err)
	}
	client(t, s)
	put(t, s, "a", "1")
	infos, err := s.Members(within(t))
	if err != nil || len(infos) != 3 || infos[1].Learner || infos[2].Learner {
		t.Fatal(infos, err)
	}

	// One goes, whichever leads, and the others go on.
	gone := 0
	for !all[gone].Leads() {
		gone++
	}
	stop(t, all[gone])
	put(t, s, "a", "2")
	other := client(t, all[(gone+1)%3].Store())
	want(t, other, "a", "2")

	// It cannot come back without its data.
	lost := all[gone].cfg
	lost.Dir, lost.Join = t.TempDir(), urls
	if m, err := Start(within(t), lost); err == nil {
		stop(t, m)
		t.Fatal("it joined as another")
	}

	// It comes back with its data.
	back := start(t, all[gone].cfg)
	want(t, client(t, back.Store()), "a", "2")

	// One leaves for good; what it had goes with it.
	leaving := all[(gone+2)%3]
	if err := leaving.Leave(within(t)); err != nil {
		t.Fatal(err)
	}
	if hasData(leaving.cfg.Dir) {
		t.Fatal("it left its data")
	}
	put(t, other, "a", "3")
	if infos, err := other.Members(within(t)); err != nil || len(infos) != 2 {
		t.Fatal(infos, err)
	}

	// Without a majority nothing is decided, and the error says so.
	stop(t, back)
	_, err = other.Commit(within(t), control.Txn{Do: []control.Op{control.Set("a", nil)}})
	wantError(t, err, control.ErrUnavailable)
}

// fill puts until the store is full.
func fill(t *testing.T, s control.Store) (keys int) {
	t.Helper()
	value := make([]byte, control.MaxValue)
	for ; keys < 100; keys++ {
		_, err := s.Commit(within(t), control.Txn{Do: []control.Op{control.Set(fmt.Sprintf("big/%d", keys), value)}})
		if errors.Is(err, control.ErrFull) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the store has no end")
	return 0
}

func TestQuota(t *testing.T) {
	leak.Check(t)
	cfg := member(t, "head")
	cfg.Quota = 16 << 20
	m := start(t, cfg)
	s := client(t, m.Store())
	put(t, s, "a", "1")
	if fill(t, s) == 0 {
		t.Fatal("full when empty")
	}
	want(t, s, "a", "1")
	// What gives room gets through.
	if _, err := s.Commit(within(t), control.Txn{Do: []control.Op{{Kind: control.DeletePrefix, Key: "big/"}}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Reclaim(within(t)); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "2")
}

// A disk that is nearly full stops what adds records, before etcd could not
// write any more; and only as long as it is so.
func TestDiskFull(t *testing.T) {
	leak.Check(t)
	var free atomic.Int64
	cfg := member(t, "head")
	cfg.free = func(string) (int64, error) { return free.Load(), nil }
	m := start(t, cfg)
	s := client(t, m.Store())
	add := control.Txn{Do: []control.Op{control.Set("a", nil)}}
	until := func(want error) {
		t.Helper()
		for ctx := within(t); ; {
			_, err := s.Commit(ctx, add)
			if errors.Is(err, want) {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("error stays %v, want %v", err, want)
			}
		}
	}
	until(control.ErrFull)
	free.Store(1 << 40)
	until(nil)
}

// What etcd calls fatal ends neither this process nor the node in it.
func TestFatal(t *testing.T) {
	leak.Check(t)
	m := start(t, member(t, "head"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.etcd.Server.Logger().Fatal("no space left on device")
		t.Error("a fatal goroutine went on")
	}()
	<-done
	<-m.Failed()
	if m.Err() == nil {
		t.Fatal("it failed without an error")
	}
}

func TestBackup(t *testing.T) {
	leak.Check(t)
	m := start(t, member(t, "head"))
	s := client(t, m.Store())
	put(t, s, "a", "in the backup")
	var b bytes.Buffer
	if err := m.Backup(within(t), &b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte("in the backup")) {
		t.Fatalf("%d bytes without the record", b.Len())
	}
}

// A watcher that nobody reads holds a bounded number of events.
func TestWatchIsBounded(t *testing.T) {
	leak.Check(t)
	m := start(t, member(t, "head"))
	s := client(t, m.Store())
	w, err := s.Watch(within(t), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	x := w.(*watcher)
	if _, _, err := x.take(); err != nil { // which opens its stream
		t.Fatal(err)
	}
	const changes = 4 * watchQueue
	for i := range changes {
		put(t, s, "k", strconv.Itoa(i))
	}
	x.mu.Lock()
	for x.streaming {
		changed := x.changed
		x.mu.Unlock()
		<-changed
		x.mu.Lock()
	}
	if n := len(x.queue); n < watchQueue || n > 2*watchQueue {
		t.Errorf("%d events wait", n)
	}
	x.mu.Unlock()
	for seen := 0; seen < changes; {
		events, err := w.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if string(e.Value) != strconv.Itoa(seen) {
				t.Fatalf("event %d is %s", seen, e.Value)
			}
			seen++
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	dir := b.TempDir()
	m, err := Start(b.Context(), Config{Dir: dir, Client: "unix:" + dir + "/client", Peer: "unix:" + dir + "/peer"})
	if err != nil {
		b.Fatal(err)
	}
	s := m.Store()
	value := make([]byte, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Commit(b.Context(), control.Txn{Do: []control.Op{control.Set(strconv.Itoa(i%1000), value)}}); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.Close()
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
}
