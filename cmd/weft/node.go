package main

import (
	"context"

	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

// daemon is what `weft start` needs of a node.
type daemon interface {
	Start(ctx context.Context) error
	Drain(ctx context.Context) error
	Close(ctx context.Context) error
	State() state.Source
	Events() *event.Log
}

// newNode makes a real one.
func newNode(cfg nodeConfig) (daemon, error) {
	if cfg.listen != "" {
		return newMember(cfg)
	}
	n, err := node.New(cfg.Config)
	if err != nil {
		return nil, err // not n: an interface around no node is not nil
	}
	return n, nil
}
