package lint

import (
	"go/ast"
	"os"
	"regexp"
	"testing"
)

// The tests that docs/faults.md names as its evidence are there.
func TestFaultsAreTested(t *testing.T) {
	doc, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	tree.written(func(_ *Package, f *File) {
		for _, d := range f.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				there[fn.Name.Name] = true
			}
		}
	})
	named := regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(doc, -1)
	if len(named) < 10 {
		t.Fatalf("docs/faults.md names %d tests", len(named))
	}
	for _, name := range named {
		if !there[string(name[1])] {
			t.Errorf("docs/faults.md names %s, and there is no such test", name[1])
		}
	}
}
