package lint

import (
	"path"
	"regexp"
	"slices"
)

// Written with [T] for T, so that they do not match themselves.
var (
	openTodo    = regexp.MustCompile(`(//|#).*\b([T]ODO|[F]IXME|[X]XX|[H]ACK)\b`)
	issueNumber = regexp.MustCompile(`TODO\(#[0-9]+\)`)
	machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9_.~*/-])/(work|root|home)/[A-Za-z0-9._]|/tmp/[w]eft/[A-Za-z0-9]`)
)

// Where an open end is one: documents may speak about them.
var todoExtensions = []string{".go", ".py", ".proto", ".sh"}

func textRules() []Rule {
	return []Rule{{
		Name:   "todo",
		Advice: "do it, or file an issue and write its number: TODO(#12)",
		find:   checkTodo,
	}, {
		Name:   "machine-path",
		Advice: "name no path that only one machine has; use a relative or a temporary one",
		find:   checkMachinePath,
	}}
}

func checkTodo(t *Tree, r *report) {
	eachLine(t, func(p string, n int, line string) {
		if slices.Contains(todoExtensions, path.Ext(p)) && openTodo.MatchString(line) && !issueNumber.MatchString(line) {
			r.line(p, n, "open end without an issue")
		}
	})
}

func checkMachinePath(t *Tree, r *report) {
	eachLine(t, func(p string, n int, line string) {
		if found := machinePath.FindString(line); found != "" {
			r.line(p, n, "mentions a path of somebody's machine, %q", found)
		}
	})
}

func eachLine(t *Tree, visit func(path string, n int, line string)) {
	for _, text := range t.Texts {
		for i, line := range text.Lines {
			visit(text.Path, i+1, line)
		}
	}
}
