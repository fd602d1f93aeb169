package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/wire"
)

// everywhere shows the state of all nodes: each is asked for its own rows.
type everywhere struct{ source }

// State is the state of the cluster, or of this node if it is alone, for `weft
// list`, `weft why` and the API.
func (n *Node) State() state.Source { return everywhere{source{n}} }

// answerTime is how long another node may take to answer.
const answerTime = 5 * time.Second

// allWorkers is more than there are workers.
const allWorkers = 1 << 20

// askedAtOnce bounds the nodes that are asked at the same time.
const askedAtOnce = 64

// Tasks implements state.Source.
func (e everywhere) Tasks(ctx context.Context, q state.Query) (state.Rows[state.Task], error) {
	return gather(ctx, e.n, "tasks", q, e.source.Tasks)
}

// Actors implements state.Source.
func (e everywhere) Actors(ctx context.Context, q state.Query) (state.Rows[state.Actor], error) {
	return gather(ctx, e.n, "actors", q, e.source.Actors)
}

// Objects implements state.Source.
func (e everywhere) Objects(ctx context.Context, q state.Query) (state.Rows[state.Object], error) {
	return gather(ctx, e.n, "objects", q, e.source.Objects)
}

// Workers implements state.Source.
func (e everywhere) Workers(ctx context.Context, q state.Query) (state.Rows[state.Worker], error) {
	// Their numbers are a node's own, so pages by number would not do.
	if q.Limit = allWorkers; q.After != "" {
		return state.Rows[state.Worker]{}, nil
	}
	return gather(ctx, e.n, "workers", q, e.source.Workers)
}

// Jobs implements state.Source.
func (e everywhere) Jobs(ctx context.Context, q state.Query) (state.Rows[state.Job], error) {
	return gather(ctx, e.n, "jobs", q, e.source.Jobs)
}

// Nodes implements state.Source.
func (e everywhere) Nodes(ctx context.Context, q state.Query) (state.Rows[state.Node], error) {
	return gather(ctx, e.n, "nodes", q, e.source.Nodes)
}

// Groups implements state.Source.
func (e everywhere) Groups(ctx context.Context, q state.Query) (state.Rows[state.Group], error) {
	return gather(ctx, e.n, "groups", q, e.source.Groups)
}

// gather joins this node's rows with those of all others. Of each there are the
// first that q asks for, so that the first of all are among them.
func gather[T any](ctx context.Context, n *Node, kind string, q state.Query, rows func(context.Context, state.Query) (state.Rows[T], error)) (state.Rows[T], error) {
	all, err := rows(ctx, q)
	if err != nil {
		return all, err
	}
	text, err := json.Marshal(q)
	if err != nil {
		return all, err
	}
	var mu sync.Mutex
	total, truncated := all.Total, all.Truncated
	var missing []string
	lists := [][]T{all.Rows}
	n.ask(ctx, "state/"+kind+"/"+base64.RawURLEncoding.EncodeToString(text), func(of id.Node, answer []byte, err error) {
		var r state.Rows[T]
		if err == nil {
			err = json.Unmarshal(answer, &r)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			missing = append(missing, of.String())
			return
		}
		total, truncated, lists = total+r.Total, truncated || r.Truncated, append(lists, r.Rows)
	})
	if len(lists) > 1 {
		joined := slices.Values(slices.Concat(lists...))
		if all, err = state.Select(state.Query{Limit: q.Limit, After: q.After}, joined); err != nil {
			return all, err
		}
	}
	slices.Sort(missing)
	all.Total, all.Truncated, all.Missing = total, all.Truncated || truncated, missing
	return all, nil
}

// ask reads what every other node has under a name; each answer, or its
// failure, is given to take, maybe at the same time as others.
func (n *Node) ask(ctx context.Context, name string, take func(of id.Node, answer []byte, err error)) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	n.mu.Lock()
	var others []id.Node
	for _, p := range n.peersInOrder() {
		others = append(others, p.id)
	}
	n.mu.Unlock()
	slots := make(chan struct{}, askedAtOnce)
	var all sync.WaitGroup
	for _, of := range others {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			answer, err := n.read(ctx, of, name)
			take(of, answer, err)
		})
	}
	all.Wait()
}

// maxAnswer bounds what another node may answer.
const maxAnswer = 64 << 20

func (n *Node) read(ctx context.Context, of id.Node, name string) ([]byte, error) {
	r, err := n.cfg.Network.Pull(ctx, of, name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if closed := r.Close(); err == nil {
		err = closed
	}
	return b, err
}

// Why implements state.Source: whoever owns the thing is asked, or, of what has
// ended, all.
func (e everywhere) Why(ctx context.Context, text string) (*state.Reason, error) {
	reason, err := e.source.Why(ctx, text)
	if err == nil {
		return reason, nil
	}
	var mu sync.Mutex
	e.n.ask(ctx, "state/why/"+base64.RawURLEncoding.EncodeToString([]byte(text)), func(_ id.Node, answer []byte, failed error) {
		var r state.Reason
		if failed == nil && json.Unmarshal(answer, &r) == nil {
			mu.Lock()
			defer mu.Unlock()
			reason, err = &r, nil
		}
	})
	return reason, err
}

// serveState answers another node's question: KIND/QUERY or why/ID.
func (n *Node) serveState(ctx context.Context, what string) (io.ReadCloser, error) {
	kind, encoded, _ := strings.Cut(what, "/")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	answer, err := n.answerState(ctx, kind, string(text))
	if err != nil {
		return nil, &wire.Error{Code: wire.NotFound, Op: "state", Node: n.id, Message: err.Error(), Err: err}
	}
	b, err := json.Marshal(answer)
	return io.NopCloser(bytes.NewReader(b)), err
}

func (n *Node) answerState(ctx context.Context, kind, text string) (any, error) {
	s := source{n}
	if kind == "why" {
		return s.Why(ctx, text)
	}
	var q state.Query
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		return nil, err
	}
	return rowsOf(ctx, s, kind, q)
}
