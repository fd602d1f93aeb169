package lint

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRepository applies every rule to this repository.
func TestRepository(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, p := range rule.Check(tree, Exempt) {
				t.Error(p)
			}
		})
	}
}

func TestExemptionsNameRules(t *testing.T) {
	names := map[string]bool{}
	for _, rule := range Rules() {
		names[rule.Name] = true
	}
	for _, e := range Exempt {
		if !names[e.Rule] || e.Reason == "" {
			t.Errorf("exemption of %s: rule %q must exist and the reason must be given", e.Path, e.Rule)
		}
	}
}

// Each rule finds what breaks it, at its line, and nothing in what is right.
func TestRulesFind(t *testing.T) {
	const doc = "// Package p is documented.\n"
	long := strings.Repeat("\n", maxFileLines)
	tests := []struct {
		rule string
		path string
		src  string
		want string // part of the only problem; "" is none
	}{
		{"layers", "internal/id/a.go", `package id; import _ "github.com/weftrun/weft/internal/spec"`, "a.go:1: id may not import spec"},
		{"layers", "internal/spec/a.go", `package spec; import _ "github.com/weftrun/weft/internal/id"`, ""},
		{"layers", "internal/sim/a.go", `package sim; import _ "github.com/weftrun/weft/internal/id"`, ""},
		{"layers", "internal/place/a.go", `package place; import _ "github.com/weftrun/weft/internal/own"`, "place may not import own"},
		{"layers", "internal/wire/a.go", `package wire; import _ "github.com/weftrun/weft/internal/gen/session/v1"`, ""},
		{"layers", "internal/wire/a.go", `package wire; import _ "github.com/weftrun/weft"`, "wire may not import weft"},
		{"layers", "internal/new/a.go", `package new`, "has no place"},
		{"layers", "internal/id/a_test.go", `package id; import _ "github.com/weftrun/weft/internal/spec"`, ""},
		{"etcd", "internal/node/a.go", `package node; import _ "go.etcd.io/etcd/client/v3"`, "imports go.etcd.io"},
		{"etcd", "internal/control/etcd/a.go", `package etcd; import _ "go.etcd.io/etcd/client/v3"`, ""},
		{"etcd", "weft.go", `package weft; import _ "github.com/weftrun/weft/internal/control/etcd"`, "only cmd/weft may"},
		{"etcd", "cmd/weft/a.go", `package main; import _ "github.com/weftrun/weft/internal/control/etcd"`, ""},
		{"libraries", "tune/a.go", `package tune; import _ "github.com/weftrun/weft/internal/id"`, "tune imports internal/id"},
		{"libraries", "tune/a.go", `package tune; import _ "github.com/weftrun/weft/tune/internal/grid"`, ""},
		{"libraries", "examples/pi/a.go", `package main; import _ "github.com/weftrun/weft/internal/id"`, "examples/pi imports"},
		{"libraries", "data/a_test.go", `package data; import _ "github.com/weftrun/weft/internal/leak"`, ""},
		{"pure", "internal/own/a.go", `package own; import _ "sync"`, "machine own imports sync"},
		{"pure", "internal/own/a.go", `package own; import _ "net/netip"`, "imports net/netip"},
		{"pure", "internal/own/a.go", `package own; import _ "example.com/x"`, "imports example.com/x"},
		{"pure", "internal/own/a.go", `package own; import _ "slices"`, ""},
		{"pure", "internal/own/a.go", `package own; import "time"; var _ = time.Now`, "calls time.Now"},
		{"pure", "internal/own/a.go", `package own; import "time"; var _ = time.Second`, ""},
		{"pure", "internal/own/a.go", `package own; func f() { go f() }`, "starts a goroutine"},
		{"pure", "internal/own/a.go", `package own; func f() { select {} }`, "waits in a select"},
		{"pure", "internal/own/a.go", `package own; type c chan int`, "uses a channel"},
		{"pure", "internal/own/a_test.go", `package own; import _ "os"`, ""},
		{"pure", "internal/node/a.go", `package node; import _ "sync"`, ""},
		{"locks", "internal/own/a.go", `package own; import "sync"; type T struct { n int; mu sync.Mutex }`, "lock own.T.mu is not in docs/locks.txt"},
		{"locks", "internal/own/a.go", `package own; import "sync"; var table = struct{ sync.RWMutex }{}`, "lock own.table is not in"},
		{"locks", "internal/own/a.go", `package own; import "sync"; var once sync.Once`, ""},
		{"locks", "docs/locks.txt", "# Order.\n\nown.T.mu  everything", "docs/locks.txt:3: there is no lock own.T.mu"},
		{"package-doc", "p/a.go", "package p", "p has no doc comment"},
		{"package-doc", "p/a.go", doc + "package p", ""},
		{"sleep", "p/a_test.go", `package p; import "time"; func f() { time.Sleep(1) }`, "test sleeps"},
		{"sleep", "p/a_test.go", `package p; func f() { synctest.Test(t, func() { time.Sleep(1) }) }`, ""},
		{"sleep", "p/a.go", `package p; import "time"; func f() { time.Sleep(1) }`, ""},
		{"func-length", "p/a.go", "package p\nfunc f() {" + strings.Repeat("\n", maxFuncLines) + "}", "a.go:2: function f has 121 lines"},
		{"func-length", "p/a.go", "package p\nfunc f() {" + strings.Repeat("\n", maxFuncLines-1) + "}", ""},
		{"func-length", "p/a_test.go", "package p\nfunc f() {" + strings.Repeat("\n", maxFuncLines) + "}", ""},
		{"file-length", "p/a.go", "package p" + long + "//", "file has 901 lines"},
		{"file-length", "p/a.go", "// Code generated by x. DO NOT EDIT.\npackage p" + long + "//", ""},
		{"package-name", "p/util/a.go", "package util", "named for nothing"},
		{"guest", "p/a.go", `package p; import _ "log"`, "p imports log"},
		{"guest", "p/a.go", `package main; import _ "log"`, ""},
		{"guest", "p/a.go", `package p; import "fmt"; func f() { fmt.Println() }`, "calls fmt.Println"},
		{"guest", "p/a.go", `package p; import "os"; func f() { os.Setenv("a", "b") }`, "calls os.Setenv"},
		{"todo", "p/a.go", "package p\n// TO" + "DO: later", "a.go:2: open end"},
		{"todo", "p/a.go", "package p\n// TODO(#12): later", ""},
		{"machine-path", "README.md", "in /home" + "/me", "README.md:1: mentions"},
		{"machine-path", "README.md", "see https://example.com/home/me and ./work/x", ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule+"/"+tt.path, func(t *testing.T) {
			tree, err := Load(fstest.MapFS{tt.path: {Data: []byte(tt.src)}})
			if err != nil {
				t.Fatal(err)
			}
			checkProblems(t, rule(t, tt.rule).Check(tree, nil), tt.want)
		})
	}
}

func checkProblems(t *testing.T, got []Problem, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("found %v in\nwhat is right", got)
	case want != "" && len(got) != 1:
		t.Errorf("found %v, want one problem with %q", got, want)
	case want != "" && !strings.Contains(got[0].String(), want):
		t.Errorf("found %q, want %q in it", got[0], want)
	}
}

func rule(t *testing.T, name string) Rule {
	t.Helper()
	for _, r := range Rules() {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no rule %q", name)
	return Rule{}
}

func TestSecondPackageDoc(t *testing.T) {
	tree, err := Load(fstest.MapFS{
		"p/a.go": {Data: []byte("// Package p is one.\npackage p")},
		"p/b.go": {Data: []byte("// Package p is two.\npackage p")},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkProblems(t, rule(t, "package-doc").Check(tree, nil), "p/b.go:1: package p has a second doc comment")
}

func TestExemption(t *testing.T) {
	tree, err := Load(fstest.MapFS{"p/a.go": {Data: []byte("package p")}})
	if err != nil {
		t.Fatal(err)
	}
	exempt := []Exemption{{"package-doc", "p/a.go", "it is a test"}}
	checkProblems(t, rule(t, "package-doc").Check(tree, exempt), "")
	exempt = append(exempt, Exemption{"package-doc", "p/b.go", "long gone"})
	checkProblems(t, rule(t, "package-doc").Check(tree, exempt), "p/b.go:0: exempted, but it breaks no rule")
}

// Other modules in the repository follow their own rules; their text does not.
func TestOtherModules(t *testing.T) {
	tree, err := Load(fstest.MapFS{
		"tools/go.mod": {Data: []byte("module x")},
		"tools/x/a.go": {Data: []byte("package util")},
		"bin/a.go":     {Data: []byte("package broken(")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) != 0 || len(tree.Texts) != 2 {
		t.Errorf("loaded %d packages and %d texts, want 0 and 2", len(tree.Packages), len(tree.Texts))
	}
}

func TestLayersHaveNoCircle(t *testing.T) {
	if _, err := parseLayers("a < b < c\nc < a"); err == nil {
		t.Error("a circle was accepted")
	}
	below, err := parseLayers("a, b < c # comment\nc < d")
	if err != nil {
		t.Fatal(err)
	}
	if !below["d"]["a"] || below["b"]["a"] || below["a"]["d"] {
		t.Errorf("parsed to %v", below)
	}
}
