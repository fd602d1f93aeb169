package node

import (
	"context"
	"encoding/json"

	"github.com/weftrun/weft/internal/wire"
)

// query answers a session's question about the state of the node, as JSON.
func (n *Node) query(_ context.Context, what string, _ []byte) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch what {
	case "resources":
		free := n.dispatch.Free()
		return json.Marshal(map[string]any{"total": n.total.Map(), "free": free.Map()})
	}
	return nil, &wire.Error{Code: wire.NotFound, Op: "query", Message: "there is nothing called " + what}
}
