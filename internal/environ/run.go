package environ

import (
	"context"
	"encoding/json"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/wire"
	"github.com/weftrun/weft/internal/worker"
)

// run is a Build by weft._build. It is started as a worker is, so that it ends
// with all its processes when ctx does, or, its lane being closed, this process.
func run(ctx context.Context, b *Build) error {
	request, err := json.Marshal(b)
	if err != nil {
		return err
	}
	p, err := worker.Start(ctx, worker.Spec{Path: b.Python, Args: []string{b.Python, "-m", "weft._build"}, Env: b.Variables,
		HelloTimeout: math.MaxInt64}) // ctx has the time
	if err != nil {
		return err
	}
	call, side := p.Lanes()
	_ = unix.Close(side)
	lane := os.NewFile(uintptr(call), "builder")
	defer func() { _ = lane.Close() }()
	_, _ = lane.Write(append(request, '\n')) // to one that has died its status says more
	<-p.Exited()
	if p.Status() == (worker.Status{}) {
		return nil
	}
	return &wire.Error{Code: wire.SetupFailed, Message: p.Status().String(), Stderr: p.Error().Stderr}
}
