package state

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// MinAbbreviation is the least that may stand for an id, in digits.
const MinAbbreviation = 2

// Resolve finds the one id of a source that arg abbreviates: the whole id, its
// beginning or its end (ids of one node begin alike), or an actor's or group's
// name. Of a task, its actor and its objects the task is meant. An
// error lists what arg could be.
func Resolve(ctx context.Context, src Source, arg string) (string, error) {
	arg = strings.TrimSpace(arg)
	if len(arg) < MinAbbreviation {
		return "", fmt.Errorf("%q is too short for an id; give at least %d digits", arg, MinAbbreviation)
	}
	if isHex(arg) && slices.Contains([]int{8, 16, 32, 40}, len(arg)) {
		return strings.ToLower(arg), nil
	}
	found, err := candidates(ctx, src, arg)
	if err != nil {
		return "", err
	}
	slices.Sort(found)
	found = slices.Compact(found)
	found = slices.DeleteFunc(found, func(id string) bool { // a task's objects begin with its id
		return slices.ContainsFunc(found, func(shorter string) bool {
			return shorter != id && len(shorter) == 32 && strings.HasPrefix(id, shorter)
		})
	})
	switch len(found) {
	case 0:
		return "", fmt.Errorf("nothing is called %q: %w; `weft list tasks`, actors, objects, … show ids", arg, ErrNotFound)
	case 1:
		return found[0], nil
	}
	shown := found[:min(len(found), 5)]
	return "", fmt.Errorf("%q is ambiguous: it could be %s%s; give more digits",
		arg, strings.Join(shown, ", "), map[bool]string{true: ", …"}[len(found) > len(shown)])
}

// candidates lists the ids that arg may stand for, at most a few of each kind.
func candidates(ctx context.Context, src Source, arg string) ([]string, error) {
	low := strings.ToLower(arg)
	var found []string
	keep := func(id string, names ...string) {
		if isHex(low) && (strings.HasPrefix(id, low) || strings.HasSuffix(id, low)) || slices.Contains(names, arg) {
			found = append(found, id)
		}
	}
	by := func(field string) Query { return Query{Filters: []Filter{{field, Contains, arg}}, Limit: 1000} }
	err := firstError(
		func() error { return each(ctx, src.Tasks, by("id"), func(r Task) { keep(r.ID) }) },
		func() error { return each(ctx, src.Actors, by("id"), func(r Actor) { keep(r.ID) }) },
		func() error { return each(ctx, src.Actors, by("name"), func(r Actor) { keep(r.ID, r.Name) }) },
		func() error { return each(ctx, src.Objects, by("id"), func(r Object) { keep(r.ID) }) },
		func() error { return each(ctx, src.Jobs, by("id"), func(r Job) { keep(r.ID) }) },
		func() error { return each(ctx, src.Nodes, by("id"), func(r Node) { keep(r.ID) }) },
		func() error { return each(ctx, src.Groups, by("id"), func(r Group) { keep(r.ID) }) },
		func() error { return each(ctx, src.Groups, by("name"), func(r Group) { keep(r.ID, r.Name) }) },
	)
	return found, err
}

func each[T any](ctx context.Context, list func(context.Context, Query) (Rows[T], error), q Query, visit func(T)) error {
	rows, err := list(ctx, q)
	for _, r := range rows.Rows {
		visit(r)
	}
	return err
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func isHex(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) }) < 0
}
