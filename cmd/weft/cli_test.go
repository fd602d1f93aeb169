package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

// asWeft in the environment makes this test's binary the weft command.
const asWeft = "WEFT_TEST_AS_COMMAND"

// hangs as its value makes it one whose detached nodes never get ready.
const hangs = "hangs"

func TestMain(m *testing.M) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	if as := os.Getenv(asWeft); as != "" {
		switch as {
		case hangs:
			hangWhenDetached(os.Args)
		case drives:
			os.Exit(driveMain())
		}
		main()
	}
	goleak.VerifyTestMain(m)
}

// fakeNode is a daemon of fixed state.
type fakeNode struct {
	state.Snapshot
	cfg     node.Config
	log     *event.Log
	startIs error
	closing chan struct{} // Close waits for it, if it is not nil
	closed  bool

	draining atomic.Bool
}

func (n *fakeNode) Start(context.Context) error { return n.startIs }
func (n *fakeNode) State() state.Source         { return &n.Snapshot }
func (n *fakeNode) Events() *event.Log          { return n.log }

// Drain takes for ever if Close does.
func (n *fakeNode) Drain(ctx context.Context) error {
	n.draining.Store(true)
	if n.closing == nil {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n *fakeNode) Close(ctx context.Context) error {
	n.closed = true
	if n.closing == nil {
		return nil
	}
	select {
	case <-n.closing:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const aTask = "a1020304050607080000010000000002"

func newFake() *fakeNode {
	start := time.Now()
	n := &fakeNode{log: event.New(event.Config{Start: start})}
	n.Summary = state.Status{
		Node: state.Node{
			ID: "a102030405060708", State: state.NodeAlive, Version: "v1", PID: 7, Workers: 2, Started: start, Address: "a.sock",
			Total: map[string]float64{"CPU": 8, "memory": 1 << 30}, Free: map[string]float64{"CPU": 7}, Labels: map[string]string{"zone": "a"},
			Store: state.StoreUse{Used: 1 << 20, Limit: 1 << 30}, Pressure: "admits nothing new",
		},
		Tasks: map[string]int{state.TaskRunning: 1, state.TaskPendingArgs: 3}, Jobs: 1, Now: start.Add(time.Hour), Done: 10, Lost: 1,
	}
	for i := range 2500 {
		n.TaskRows = append(n.TaskRows, state.Task{
			ID: id.NewTask(id.Node{0xa1, 2, 3, 4, 5, 6, 7, 8}, id.Seq(1, uint64(i))).String(), Name: "square\x1b[2J",
			State: []string{state.TaskRunning, state.TaskFinished}[i%2],
		})
	}
	n.ActorRows = []state.Actor{{ID: aTask, Class: "counter", Name: "hits", State: state.ActorAlive}}
	n.ReasonsByID = map[string]*state.Reason{aTask: {
		Kind: "task", ID: aTask, State: state.TaskPendingArgs, WaitsFor: []*state.Reason{{Kind: "object", ID: "b2", State: state.ObjectPending}},
	}}
	n.log.Note(time.Second, event.Record{Kind: event.TaskFailed, Cause: event.UserError, Ran: time.Millisecond}, "boom\n\x1b[2Jsecond line")
	return n
}

// syncBuffer is output that is read while it is written.
type syncBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	wait chan struct{} // closed at the next write
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wait != nil {
		close(b.wait)
		b.wait = nil
	}
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// until waits for a text.
func (b *syncBuffer) until(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		b.mu.Lock()
		if strings.Contains(b.buf.String(), want) {
			b.mu.Unlock()
			return
		}
		if b.wait == nil {
			b.wait = make(chan struct{})
		}
		wait := b.wait
		b.mu.Unlock()
		select {
		case <-wait:
		case <-deadline:
			t.Fatalf("no %q in %q", want, b.String())
		}
	}
}

// shell runs command lines in this process.
type shell struct {
	dir     string // the node's
	env     map[string]string
	node    *fakeNode
	signals chan os.Signal
	width   int
}

func newShell(t *testing.T) *shell {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-cli-") //nolint:usetesting // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &shell{
		dir: filepath.Join(dir, "weft"), env: map[string]string{"XDG_RUNTIME_DIR": dir}, node: newFake(), signals: make(chan os.Signal, 2),
	}
}

func (s *shell) program(stdout, stderr io.Writer) *program {
	return &program{
		stdout: stdout, stderr: stderr, getenv: func(k string) string { return s.env[k] }, signals: s.signals, width: s.width,
		newNode: func(cfg nodeConfig) (daemon, error) { s.node.cfg = cfg.Config; return s.node, nil },
	}
}

// run runs a command to its end.
func (s *shell) run(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = s.program(&out, &errs).run(context.Background(), args)
	return status, out.String(), errs.String()
}

// want runs a command that succeeds and returns its output.
func (s *shell) want(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := s.run(args...)
	if status != exitOK {
		t.Fatalf("%q: status %d\n%s", args, status, errs)
	}
	return out
}

// wantError runs a command that fails with a status and a text.
func (s *shell) wantError(t *testing.T, status int, text string, args ...string) {
	t.Helper()
	got, out, errs := s.run(args...)
	if got != status || !strings.Contains(errs, text) || !strings.HasPrefix(errs, "weft: ") || out != "" {
		t.Errorf("%q: status %d, want %d with %q; stdout %q, stderr\n%s", args, got, status, text, out, errs)
	}
}

// started is a node in the foreground.
type started struct {
	out, errs *syncBuffer
	status    chan int
}

func (s *shell) start(t *testing.T, args ...string) *started {
	t.Helper()
	r := &started{&syncBuffer{}, &syncBuffer{}, make(chan int, 1)}
	go func() {
		r.status <- s.program(r.out, r.errs).run(context.Background(), append([]string{"start"}, args...))
	}()
	if slices.Contains(args, "json") {
		r.out.until(t, "store_bytes")
	} else {
		r.out.until(t, "weft stop") // on the last line
	}
	return r
}

func (r *started) end(t *testing.T) int {
	t.Helper()
	select {
	case status := <-r.status:
		return status
	case <-time.After(20 * time.Second):
		t.Fatal("the node does not end")
		return 0
	}
}

func TestStartAndStop(t *testing.T) {
	s := newShell(t)
	r := s.start(t, "--cpus", "2.5", "--resources", "disk=3,net=0.5", "--labels", "zone=a", "--labels", "rack=7", "--store-bytes", "1GiB",
		"--spill-bytes", "2GB", "--memory", "4G", "--spill-dir", "spill")
	cfg := s.node.cfg
	here, _ := os.Getwd()
	if cfg.Resources["CPU"] != 2.5 || cfg.Resources["disk"] != 3 || cfg.Resources["net"] != 0.5 || cfg.Labels["zone"] != "a" || cfg.Labels["rack"] != "7" ||
		cfg.StoreBytes != 1<<30 || cfg.SpillBytes != 2e9 || cfg.MemoryLimit != 4<<30 || cfg.SpillDir != filepath.Join(here, "spill") ||
		cfg.Dir != s.dir || cfg.Socket != filepath.Join(s.dir, "weft.sock") || cfg.Log == nil {
		t.Errorf("the node's configuration is %+v", cfg)
	}
	for _, want := range []string{"node a102030405060708 is ready", "CPU=8", "export WEFT_ADDRESS=" + cfg.Socket, "weft status\n", "Ctrl-C"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	s.wantError(t, exitFailure, "a node runs in "+s.dir+" already", "start")
	if info, err := os.Stat(filepath.Join(s.dir, "weft.api.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the API's socket: %v, %v", info.Mode(), err)
	}
	if out := s.want(t, "stop"); out != "stopped\n" {
		t.Errorf("stop says %q", out)
	}
	if status := r.end(t); status != exitOK || !s.node.closed {
		t.Errorf("the node ended with %d, closed %v: %s", status, s.node.closed, r.errs)
	}
	s.wantError(t, exitUnreachable, "weft start --detach", "stop")
	other := filepath.Join(filepath.Dir(s.dir), "other.sock")
	r = s.start(t, "--format", "json", "--socket", other, "--log-format", "json") // the directory is free again
	s.want(t, "status", "--address", other)
	s.signals <- os.Interrupt
	if status := r.end(t); status != exitOK {
		t.Errorf("after Ctrl-C: %d %s", status, r.errs)
	}
}

func TestStartJSON(t *testing.T) {
	s := newShell(t)
	out := &syncBuffer{}
	status := make(chan int, 1)
	go func() {
		status <- s.program(out, io.Discard).run(context.Background(), []string{"start", "--format=json"})
	}()
	out.until(t, "\n")
	var report readyReport
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil || report.API != filepath.Join(s.dir, "weft.api.sock") || report.PID != os.Getpid() {
		t.Errorf("%v: %s", err, out)
	}
	s.signals <- os.Interrupt
	if got := <-status; got != exitOK {
		t.Errorf("status %d", got)
	}
}

// The first signal or stop lets tasks end, the second ends the node at once.
func TestSecondSignal(t *testing.T) {
	for name, urge := range map[string]func(*shell){
		"signal":         func(s *shell) { s.signals <- os.Interrupt; s.signals <- os.Interrupt },
		"stop":           func(s *shell) { s.run("stop"); s.run("stop") },
		"stop and --now": func(s *shell) { s.run("stop", "--grace", "1h"); s.run("stop", "--now") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			s.node.closing = make(chan struct{}) // nobody closes it
			r := s.start(t)
			urge(s)
			if status := r.end(t); status != exitOK || !s.node.draining.Load() {
				t.Errorf("status %d, draining %v: %s", status, s.node.draining.Load(), r.errs)
			}
		})
	}
}

// With --now, and at the end of --grace, tasks are not waited for.
func TestStopOfWhatDoesNotEnd(t *testing.T) {
	for _, flag := range []string{"--now", "--grace=1ms"} {
		s := newShell(t)
		s.node.closing = make(chan struct{})
		r := s.start(t)
		s.want(t, "stop", flag)
		if flag != "--now" {
			close(s.node.closing) // no task runs on, at least
		}
		if status := r.end(t); status != exitOK || s.node.draining.Load() != (flag != "--now") {
			t.Errorf("%s: status %d, draining %v: %s", flag, status, s.node.draining.Load(), r.errs)
		}
	}
}

func TestStopForce(t *testing.T) {
	s := newShell(t)
	s.node.closing = make(chan struct{})
	r := s.start(t)
	s.want(t, "stop", "--force")
	if status := r.end(t); status != exitOK {
		t.Errorf("status %d: %s", status, r.errs)
	}
}

func TestStartFails(t *testing.T) {
	s := newShell(t)
	s.node.startIs = errors.New("no shared memory")
	s.wantError(t, exitFailure, "no shared memory", "start")
	if !s.node.closed {
		t.Error("a node that failed to start was not closed")
	}
	for _, c := range []struct {
		text string
		args []string
	}{
		{"want KEY=VALUE", []string{"--resources", "disk"}},
		{"invalid syntax", []string{"--resources", "disk=much"}},
		{"want KEY=VALUE", []string{"--labels", "=a"}},
		{"negative", []string{"--cpus=-1"}},
		{"is not a size", []string{"--memory", "much"}},
		{"is not a size", []string{"--store-bytes=-1"}},
		{"want text or json", []string{"--log-format", "xml"}},
		{"want debug", []string{"--log-level", "loud"}},
		{"must end in .sock", []string{"--socket", "here"}},
		{"unknown flag", []string{"--colour"}},
		{"unknown command", []string{"now"}},
	} {
		s.wantError(t, exitUsage, c.text, append([]string{"start"}, c.args...)...)
	}
}

func TestDirectory(t *testing.T) {
	s := newShell(t)
	parent := filepath.Dir(s.dir)
	open := filepath.Join(parent, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o750); err != nil { //nolint:gosec // that is what is refused
		t.Fatal(err)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	s.wantError(t, exitFailure, "chmod 700", "start", "--dir", open)
	s.wantError(t, exitFailure, "not a directory", "start", "--dir", file)
	s.wantError(t, exitFailure, "not a directory", "start", "--dir", link)
	s.wantError(t, exitFailure, "at most 107", "start", "--dir", filepath.Join(parent, strings.Repeat("x", 100)))
	s.wantError(t, exitFailure, "is not a socket", "start", "--socket", func() string {
		path := filepath.Join(parent, "plain.sock")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}())
	r := s.start(t)
	s.wantError(t, exitFailure, "another process serves it", "start", "--dir", filepath.Join(parent, "second"), "--socket", filepath.Join(s.dir, "weft.api.sock"))
	s.signals <- os.Interrupt
	r.end(t)
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ flag, env, want string }{
		{"", "", "/run/user/7/weft/weft.api.sock"},
		{"", "/a/weft.sock", "/a/weft.api.sock"},
		{"/b", "/a/weft.sock", "/b/weft.api.sock"},
		{"/b/x.sock", "", "/b/x.api.sock"},
		{"/b/x.api.sock", "", "/b/x.api.sock"},
		{"unix:/b/x.sock", "", "/b/x.api.sock"},
		{"unix:///b/x.sock", "", "/b/x.api.sock"},
		{"http://127.0.0.1:80", "", "http://127.0.0.1:80"},
	} {
		env := map[string]string{"XDG_RUNTIME_DIR": "/run/user/7", "WEFT_ADDRESS": c.env}
		p := &program{address: c.flag, getenv: func(k string) string { return env[k] }}
		if got, err := p.apiAddress(); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	p := &program{getenv: func(string) string { return "" }}
	if got, want := p.defaultDir(), fmt.Sprintf("/tmp/weft-%d", os.Getuid()); got != want {
		t.Errorf("without a runtime directory: %q", got)
	}
}

func TestQuestions(t *testing.T) {
	s := newShell(t)
	r := s.start(t)
	defer func() { s.signals <- os.Interrupt; r.end(t) }()

	status := s.want(t, "status")
	for _, want := range []string{
		"node a102030405060708  ALIVE for 1h0m0s  version v1, process 7", "CPU        7 of 8 free", "memory     0 B of 1 GiB free", "labels     zone=a",
		"store      1 MiB of 1 GiB", "tasks      3 PENDING_ARGS_AVAIL, 1 RUNNING; since the start 10 done", "actors     none", "lost       1", "admits nothing new",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	var asJSON state.Status
	if err := json.Unmarshal([]byte(s.want(t, "status", "--format", "json")), &asJSON); err != nil || asJSON.Node.ID != s.node.Summary.Node.ID {
		t.Errorf("%v: %+v", err, asJSON)
	}

	if out := s.want(t, "why", "hits"); out != s.node.ReasonsByID[aTask].String() {
		t.Errorf("why:\n%s", out)
	}
	if out := s.want(t, "why", aTask, "--format=json"); !strings.Contains(out, `"waits_for":[{"kind":"object"`) || strings.Count(out, "\n") != 1 {
		t.Errorf("why: %s", out)
	}
	s.wantError(t, exitNotFound, "nothing is called", "why", "nobody")
	s.wantError(t, exitNotFound, "nothing has the id", "why", strings.Repeat("f", 32))
	s.wantError(t, exitFailure, "ambiguous", "why", "a10203")
	s.wantError(t, exitUsage, "accepts 1 arg", "why")
	s.wantError(t, exitUsage, "want text or json", "status", "--format", "yaml")

	if out := s.want(t, "events"); !strings.Contains(out, "task_failed") || !strings.Contains(out, "\n    ?[2Jsecond line\n") {
		t.Errorf("events:\n%q", out)
	}
	if out := s.want(t, "events", "--format=json"); !json.Valid([]byte(out)) || !strings.Contains(out, `"cause":"user_error"`) {
		t.Errorf("events: %s", out)
	}
	s.wantError(t, exitUsage, "--past", "events", "--past", "-f")
	file := filepath.Join(t.TempDir(), "trace.json")
	if out := s.want(t, "timeline", "-o", file); !strings.Contains(out, "1 events in "+file) {
		t.Errorf("timeline says %q", out)
	}
	trace, err := os.ReadFile(file)
	if err != nil || !json.Valid(trace) || !bytes.Contains(trace, []byte("node a102030405060708")) {
		t.Errorf("%v: %s", err, trace)
	}
	if out := s.want(t, "timeline", "-o", "-"); out != string(trace) {
		t.Errorf("timeline on stdout:\n%s", out)
	}
	s.wantError(t, exitFailure, "no such file or directory", "timeline", "-o", "/nonexistent/trace.json")
}

func TestList(t *testing.T) {
	s := newShell(t)
	r := s.start(t)
	defer func() { s.signals <- os.Interrupt; r.end(t) }()
	lines := func(out string) int { return strings.Count(out, "\n") }

	_, out, errs := s.run("list", "tasks")
	if lines(out) != 101 || !strings.Contains(errs, "100 of 2500; --limit 0 shows all") || strings.Contains(out, "\x1b") {
		t.Errorf("%d lines, %q", lines(out), errs)
	}
	if out := s.want(t, "list", "tasks", "--limit", "0", "--format", "json"); lines(out) != 2500 {
		t.Errorf("all tasks are %d", lines(out))
	}
	if out := s.want(t, "list", "task", "--limit", "1200", "--filter", "state=running", "--format", "json"); lines(out) != 1200 {
		t.Errorf("1200 tasks are %d", lines(out))
	}
	if out := s.want(t, "list", "tasks", "--after", s.node.TaskRows[2490].ID); lines(out) != 10 {
		t.Errorf("after the 2491st task are\n%s", out)
	}
	for _, l := range listings {
		s.want(t, "list", l.name)
	}
	s.width = 40
	for line := range strings.Lines(s.want(t, "list", "actors")) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 40 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	s.wantError(t, exitUsage, "want field=value", "list", "tasks", "--filter", "state")
	s.wantError(t, exitFailure, `no field "colour"`, "list", "tasks", "--filter", "colour=red")
	s.wantError(t, exitUsage, "list what?", "list")
	s.wantError(t, exitUsage, "unknown command", "list", "ghosts")
	s.wantError(t, exitUsage, "--limit -1", "list", "tasks", "--limit=-1")
	s.node.FailWith = errors.New("unwell")
	s.wantError(t, exitFailure, "unwell", "list", "jobs")
	s.wantError(t, exitFailure, "unwell", "status")
}

func TestFollowEvents(t *testing.T) {
	s := newShell(t)
	r := s.start(t)
	watcher := &shell{dir: s.dir, env: s.env, signals: make(chan os.Signal, 1)}
	out := &syncBuffer{}
	status := make(chan int, 1)
	go func() { status <- watcher.program(out, io.Discard).run(context.Background(), []string{"events", "-f"}) }()
	out.until(t, "task_failed")
	s.node.log.Append(2*time.Second, event.Record{Kind: event.JobEnded})
	out.until(t, "job_ended")
	watcher.signals <- os.Interrupt
	if got := <-status; got != exitOK {
		t.Errorf("status %d", got)
	}
	s.signals <- os.Interrupt
	r.end(t)
}

func TestPastEvents(t *testing.T) {
	s := newShell(t)
	segments, err := event.OpenSegments(s.node.log, event.SegmentConfig{Dir: filepath.Join(s.dir, eventsName)})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, _ := s.node.log.Read(event.Cursor{}, nil, 10)
	if err := errors.Join(segments.Write(entries, 0), segments.Close()); err != nil {
		t.Fatal(err)
	}
	if out := s.want(t, "events", "--past"); !strings.Contains(out, "task_failed") {
		t.Errorf("events: %s", out)
	}
	if out := s.want(t, "timeline", "--past", "-o", "-"); !strings.Contains(out, "user_error") {
		t.Errorf("timeline: %s", out)
	}
	s.wantError(t, exitFailure, "no such file", "events", "--past", "--address", t.TempDir())
	s.wantError(t, exitUsage, "no directory", "events", "--past", "--address", "http://localhost:1")
}

func TestVersion(t *testing.T) {
	s := newShell(t)
	if out := s.want(t, "version"); !strings.HasPrefix(out, "weft ") || !strings.Contains(out, "go1.") {
		t.Errorf("%q", out)
	}
	if out := s.want(t, "version", "--format", "json"); !json.Valid([]byte(out)) {
		t.Errorf("%q", out)
	}
	s.wantError(t, exitUsage, "unknown command", "vresion")
	if out := s.want(t, "completion", "bash"); !strings.Contains(out, "weft") {
		t.Error("no completion for bash")
	}
	if status, out, _ := s.run("--help"); status != exitOK || !strings.Contains(out, "Exit status: 0 success") {
		t.Errorf("help: %d %s", status, out)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "1000": 1000, "1K": 1024, "1KB": 1000, "1.5GiB": 3 << 29, "2 MB": 2e6, "3Ti": 3 << 40, "7B": 7,
	} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "much", "-1", "1X", "1KX", "1iB", "99999999T", "NaN"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

// A detached node's log stays within two files of its limit.
func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.log")
	l, err := openLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.file.Close() }()
	for i := range 50 {
		if _, err := fmt.Fprintf(l, "line %02d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	now, _ := os.ReadFile(path)
	before, _ := os.ReadFile(path + ".1")
	if len(now) > 100 || len(before) > 100 || len(before) < 90 || !strings.HasSuffix(string(now), "line 49\n") {
		t.Errorf("%d and %d bytes, ending in %q", len(before), len(now), now)
	}
	if got := lastLines(path); strings.Count(got, "\n") > 12 || !strings.Contains(got, "line 49") {
		t.Errorf("%q", got)
	}
}

// The child gets every flag that was given, as it was given.
func TestChildArgs(t *testing.T) {
	p := &program{getenv: func(string) string { return "" }}
	root := p.rootCommand()
	start, _, err := root.Find([]string{"start"})
	if err != nil {
		t.Fatal(err)
	}
	if err := start.ParseFlags([]string{"-d", "--cpus=2", "--labels=a=b,c=d", "--labels=e=f", "--store-bytes=1GiB"}); err != nil {
		t.Fatal(err)
	}
	got := childArgs(start.Flags())
	slices.Sort(got)
	want := []string{"--cpus=2", "--labels=a=b,c=d", "--labels=e=f", "--ready-fd=3", "--store-bytes=1073741824", "start"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
