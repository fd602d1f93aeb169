package node

import (
	"context"
	"encoding/json"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// query answers a session's question about the state of the node, as JSON,
// but for "replay": a FailedCall.
func (n *Node) query(_ context.Context, what string, ids []byte) ([]byte, error) {
	if what == "replay" {
		return n.failedCall(ids)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch what {
	case "resources":
		free := n.dispatch.Free()
		return json.Marshal(map[string]any{"total": n.total.Map(), "free": free.Map()})
	case "named":
		return json.Marshal(n.namedActors())
	case "object":
		o, err := wire.ReadObject(ids)
		if err != nil {
			return nil, err
		}
		return n.statObject(o)
	}
	return nil, &wire.Error{Code: wire.NotFound, Op: "query", Message: "there is nothing called " + what}
}

// namedActor is a row of the answer to "named".
type namedActor struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Actor     string `json:"actor"`
}

// namedActors lists the living actors that have names, in the order of their ids.
func (n *Node) namedActors() []namedActor {
	const page = 256
	rows := []namedActor{}
	var after id.Actor
	for {
		infos := n.actors.List(after, page)
		for _, info := range infos {
			a := info.Spec.Actor
			if after = info.Actor; a.Name != "" && info.State != actor.Dead {
				rows = append(rows, namedActor{a.Name, a.Namespace, info.Actor.String()})
			}
		}
		if len(infos) < page {
			return rows
		}
	}
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
	return json.Marshal(map[string]any{"size": size, "by_reference": byReference, "node": n.id.String(), "place": place})
}
