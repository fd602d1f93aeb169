package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseFilter(t *testing.T) {
	for in, want := range map[string]Filter{
		"state=RUNNING": {"state", Is, "RUNNING"},
		"state!=DEAD":   {"state", Not, "DEAD"},
		"name~train":    {"name", Contains, "train"},
		"bytes>1024":    {"bytes", Greater, "1024"},
		"bytes<1024":    {"bytes", Less, "1024"},
		"name=a=b":      {"name", Is, "a=b"},
		"name=":         {"name", Is, ""},
		"labels.zone=a": {"labels.zone", Is, "a"},
	} {
		if got, err := ParseFilter(in); err != nil || got != want || got.String() != in {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "state", "=x", "a!b"} {
		if f, err := ParseFilter(in); err == nil {
			t.Errorf("%q is read as %+v", in, f)
		}
	}
}

func TestFilters(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tasks := []Task{
		{ID: "01", Name: "square", State: TaskRunning, Attempt: 1, Resources: map[string]float64{"CPU": 1}, Started: noon},
		{ID: "02", Name: "train", State: TaskFinished, Attempt: 12, Resources: map[string]float64{"CPU": 0.5, "GPU": 1}, Started: noon.Add(time.Hour)},
		{ID: "03", Name: "retrain", State: TaskFailed, Attempt: 3},
	}
	for filter, want := range map[string]string{
		"state=running":               "01",
		"state!=RUNNING":              "02 03",
		"name~TRAIN":                  "02 03",
		"attempt>1":                   "02 03", // as numbers: 12 and 3
		"attempt>3":                   "02",
		"attempt<12":                  "01 03",
		"resources.CPU=0.5":           "02",
		"resources.GPU=":              "01 03",
		"started>2026-03-01T12:30":    "02",
		"started=":                    "03",
		"state!=RUNNING,name~retrain": "03",
	} {
		var q Query
		for f := range strings.SplitSeq(filter, ",") {
			parsed, err := ParseFilter(f)
			if err != nil {
				t.Fatal(err)
			}
			q.Filters = append(q.Filters, parsed)
		}
		rows, err := Select(q, slices.Values(tasks))
		if got := ids(rows); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", filter, got, err, want)
		}
	}
	nodes := []Node{{ID: "01", Labels: map[string]string{"zone": "a"}, Store: StoreUse{Used: 7}}, {ID: "02"}}
	for filter, want := range map[string]int{"labels.zone=a": 1, "store.used>6": 1, "store.nothing=0": 0} {
		f, err := ParseFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := Select(Query{Filters: []Filter{f}}, slices.Values(nodes)); err != nil || rows.Total != want {
			t.Errorf("%s: %d rows, %v; want %d", filter, rows.Total, err, want)
		}
	}
}

func TestUnknownField(t *testing.T) {
	_, err := Select(Query{Filters: []Filter{{"colour", Is, "red"}}}, slices.Values([]Job{}))
	if err == nil || !strings.Contains(err.Error(), `no field "colour"; fields are id, state, program`) {
		t.Errorf("%v", err)
	}
}

func ids(rows Rows[Task]) string {
	var out []string
	for _, r := range rows.Rows {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}

// Pages of any size over rows in any order are all rows, sorted.
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 400).Draw(t, "rows")
		order := rapid.Permutation(seq(n)).Draw(t, "order")
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		var got []string
		for q := (Query{Limit: limit}); ; {
			rows, err := Select(q, func(yield func(Task) bool) {
				for _, i := range order {
					if !yield(Task{ID: fmt.Sprintf("%04x", i)}) {
						return
					}
				}
			})
			if err != nil || rows.Total != n || len(rows.Rows) > limit {
				t.Fatalf("%d rows of %d, %v", len(rows.Rows), rows.Total, err)
			}
			for _, r := range rows.Rows {
				got = append(got, r.ID)
			}
			if !rows.Truncated {
				break
			}
			q.After = got[len(got)-1]
		}
		var want []string
		for _, i := range seq(n) {
			want = append(want, fmt.Sprintf("%04x", i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
	})
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// Worker numbers sort as numbers.
func TestPagesOfNumbers(t *testing.T) {
	var all []Worker
	for i := range 25 {
		all = append(all, Worker{ID: 25 - i})
	}
	rows, err := Select(Query{Limit: 3, After: "9"}, slices.Values(all))
	if err != nil || len(rows.Rows) != 3 || rows.Rows[0].ID != 10 || !rows.Truncated || rows.Total != 25 {
		t.Errorf("%+v, %v", rows, err)
	}
}

func BenchmarkSelect(b *testing.B) {
	rows := make([]Task, 100_000)
	for i := range rows {
		rows[i] = Task{ID: fmt.Sprintf("%032x", i*7919%len(rows)), State: TaskRunning}
	}
	q := Query{Filters: []Filter{{"state", Is, "RUNNING"}}, Limit: 100}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Select(q, slices.Values(rows)); err != nil {
			b.Fatal(err)
		}
	}
}
