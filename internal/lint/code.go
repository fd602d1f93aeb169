package lint

import (
	"go/ast"
	"path"
	"slices"
)

// Limits on what a reader has to take in at once.
const (
	maxFuncLines = 120
	maxFileLines = 900
)

// Names that say nothing about what is inside.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "models", "misc", "shared", "base"}

// What a guest in someone's program does not import or call.
var (
	rudeImports = []string{"log", "flag", "os/signal"}
	rudeCalls   = map[string][]string{
		"fmt": {"Print", "Printf", "Println"},
		"os":  {"Setenv", "Unsetenv", "Clearenv", "Chdir"},
	}
)

func goRules() []Rule {
	return []Rule{{
		Name:   "package-doc",
		Advice: "give each package one comment, above its package clause: purpose, nouns, who owns what, what may run concurrently",
		find:   checkPackageDoc,
	}, {
		Name:   "sleep",
		Advice: "wait for a condition or an event, or run the test in a synctest bubble",
		find:   checkSleep,
	}, {
		Name:   "func-length",
		Advice: "give the parts names and functions of their own",
		find:   checkFuncLength,
	}, {
		Name:   "file-length",
		Advice: "split the file by topic",
		find:   checkFileLength,
	}, {
		Name:   "package-name",
		Advice: "name the package for the noun it is about",
		find:   checkPackageName,
	}, {
		Name:   "guest",
		Advice: "a library leaves output, flags, signals, environment and working directory to the program it is in",
		find:   checkGuest,
	}}
}

func checkPackageDoc(t *Tree, r *report) {
	for _, p := range t.Packages {
		var documented []*File
		var first *File
		for _, f := range p.Files {
			if f.Test || f.Generated {
				continue
			}
			if first == nil {
				first = f
			}
			if f.Syntax.Doc != nil {
				documented = append(documented, f)
			}
		}
		switch {
		case first == nil:
		case len(documented) == 0:
			r.at(first.Syntax.Package, "package %s has no doc comment", p.Dir)
		case len(documented) > 1:
			r.at(documented[1].Syntax.Doc.Pos(), "package %s has a second doc comment, the first is in %s", p.Dir, documented[0].Path)
		}
	}
}

// checkSleep looks for sleeping in tests. In a synctest bubble a sleep takes
// no time, and is how the virtual clock advances.
func checkSleep(t *Tree, r *report) {
	t.written(func(_ *Package, f *File) {
		if !f.Test {
			return
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
					if _, bubble := callOf(sel, "synctest"); bubble {
						return false
					}
				}
			}
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if name, ok := callOf(sel, "time"); ok && name == "Sleep" {
					r.at(n.Pos(), "test sleeps")
				}
			}
			return true
		})
	})
}

func checkFuncLength(t *Tree, r *report) {
	t.written(func(_ *Package, f *File) {
		if f.Test {
			return
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := t.Fset.Position(fn.End()).Line - t.Fset.Position(fn.Pos()).Line + 1
			if lines > maxFuncLines {
				r.at(fn.Pos(), "function %s has %d lines, more than %d", fn.Name.Name, lines, maxFuncLines)
			}
		}
	})
}

func checkFileLength(t *Tree, r *report) {
	t.written(func(_ *Package, f *File) {
		if f.Lines > maxFileLines {
			r.line(f.Path, f.Lines, "file has %d lines, more than %d", f.Lines, maxFileLines)
		}
	})
}

func checkPackageName(t *Tree, r *report) {
	for _, p := range t.Packages {
		f := p.Files[0]
		if slices.Contains(vagueNames, f.Syntax.Name.Name) || slices.Contains(vagueNames, path.Base(p.Dir)) {
			r.at(f.Syntax.Name.Pos(), "package %s is named for nothing", p.Dir)
		}
	}
}

func checkGuest(t *Tree, r *report) {
	t.written(func(p *Package, f *File) {
		if f.Test || p.main() {
			return
		}
		f.imports(func(importPath string, spec *ast.ImportSpec) {
			if slices.Contains(rudeImports, importPath) {
				r.at(spec.Pos(), "%s imports %s", p.Dir, importPath)
			}
		})
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			for pkg, names := range rudeCalls {
				if name, ok := callOf(sel, pkg); ok && slices.Contains(names, name) {
					r.at(n.Pos(), "%s calls %s.%s", p.Dir, pkg, name)
				}
			}
			return true
		})
	})
}
