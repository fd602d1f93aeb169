package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s, -want +got; -rewrite writes it anew\n%s", path, diff)
	}
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// sample has a row of everything.
func sample() *Snapshot {
	task := func(n string) string { return "a10203040506070800000100000000" + n }
	return &Snapshot{
		Summary: Status{Node: Node{ID: "a102030405060708", State: NodeAlive}},
		TaskRows: []Task{
			{ID: task("01"), Name: "square", State: TaskRunning, Kind: NormalTask, Attempt: 1, Worker: 2, Submitted: ago(3 * time.Second), Started: ago(1234 * time.Millisecond)},
			{ID: task("02"), Name: "evil\x1b[2J\nname", State: TaskPendingPlacement, Attempt: 1, Submitted: ago(time.Hour)},
			{ID: task("03"), Name: "größer", State: TaskFailed, Attempt: 4, Worker: 3, Submitted: ago(time.Minute), Started: ago(time.Minute - 40*time.Microsecond), Ended: ago(59 * time.Second), Error: "worker 3 was killed by signal 9\nlast lines"},
		},
		ActorRows: []Actor{
			{ID: task("04"), Class: "counter", State: ActorAlive, Name: "hits", Namespace: "default", Worker: 2, PID: 4321, Restarts: 1, Running: 1, Queued: 1000, Created: ago(90 * time.Minute)},
			{ID: task("05"), Class: "server", State: ActorDead, Cause: "killed"},
		},
		ObjectRows: []Object{
			{ID: task("01") + "00000000", State: ObjectPending, Task: task("01"), TaskName: "square", Refs: 1, Waiting: 2, Created: ago(3 * time.Second)},
			{ID: task("06") + "00000000", State: ObjectStored, Bytes: 1536 << 20, Refs: 3, Pins: 1, Created: ago(time.Second)},
		},
		WorkerRows: []Worker{{ID: 2, State: WorkerBusy, PID: 4321, Job: "00000007", Kind: "go", Actors: 1, Running: 3, Memory: 50 << 20, Started: ago(time.Hour)}},
		JobRows:    []Job{{ID: "00000007", State: JobRunning, Program: "digits --chaos", PID: 4000, Sessions: 1, Running: 1, Pending: 1, Actors: 1, Started: ago(2 * time.Hour)}},
		NodeRows: []Node{{
			ID: "a102030405060708", State: NodeAlive, Host: "laptop", Address: "unix:weft.sock", Total: map[string]float64{"CPU": 8, "memory": 16 << 30},
			Free: map[string]float64{"CPU": 0.5}, Workers: 2, Running: 3, Queued: 1, Store: StoreUse{Used: 3 << 30, Limit: 4 << 30}, Started: ago(26 * time.Hour),
		}},
		GroupRows: []Group{{
			ID: task("07"), Name: "pair", State: GroupPending, Layout: "STRICT_PACK", Created: ago(2 * time.Second), Reason: "CPU: 16 asked, 8 in all",
			Bundles: []Bundle{{Resources: map[string]float64{"CPU": 8, "memory": 1 << 30}}, {Resources: map[string]float64{"CPU": 8}}},
		}},
		ReasonsByID: map[string]*Reason{task("02"): {Kind: "task", ID: task("02"), State: TaskPendingPlacement}},
	}
}

func TestTables(t *testing.T) {
	s := sample()
	var b bytes.Buffer
	for _, table := range []*Table{
		TaskTable(s.TaskRows, now), ActorTable(s.ActorRows, now), ObjectTable(s.ObjectRows, now), WorkerTable(s.WorkerRows, now),
		JobTable(s.JobRows, now), NodeTable(s.NodeRows, now), GroupTable(s.GroupRows, now), TaskTable(nil, now),
	} {
		if err := table.Write(&b, 0); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
	}
	if err := TaskTable(s.TaskRows, now).Write(&b, 80); err != nil {
		t.Fatal(err)
	}
	golden(t, "tables.txt", b.String())
}

// tree is a task that waits for an argument of a task that lacks a CPU, and
// for an actor in a deadlock.
func tree() *Reason {
	return &Reason{
		Kind: "task", ID: "a1…01", Name: "report", State: TaskPendingArgs, Since: 75 * time.Second,
		Text: "2 of its 3 arguments are not there yet",
		WaitsFor: []*Reason{
			{
				Kind: "object", ID: "a1…0200", State: ObjectPending, Text: "its task has not returned",
				WaitsFor: []*Reason{{
					Kind: "task", ID: "a1…02", Name: "train", State: TaskPendingPlacement, Since: 74 * time.Second,
					Text: "no node has room",
					Shortage: &Shortage{Resource: "CPU", Asked: 4, Free: 1, Total: 8, More: 2, HeldBy: []Holder{
						{Kind: "task", ID: "a1…05", Name: "sweep", State: TaskRunning, Amount: 6, Since: time.Hour},
						{Kind: "actor", ID: "a1…06", Amount: 1},
					}},
					Next: "wait, or give the node more CPUs",
				}},
			},
			{
				Kind: "actor", ID: "a1…03", Name: "left", State: ActorAlive, Text: "its one call waits in Get",
				Deadlock: []string{"actor a1…03 (left)", "actor a1…04 (right)"},
				WaitsFor: []*Reason{{
					Kind: "actor", ID: "a1…04", Name: "right", State: ActorAlive, Deadlock: []string{"actor a1…04 (right)", "actor a1…03 (left)"},
					WaitsFor: []*Reason{{Kind: "actor", ID: "a1…03", Name: "left", State: ActorAlive, Again: true}},
				}},
				Next: "make one of them call the other without waiting, or give it Concurrency(2)",
			},
			{Kind: "task", ID: "a1…07", State: TaskFailed, Error: "worker crashed: signal 9\n\tat \x1b[31mmain.go:7", More: 12, Shortage: &Shortage{Resource: "memory", Asked: 3 << 30, Total: 2 << 30}},
		},
		More: 40,
	}
}

func TestReasonText(t *testing.T) {
	var b bytes.Buffer
	if err := tree().Write(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != tree().String() {
		t.Error("Write and String differ")
	}
	golden(t, "reason.txt", b.String())
}

func TestReasonJSON(t *testing.T) {
	data, err := json.MarshalIndent(tree(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "reason.json", string(data)+"\n")
	var back Reason
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(), &back); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0s", 0: "0s", 12: "12ns", 1234: "1.2µs", 123456: "123.5µs", 1234567: "1.2ms", 12345678901: "12.3s", 3*time.Hour + 1234*time.Millisecond: "3h0m1s",
	} {
		if got := Span(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 150 << 20: "150 MiB", 1 << 62: "4 EiB", -2048: "-2 KiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := Amounts(map[string]float64{"memory": 1 << 30, "CPU": 0.5, "tpu": 2}); got != "CPU=0.5 memory=1 GiB tpu=2" {
		t.Errorf("%q", got)
	}
}

func TestResolve(t *testing.T) {
	s := sample()
	full := "a1020304050607080000010000000002"
	for arg, want := range map[string]string{
		full:                                full,
		strings.ToUpper(full):               full,
		"00000002":                          "00000002", // a whole job id
		"0000000002":                        full,       // an end
		"0000000001":                        "a1020304050607080000010000000001",
		"hits":                              "a1020304050607080000010000000004", // an actor's name
		"pair":                              "a1020304050607080000010000000007",
		"a10203040506070800000100000000060": "a102030405060708000001000000000600000000", // a put has no task
	} {
		if got, err := Resolve(t.Context(), s, arg); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", arg, got, err, want)
		}
	}
	if got, err := Resolve(t.Context(), s, " hits\n"); err != nil || got != "a1020304050607080000010000000004" {
		t.Errorf("with spaces around it: %q, %v", got, err)
	}
	for arg, want := range map[string]string{
		"7":                                 "too short",
		"a1020304050607080000":              "ambiguous: it could be a102030405060708000001",
		"nobody":                            "nothing is called",
		"a1020304050607080000010000000009a": "nothing is called",
	} {
		if got, err := Resolve(t.Context(), s, arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error with %q", arg, got, err, want)
		}
	}
	if _, err := Resolve(t.Context(), s, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v is not ErrNotFound", err)
	}
	s.FailWith = context.Canceled
	if _, err := Resolve(t.Context(), s, "nobody"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not the source's error", err)
	}
}

func TestSnapshot(t *testing.T) {
	s := sample()
	if _, err := s.Why(t.Context(), "a1020304050607080000010000000002"); err != nil {
		t.Error(err)
	}
	if _, err := s.Why(t.Context(), "00"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v is not ErrNotFound", err)
	}
	var _ Source = s
}
