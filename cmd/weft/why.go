package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

func (p *program) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why ID",
		Short: "Say what something waits for, or why it failed",
		Long: "Why says of a task, actor, object, placement group, job or node what it waits for, down to what can be\n" +
			"done about it. Those that wait for each other are called a deadlock.\n\n" +
			"ID may be a part of the id, its beginning or its end, or the name of an actor or group.",
		Example: "  weft why 0000000000000c\n  weft why parameter-server --format json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withClient(func(client *api.Client) error {
				id, err := state.Resolve(c.Context(), client, args[0])
				if err != nil {
					return err
				}
				reason, err := client.Why(c.Context(), id)
				if errors.Is(err, state.ErrNotFound) {
					return fmt.Errorf("nothing has the id %s: %w; it may have ended and been forgotten", id, state.ErrNotFound)
				}
				if err != nil {
					return err
				}
				if p.json() {
					return p.printJSON(reason)
				}
				return reason.Write(p.stdout)
			})
		},
	}
}
