package state

import (
	"fmt"
	"io"
	"strings"
)

// Write prints the tree for people, the root first.
func (r *Reason) Write(w io.Writer) error {
	var b strings.Builder
	r.write(&b, "", "")
	_, err := io.WriteString(w, b.String())
	return err
}

// String is what Write prints.
func (r *Reason) String() string {
	var b strings.Builder
	r.write(&b, "", "")
	return b.String()
}

// write prints r's first line after first, and the others after rest.
func (r *Reason) write(b *strings.Builder, first, rest string) {
	b.WriteString(first + r.headline() + "\n")
	inner := rest + "  "
	if len(r.WaitsFor) > 0 || r.More > 0 {
		inner = rest + "│ "
	}
	for _, line := range r.lines() {
		b.WriteString(inner + line + "\n")
	}
	for i, child := range r.WaitsFor {
		if i == len(r.WaitsFor)-1 && r.More == 0 {
			child.write(b, rest+"└─ ", rest+"   ")
		} else {
			child.write(b, rest+"├─ ", rest+"│  ")
		}
	}
	if r.More > 0 {
		fmt.Fprintf(b, "%s└─ and %d more\n", rest, r.More)
	}
}

func (r *Reason) headline() string {
	s := subject(r.Kind, r.ID, r.Name) + "  " + Printable(r.State)
	if r.Since > 0 {
		s += " for " + Span(r.Since)
	}
	if r.Again {
		s += "  (see above)"
	}
	return s
}

func subject(kind, id, name string) string {
	s := kind
	if id != "" {
		s += " " + id
	}
	if name != "" {
		s += " (" + Printable(name) + ")"
	}
	return s
}

// lines are what stands under the headline.
func (r *Reason) lines() []string {
	var lines []string
	if len(r.Deadlock) > 0 {
		lines = append(lines, "DEADLOCK: each of these waits for the next one, and the last for the first:")
		for i, who := range r.Deadlock {
			lines = append(lines, fmt.Sprintf("  %d. %s", i+1, Printable(who)))
		}
	}
	if r.Text != "" {
		lines = append(lines, Printable(r.Text))
	}
	if r.Shortage != nil {
		lines = append(lines, r.Shortage.lines()...)
	}
	if r.Error != "" {
		for line := range strings.SplitSeq(strings.TrimRight(r.Error, "\n"), "\n") {
			lines = append(lines, "! "+Printable(line))
		}
	}
	if r.Next != "" {
		lines = append(lines, "next: "+Printable(r.Next))
	}
	return lines
}

func (s *Shortage) lines() []string {
	amount := func(v float64) string { return Amount(s.Resource, v) }
	lines := []string{fmt.Sprintf("asks for %s of %s; free are %s of %s",
		amount(s.Asked), Printable(s.Resource), amount(s.Free), amount(s.Total))}
	for _, h := range s.HeldBy {
		line := fmt.Sprintf("  %s held by %s", amount(h.Amount), subject(h.Kind, h.ID, h.Name))
		if h.State != "" {
			line += ", " + Printable(h.State)
		}
		if h.Since > 0 {
			line += " for " + Span(h.Since)
		}
		lines = append(lines, line)
	}
	if s.More > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more holders", s.More))
	}
	return lines
}
