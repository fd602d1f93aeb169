package state

import (
	"context"
	"fmt"
	"slices"
)

// Snapshot is a Source that answers with what is in it: for tests, and for
// what was saved of a node. It is read-only once it is in use.
type Snapshot struct {
	Summary     Status
	TaskRows    []Task
	ActorRows   []Actor
	ObjectRows  []Object
	WorkerRows  []Worker
	JobRows     []Job
	NodeRows    []Node
	GroupRows   []Group
	ReasonsByID map[string]*Reason
	FailWith    error // every call returns it, if it is not nil
}

// Status implements Source.
func (s *Snapshot) Status(context.Context) (Status, error) { return s.Summary, s.FailWith }

// Tasks implements Source.
func (s *Snapshot) Tasks(_ context.Context, q Query) (Rows[Task], error) {
	return selectFrom(s, q, s.TaskRows)
}

// Actors implements Source.
func (s *Snapshot) Actors(_ context.Context, q Query) (Rows[Actor], error) {
	return selectFrom(s, q, s.ActorRows)
}

// Objects implements Source.
func (s *Snapshot) Objects(_ context.Context, q Query) (Rows[Object], error) {
	return selectFrom(s, q, s.ObjectRows)
}

// Workers implements Source.
func (s *Snapshot) Workers(_ context.Context, q Query) (Rows[Worker], error) {
	return selectFrom(s, q, s.WorkerRows)
}

// Jobs implements Source.
func (s *Snapshot) Jobs(_ context.Context, q Query) (Rows[Job], error) {
	return selectFrom(s, q, s.JobRows)
}

// Nodes implements Source.
func (s *Snapshot) Nodes(_ context.Context, q Query) (Rows[Node], error) {
	return selectFrom(s, q, s.NodeRows)
}

// Groups implements Source.
func (s *Snapshot) Groups(_ context.Context, q Query) (Rows[Group], error) {
	return selectFrom(s, q, s.GroupRows)
}

// Why implements Source.
func (s *Snapshot) Why(_ context.Context, id string) (*Reason, error) {
	if r, ok := s.ReasonsByID[id]; ok || s.FailWith != nil {
		return r, s.FailWith
	}
	return nil, fmt.Errorf("%s: %w", id, ErrNotFound)
}

func selectFrom[T any](s *Snapshot, q Query, rows []T) (Rows[T], error) {
	if s.FailWith != nil {
		return Rows[T]{}, s.FailWith
	}
	return Select(q, slices.Values(rows))
}
