package event

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"time"
)

// WriteTimeline writes events as a Chrome trace, which chrome://tracing and
// ui.perfetto.dev show: a row for each task that a worker ran at a time, other
// events as marks, counts as graphs. Times are since the first event's start.
func WriteTimeline(w io.Writer, node string, events []View) error {
	out := bufio.NewWriter(w)
	t := timeline{out: out, node: node, lanes: map[int][]time.Time{}}
	if len(events) > 0 {
		t.zero = slices.MinFunc(events, func(a, b View) int { return a.start().Compare(b.start()) }).start()
	}
	t.raw(`{"displayTimeUnit":"ms","traceEvents":[`)
	t.write(map[string]any{"ph": "M", "pid": 1, "name": "process_name", "args": map[string]any{"name": "node " + node}})
	byStart := slices.Clone(events)
	slices.SortStableFunc(byStart, func(a, b View) int { return cmp.Or(a.start().Compare(b.start()), b.Time.Compare(a.Time)) })
	for i := range byStart {
		t.event(&byStart[i])
	}
	t.nameLanes()
	t.raw("\n]}\n")
	if t.err != nil {
		return t.err
	}
	return out.Flush()
}

// start is when what v tells began.
func (v View) start() time.Time {
	if v.Count > 0 {
		return v.Time
	}
	return v.Time.Add(-v.Ran)
}

// laneStep separates the rows of two workers.
const laneStep = 1000

type timeline struct {
	out     io.StringWriter
	node    string
	zero    time.Time
	lanes   map[int][]time.Time // by worker: until when each row is taken
	written int
	err     error
}

func (t *timeline) event(v *View) {
	e := map[string]any{
		"pid": 1, "tid": 0, "cat": v.Event, "name": cmp.Or(v.Name, v.Event), "ts": micros(v.start().Sub(t.zero)),
	}
	switch {
	case v.Count > 0:
		e["ph"], e["name"] = "C", cmp.Or(v.Name, "tasks")+" "+v.Event
		e["args"] = map[string]any{"per second": v.Count}
	case v.Event == TaskDone.String() || v.Event == TaskFailed.String() && v.Ran > 0:
		e["ph"], e["tid"], e["dur"] = "X", t.lane(v), micros(v.Ran)
		e["args"] = arguments(v)
		if v.Event == TaskFailed.String() {
			e["cname"] = "terrible"
		}
	default:
		e["ph"], e["s"], e["tid"] = "i", "p", v.Worker*laneStep
		e["ts"] = micros(v.Time.Sub(t.zero))
		e["args"] = arguments(v)
		if v.Name != "" {
			e["name"] = v.Event + " " + v.Name
		}
	}
	t.write(e)
}

// lane finds a row of v's worker that is free when v starts.
func (t *timeline) lane(v *View) int {
	rows := t.lanes[v.Worker]
	for i, until := range rows {
		if !until.After(v.start()) {
			rows[i] = v.Time
			return v.Worker*laneStep + i
		}
	}
	t.lanes[v.Worker] = append(rows, v.Time)
	return v.Worker*laneStep + len(rows)
}

func (t *timeline) nameLanes() {
	workers := make([]int, 0, len(t.lanes))
	for w := range t.lanes {
		workers = append(workers, w)
	}
	slices.Sort(workers)
	for _, w := range workers {
		for i := range t.lanes[w] {
			name := "worker " + strconv.Itoa(w)
			if i > 0 {
				name += " +" + strconv.Itoa(i)
			}
			t.write(map[string]any{
				"ph": "M", "pid": 1, "tid": w*laneStep + i, "name": "thread_name", "args": map[string]any{"name": name},
			})
		}
	}
}

// arguments are what a click on an event shows.
func arguments(v *View) map[string]any {
	args := map[string]any{}
	if v.ID != "" {
		args["id"] = v.ID
	}
	if v.Job != "" {
		args["job"] = v.Job
	}
	if v.NumberIs != "" {
		args[v.NumberIs] = v.Number
	}
	if v.Cause != "" {
		args["cause"] = v.Cause
	}
	if v.Queued > 0 {
		args["queued"] = v.Queued.String()
	}
	if v.Bytes > 0 {
		args["bytes"] = v.Bytes
	}
	if v.Text != "" {
		args["text"] = v.Text
	}
	return args
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (t *timeline) write(e map[string]any) {
	line, err := json.Marshal(e) // keys are sorted: the same events give the same file
	t.err = cmp.Or(t.err, err)
	if t.written++; t.written > 1 {
		t.raw(",")
	}
	t.raw("\n" + string(line))
}

func (t *timeline) raw(s string) {
	if t.err == nil {
		_, t.err = t.out.WriteString(s)
	}
}
