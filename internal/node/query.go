package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// query answers a session's question about the state of the node, as JSON,
// but for "replay": a FailedCall.
func (n *Node) query(ctx context.Context, what string, about []byte) ([]byte, error) {
	switch what {
	case "replay":
		return n.failedCall(about)
	case "tasks", "actors", "objects", "workers", "jobs", "nodes", "groups":
		return n.queryRows(ctx, what, about)
	case "why":
		return asJSON(n.State().Why(ctx, string(about)))
	case "timeline":
		var trace bytes.Buffer
		err := event.WriteTimeline(&trace, n.id.String(), n.happened(func(*event.Entry) bool { return true }))
		return trace.Bytes(), err
	case "events":
		return json.Marshal(n.happened(func(e *event.Entry) bool { return e.Kind.Kept() }))
	case "named":
		return n.namedActors(ctx)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch what {
	case "resources":
		total, free := n.resources()
		return json.Marshal(map[string]any{"total": total.Map(), "free": free.Map()})
	case "object":
		o, err := wire.ReadObject(about)
		if err != nil {
			return nil, err
		}
		return n.statObject(o)
	}
	return nil, &wire.Error{Code: wire.NotFound, Op: "query", Message: "there is nothing called " + what}
}

// queryRows answers with rows; about is a state.Query.
func (n *Node) queryRows(ctx context.Context, what string, about []byte) ([]byte, error) {
	var q state.Query
	if err := json.Unmarshal(about, &q); err != nil {
		return nil, &wire.Error{Code: wire.Invalid, Op: "list " + what, Message: "the question is no state.Query: " + err.Error()}
	}
	q.Limit = min(q.Limit, maxQueryRows)
	return asJSON(rowsOf(ctx, n.State(), what, q))
}

// rowsOf lists what s has of a kind.
func rowsOf(ctx context.Context, s state.Source, kind string, q state.Query) (any, error) {
	switch kind {
	case "tasks":
		return s.Tasks(ctx, q)
	case "actors":
		return s.Actors(ctx, q)
	case "objects":
		return s.Objects(ctx, q)
	case "workers":
		return s.Workers(ctx, q)
	case "jobs":
		return s.Jobs(ctx, q)
	case "nodes":
		return s.Nodes(ctx, q)
	case "groups":
		return s.Groups(ctx, q)
	}
	return nil, fmt.Errorf("there are no rows of kind %q", kind)
}

// maxQueryRows bounds an answer; who wants more asks for the next page.
const maxQueryRows = 10_000

// asJSON passes a view or the error for it on.
func asJSON[T any](view T, err error) ([]byte, error) {
	switch {
	case errors.Is(err, state.ErrNotFound):
		return nil, &wire.Error{Code: wire.NotFound, Message: err.Error()}
	case err != nil:
		return nil, &wire.Error{Code: wire.Invalid, Message: err.Error()}
	}
	return json.Marshal(view)
}

// happened is what the events still have of those to be kept.
func (n *Node) happened(keep func(*event.Entry) bool) (views []event.View) {
	var page []event.Entry
	for at := (event.Cursor{}); ; {
		page, at, _ = n.events.Read(at, page[:0], pageSize)
		for i := range page {
			if keep(&page[i]) {
				views = append(views, page[i].View(n.start))
			}
		}
		if len(page) < pageSize {
			return views
		}
	}
}

// namedActor is a row of the answer to "named".
type namedActor struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Actor     string `json:"actor"`
}

// namedActors lists the living actors that have names, in the order of their ids.
func (n *Node) namedActors(ctx context.Context) ([]byte, error) {
	rows := []namedActor{}
	for q := (state.Query{Limit: maxQueryRows}); ; {
		page, err := n.State().Actors(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Rows {
			a := &page.Rows[i]
			if q.After = a.ID; a.Name != "" && a.State != state.ActorDead {
				rows = append(rows, namedActor{a.Name, a.Namespace, a.ID})
			}
		}
		if !page.Truncated {
			return json.Marshal(rows)
		}
	}
}

// resources is what all nodes have, as far as this one knows, and what is free.
func (n *Node) resources() (total, free resource.Vector) {
	free = n.dispatch.Free()
	total, free = n.total.Clone(), free.Clone()
	if limit := total.Get(resource.Store); limit > 0 {
		free.Set(resource.Store, max(limit-resource.Amount(n.store.Stats().Used)*resource.Unit, 0))
	}
	for _, p := range n.peers {
		total.Add(&p.view.Total)
		free.Add(&p.view.Free)
	}
	return total, free
}

// statObject says how large a ready object is and where it is.
func (n *Node) statObject(o id.Object) ([]byte, error) {
	e := n.objects[o]
	switch {
	case e == nil || !e.ready:
		return nil, &wire.Error{Code: wire.ObjectFreed, Op: "stat " + o.String(), Message: "the object is not here (any more)",
			Hint: "keep a Ref to it for as long as it may be asked for"}
	case e.res.Err != nil:
		return nil, e.res.Err
	}
	place, byReference := "heap", false
	var size int64
	switch {
	case e.at:
		place, size = "shared memory", e.size
		if info, ok := n.store.Lookup(o); ok && info.Where == store.InFile {
			place = "disk"
		}
	case e.res.Enc != nil:
		size = int64(len(e.res.Enc.Data))
	default:
		byReference = true
		if known, ok := client.SizeOf(e.res.Val); ok {
			size = known
		} else {
			size = -1
		}
	}
	at := n.id
	if a := n.awayOf(o); a != nil {
		at, place, size = a.node, "shared memory", e.size
	}
	nodes := []string{at.String()}
	for _, other := range n.own.Locations(o, nil) {
		if other != at && !n.dead[other] {
			nodes = append(nodes, other.String())
		}
	}
	return json.Marshal(map[string]any{"size": size, "by_reference": byReference, "node": at.String(), "nodes": nodes, "place": place})
}
