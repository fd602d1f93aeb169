package wire

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

var someJob = id.Job{9, 9, 9, 9}

// fullTask has something in every field that a template has.
func fullTask(t testing.TB) *spec.Task {
	resources, err := resource.FromMap(map[string]float64{"CPU": 0.5, "memory": 1 << 30, "tpu": 2})
	if err != nil {
		t.Fatal(err)
	}
	task := &spec.Task{Kind: spec.KindCreate, Job: someJob, Name: "shown", Function: "f", Sig: 77, Returns: 3,
		Resources: resources, Strategy: spec.Strategy{Kind: spec.InGroup, Node: someNode, Soft: true, Group: someTask, Bundle: -1},
		Selector: resource.Selector{{Key: "a", Values: []string{"x", "y"}}, {Key: "b", Not: true, Values: []string{"z"}}},
		Isolated: true, Language: Python, Portable: true, Code: strings.Repeat("c", 32), Env: spec.NewRuntimeEnv(`{"pip":["x"]}`), MaxCalls: 7, MaxRetries: -1, RetryErrors: true, Priority: -3, WindowItems: 8, WindowBytes: 1 << 40,
		Actor: &spec.Actor{Class: "C", Name: "n", Namespace: "ns", Detached: true, GetIfExists: true, MaxRestarts: -1, MaxTaskRetries: 2,
			Concurrency: 4, Groups: map[string]int{"io": 2}, OutOfOrder: true, MaxPending: 100, Meta: []byte("m")}}
	if err := task.Seal(); err != nil {
		t.Fatal(err)
	}
	return task
}

func TestTemplate(t *testing.T) {
	plain := &spec.Task{Job: someJob, Function: "f", Stream: true}
	if err := plain.Seal(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []*spec.Task{fullTask(t), plain} {
		var p sessionv1.Template
		spoil := roundTrip(t, TemplateToPB(12, want), &p)
		got, err := TemplateFromPB(&p, someJob)
		spoil()
		if err != nil || !reflect.DeepEqual(got, want) || got.Key() != want.Key() {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
}

// A field that spec.Task gains must travel too.
func TestTemplateIsWhole(t *testing.T) {
	for _, v := range []any{*fullTask(t), *fullTask(t).Actor} {
		s := reflect.ValueOf(v)
		for i := range s.NumField() {
			name := s.Type().Field(i).Name
			if s.Field(i).IsZero() && name != "Stream" { // which goes without Returns
				t.Errorf("%T.%s is not set in fullTask", v, name)
			}
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for says, spoil := range map[string]func(p *sessionv1.Template){
		"language \"cobol\"":    func(p *sessionv1.Template) { p.Language = "cobol" },
		"must be isolated":      func(p *sessionv1.Template) { p.Language, p.Isolated = Python, false },
		"runtime environment":   func(p *sessionv1.Template) { p.RuntimeEnv = strings.Repeat("x", MaxRuntimeEnv+1) },
		"calls per worker":      func(p *sessionv1.Template) { p.MaxCalls = math.MaxUint32 },
		"5 bytes as the hash":   func(p *sessionv1.Template) { p.Code = make([]byte, 5) },
		"without a function":    func(p *sessionv1.Template) { p.Function = "" },
		"unknown kind 3":        func(p *sessionv1.Template) { p.Kind = 3 },
		"use a stream":          func(p *sessionv1.Template) { p.Returns = math.MaxUint32 },
		"a stream with 3":       func(p *sessionv1.Template) { p.Stream = true },
		"-2 retries":            func(p *sessionv1.Template) { p.MaxRetries = -2 },
		"is too large":          func(p *sessionv1.Template) { p.WindowBytes = math.MaxUint64 },
		"actor's description":   func(p *sessionv1.Template) { p.Actor = nil },
		"description: true":     func(p *sessionv1.Template) { p.Kind = 0 },
		"\"CPU\": -1 is":        func(p *sessionv1.Template) { p.Resources["CPU"] = -10_000 },
		"\"x\": 92233720368547": func(p *sessionv1.Template) { p.Resources["x"] = math.MaxInt64 },
		"has no name":           func(p *sessionv1.Template) { p.Resources[""] = 1 },
		"an empty key":          func(p *sessionv1.Template) { p.Selector[0].Key = "" },
		"unknown strategy":      func(p *sessionv1.Template) { p.Strategy = 4 },
		"node id has 0 bytes":   func(p *sessionv1.Template) { p.Strategy, p.StrategyNode = 2, nil },
		"task id has 3 bytes":   func(p *sessionv1.Template) { p.StrategyGroup = []byte{1, 2, 3} },
		"bundle -2":             func(p *sessionv1.Template) { p.StrategyBundle = -2 },
		"-5 restarts":           func(p *sessionv1.Template) { p.Actor.MaxRestarts = -5 },
		"concurrency 0":         func(p *sessionv1.Template) { p.Actor.Concurrency = 0 },
		"pending calls":         func(p *sessionv1.Template) { p.Actor.MaxPending = math.MaxUint32 },
		"group \"io\": 0":       func(p *sessionv1.Template) { p.Actor.Groups["io"] = 0 },
	} {
		p := TemplateToPB(12, fullTask(t))
		spoil(p)
		_, err := TemplateFromPB(p, someJob)
		if !errors.Is(err, Invalid) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "template 12") {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	if _, err := TemplateFromPB(nil, someJob); !errors.Is(err, Invalid) {
		t.Errorf("no template: %v", err)
	}
}

func TestGroup(t *testing.T) {
	task := fullTask(t)
	want := &spec.Group{Job: someJob, Name: "g", Detached: true, Layout: spec.StrictPack,
		Bundles: []spec.Bundle{{Resources: task.Resources, Selector: task.Selector}, {}}}
	var p sessionv1.Group
	spoil := roundTrip(t, GroupToPB(3, someTask, want), &p)
	group, got, err := GroupFromPB(&p, someJob)
	spoil()
	if err != nil || group != someTask || p.Request != 3 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v %+v, %v", group, got, err)
	}
	for says, bad := range map[string]*sessionv1.Group{
		"task id has 0 bytes": {},
		"unknown layout 4":    {Group: someTask[:], Layout: 4},
		"bundle 1":            {Group: someTask[:], Bundles: []*sessionv1.Bundle{{}, {Resources: map[string]int64{"CPU": -1}}}},
		"bundle 0":            {Group: someTask[:], Bundles: []*sessionv1.Bundle{{Selector: []*sessionv1.Term{{}}}}},
	} {
		if _, _, err := GroupFromPB(bad, someJob); !errors.Is(err, Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}
