package event

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecordSize(t *testing.T) {
	if n := unsafe.Sizeof(Record{}); n != 64 {
		t.Errorf("a Record has %d bytes, want 64", n)
	}
}

// Each kind and cause has a name, so that no view is blank.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range AllKinds() {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
	for _, c := range AllCauses() {
		if c.String() == "" {
			t.Errorf("cause %d has no name", c)
		}
	}
	if got := (Counted | TaskDone).String(); got != "task_done_many" {
		t.Errorf("a counted kind is called %q", got)
	}
	if got := Kind(100).String(); got != "kind_100" {
		t.Errorf("an unknown kind is called %q", got)
	}
	if got := Cause(100).String(); got != "cause_100" {
		t.Errorf("an unknown cause is called %q", got)
	}
}

func TestID(t *testing.T) {
	task := id.NewTask(id.Node{1, 2}, 3)
	if got := IDOf(task).Task(); got != task {
		t.Errorf("a task's id came back as %v", got)
	}
	if got := IDOf(task.Return(4)).Object(); got != task.Return(4) {
		t.Errorf("an object's id came back as %v", got)
	}
	of := func(k Kind, x ID) *Entry { return &Entry{Record: Record{Kind: k, ID: x}} }
	for _, c := range []struct {
		entry *Entry
		about ID
		want  bool
	}{
		{of(TaskDone, IDOf(task)), IDOf(task), true},
		{of(TaskDone, IDOf(task)), IDOf(task.Return(4)), true}, // an object's story has its task's
		{of(ObjectSpilled, IDOf(task.Return(4))), IDOf(task.Return(4)), true},
		{of(ObjectSpilled, IDOf(task.Return(4))), IDOf(task.Return(5)), false},
		{of(NodeStarted, IDOf(id.Node{1, 2})), IDOf(id.Node{1, 2}), true},
		{of(SessionOpened, ID{}), ID{}, false},
	} {
		if got := c.entry.Names(c.about); got != c.want {
			t.Errorf("%v %x names %x: %v", c.entry.Kind, c.entry.ID, c.about, got)
		}
	}
}

// all reads a log in small pages.
func all(l *Log) (entries []Entry, missed uint64) {
	var c Cursor
	for {
		var n uint64
		before := len(entries)
		entries, c, n = l.Read(c, entries, 3)
		missed += n
		if len(entries) == before {
			return entries, missed
		}
	}
}

func lines(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%v %v %s n=%d %s", e.At, e.Kind, e.Label, e.N, e.Text)))
	}
	return out
}

func TestReadMergesByTime(t *testing.T) {
	l := New(Config{})
	f := l.Name("f")
	l.Append(1, Record{Kind: TaskDone, Name: f, N: 1})
	l.Note(2, Record{Kind: TaskFailed, Name: f, N: 1}, "boom")
	l.Append(3, Record{Kind: TaskDone, Name: f, N: 1})
	l.Append(2, Record{Kind: ActorAlive, N: 1}) // time never goes back
	l.Append(4, Record{Kind: TaskMoved, Name: f, N: 2})
	l.Note(4, Record{Kind: TaskDone, Name: f, N: 7}, "with a text it is kept")
	got, missed := all(l)
	want := []string{
		"1ns task_done f n=1", "2ns task_failed f n=1 boom", "3ns task_done f n=1", "3ns actor_alive  n=1",
		"4ns task_done f n=7 with a text it is kept", "4ns task_moved f n=2",
	}
	// Kept ones come first of the same time; the merge is stable within a ring.
	want[2], want[3] = want[3], want[2]
	if diff := cmp.Diff(want, lines(got)); diff != "" || missed != 0 {
		t.Errorf("missed %d; -want +got\n%s", missed, diff)
	}
	if entries, _, _ := l.Read(l.End(), nil, 10); len(entries) != 0 {
		t.Errorf("after the end there are %q", lines(entries))
	}
}

// A burst of ordinary records becomes counts, one a second for each name and
// kind; failures in it are kept one by one, and the totals have everything.
func TestBudget(t *testing.T) {
	l := New(Config{Budget: 3})
	f, g := l.Name("f"), l.Name("g")
	burst := func(second int) {
		for i := range 10 {
			at := time.Duration(second)*time.Second + time.Duration(i)*time.Millisecond
			l.Append(at, Record{Kind: TaskDone, Name: f, N: 1, Ran: 2, Bytes: 3})
			l.Append(at, Record{Kind: TaskWaited, Name: g, N: 1, Ran: 5})
			l.Append(at, Record{Kind: TaskFailed, Name: f, N: 1})
		}
	}
	burst(0)
	burst(1)
	l.Tick(2 * time.Second)
	entries, _ := all(l)
	var counts, failures int
	sum := map[string][3]int64{}
	for _, e := range entries {
		if e.Kind == TaskFailed {
			failures++
		}
		if e.Kind&Counted != 0 {
			counts++
			s := sum[e.Kind.String()+" "+e.Label]
			sum[e.Kind.String()+" "+e.Label] = [3]int64{s[0] + int64(e.N), s[1] + int64(e.Ran), s[2] + e.Bytes}
		}
	}
	if counts != 4 || failures != 20 {
		t.Errorf("%d counts and %d failures, want 4 and 20:\n%s", counts, failures, strings.Join(lines(entries), "\n"))
	}
	// Of each burst's first three, two are f's and one g's.
	want := map[string][3]int64{"task_done_many f": {16, 32, 48}, "task_waited_many g": {18, 90, 0}}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Errorf("counts: -want +got\n%s", diff)
	}
	s := l.Stats()
	if s.Kinds[TaskDone] != 20 || s.Kinds[TaskWaited] != 20 || s.Kinds[TaskFailed] != 20 || s.Bytes[TaskDone] != 60 || s.Ran.Count() != 40 {
		t.Errorf("totals %v", s)
	}
}

// Whatever is appended in whatever order of reads, a reader sees each record
// that the rings still have exactly once, in order of time, and is told how
// many it missed.
func TestReadsAreComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New(Config{Ordinary: chunkLen, Kept: chunkLen, Budget: -1})
		var now time.Duration
		var c Cursor
		appended, seen := 0, 0
		var lastAt time.Duration
		read := func(limit int) {
			var entries []Entry
			var missed uint64
			entries, c, missed = l.Read(c, nil, limit)
			seen += len(entries) + int(missed)
			for _, e := range entries {
				if e.At < lastAt {
					t.Fatalf("an entry of %v after one of %v", e.At, lastAt)
				}
				lastAt = e.At
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for range rapid.IntRange(0, 700).Draw(t, "appends") {
				now += time.Duration(appended % 3)
				kind := TaskDone
				if appended%7 == 0 {
					kind = TaskFailed
				}
				l.Append(now, Record{Kind: kind})
				appended++
			}
			read(rapid.IntRange(1, 900).Draw(t, "reads"))
			lastAt = min(lastAt, now)
		}
		for before := -1; before != seen; {
			before = seen
			read(1000)
		}
		if seen != appended {
			t.Fatalf("%d appended, %d seen or missed", appended, seen)
		}
	})
}

func TestAbout(t *testing.T) {
	l := New(Config{})
	task := id.NewTask(id.Node{1}, 1)
	other := id.NewTask(id.Node{1}, 2)
	for i := range 3 {
		l.Append(time.Duration(i), Record{Kind: TaskRetried, ID: IDOf(task), N: uint32(i + 1)})
		l.Append(time.Duration(i), Record{Kind: TaskDone, ID: IDOf(other)})
	}
	got := lines(l.About(IDOf(task.Return(0)), 2))
	if diff := cmp.Diff([]string{"1ns task_retried  n=2", "2ns task_retried  n=3"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWaitWakesOnAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		woken := make(chan error, 1)
		go func() { woken <- l.Wait(t.Context(), Cursor{}) }()
		synctest.Wait()
		select {
		case err := <-woken:
			t.Fatalf("woken by nothing: %v", err)
		default:
		}
		l.Append(1, Record{Kind: TaskDone})
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { woken <- l.Wait(ctx, l.End()) }()
		synctest.Wait()
		cancel()
		if err := <-woken; err == nil {
			t.Error("a wait outlived its context")
		}
	})
}

func TestNoteShortens(t *testing.T) {
	l := New(Config{})
	l.Note(0, Record{Kind: TaskFailed}, "begin"+strings.Repeat("é", MaxText)+"end\xff")
	entries, _ := all(l)
	text := entries[0].Text
	if len(text) > MaxText || !strings.HasPrefix(text, "begin") || !strings.HasSuffix(text, "end") || !strings.Contains(text, "[…]") {
		t.Errorf("%d bytes: %.20q…%q", len(text), text, text[len(text)-10:])
	}
}

func TestNamesAreBounded(t *testing.T) {
	l := New(Config{})
	for i := range maxNames + 10 {
		l.Name(strconv.Itoa(i))
	}
	if a, b := l.Name("7"), l.Name("7"); a != b || a == 0 {
		t.Errorf("one name is %d and %d", a, b)
	}
	if n := l.Name("one too many"); n != 0 {
		t.Errorf("one name too many is %d", n)
	}
	if n := l.Name(""); n != 0 {
		t.Errorf("no name is %d", n)
	}
	if s := l.Stats(); s.Names != maxNames {
		t.Errorf("%d names, want %d", s.Names, maxNames)
	}
}

func TestConcurrentUse(t *testing.T) {
	l := New(Config{Ordinary: 1000, Kept: 1000, Budget: 100})
	ctx, cancel := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var c Cursor
			for l.Wait(ctx, c) == nil {
				_, c, _ = l.Read(c, nil, 100)
			}
		})
	}
	for w := range 4 {
		writers.Go(func() {
			name := l.Name(strconv.Itoa(w))
			for i := range 5000 {
				l.Append(time.Duration(i)*time.Millisecond, Record{Kind: Kind(1 + i%20), Name: name})
				if i%1000 == 0 {
					l.About(ID{}, 1)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
	var total uint64
	s := l.Stats()
	for _, n := range s.Kinds {
		total += n
	}
	if total != 4*5000 {
		t.Errorf("totals sum to %d", total)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-1, 0, 1, 2, 3, 1000, 1 << 50} {
		h.observe(d)
	}
	if h.Counts[0] != 2 || h.Counts[1] != 1 || h.Counts[2] != 2 || h.Counts[10] != 1 || h.Counts[Buckets-1] != 1 || h.Count() != 7 {
		t.Errorf("%+v", h)
	}
	if Upper(10) != 1024 {
		t.Errorf("bucket 10 ends at %v", Upper(10))
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  Config
		kind Kind
	}{
		{"recorded", Config{Budget: -1}, TaskDone},
		{"counted", Config{}, TaskDone},
		{"kept", Config{}, TaskFailed},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := New(c.cfg)
			r := Record{Kind: c.kind, Name: l.Name("f"), Ran: 100}
			b.ReportAllocs()
			for i := range b.N {
				l.Append(time.Duration(i)*100, r)
			}
		})
	}
}

// A follower that is always there costs the appender little.
func BenchmarkAppendFollowed(b *testing.B) {
	l := New(Config{Budget: -1})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- l.Drain(ctx, 10*time.Millisecond) }()
	r := Record{Kind: TaskDone, Name: l.Name("f"), Ran: 100}
	b.ReportAllocs()
	for i := range b.N {
		l.Append(time.Duration(i)*100, r)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
