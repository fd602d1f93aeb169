package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

// drainPath is the API's for a wish that a node leaves.
const drainPath = "/cluster/drain"

// drainRequest names the node; there is nothing to reply.
type drainRequest struct {
	Node id.Node `json:"node"`
}

// drainLook is how often `weft drain` looks whether the node has left.
const drainLook = 100 * time.Millisecond

func (p *program) drainCommand() *cobra.Command {
	var leave bool
	c := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node leave its cluster, and lose nothing",
		Long: "Drain has a node of the cluster leave. It is given nothing new; what runs there ends, however long that takes;\n" +
			"its actors that may restart do so elsewhere; copies of its objects and what its tasks own go to another node; then it ends.\n\n" +
			"NODE is an id of `weft list nodes`, or how one begins. Any node of the cluster can be asked. Drain returns when\n" +
			"the node has left; if it is ended before, that goes on. `weft stop` at the node itself cuts it short.",
		Example: "  weft drain 3f2a",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withClient(func(client *api.Client) error { return p.drainNode(c.Context(), client, args[0], leave) })
		},
	}
	c.Flags().BoolVar(&leave, "no-wait", false, "return at once")
	return c
}

func (p *program) drainNode(ctx context.Context, client *api.Client, name string, noWait bool) error {
	node, err := findNode(ctx, client, name)
	if err != nil {
		return err
	}
	n, err := id.ParseNode(node.ID)
	if err != nil {
		return err
	}
	if err := p.askMember(ctx, http.MethodPost, drainPath, drainRequest{n}, nil); err != nil {
		return err
	}
	if !p.json() && !noWait {
		p.say("node %s takes nothing new and leaves when the %d tasks that run there have ended", node.ID, node.Running)
	}
	if !noWait {
		if err := p.waitLeft(ctx, client, node.ID); err != nil {
			return err
		}
	}
	if p.json() {
		return p.printJSON(map[string]any{"node": node.ID, "left": !noWait})
	}
	p.say(map[bool]string{true: "it is to leave", false: "it has left"}[noWait])
	return nil
}

// findNode is the one node whose id begins so.
func findNode(ctx context.Context, client *api.Client, name string) (found state.Node, err error) {
	nodes, err := client.Nodes(ctx, state.Query{})
	if err != nil {
		return found, err
	}
	n := 0
	for _, node := range nodes.Rows {
		if len(name) > 0 && len(node.ID) >= len(name) && node.ID[:len(name)] == name {
			found = node
			n++
		}
	}
	switch n {
	case 0:
		return found, fmt.Errorf("%w: no node of the cluster is %q; `weft list nodes` shows them", state.ErrNotFound, name)
	case 1:
		return found, nil
	}
	return found, usagef("the ids of %d nodes begin with %q: give more of it", n, name)
}

// waitLeft returns when a node is no member any more.
func (p *program) waitLeft(ctx context.Context, client *api.Client, node string) error {
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		_, err := findNode(ctx, client, node)
		if errors.Is(err, state.ErrNotFound) {
			return nil
		}
		if errors.Is(err, api.ErrUnreachable) {
			return nil // the node that was asked is the one that has left
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.signals:
			return errors.New("not waited for; the node goes on to leave")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// serveDrain implements http.Handler.
func (m *member) serveDrain(w http.ResponseWriter, r *http.Request) {
	var req drainRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<10)).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.DrainOther(req.Node)
	_, _ = w.Write([]byte("{}"))
}
