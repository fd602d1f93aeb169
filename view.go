package weft

import (
	"context"
	"runtime"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/wire"
)

// Bytes is a view of an object's bytes where they are: in shared memory if the
// object is large and the node is another process. Do not write to it.
type Bytes struct {
	f    *client.Future
	data []byte
}

// View is Get for bytes without copying them.
func View(ctx context.Context, r Ref[[]byte]) (*Bytes, error) {
	f := r.future()
	if err := await(ctx, f); err != nil {
		return nil, err
	}
	res := f.Result()
	if res.Err != nil {
		return nil, res.Err
	}
	b := &Bytes{f: f}
	if res.Enc == nil {
		b.data, _ = res.Val.([]byte)
		return b, nil
	}
	if res.Enc.Tag != wire.Raw && res.Enc.Tag != wire.None {
		return nil, &Error{Code: Encode, Op: "view " + f.ID.String(), Message: "the value is encoded as " + res.Enc.Tag.String() + ", not as bytes"}
	}
	b.data = res.Enc.Data
	return b, nil
}

// Data returns the bytes. They are valid until Release, and in any case only
// while b is reachable.
func (b *Bytes) Data() []byte { return b.data }

// Release says that the bytes will not be read any more. The node may move or
// free them once no Ref to the object that was read is left either.
func (b *Bytes) Release() {
	runtime.KeepAlive(b.f)
	b.f, b.data = nil, nil
}
