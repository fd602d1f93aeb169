package state

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weftrun/weft/internal/resource"
)

// Table is text in columns.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// Column is a title and how cells stand under it.
type Column struct {
	Title string
	Right bool
}

// gutter is between two columns.
const gutter = "  "

// Write prints t with a header. A line longer than width loses its end; zero
// is no limit. What is not printable is shown as "?", so that a task's name
// cannot command a terminal.
func (t *Table) Write(w io.Writer, width int) error {
	header := make([]string, len(t.Columns))
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		header[i] = c.Title
		widths[i] = utf8.RuneCountInString(c.Title)
	}
	for _, row := range t.Rows {
		for i, cell := range row {
			row[i] = Printable(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range slices.Concat([][]string{header}, t.Rows) {
		if _, err := io.WriteString(w, t.line(row, widths, width)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) line(row []string, widths []int, width int) string {
	var b strings.Builder
	for i, cell := range row {
		if i > 0 {
			b.WriteString(gutter)
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.Columns[i].Right {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	line := strings.TrimRight(b.String(), " ")
	if runes := []rune(line); width > 1 && len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}

// Printable replaces what a terminal would not just print.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// columns makes Columns of titles; a ">" before a title aligns to the right.
func columns(titles ...string) []Column {
	out := make([]Column, len(titles))
	for i, title := range titles {
		out[i].Title, out[i].Right = strings.CutPrefix(title, ">")
	}
	return out
}

// TaskTable shows tasks as they are at now.
func TaskTable(rows []Task, now time.Time) *Table {
	t := &Table{Columns: columns("ID", "NAME", "STATE", ">TRY", ">WORKER", ">WAITED", ">RAN", "ERROR")}
	for i := range rows {
		r := &rows[i]
		cause, _, _ := strings.Cut(r.Error, "\n")
		t.add(r.ID, r.Name, r.State, r.Attempt, count(r.Worker), between(r.Submitted, r.Started, now), between(r.Started, r.Ended, now), cause)
	}
	return t
}

// ActorTable shows actors.
func ActorTable(rows []Actor, now time.Time) *Table {
	t := &Table{Columns: columns("ID", "CLASS", "STATE", "NAME", ">WORKER", ">PID", ">RESTARTS", ">RUNNING", ">QUEUED", ">AGE", "CAUSE")}
	for i := range rows {
		r := &rows[i]
		t.add(r.ID, r.Class, r.State, r.Name, count(r.Worker), count(r.PID), r.Restarts, r.Running, r.Queued, between(r.Created, time.Time{}, now), r.Cause)
	}
	return t
}

// ObjectTable shows objects.
func ObjectTable(rows []Object, now time.Time) *Table {
	t := &Table{Columns: columns("ID", "STATE", ">SIZE", ">REFS", ">PINS", ">WAITING", ">AGE", "MADE BY")}
	for i := range rows {
		r := &rows[i]
		by := r.TaskName
		if r.Task == "" {
			by = "put"
		}
		t.add(r.ID, r.State, Bytes(r.Bytes), r.Refs, r.Pins, r.Waiting, between(r.Created, time.Time{}, now), by)
	}
	return t
}

// WorkerTable shows workers.
func WorkerTable(rows []Worker, now time.Time) *Table {
	t := &Table{Columns: columns(">ID", "KIND", "STATE", ">PID", "JOB", ">ACTORS", ">RUNNING", ">QUEUED", ">MEMORY", ">PINNED", ">AGE", "EXIT")}
	for i := range rows {
		r := &rows[i]
		t.add(r.ID, r.Kind, r.State, r.PID, r.Job, r.Actors, r.Running, r.Queued, Bytes(r.Memory), Bytes(r.Pinned), between(r.Started, r.Ended, now), r.Exit)
	}
	return t
}

// JobTable shows jobs.
func JobTable(rows []Job, now time.Time) *Table {
	t := &Table{Columns: columns("ID", "STATE", "PROGRAM", ">PID", ">SESSIONS", ">RUNNING", ">PENDING", ">ACTORS", ">AGE", "REASON")}
	for i := range rows {
		r := &rows[i]
		t.add(r.ID, r.State, r.Program, count(r.PID), r.Sessions, r.Running, r.Pending, r.Actors, between(r.Started, r.Ended, now), r.Reason)
	}
	return t
}

// NodeTable shows nodes.
func NodeTable(rows []Node, now time.Time) *Table {
	t := &Table{Columns: columns("ID", "STATE", "HOST", ">CPU FREE", ">CPU", ">STORE", ">LIMIT", ">WORKERS", ">RUNNING", ">QUEUED", ">AGE", "ADDRESS")}
	for i := range rows {
		r := &rows[i]
		t.add(r.ID, r.State, r.Host, Amount("CPU", r.Free["CPU"]), Amount("CPU", r.Total["CPU"]), Bytes(r.Store.Used), Bytes(r.Store.Limit),
			r.Workers, r.Running, r.Queued, between(r.Started, time.Time{}, now), r.Address)
	}
	return t
}

// GroupTable shows placement groups.
func GroupTable(rows []Group, now time.Time) *Table {
	t := &Table{Columns: columns("ID", "NAME", "STATE", "LAYOUT", "BUNDLES", ">AGE", "REASON")}
	for i := range rows {
		r := &rows[i]
		bundles := make([]string, len(r.Bundles))
		for k, b := range r.Bundles {
			bundles[k] = "{" + Amounts(b.Resources) + "}"
		}
		t.add(r.ID, r.Name, r.State, r.Layout, strings.Join(bundles, " "), between(r.Created, time.Time{}, now), r.Reason)
	}
	return t
}

func (t *Table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.Rows = append(t.Rows, row)
}

// count hides a zero that means none.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// between is the time from one moment to another, or to now.
func between(from, to, now time.Time) string {
	if from.IsZero() {
		return ""
	}
	if to.IsZero() {
		to = now
	}
	return Span(to.Sub(from))
}

// Span prints a duration with the digits that matter.
func Span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond / 10).String()
	case d < time.Second:
		return d.Round(time.Millisecond / 10).String()
	case d < time.Minute:
		return d.Round(time.Second / 10).String()
	}
	return d.Round(time.Second).String()
}

// Bytes prints a size in the largest unit that it has at least one of.
func Bytes(n int64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for (v >= 1024 || v <= -1024) && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i]
}

// Amount prints an amount of a resource: memory and store as a size.
func Amount(resource string, v float64) string {
	if resource == "memory" || resource == "store" {
		return Bytes(int64(v))
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// Amounts prints a map of resources, such as "CPU=2 memory=1 GiB", without those
// that every node has.
func Amounts(m map[string]float64) string {
	parts := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if resource.Implied(name) {
			continue
		}
		parts = append(parts, name+"="+Amount(name, m[name]))
	}
	return strings.Join(parts, " ")
}
