package lint

import (
	"cmp"
	"fmt"
	"go/token"
	"slices"
)

// A Rule is one thing that must hold in the whole repository.
type Rule struct {
	Name   string // in an Exemption and in a Problem
	Advice string // what to do instead
	find   func(*Tree, *report)
}

// A Problem is one place where a rule does not hold.
type Problem struct {
	Rule   string
	Path   string
	Line   int
	What   string
	Advice string
}

// String is one line, in the form that editors jump to.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s (rule %s): %s", p.Path, p.Line, p.What, p.Rule, p.Advice)
}

// Rules lists all rules.
func Rules() []Rule {
	return slices.Concat(layerRules(), pureRules(), lockRules(), goRules(), textRules())
}

// Check applies the rule to the tree. Problems that an entry of exempt allows
// are left out; entries for this rule that allow nothing are Problems too.
func (r Rule) Check(t *Tree, exempt []Exemption) []Problem {
	rep := report{tree: t, rule: r}
	r.find(t, &rep)
	kept := rep.problems[:0]
	used := map[Exemption]bool{}
	for _, p := range rep.problems {
		if i := slices.IndexFunc(exempt, func(e Exemption) bool { return e.Rule == r.Name && e.Path == p.Path }); i >= 0 {
			used[exempt[i]] = true
			continue
		}
		kept = append(kept, p)
	}
	for _, e := range exempt {
		if e.Rule == r.Name && !used[e] {
			kept = append(kept, Problem{Rule: r.Name, Path: e.Path, What: "exempted, but it breaks no rule", Advice: "remove its line from internal/lint/exempt.go"})
		}
	}
	slices.SortStableFunc(kept, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	return kept
}

// report collects what a rule finds.
type report struct {
	tree     *Tree
	rule     Rule
	problems []Problem
}

func (r *report) at(pos token.Pos, format string, args ...any) {
	p := r.tree.Fset.Position(pos)
	r.line(p.Filename, p.Line, format, args...)
}

func (r *report) line(path string, line int, format string, args ...any) {
	r.problems = append(r.problems, Problem{
		Rule: r.rule.Name, Path: path, Line: line, What: fmt.Sprintf(format, args...), Advice: r.rule.Advice,
	})
}
