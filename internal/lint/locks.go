package lint

import (
	"go/ast"
	"strings"
)

// LockOrder is where the order of locks is written down.
const LockOrder = "docs/locks.txt"

func lockRules() []Rule {
	return []Rule{{
		Name:   "locks",
		Advice: "give the lock its place in the order of " + LockOrder + ", and think of who holds what when it is taken",
		find:   checkLocks,
	}}
}

// checkLocks compares the mutexes in the code with the list of them.
func checkLocks(t *Tree, r *report) {
	listed := map[string]int{}
	for _, text := range t.Texts {
		if text.Path != LockOrder {
			continue
		}
		for i, line := range text.Lines {
			if name, _, _ := strings.Cut(line, " "); name != "" && name != "#" {
				listed[name] = i + 1
			}
		}
	}
	found := map[string]bool{}
	t.written(func(p *Package, f *File) {
		if f.Test || !strings.HasPrefix(p.Dir, "internal/") && p.Dir != "." {
			return
		}
		eachLock(f.Syntax, func(name string, at ast.Node) {
			name = p.name() + "." + name
			found[name] = true
			if listed[name] == 0 {
				r.at(at.Pos(), "lock %s is not in %s", name, LockOrder)
			}
		})
	})
	for name, line := range listed {
		if !found[name] {
			r.line(LockOrder, line, "there is no lock %s", name)
		}
	}
}

// eachLock visits the mutexes of a file's types and variables. The name is the
// type's or variable's, and the field's if it has a name.
func eachLock(f *ast.File, visit func(name string, at ast.Node)) {
	for _, d := range f.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range decl.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				locksIn(s.Name.Name, s.Type, visit)
			case *ast.ValueSpec:
				for _, v := range append([]ast.Expr{s.Type}, s.Values...) {
					locksIn(s.Names[0].Name, v, visit)
				}
			}
		}
	}
}

func locksIn(owner string, x ast.Expr, visit func(name string, at ast.Node)) {
	if isMutex(x) {
		visit(owner, x)
	}
	if lit, ok := x.(*ast.CompositeLit); ok {
		x = lit.Type
	}
	st, ok := x.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range st.Fields.List {
		if !isMutex(field.Type) {
			continue
		}
		if len(field.Names) == 0 {
			visit(owner, field)
		}
		for _, n := range field.Names {
			visit(owner+"."+n.Name, field)
		}
	}
}

func isMutex(x ast.Expr) bool {
	sel, ok := x.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	name, ok := callOf(sel, "sync")
	return ok && (name == "Mutex" || name == "RWMutex")
}
