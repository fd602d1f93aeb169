package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// The packages whose decisions must be replayable.
var pureMachines = []string{"place", "coordinate", "dispatch", "own", "actor", "evict", "guard"}

// What would bring the outside world, time or chance into a machine. An entry
// that ends in / stands for all below it.
var impureImports = []string{
	"context", "crypto/rand", "io", "io/", "log", "log/", "math/rand", "math/rand/", "net", "net/", "os", "os/",
	"runtime", "runtime/", "sync", "sync/", "syscall", "unsafe",
}

// The functions of package time that read the clock or wait.
var clockFuncs = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

func pureRules() []Rule {
	return []Rule{{
		Name:   "pure",
		Advice: "a machine gets time and input as an event and returns effects; move the rest to the shell that steps it",
		find:   checkPure,
	}}
}

func checkPure(t *Tree, r *report) {
	t.written(func(p *Package, f *File) {
		if f.Test || !slices.Contains(pureMachines, p.name()) {
			return
		}
		f.imports(func(importPath string, spec *ast.ImportSpec) {
			if impure(importPath) {
				r.at(spec.Pos(), "machine %s imports %s", p.name(), importPath)
			}
		})
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if what := impureSyntax(n); what != "" {
				r.at(n.Pos(), "machine %s %s", p.name(), what)
			}
			return true
		})
	})
}

// impure reports whether a machine may not import the path: the list above,
// and every other module.
func impure(importPath string) bool {
	if _, own := ours(importPath); own {
		return false
	}
	if first, _, _ := strings.Cut(importPath, "/"); strings.Contains(first, ".") {
		return true
	}
	return slices.ContainsFunc(impureImports, func(entry string) bool {
		return importPath == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(importPath, entry)
	})
}

// impureSyntax says what a machine may not do at this node, or "".
func impureSyntax(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.SelectStmt:
		return "waits in a select"
	case *ast.SendStmt:
		return "sends on a channel"
	case *ast.ChanType:
		return "uses a channel"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "receives from a channel"
		}
	case *ast.SelectorExpr:
		if name, ok := callOf(n, "time"); ok && slices.Contains(clockFuncs, name) {
			return "calls time." + name
		}
	}
	return ""
}

// callOf returns the name selected from the package pkg. It goes by the
// package's usual name: nobody here renames the standard library.
func callOf(sel *ast.SelectorExpr, pkg string) (name string, ok bool) {
	x, isIdent := sel.X.(*ast.Ident)
	if !isIdent || x.Name != pkg {
		return "", false
	}
	return sel.Sel.Name, true
}
