package weft

import (
	"context"
	"fmt"

	"github.com/weftrun/weft/internal/client"
)

// Writer is room for an object that a program writes where it will lie, so that
// large values need not be built first and copied then. It is for one goroutine.
type Writer struct {
	ctx  context.Context
	sess client.Session
	room client.Room
}

// NewWriter waits until there is room for an object of up to size bytes.
func NewWriter(ctx context.Context, size int64) (*Writer, error) {
	s, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	if size < 0 {
		return nil, &Error{Code: Invalid, Op: "write object", Message: fmt.Sprintf("%d bytes: a size is not negative", size)}
	}
	room, err := s.Reserve(ctx, size)
	if err != nil {
		return nil, err
	}
	return &Writer{ctx: ctx, sess: s, room: room}, nil
}

// Bytes is the memory to write to. It is valid until Grow, Seal or Abort.
func (w *Writer) Bytes() []byte {
	if w.room == nil {
		return nil
	}
	return w.room.Bytes()
}

// Grow makes room for size bytes and keeps what has been written.
func (w *Writer) Grow(size int64) error {
	if w.room == nil {
		return errWriterDone()
	}
	old := w.room.Bytes()
	if size <= int64(len(old)) {
		return nil
	}
	room, err := w.sess.Reserve(w.ctx, size)
	if err != nil {
		return err
	}
	copy(room.Bytes(), old)
	w.room.Abort()
	w.room = room
	return nil
}

// Seal makes the first n bytes an object, which nobody can change any more.
func (w *Writer) Seal(n int64) (Ref[[]byte], error) {
	if w.room == nil {
		return Ref[[]byte]{}, errWriterDone()
	}
	if n < 0 || n > int64(len(w.room.Bytes())) {
		return Ref[[]byte]{}, &Error{Code: Invalid, Op: "seal object", Message: fmt.Sprintf("%d of %d bytes", n, len(w.room.Bytes()))}
	}
	f := &client.Future{ID: w.sess.NewTask().Return(0), Sess: w.sess}
	err := w.room.Seal(f, n)
	w.room = nil
	return Ref[[]byte]{f}, err
}

// Abort gives the room back. After Seal it does nothing, so it can be deferred.
func (w *Writer) Abort() {
	if w.room != nil {
		w.room.Abort()
		w.room = nil
	}
}

func errWriterDone() error {
	return &Error{Code: Invalid, Op: "write object", Message: "the writer has been sealed or aborted"}
}
