package main

import (
	"context"
	"errors"

	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
)

// daemon is what `weft start` needs of a node.
type daemon interface {
	Start(ctx context.Context) error
	Close(ctx context.Context) error
	State() state.Source
	Events() *event.Log
}

// newNode makes a real one.
func newNode(cfg node.Config) (daemon, error) {
	n, err := node.New(cfg)
	if err != nil {
		return nil, err
	}
	d, ok := any(n).(daemon)
	if !ok {
		return nil, errors.New("this build's node cannot tell its state")
	}
	return d, nil
}
