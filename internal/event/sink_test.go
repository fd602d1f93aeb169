package event

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weftrun/weft/internal/id"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	aNode = id.Node{0xa1, 2, 3, 4, 5, 6, 7, 8}
	aJob  = id.Job{0, 0, 0, 7}
)

// sample is a log with one of everything that views treat apart.
func sample() *Log {
	l := New(Config{Start: start, Node: aNode, Budget: 4})
	square := l.Name("square")
	task := func(n uint64) ID { return IDOf(id.NewTask(aNode, n)) }
	l.Note(0, Record{Kind: NodeStarted, ID: IDOf(aNode)}, "unix:weft.sock")
	l.Append(time.Millisecond, Record{Kind: WorkerStarted, Worker: 2, N: 4321, Ran: time.Millisecond})
	for n := range uint64(6) {
		l.Append(time.Duration(n+2)*time.Millisecond, Record{
			Kind: TaskDone, ID: task(n), Job: aJob, Name: square, N: 1, Worker: 2, Ran: 1500 * time.Microsecond, Queued: 20, Bytes: 8,
		})
	}
	l.Note(9*time.Millisecond, Record{Kind: TaskRetried, ID: task(9), Job: aJob, Name: square, N: 1, Cause: WorkerDied, Worker: 2}, "signal: killed")
	l.Note(10*time.Millisecond, Record{
		Kind: TaskFailed, ID: task(9), Job: aJob, Name: square, N: 2, Cause: UserError, Worker: 3, Ran: time.Millisecond,
	}, "no square\nof a circle")
	l.Append(11*time.Millisecond, Record{Kind: ObjectSpilled, ID: IDOf(id.NewTask(aNode, 3).Return(1)), Bytes: 1 << 20, Ran: time.Millisecond})
	l.Tick(time.Second)
	return l
}

func views(l *Log) []View {
	entries, _ := all(l)
	var out []View
	for i := range entries {
		out = append(out, entries[i].View(start))
	}
	return out
}

func TestViewString(t *testing.T) {
	var got []string
	for _, v := range views(sample()) {
		_, rest, _ := strings.Cut(v.String(), "  ") // the time is local
		got = append(got, "  "+rest)
	}
	want := []string{
		"  node_started      a102030405060708  unix:weft.sock",
		"  worker_started    pid=4321  worker=2  ran=1ms",
		"  task_done         square  a1020304050607080000000000000000  worker=2  job=00000007  queued=20µs  ran=1.5ms  bytes=8",
		"  task_done         square  a1020304050607080000000000000001  worker=2  job=00000007  queued=20µs  ran=1.5ms  bytes=8",
		"  task_done         square  a1020304050607080000000000000002  worker=2  job=00000007  queued=20µs  ran=1.5ms  bytes=8",
		"  task_done         square  a1020304050607080000000000000003  worker=2  job=00000007  queued=20µs  ran=1.5ms  bytes=8",
		"  task_retried      square  a1020304050607080000000000000009  cause=worker_died  worker=2  job=00000007  signal: killed",
		"  task_failed       square  a1020304050607080000000000000009  attempt=2  cause=user_error  worker=3  job=00000007  ran=1ms  no square\n    of a circle",
		"  task_done         2×  square  job=00000007  ran=3ms  bytes=16",
		"  object_spilled    1×  ran=1ms  bytes=1048576",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// logSink keeps what it gets, unless it fails.
type logSink struct {
	lines  []string
	missed uint64
	err    error
	closed bool
}

func (s *logSink) Write(entries []Entry, missed uint64) error {
	if s.err != nil {
		return s.err
	}
	s.lines = append(s.lines, lines(entries)...)
	s.missed += missed
	return nil
}

func (s *logSink) Close() error { s.closed = true; return nil }

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Start: time.Now(), Budget: 1})
		good, bad := &logSink{}, &logSink{err: errors.New("disk full")}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Drain(ctx, 100*time.Millisecond, good, bad) }()
		l.Append(0, Record{Kind: TaskDone})
		l.Append(0, Record{Kind: TaskDone})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := len(good.lines); n != 3 {
			t.Errorf("%d lines before anything else happens: %q", n, good.lines)
		}
		bad.err = nil
		l.Append(3500*time.Millisecond, Record{Kind: TaskDone, N: 5})
		l.Append(3500*time.Millisecond, Record{Kind: TaskDone, N: 6})
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := []string{
			"0s task_done  n=0",
			"100ms sink_failed  n=0 events are not written: disk full",
			"1.2s task_done_many  n=1",
			"3.5s task_done  n=5", "3.5s task_done_many  n=1",
		}
		if diff := cmp.Diff(want, good.lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if diff := cmp.Diff(want[3:], bad.lines); diff != "" {
			t.Errorf("the sink that recovered: -want +got\n%s", diff)
		}
		if !good.closed || !bad.closed {
			t.Error("a sink was not closed")
		}
	})
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	l := sample()
	l.Note(2*time.Second, Record{Kind: SinkFailed}, "disk full")
	entries, _ := all(l)
	for _, c := range []struct {
		level slog.Level
		want  []string
	}{
		{slog.LevelWarn, []string{
			`level=WARN msg="events were lost before they could be logged" missed=3`,
			`level=WARN msg=task_retried id=a1020304050607080000000000000009 name=square attempt=1 cause=worker_died worker=2 job=00000007 text="signal: killed"`,
			`level=ERROR msg=sink_failed text="disk full"`,
		}},
		{slog.LevelInfo, []string{
			`level=WARN msg="events were lost before they could be logged" missed=3`,
			`level=INFO msg=node_started id=a102030405060708 text=unix:weft.sock`,
			`level=INFO msg=worker_started pid=4321 worker=2 ran=1ms`,
			`level=WARN msg=task_retried id=a1020304050607080000000000000009 name=square attempt=1 cause=worker_died worker=2 job=00000007 text="signal: killed"`,
			`level=ERROR msg=sink_failed text="disk full"`,
		}},
	} {
		out.Reset()
		opts := &slog.HandlerOptions{Level: c.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}
		if err := NewLogger(l, slog.New(slog.NewTextHandler(&out, opts))).Write(entries, 3); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
			t.Errorf("%v: -want +got\n%s", c.level, diff)
		}
	}
}

func TestTimeline(t *testing.T) {
	var out bytes.Buffer
	if err := WriteTimeline(&out, "a1", views(sample())); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		Events []struct {
			Name  string  `json:"name"`
			Ph    string  `json:"ph"`
			Start float64 `json:"ts"`
			Dur   float64 `json:"dur"`
			Tid   int     `json:"tid"`
		} `json:"traceEvents"`
	}
	if err := json.Unmarshal(out.Bytes(), &trace); err != nil {
		t.Fatalf("%v:\n%s", err, out.String())
	}
	var got []string
	for _, e := range trace.Events {
		got = append(got, fmt.Sprintf("%s %s %v+%v @%d", e.Ph, e.Name, e.Start, e.Dur, e.Tid))
	}
	want := []string{
		"M process_name 0+0 @0",
		"i node_started 0+0 @0",
		"i worker_started 1000+0 @2000",
		"X square 500+1500 @2000",
		"X square 1500+1500 @2001", // it overlaps the one before
		"X square 2500+1500 @2000",
		"X square 3500+1500 @2001",
		"X square 9000+1000 @3000",
		"i task_retried square 9000+0 @2000",
		"C square task_done 1e+06+0 @0",
		"C tasks object_spilled 1e+06+0 @0",
		"M thread_name 0+0 @2000", "M thread_name 0+0 @2001", "M thread_name 0+0 @3000",
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	out.Reset()
	if err := WriteTimeline(&out, "a1", nil); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("without events: %v, %s", err, out.String())
	}
}

// readAll reads a directory's segments and fails on errors.
func readAll(t *testing.T, dir string) []View {
	t.Helper()
	var out []View
	for v, err := range ReadSegments(dir) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func utc(vs []View) []View {
	vs = slices.Clone(vs)
	for i := range vs {
		vs[i].Time = vs[i].Time.UTC()
	}
	return vs
}

func write(t *testing.T, s *Segments, l *Log) {
	t.Helper()
	entries, _ := all(l)
	if err := s.Write(entries, 0); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, l *Log, cfg SegmentConfig) *Segments {
	t.Helper()
	s, err := OpenSegments(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSegmentsRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "events")
	l := sample()
	s := open(t, l, SegmentConfig{Dir: dir})
	entries, _ := all(l)
	for i := range entries { // in batches of one, names are defined once
		if err := s.Write(entries[i:i+1], 0); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(utc(views(l)), utc(readAll(t, dir))); diff != "" {
		t.Errorf("while it is open: -want +got\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, open(t, l, SegmentConfig{Dir: dir}), l)
	if diff := cmp.Diff(append(utc(views(l)), utc(views(l))...), utc(readAll(t, dir))); diff != "" {
		t.Errorf("after a restart: -want +got\n%s", diff)
	}
}

func TestSegmentsRotateWithinTheirLimit(t *testing.T) {
	dir := t.TempDir()
	cfg := SegmentConfig{Dir: dir, SegmentBytes: 2000, TotalBytes: 7000}
	l := sample()
	s := open(t, l, cfg)
	for range 60 {
		write(t, s, l)
	}
	files, err := segmentFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, f := range files {
		total += f.size
	}
	// A file may pass its size by the batch that filled it.
	if len(files) < 2 || files[0].number == 1 || total > cfg.TotalBytes+1000 {
		t.Errorf("%d files from number %d, %d bytes", len(files), files[0].number, total)
	}
	if got := readAll(t, dir); len(got) == 0 || len(got)%len(views(l)) != 0 {
		t.Errorf("%d events, not a multiple of %d", len(got), len(views(l)))
	}
}

// However short a crash leaves the last file, what was whole is read.
func TestSegmentsTornTail(t *testing.T) {
	dir := t.TempDir()
	l := sample()
	s := open(t, l, SegmentConfig{Dir: dir})
	write(t, s, l)
	whole := s.size
	write(t, s, l)
	path := s.file.Name()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := len(views(l))
	for size := len(data); size >= 0; size-- {
		if err := os.WriteFile(path, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0
		switch {
		case size == len(data):
			want = 2 * n
		case int64(size) >= whole:
			want = n
		}
		if got := readAll(t, dir); len(got) != want {
			t.Fatalf("of %d bytes %d events are read, want %d", size, len(got), want)
		}
	}
	// The last frame half written over zeros, as some file systems leave it.
	torn := slices.Clone(data)
	clear(torn[len(torn)-50:])
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, dir); len(got) != n {
		t.Errorf("with a damaged last frame %d events are read, want %d", len(got), n)
	}
}

func TestSegmentsDamage(t *testing.T) {
	l := sample()
	n := len(views(l))
	for name, c := range map[string]struct {
		damage func(data []byte, firstEnd int64)
		events int
		text   string
	}{
		"a flipped bit":    {func(d []byte, end int64) { d[end-1] ^= 1 }, 0, "wrong checksum"},
		"an endless frame": {func(d []byte, end int64) { binary.LittleEndian.PutUint32(d[end:], 1<<31) }, n, "a frame of 2147483648 bytes"},
		"a foreign file":   {func(d []byte, _ int64) { copy(d, "PK") }, 0, "is not an event segment"},
		"a damaged header": {func(d []byte, _ int64) { d[len(segmentMagic)+frameHeader] ^= 1 }, 0, "has no header"},
		"no damage":        {func([]byte, int64) {}, 2 * n, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, l, SegmentConfig{Dir: dir})
			write(t, s, l)
			end := s.size
			write(t, s, l)
			path := s.file.Name()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.damage(data, end)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, open(t, l, SegmentConfig{Dir: dir}), l) // the next file is whole
			got := readAll(t, dir)
			want := c.events + n
			if c.text != "" {
				want++
				if gap := got[c.events]; gap.Event != "gap" || !strings.Contains(gap.Text, c.text) || !strings.Contains(gap.Text, "events-00000001") {
					t.Errorf("the gap is %+v", gap)
				}
			}
			if len(got) != want {
				t.Errorf("%d events, want %d", len(got), want)
			}
		})
	}
}

// A write that fails is a gap in the file, and the names it would have defined
// are defined by the next one.
func TestSegmentsWriteFails(t *testing.T) {
	dir := t.TempDir()
	l := sample()
	s := open(t, l, SegmentConfig{Dir: dir})
	entries, _ := all(l)
	if err := s.Write(entries[:1], 0); err != nil {
		t.Fatal(err)
	}
	writable := s.file
	readOnly, err := os.Open(writable.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.file = readOnly
	if err := s.Write(entries[1:4], 0); err == nil {
		t.Fatal("a write to a read-only file succeeded")
	}
	s.file = writable
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(entries[4:], 2); err != nil {
		t.Fatal(err)
	}
	want := utc(views(l))
	want = slices.Concat(want[:1], []View{{
		Time: want[0].Time, Event: "gap", Number: 5, NumberIs: "records", Text: "events were lost before they could be written",
	}}, want[4:])
	if diff := cmp.Diff(want, utc(readAll(t, dir))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSegmentsWithoutADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSegments(sample(), SegmentConfig{Dir: filepath.Join(file, "events")}); err == nil {
		t.Error("segments in a file instead of a directory")
	}
	dir := filepath.Join(t.TempDir(), "events")
	s := open(t, sample(), SegmentConfig{Dir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	entries, _ := all(sample())
	if err := s.Write(entries, 0); err == nil {
		t.Error("a write to a directory that is gone succeeded")
	}
	for _, err := range ReadSegments(dir) {
		if err == nil {
			t.Error("a directory that is not there was read")
		}
	}
}

// Whatever a segment has, reading it ends, and yields nothing absurd.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	l := sample()
	s, err := OpenSegments(l, SegmentConfig{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	entries, _ := all(l)
	if err := errors.Join(s.Write(entries, 3), s.Close()); err != nil {
		f.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	data, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-5])
	f.Add([]byte(segmentMagic))
	f.Add(append([]byte(segmentMagic), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		events := 0
		r := segmentReader{name: "fuzz", data: data, yield: func(v View) bool {
			if events++; events > len(data)+1 {
				t.Fatalf("more events than bytes, the last is %+v", v)
			}
			return true
		}}
		r.read()
	})
}
