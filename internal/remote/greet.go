package remote

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// Protocol is what a driver negotiates with a Gateway in TLS.
const Protocol = "weft-session"

const (
	// greetTime is how long a connection may take until Open has been answered.
	greetTime = 10 * time.Second
	// resumeTime is how long a session lives without a connection.
	resumeTime = 30 * time.Second
	// maxOpen bounds the first frame, of somebody unknown.
	maxOpen = 4 << 10
)

// readOpen reads the first frame of a connection, and not a byte more than that
// may have.
func readOpen(r *bufio.Reader) (*sessionv1.Open, error) {
	header, err := r.Peek(wire.FrameOverhead)
	if err != nil {
		return nil, err
	}
	if size := binary.LittleEndian.Uint32(header); size > maxOpen {
		return nil, &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("a first frame of %d bytes, at most %d are expected", size, maxOpen)}
	}
	frame := make([]byte, 4+binary.LittleEndian.Uint32(header))
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	kind, body, _, err := wire.Cut(frame)
	if err != nil {
		return nil, err
	}
	var m sessionv1.Open
	if err := m.UnmarshalVT(body); err != nil || kind != sessionv1.Kind_KIND_OPEN {
		return nil, &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("the first frame is %s, want Open", kind)}
	}
	return &m, nil
}

// farewell is the last frame of a session.
func farewell(err error) wire.Message {
	return &sessionv1.Goodbye{Error: wire.ErrorToPB(wire.AsError(err, wire.Closed))}
}
