package state

import (
	"context"
	"errors"
)

// ErrNotFound is returned, wrapped, by a Source that knows no such id.
var ErrNotFound = errors.New("not found")

// Query asks for rows.
type Query struct {
	Filters []Filter `json:"filters"` // all of them must match
	Limit   int      `json:"limit"`   // at most that many rows; 0 is DefaultLimit
	After   string   `json:"after"`   // only rows with a greater id: the last id of the page before
	Ended   bool     `json:"ended"`   // of tasks: also those that have ended well or were cancelled
}

// DefaultLimit is how many rows a Query without a Limit gets.
const DefaultLimit = 100

// Rows are the answer to a Query, sorted by id.
type Rows[T any] struct {
	Rows      []T  `json:"rows"`
	Total     int  `json:"total"`     // how many match, the pages before included
	Truncated bool `json:"truncated"` // there are more after the last one
	// Missing lists the nodes of a cluster that did not answer: their rows are not here.
	Missing []string `json:"missing,omitempty"`
}

// Source knows the state of a node. Its rows are a moment's: two calls may see
// different moments. Why takes a whole id, as the rows have it; an id of which
// the source knows nothing is ErrNotFound.
type Source interface {
	Status(ctx context.Context) (Status, error)
	Tasks(ctx context.Context, q Query) (Rows[Task], error)
	Actors(ctx context.Context, q Query) (Rows[Actor], error)
	Objects(ctx context.Context, q Query) (Rows[Object], error)
	Workers(ctx context.Context, q Query) (Rows[Worker], error)
	Jobs(ctx context.Context, q Query) (Rows[Job], error)
	Nodes(ctx context.Context, q Query) (Rows[Node], error)
	Groups(ctx context.Context, q Query) (Rows[Group], error)
	Why(ctx context.Context, id string) (*Reason, error)
}
