package client

import (
	"context"
	"os"

	"github.com/weftrun/weft/internal/wire"
)

// Options of Dial.
type Options struct {
	Namespace string // of named actors; "" is the job's own
}

// IsWorker reports whether a node started this process as a worker.
func IsWorker() bool { return os.Getenv(wire.WorkerEnv) != "" }

// WorkerMain serves the node until it is told to leave, and returns the exit status.
func WorkerMain() int { return 1 }

// Dial joins the node that serves at address.
func Dial(ctx context.Context, address string, o Options) (Session, error) {
	return nil, &wire.Error{Code: wire.Closed, Op: "dial " + address}
}
