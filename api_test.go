package weft_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Exported functions and methods without a context, and why. Those that make an
// option need no entry.
var withoutContext = map[string]string{
	"Task0": registers, "Task1": registers, "Task2": registers, "Task3": registers,
	"Split1": registers, "Pair1": registers, "Stream1": registers, "StreamMethod1": registers,
	"Actor0": registers, "Actor1": registers, "Actor2": registers,
	"Method0": registers, "Method1": registers, "Method2": registers,
	"PyTask0": registers, "PyTask1": registers, "PyTask2": registers, "PyTask3": registers, "PyStream1": registers,
	"PyActor0": registers, "PyActor1": registers, "PyActor2": registers,
	"PyMethod0": registers, "PyMethod1": registers, "PyMethod2": registers,

	"Val": describes, "Collect": describes, "Ref.String": describes, "Actor.String": describes, "Group.String": describes,
	"Ref.Done": "returns the channel that a select waits on",

	"Cancel": "tells, and does not wait", "Kill": "tells, and does not wait", "Group.Remove": "tells, and does not wait",
	"Bytes.Data": describes, "Bytes.Release": "tells, and does not wait",
	"Writer.Bytes": describes, "Writer.Abort": "tells, and does not wait",
	"Writer.Grow": "waits for room with the context of NewWriter", "Writer.Seal": "does not wait",

	"Ref.Future": forCodecs, "Ref.SetFuture": forCodecs, "Ref.MarshalCBOR": forCodecs, "Ref.UnmarshalCBOR": forCodecs,
	"Actor.Handle": forCodecs, "Actor.SetHandle": forCodecs, "Actor.MarshalCBOR": forCodecs, "Actor.UnmarshalCBOR": forCodecs,
}

const (
	registers = "registers while packages initialise, and panics at the user's line"
	describes = "computes or reads what is there"
	forCodecs = "is for Weft's codecs, which have no context"
)

// What makes an option returns one of these.
var optionTypes = []string{"Option", "TaskOption", "ActorOption", "MethodOption", "InitOption", "CancelOption"}

// TestAPI looks at what the package exports: each name is documented, and what
// takes a context takes it first, so that what may wait can be told not to.
func TestAPI(t *testing.T) {
	unused := maps.Clone(withoutContext)
	for _, d := range exported(t, ".") {
		if d.doc == "" {
			t.Errorf("%s has no doc comment", d.name)
		}
		if d.fn == nil || d.makesOption() {
			continue
		}
		switch at, reason := d.context(), withoutContext[d.name]; {
		case at > 0:
			t.Errorf("%s takes its context as parameter %d; it comes first", d.name, at+1)
		case at < 0 && reason == "":
			t.Errorf("%s takes no context; if it never waits, say so in withoutContext", d.name)
		case at == 0 && reason != "":
			t.Errorf("%s takes a context; remove it from withoutContext", d.name)
		}
		delete(unused, d.name)
	}
	for name := range unused {
		t.Errorf("withoutContext names %s, which is not there", name)
	}
	for _, d := range exported(t, "wefttest") {
		if d.doc == "" {
			t.Errorf("wefttest: %s has no doc comment", d.name)
		}
	}
}

// declared is one exported name.
type declared struct {
	name string // with its receiver's type
	doc  string
	fn   *ast.FuncType // of functions and methods
}

// context is the position of the context among the parameters; -1 is nowhere.
func (d *declared) context() int {
	at := 0
	for _, field := range d.fn.Params.List {
		if sel, ok := field.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
			return at
		}
		at += max(len(field.Names), 1)
	}
	return -1
}

func (d *declared) makesOption() bool {
	if d.fn.Results == nil || len(d.fn.Results.List) != 1 {
		return false
	}
	result, ok := d.fn.Results.List[0].Type.(*ast.Ident)
	return ok && slices.Contains(optionTypes, result.Name)
}

// exported lists what the package in dir exports.
func exported(t *testing.T, dir string) (all []declared) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				all = appendFunc(all, d)
			case *ast.GenDecl:
				all = appendNames(all, d)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("nothing is exported from %s", dir)
	}
	return all
}

func appendFunc(all []declared, d *ast.FuncDecl) []declared {
	name := d.Name.Name
	if !ast.IsExported(name) {
		return all
	}
	if d.Recv != nil {
		of := typeName(d.Recv.List[0].Type)
		if !ast.IsExported(of) {
			return all
		}
		name = of + "." + name
	}
	return append(all, declared{name: name, doc: d.Doc.Text(), fn: d.Type})
}

// typeName is the name of a receiver's type.
func typeName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return typeName(x.X)
	case *ast.IndexExpr:
		return typeName(x.X)
	case *ast.IndexListExpr:
		return typeName(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

// appendNames adds types, constants and variables. A comment may be that of the
// name or stand beside it; that of a group of types is not enough.
func appendNames(all []declared, d *ast.GenDecl) []declared {
	group := d.Doc.Text()
	if len(d.Specs) > 1 {
		group = ""
	}
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				all = append(all, declared{name: s.Name.Name, doc: group + s.Doc.Text()})
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() {
					all = append(all, declared{name: n.Name, doc: group + s.Doc.Text() + s.Comment.Text()})
				}
			}
		}
	}
	return all
}
