package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// Layers says who may import whom: in "a < b", b and everything above it may
// import a; in "a, b < c, d", c and d may import a and b, but not each other.
// Names are folders without "internal/"; "weft" is the root package and
// "gen/*" stands for all folders below gen. A package that is not here may
// neither import nor be imported: add it where it belongs.
const Layers = `
	id < resource < spec < place, dispatch, own, actor, evict < sim
	place < coordinate
	id < guard

	# the object plane
	id < slab
	id, spec, evict, slab < store
	slab, token < remote

	# what crosses a process boundary
	gen/*, id, resource, spec < wire < peer, session, client, worker, remote

	# metadata: the interface and its adapters
	id, spec < control < control/mem, control/etcd, control/controltest

	# what processes need
	spec, wire, worker < environ

	# what happened, and views of it
	gen/*, id, spec < event < state
	gen/*, event, state < state/api

	# the one place that wires a node together
	place, coordinate, dispatch, own, actor, evict, guard, guard/meminfo, store, wire < node
	peer, session, client, worker, environ, control/mem, event, state < node
	event, slab, store < session, worker, client

	# nodes in a cluster
	gen/*, coordinate, control, wire < head
	gen/*, control, token, wire < identity
	peer, head, node, identity, remote < cluster
	event, state, control < cluster

	launch < cmd/weft

	# programs
	node, remote < weft < wefttest
	leak < wefttest
	node, weft, control/etcd, state/api, identity, cluster < cmd/weft

	# the libraries, on the public API only
	weft < data < train < tune
	data < serve

	# users of what is there
	examples/digits/data, examples/digits/nn, weft < examples/digits
	weft, sim, node < bench
	weft < python/tests/cross
`

// Packages that nothing but tests imports; they may import anything.
var testOnly = []string{"lint", "leak", "cut"}

// The libraries, and the packages that are not theirs to see.
var libraries = []string{"data", "train", "tune", "serve"}

func layerRules() []Rule {
	return []Rule{{
		Name:   "layers",
		Advice: "move the code to the layer it belongs to, or pass in what is missing as an interface or a function; the table is Layers in internal/lint/layers.go",
		find:   checkLayers,
	}, {
		Name:   "etcd",
		Advice: "go through the interface of internal/control: a program that embeds Weft must not link etcd",
		find:   checkEtcd,
	}, {
		Name:   "libraries",
		Advice: "use the public API; what it lacks becomes part of it",
		find:   checkLibraries,
	}}
}

func checkLayers(t *Tree, r *report) {
	below, err := parseLayers(Layers)
	if err != nil {
		r.line("internal/lint/layers.go", 1, "%v", err)
		return
	}
	t.written(func(p *Package, f *File) {
		from := layerName(p.name())
		if f.Test || slices.Contains(testOnly, from) {
			return
		}
		if below[from] == nil {
			r.at(f.Syntax.Package, "package %s has no place in the layer table", from)
			return
		}
		f.imports(func(importPath string, spec *ast.ImportSpec) {
			dir, ok := ours(importPath)
			if !ok {
				return
			}
			to := layerName((&Package{Dir: dir}).name())
			if !below[from][to] {
				r.at(spec.Pos(), "%s may not import %s", from, to)
			}
		})
	})
}

// layerName folds generated packages into one name.
func layerName(name string) string {
	if strings.HasPrefix(name, "gen/") {
		return "gen/*"
	}
	return name
}

// parseLayers returns, for each package, the set of those it may import.
func parseLayers(table string) (map[string]map[string]bool, error) {
	below := map[string]map[string]bool{}
	for line := range strings.Lines(table) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var lower []string
		for layer := range strings.SplitSeq(line, "<") {
			names := strings.FieldsFunc(layer, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' })
			for _, name := range names {
				if below[name] == nil {
					below[name] = map[string]bool{}
				}
				for _, l := range lower {
					below[name][l] = true
				}
			}
			lower = names
		}
	}
	return below, closeOver(below)
}

// closeOver adds to each set what is below its members, until nothing is new.
func closeOver(below map[string]map[string]bool) error {
	for changed := true; changed; {
		changed = false
		for name, set := range below {
			for _, lower := range slices.Collect(maps.Keys(set)) {
				for l := range below[lower] {
					changed = changed || !set[l]
					set[l] = true
				}
			}
			if set[name] {
				return fmt.Errorf("the layer table has a circle through %s", name)
			}
		}
	}
	return nil
}

func checkEtcd(t *Tree, r *report) {
	t.written(func(p *Package, f *File) {
		f.imports(func(importPath string, spec *ast.ImportSpec) {
			if strings.HasPrefix(importPath, "go.etcd.io/") && p.Dir != "internal/control/etcd" {
				r.at(spec.Pos(), "%s imports %s", p.Dir, importPath)
			}
			if importPath == Module+"/internal/control/etcd" && p.Dir != "cmd/weft" && !f.Test {
				r.at(spec.Pos(), "%s imports internal/control/etcd, which only cmd/weft may", p.Dir)
			}
		})
	})
}

// checkLibraries also covers tests, which would otherwise depend on what a
// library's users cannot have, and the examples, which are what users copy.
func checkLibraries(t *Tree, r *report) {
	t.written(func(p *Package, f *File) {
		top, _, _ := strings.Cut(p.Dir, "/")
		if !slices.Contains(libraries, top) && top != "examples" {
			return
		}
		f.imports(func(importPath string, spec *ast.ImportSpec) {
			dir, ok := ours(importPath)
			if ok && strings.HasPrefix(dir, "internal/") && !testAid(f, dir) {
				r.at(spec.Pos(), "%s imports %s", p.Dir, path.Clean(dir))
			}
		})
	})
}

// testAid reports whether a test imports the leak detectors.
func testAid(f *File, dir string) bool {
	return f.Test && dir == "internal/leak"
}
