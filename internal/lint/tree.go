package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the import path of the repository's root package.
const Module = "github.com/weftrun/weft"

// A Tree is the repository as the rules see it.
type Tree struct {
	Fset     *token.FileSet
	Packages []*Package // by folder, those of other modules left out
	Texts    []Text     // every text file, Go files included
}

// A Package is one folder of Go files.
type Package struct {
	Dir   string // relative to the root, "." for the root itself
	Files []*File
}

// A File is one Go file.
type File struct {
	Path      string // relative to the root
	Test      bool   // its name ends in _test.go
	Generated bool   // by a tool: rules about style do not apply
	Syntax    *ast.File
	Lines     int
}

// A Text is any text file.
type Text struct {
	Path  string
	Lines []string
}

// Folders that hold no sources of ours.
var skippedDirs = []string{".git", ".venv", "bin", "coverage", "node_modules", "__pycache__"}

// Extensions and names of the files whose text is checked.
var (
	textExtensions = []string{".go", ".md", ".yml", ".yaml", ".proto", ".py", ".toml", ".sh", ".txt", ".mod"}
	textNames      = []string{"Makefile", "run", ".gitignore", ".golangci.yml"}
)

// Load reads the repository whose root is fsys.
func Load(fsys fs.FS) (*Tree, error) {
	l := loader{fsys: fsys, tree: &Tree{Fset: token.NewFileSet()}, packages: map[string]*Package{}}
	if err := fs.WalkDir(fsys, ".", l.visit); err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	return l.tree, nil
}

type loader struct {
	fsys     fs.FS
	tree     *Tree
	packages map[string]*Package
	modules  []string // roots of other modules in the tree
}

func (l *loader) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if d.IsDir() {
		return l.enter(name)
	}
	if slices.Contains(textNames, path.Base(name)) || slices.Contains(textExtensions, path.Ext(name)) {
		return l.read(name)
	}
	return nil
}

// enter decides whether a folder is read and notes where other modules begin.
func (l *loader) enter(dir string) error {
	if slices.Contains(skippedDirs, path.Base(dir)) {
		return fs.SkipDir
	}
	if dir == "." {
		return nil
	}
	if _, err := fs.Stat(l.fsys, path.Join(dir, "go.mod")); err == nil {
		l.modules = append(l.modules, dir)
	}
	return nil
}

func (l *loader) read(name string) error {
	source, err := fs.ReadFile(l.fsys, name)
	if err != nil {
		return err
	}
	text := strings.TrimSuffix(string(source), "\n")
	lines := strings.Split(text, "\n")
	l.tree.Texts = append(l.tree.Texts, Text{Path: name, Lines: lines})
	if path.Ext(name) != ".go" || l.otherModule(name) || strings.Contains(name, "testdata/") {
		return nil
	}
	syntax, err := parser.ParseFile(l.tree.Fset, name, source, parser.ParseComments)
	if err != nil {
		return err
	}
	pkg := l.packageOf(path.Dir(name))
	pkg.Files = append(pkg.Files, &File{
		Path:      name,
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(syntax),
		Syntax:    syntax,
		Lines:     len(lines),
	})
	return nil
}

func (l *loader) otherModule(name string) bool {
	return slices.ContainsFunc(l.modules, func(root string) bool {
		return strings.HasPrefix(name, root+"/")
	})
}

func (l *loader) packageOf(dir string) *Package {
	if p := l.packages[dir]; p != nil {
		return p
	}
	p := &Package{Dir: dir}
	l.packages[dir] = p
	l.tree.Packages = append(l.tree.Packages, p)
	return p
}

// name is what the layer table calls a package: its folder without
// "internal/", or "weft" for the root.
func (p *Package) name() string {
	if p.Dir == "." {
		return "weft"
	}
	return strings.TrimPrefix(p.Dir, "internal/")
}

// main reports whether the package is a program.
func (p *Package) main() bool {
	return slices.ContainsFunc(p.Files, func(f *File) bool { return f.Syntax.Name.Name == "main" })
}

// imports calls visit for each import of the file.
func (f *File) imports(visit func(importPath string, spec *ast.ImportSpec)) {
	for _, spec := range f.Syntax.Imports {
		if importPath, err := strconv.Unquote(spec.Path.Value); err == nil {
			visit(importPath, spec)
		}
	}
}

// ours turns an import path of this module into a folder.
func ours(importPath string) (dir string, ok bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// written calls visit for each file that people wrote.
func (t *Tree) written(visit func(*Package, *File)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Generated {
				visit(p, f)
			}
		}
	}
}
