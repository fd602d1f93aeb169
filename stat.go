package weft

import (
	"context"
	"encoding/json"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/wire"
)

// Place is where an object's bytes are.
type Place string

// Places of an object.
const (
	InHeap         Place = "heap"          // of the program, or of the node if it is small
	InSharedMemory Place = "shared memory" // of its node
	OnDisk         Place = "disk"          // of its node; a reader brings it back
)

// ObjectStat is what is known of an object without reading it.
type ObjectStat struct {
	// Size is in bytes, as the object is encoded. By reference it is that of a
	// []byte or string, and -1 for other types, which nobody has encoded.
	Size int64 `json:"size"`
	// ByReference: the value is in the program as it was given to Weft.
	ByReference bool   `json:"by_reference"`
	Node        string `json:"node"` // that has it
	Place       Place  `json:"place"`
}

// Stat waits until the object is there and says how large it is and where it
// is, without fetching it. The error is the object's own if it has no value, or
// of code Timeout or Cancelled if ctx ends first.
func (r Ref[T]) Stat(ctx context.Context) (st ObjectStat, err error) {
	f := r.future()
	if _, _, err := Wait(ctx, []Ref[T]{{f}}, 1); err != nil {
		return st, err
	}
	if f.Ready() {
		res := f.Result()
		switch {
		case res.Err != nil:
			return st, res.Err
		case res.Enc == nil:
			return statByReference(f), nil
		}
	}
	answer, err := f.Sess.Query(ctx, "object", f.ID[:])
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(answer, &st); err != nil {
		return st, &Error{Code: wire.Internal, Op: "stat " + f.ID.String(), Message: "the node's answer cannot be read", Err: err}
	}
	return st, nil
}

func statByReference(f *client.Future) ObjectStat {
	st := ObjectStat{Size: -1, ByReference: true, Node: f.Sess.Info().Node.String(), Place: InHeap}
	if size, known := client.SizeOf(f.Result().Val); known {
		st.Size = size
	}
	return st
}
