package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/spec"
)

// MaxReturns bounds the return values of one task; more is a stream.
const MaxReturns = 1 << 16

// MaxRuntimeEnv bounds the text of a runtime environment, in bytes.
const MaxRuntimeEnv = 64 << 10

// TemplateToPB describes t under the number n. The job is not part of it: a
// node knows its sessions' jobs, and Execute has it.
func TemplateToPB(n uint32, t *spec.Task) *sessionv1.Template {
	p := &sessionv1.Template{Id: n, Kind: uint32(t.Kind), Function: t.Function, Sig: t.Sig, Name: t.Name,
		Returns: uint32(t.Returns), Stream: t.Stream, Resources: VectorToPB(&t.Resources),
		Strategy: uint32(t.Strategy.Kind), StrategySoft: t.Strategy.Soft, StrategyBundle: int32(t.Strategy.Bundle), Captures: t.Strategy.Captures,
		Selector: SelectorToPB(t.Selector), Isolated: t.Isolated, MaxRetries: int32(t.MaxRetries), RetryErrors: t.RetryErrors,
		Priority: int32(t.Priority), WindowItems: uint32(t.WindowItems), WindowBytes: uint64(t.WindowBytes),
		RuntimeEnv: t.Env.String(), MaxCalls: uint32(t.MaxCalls), Language: t.Language, Code: []byte(t.Code), Portable: t.Portable}
	if !t.Strategy.Node.IsZero() {
		p.StrategyNode = t.Strategy.Node[:]
	}
	if !t.Strategy.Group.IsZero() {
		p.StrategyGroup = t.Strategy.Group[:]
	}
	if a := t.Actor; a != nil {
		p.Actor = &sessionv1.ActorTemplate{Class: a.Class, Name: a.Name, Namespace: a.Namespace, Detached: a.Detached,
			GetIfExists: a.GetIfExists, MaxRestarts: int32(a.MaxRestarts), MaxTaskRetries: int32(a.MaxTaskRetries),
			Concurrency: uint32(a.Concurrency), OutOfOrder: a.OutOfOrder, MaxPending: uint32(a.MaxPending), Meta: a.Meta}
		for name, limit := range a.Groups {
			if p.Actor.Groups == nil {
				p.Actor.Groups = make(map[string]uint32, len(a.Groups))
			}
			p.Actor.Groups[name] = uint32(limit)
		}
	}
	return p
}

// TemplateFromPB copies the description out of p, checks all of it, and seals
// it for the job.
func TemplateFromPB(p *sessionv1.Template, job id.Job) (*spec.Task, error) {
	t, err := taskFromPB(p)
	if err == nil {
		t.Job = job
		err = t.Seal()
	}
	if err != nil {
		return nil, &Error{Code: Invalid, Op: clone(p.GetFunction()), Message: fmt.Sprintf("template %d: %v", p.GetId(), err)}
	}
	return t, nil
}

func taskFromPB(p *sessionv1.Template) (*spec.Task, error) {
	switch {
	case p == nil:
		return nil, errors.New("there is none")
	case p.Kind > uint32(spec.KindMethod):
		return nil, fmt.Errorf("unknown kind %d", p.Kind)
	case p.Returns > MaxReturns:
		return nil, fmt.Errorf("%d return values, at most %d are possible; use a stream", p.Returns, MaxReturns)
	case p.Stream && p.Returns > 0:
		return nil, fmt.Errorf("a stream with %d return values", p.Returns)
	case p.MaxRetries < spec.Unlimited:
		return nil, fmt.Errorf("%d retries; use -1 for no limit", p.MaxRetries)
	case p.WindowItems > math.MaxInt32 || p.WindowBytes > math.MaxInt64:
		return nil, fmt.Errorf("a window of %d items and %d bytes is too large", p.WindowItems, p.WindowBytes)
	case p.Language != "" && p.Language != Go && p.Language != Python:
		return nil, fmt.Errorf("language %q; there are %q and %q", p.Language, Go, Python)
	case p.Language == Python && p.Kind != uint32(spec.KindMethod) && !p.Isolated:
		return nil, errors.New("a Python function must be isolated: its process runs one thing at a time")
	case p.MaxCalls > math.MaxInt32:
		return nil, fmt.Errorf("%d calls per worker process are too many", p.MaxCalls)
	case len(p.RuntimeEnv) > MaxRuntimeEnv:
		return nil, fmt.Errorf("a runtime environment of %d bytes, at most %d are possible; put files into working_dir", len(p.RuntimeEnv), MaxRuntimeEnv)
	case len(p.Code) != 0 && len(p.Code) != sha256.Size:
		return nil, fmt.Errorf("%d bytes as the hash of its code, want %d", len(p.Code), sha256.Size)
	case (p.Actor != nil) != (p.Kind == uint32(spec.KindCreate)):
		return nil, fmt.Errorf("kind %d, but has an actor's description: %t", p.Kind, p.Actor != nil)
	}
	t := &spec.Task{Kind: spec.Kind(p.Kind), Name: clone(p.Name), Function: clone(p.Function), Sig: p.Sig, Returns: int(p.Returns),
		Stream: p.Stream, Isolated: p.Isolated, Env: spec.NewRuntimeEnv(clone(p.RuntimeEnv)), MaxCalls: int(p.MaxCalls),
		MaxRetries: int(p.MaxRetries), RetryErrors: p.RetryErrors, Priority: int(p.Priority), WindowItems: int(p.WindowItems), WindowBytes: int64(p.WindowBytes),
		Code: string(p.Code), Portable: p.Portable}
	if p.Language != Go {
		t.Language = clone(p.Language)
	}
	var err error
	if t.Resources, err = VectorFromPB(p.Resources); err != nil {
		return nil, err
	}
	if t.Selector, err = SelectorFromPB(p.Selector); err != nil {
		return nil, err
	}
	if t.Strategy, err = strategyFromPB(p); err != nil {
		return nil, err
	}
	t.Actor, err = actorFromPB(p.Actor)
	return t, err
}

func strategyFromPB(p *sessionv1.Template) (s spec.Strategy, err error) {
	s = spec.Strategy{Kind: spec.StrategyKind(p.Strategy), Soft: p.StrategySoft, Bundle: int(p.StrategyBundle), Captures: p.Captures}
	if p.Strategy > uint32(spec.InGroup) {
		return s, fmt.Errorf("unknown strategy %d", p.Strategy)
	}
	if len(p.StrategyNode) > 0 || s.Kind == spec.NodeAffinity {
		if s.Node, err = ReadNode(p.StrategyNode); err != nil {
			return s, fmt.Errorf("node affinity: %w", err)
		}
	}
	if len(p.StrategyGroup) > 0 || s.Kind == spec.InGroup {
		if s.Group, err = ReadTask(p.StrategyGroup); err != nil {
			return s, fmt.Errorf("placement group: %w", err)
		}
	}
	if s.Bundle < -1 {
		return s, fmt.Errorf("bundle %d of a placement group; use -1 for any", s.Bundle)
	}
	return s, nil
}

func actorFromPB(p *sessionv1.ActorTemplate) (*spec.Actor, error) {
	switch {
	case p == nil:
		return nil, nil
	case p.MaxRestarts < spec.Unlimited || p.MaxTaskRetries < spec.Unlimited:
		return nil, fmt.Errorf("%d restarts, %d retries; use -1 for no limit", p.MaxRestarts, p.MaxTaskRetries)
	case p.Concurrency < 1 || p.Concurrency > math.MaxInt32:
		return nil, fmt.Errorf("concurrency %d of actor %s is not between 1 and %d", p.Concurrency, p.Class, math.MaxInt32)
	case p.MaxPending > math.MaxInt32:
		return nil, fmt.Errorf("%d pending calls of actor %s are too many", p.MaxPending, p.Class)
	}
	a := &spec.Actor{Class: clone(p.Class), Name: clone(p.Name), Namespace: clone(p.Namespace), Detached: p.Detached,
		GetIfExists: p.GetIfExists, MaxRestarts: int(p.MaxRestarts), MaxTaskRetries: int(p.MaxTaskRetries),
		Concurrency: int(p.Concurrency), OutOfOrder: p.OutOfOrder, MaxPending: int(p.MaxPending), Meta: slices.Clone(p.Meta)}
	for name, limit := range p.Groups {
		if limit < 1 || limit > math.MaxInt32 {
			return nil, fmt.Errorf("concurrency group %q: %d is not between 1 and %d", name, limit, math.MaxInt32)
		}
		if a.Groups == nil {
			a.Groups = make(map[string]int, len(p.Groups))
		}
		a.Groups[clone(name)] = int(limit)
	}
	return a, nil
}

// GroupToPB describes g.
func GroupToPB(request uint64, group id.Group, g *spec.Group) *sessionv1.Group {
	p := &sessionv1.Group{Request: request, Group: group[:], Layout: uint32(g.Layout), Name: g.Name, Detached: g.Detached}
	for i := range g.Bundles {
		p.Bundles = append(p.Bundles, &sessionv1.Bundle{Resources: VectorToPB(&g.Bundles[i].Resources),
			Selector: SelectorToPB(g.Bundles[i].Selector)})
	}
	return p
}

// GroupFromPB copies the description of a placement group out of p.
func GroupFromPB(p *sessionv1.Group, job id.Job) (id.Group, *spec.Group, error) {
	fail := func(err error) (id.Group, *spec.Group, error) {
		return id.Group{}, nil, &Error{Code: Invalid, Op: "placement group", Message: err.Error()}
	}
	group, err := ReadTask(p.Group)
	if err != nil {
		return fail(err)
	}
	if p.Layout > uint32(spec.StrictSpread) {
		return fail(fmt.Errorf("unknown layout %d", p.Layout))
	}
	g := &spec.Group{Job: job, Name: clone(p.Name), Detached: p.Detached, Layout: spec.PackKind(p.Layout)}
	for i, b := range p.Bundles {
		var bundle spec.Bundle
		if bundle.Resources, err = VectorFromPB(b.Resources); err != nil {
			return fail(fmt.Errorf("bundle %d: %w", i, err))
		}
		if bundle.Selector, err = SelectorFromPB(b.Selector); err != nil {
			return fail(fmt.Errorf("bundle %d: %w", i, err))
		}
		g.Bundles = append(g.Bundles, bundle)
	}
	return group, g, nil
}

// VectorToPB puts resource amounts into a message.
func VectorToPB(v *resource.Vector) map[string]int64 {
	if v.IsZero() {
		return nil
	}
	m := make(map[string]int64, 3+len(v.Custom))
	for name, a := range v.All {
		m[name] = int64(a)
	}
	return m
}

// VectorFromPB copies resource amounts out of a message.
func VectorFromPB(m map[string]int64) (v resource.Vector, err error) {
	for name, a := range m {
		switch {
		case name == "":
			return v, errors.New("a resource has no name")
		case a < 0:
			return v, fmt.Errorf("resource %q: %s is negative", name, resource.Amount(a))
		case a > math.MaxInt64/2:
			return v, fmt.Errorf("resource %q: %s is too large", name, resource.Amount(a))
		}
		v.Set(clone(name), resource.Amount(a))
	}
	return v, nil
}

// SelectorToPB describes s.
func SelectorToPB(s resource.Selector) []*sessionv1.Term {
	var terms []*sessionv1.Term
	for i := range s {
		terms = append(terms, &sessionv1.Term{Key: s[i].Key, Not: s[i].Not, Values: s[i].Values})
	}
	return terms
}

// SelectorFromPB copies a label selector out of a message.
func SelectorFromPB(terms []*sessionv1.Term) (resource.Selector, error) {
	var s resource.Selector
	for _, p := range terms {
		if p.Key == "" {
			return nil, errors.New("label selector: an empty key")
		}
		t := resource.Term{Key: clone(p.Key), Not: p.Not}
		for _, v := range p.Values {
			t.Values = append(t.Values, clone(v))
		}
		s = append(s, t)
	}
	slices.SortStableFunc(s, func(a, b resource.Term) int { return strings.Compare(a.Key, b.Key) })
	return s, nil
}

// clone copies a string that may lie in a frame. The generated decoders let
// through what is not UTF-8, other languages' do not.
func clone(s string) string { return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")) }
