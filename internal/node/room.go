package node

import (
	"context"

	"github.com/weftrun/weft/internal/client"
)

// heapRoom is memory for an object of the embedded session, which stays where
// the program wrote it.
type heapRoom struct {
	l   *Local
	mem []byte
}

// Reserve implements client.Session.
func (l *Local) Reserve(_ context.Context, size int64) (client.Room, error) {
	return &heapRoom{l: l, mem: make([]byte, size)}, nil
}

func (r *heapRoom) Bytes() []byte { return r.mem }

func (r *heapRoom) Seal(f *client.Future, n int64) error {
	codec, err := client.CodecFor[[]byte]()
	if err != nil {
		return err
	}
	f.Codec = codec
	f.Complete(client.Result{Val: r.mem[:n:n]})
	r.mem = nil
	return nil
}

func (r *heapRoom) Abort() { r.mem = nil }
