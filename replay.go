package weft

import (
	"context"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/id"
)

// Replay runs a task that has failed again: here, alone, on this goroutine, so
// that a debugger can follow it. The task is named by its id in hex, as an error
// and `weft list tasks` have it. Replay returns what the function returned, or
// its error; code NotFound says that its arguments are gone, since a node keeps
// those of the last failed tasks only. What the function calls runs as usual.
//
// `weft replay` does the same with the program that the task was of.
func (s *Session) Replay(ctx context.Context, task string) ([]any, error) {
	t, err := id.ParseTask(task)
	if err != nil {
		return nil, &Error{Code: Invalid, Op: "replay", Message: err.Error(), Hint: "`weft list tasks` shows ids"}
	}
	return client.Replay(ctx, s.sess, t)
}
