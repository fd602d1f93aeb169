package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// results are a run's findings and what they amount to.
type results struct {
	Env      machine    `json:"environment"`
	Rounds   int        `json:"rounds"`
	Quick    bool       `json:"quick,omitempty"`
	Rows     []result   `json:"rows"`
	Findings []*finding `json:"findings"`
}

// result is one row with its medians.
type result struct {
	Name    string   `json:"row"`
	What    string   `json:"what"`
	Asked   string   `json:"asked,omitempty"`
	LimitIs string   `json:"limit_is,omitempty"`
	Unit    string   `json:"unit"`
	Rounds  int      `json:"rounds"`
	Subject float64  `json:"median"`
	Least   float64  `json:"least"`
	Most    float64  `json:"most"`
	Limit   float64  `json:"limit_median,omitempty"`
	Ratio   float64  `json:"ratio_median,omitempty"`
	Remarks []string `json:"remarks,omitempty"`
	Error   string   `json:"error,omitempty"`
	Reached *bool    `json:"reached,omitempty"` // nil if nothing is asked

	unit unit
}

// add sums a topic's samples up.
func (r *results) add(t *topic, f *finding) {
	r.Findings = append(r.Findings, f)
	for i := range t.rows {
		r.Rows = append(r.Rows, t.rows[i].result(f))
	}
}

func (w *row) result(f *finding) result {
	res := result{Name: w.name, What: w.what, Asked: w.asked, LimitIs: w.limit, Unit: w.unit.String(), unit: w.unit}
	subject, limit := map[int]float64{}, map[int]float64{}
	for _, s := range f.Samples {
		switch {
		case s.Row != w.name:
		case s.Remark != "":
			if !slices.Contains(res.Remarks, s.Remark) {
				res.Remarks = append(res.Remarks, s.Remark)
			}
		case s.Limit:
			limit[s.Round] = s.Value
		default:
			subject[s.Round] = s.Value
		}
	}
	var subjects, limits, ratios []float64
	for round, v := range subject {
		subjects = append(subjects, v)
		if l, ok := limit[round]; ok && l != 0 {
			ratios = append(ratios, v/l)
		}
	}
	for _, v := range limit {
		limits = append(limits, v)
	}
	res.Rounds = len(subjects)
	res.Subject, res.Limit, res.Ratio = median(subjects), median(limits), median(ratios)
	if len(subjects) > 0 {
		res.Least, res.Most = slices.Min(subjects), slices.Max(subjects)
	}
	return w.judge(res, f)
}

// judge says whether what was asked is reached. What could not be measured is not.
func (w *row) judge(res result, f *finding) result {
	if res.Rounds == 0 {
		res.Error = "not measured"
	}
	if f.Error != "" {
		res.Error = f.Error
	}
	if w.reached != nil {
		reached := res.Error == "" && w.reached(medians{res.Subject, res.Limit, res.Ratio})
		res.Reached = &reached
	}
	return res
}

func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	n := len(vs)
	return (vs[(n-1)/2] + vs[n/2]) / 2
}

func (r *result) measured() string {
	if r.Rounds == 0 {
		return "failed"
	}
	text := r.unit.format(r.Subject)
	if len(r.Remarks) > 0 && r.Limit == 0 {
		text += " (" + strings.Join(r.Remarks, ", ") + ")"
	}
	if r.Error != "" {
		text += ", then failed"
	}
	return text
}

func (r *result) beside() string {
	if r.Limit == 0 {
		return "–"
	}
	what := strings.Join(append([]string{r.LimitIs}, r.Remarks...), "; ")
	return fmt.Sprintf("%s (%s): %s", r.unit.format(r.Limit), what, r.ratio())
}

// ratio is the subject as a multiple or a share of its limit.
func (r *result) ratio() string {
	if r.unit == rate || r.unit == bytesPerSecond {
		return digits(100*r.Ratio) + "%"
	}
	return digits(r.Ratio) + "×"
}

func (r *result) verdict() string {
	switch {
	case r.Reached == nil:
		return ""
	case *r.Reached:
		return "yes"
	case r.Error != "":
		return "**no**: " + firstLine(r.Error)
	}
	return "**no**"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// save writes the results: all of them as text and as JSON, and, of a full run,
// the table for people.
func (r *results) save(o *options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	base := filepath.Join(o.out, r.Env.Date+"-"+o.name)
	if o.quick || o.run != "" {
		base += "-part"
	}
	var text, table bytes.Buffer
	r.writeText(&text)
	r.writeTable(&table)
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	files := map[string][]byte{base + ".txt": text.Bytes(), base + ".json": append(data, '\n')}
	if !o.quick && o.run == "" {
		files[filepath.Join(o.out, "latest.md")] = table.Bytes()
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%s\nwritten to %s.txt and .json\n", table.String(), base)
	return r.failures()
}

// failures is an error if a topic broke off. A figure that was not reached is none.
func (r *results) failures() error {
	var broken []string
	for _, f := range r.Findings {
		if f.Error != "" {
			broken = append(broken, f.Topic)
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return fmt.Errorf("not measured to the end: %s", strings.Join(broken, ", "))
}

// writeTable writes the table for people.
func (r *results) writeTable(to io.Writer) {
	fmt.Fprintf(to, "Medians of %d rounds; subject and limit in turn. %s.\n\n", r.Rounds, &r.Env)
	fmt.Fprint(to, "| what | asked | measured | limit, measured in the same run | reached |\n|---|---|---|---|---|\n")
	for i := range r.Rows {
		row := &r.Rows[i]
		fmt.Fprintf(to, "| %s | %s | %s | %s | %s |\n", row.What, row.Asked, row.measured(), row.beside(), row.verdict())
	}
}

// writeText writes every sample as it came, and the medians.
func (r *results) writeText(to io.Writer) {
	fmt.Fprintf(to, "# %s\n# %d rounds; a line a sample: row, round, subject or limit, value, unit\n", &r.Env, r.Rounds)
	if r.Quick {
		fmt.Fprintln(to, "# quick: short rounds and small sizes; these are no results")
	}
	units := map[string]string{}
	for i := range r.Rows {
		units[r.Rows[i].Name] = r.Rows[i].Unit
	}
	for _, f := range r.Findings {
		fmt.Fprintf(to, "\n# %s: load %s, took %s\n", f.Topic, f.Load, f.Took)
		for _, s := range f.Samples {
			switch {
			case s.Remark != "":
				fmt.Fprintf(to, "%-28s %2d remark  %s\n", s.Row, s.Round, s.Remark)
			case s.Limit:
				fmt.Fprintf(to, "%-28s %2d limit   %.6g %s\n", s.Row, s.Round, s.Value, units[s.Row])
			default:
				fmt.Fprintf(to, "%-28s %2d subject %.6g %s\n", s.Row, s.Round, s.Value, units[s.Row])
			}
		}
		if f.Error != "" {
			fmt.Fprintf(to, "# failed: %s\n", strings.ReplaceAll(f.Error, "\n", "\n#   "))
		}
	}
	fmt.Fprintln(to, "\n# medians")
	for i := range r.Rows {
		r.Rows[i].writeLine(to)
	}
}

// writeTopic writes a topic's medians, for who watches the run.
func (r *results) writeTopic(to io.Writer, t *topic) {
	for i := range r.Rows {
		if slices.ContainsFunc(t.rows, func(w row) bool { return w.name == r.Rows[i].Name }) {
			r.Rows[i].writeLine(to)
		}
	}
	if f := r.Findings[len(r.Findings)-1]; f.Error != "" {
		fmt.Fprintf(to, "failed: %s\n", f.Error)
	}
}

func (r *result) writeLine(to io.Writer) {
	value := "failed"
	if r.Rounds > 0 {
		value = r.unit.format(r.Subject)
	}
	fmt.Fprintf(to, "%-28s %12s  [%s .. %s]", r.Name, value, r.unit.format(r.Least), r.unit.format(r.Most))
	if r.Limit != 0 {
		fmt.Fprintf(to, "  limit %s (%s)", r.unit.format(r.Limit), r.ratio())
	}
	if r.Reached != nil {
		fmt.Fprintf(to, "  asked %s: %s", r.Asked, strings.ReplaceAll(firstLine(r.verdict()), "**", ""))
	}
	for _, text := range r.Remarks {
		fmt.Fprintf(to, "  (%s)", text)
	}
	fmt.Fprintln(to)
}
