package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
)

// MaxFrame bounds what a frame's length field may say: the kind and the body.
const MaxFrame = 64 << 20

// MaxInline is how many bytes of values one message has; further ones go through
// shared memory, as those do that are large by themselves.
const MaxInline = MaxFrame / 4

// headerSize is the length field's.
const headerSize = 4

// FrameOverhead is what a frame has before its body.
const FrameOverhead = headerSize + 1

// Errors of the framing. They end a lane, for nothing after them can be read.
var (
	ErrFrameTooLarge = fmt.Errorf("wire: a frame is larger than %d MiB", MaxFrame>>20)
	ErrFrameEmpty    = errors.New("wire: a frame has no kind")
)

// Message is a protobuf message with generated codecs.
type Message interface {
	SizeVT() int
	MarshalToSizedBufferVT(b []byte) (int, error)
	UnmarshalVT(b []byte) error
	UnmarshalVTUnsafe(b []byte) error
}

// AppendFrame appends msg as a frame; a nil msg is an empty body. Senders keep
// what they put into one message below MaxFrame (see Fits); a larger frame is
// refused by its receiver.
func AppendFrame(buf []byte, kind sessionv1.Kind, msg Message) []byte {
	size := 0
	if msg != nil {
		size = msg.SizeVT()
	}
	at := len(buf)
	buf = grow(buf, FrameOverhead+size)
	binary.LittleEndian.PutUint32(buf[at:], uint32(1+size))
	buf[at+headerSize] = byte(kind)
	if size > 0 {
		if _, err := msg.MarshalToSizedBufferVT(buf[at+FrameOverhead:]); err != nil {
			panic(fmt.Sprintf("wire: encoding %s: %v", kind, err)) // generated code fails for no message it can hold
		}
	}
	return buf
}

// AppendBody is AppendFrame for a message that is encoded already.
func AppendBody(buf []byte, kind sessionv1.Kind, body []byte) []byte {
	at := len(buf)
	buf = grow(buf, FrameOverhead)
	binary.LittleEndian.PutUint32(buf[at:], uint32(1+len(body)))
	buf[at+headerSize] = byte(kind)
	return append(buf, body...)
}

// Fits reports whether msg is small enough for one frame.
func Fits(msg Message) bool { return 1+msg.SizeVT() <= MaxFrame }

// grow returns buf n bytes longer.
func grow(buf []byte, n int) []byte {
	need := len(buf) + n
	if need <= cap(buf) {
		return buf[:need]
	}
	bigger := make([]byte, need, max(2*cap(buf), need, 4<<10))
	copy(bigger, buf)
	return bigger
}

// readerSize is the room a Reader has between frames; larger frames have room
// made for them, which is given back afterwards.
const readerSize = 64 << 10

// Reader cuts a stream into frames. One read of the stream may bring many; no
// byte is copied but the tail of a frame that came in parts. Not for
// concurrent use.
type Reader struct {
	r     io.Reader
	buf   []byte
	start int // of what has not been returned
	end   int // of what has been read
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r, buf: make([]byte, readerSize)} }

// Next returns the next frame. body is valid until the following Next. The
// error is io.EOF between frames and io.ErrUnexpectedEOF inside one.
func (r *Reader) Next() (kind sessionv1.Kind, body []byte, err error) {
	for {
		kind, body, size, err := Cut(r.buf[r.start:r.end])
		if err != nil {
			return 0, nil, err
		}
		if size > 0 && size <= r.end-r.start {
			r.start += size
			return kind, body, nil
		}
		if err := r.fill(max(size, headerSize)); err != nil {
			return 0, nil, err
		}
	}
}

// Cut returns the frame at the beginning of b and its size on the wire. A size
// larger than b says how much the frame needs; 0 that b is too short to tell.
func Cut(b []byte) (kind sessionv1.Kind, body []byte, size int, err error) {
	if len(b) < headerSize {
		return 0, nil, 0, nil
	}
	n := binary.LittleEndian.Uint32(b)
	switch {
	case n == 0:
		return 0, nil, 0, ErrFrameEmpty
	case n > MaxFrame:
		return 0, nil, 0, fmt.Errorf("%w: its header says %d bytes", ErrFrameTooLarge, n)
	}
	size = headerSize + int(n)
	if size > len(b) {
		return 0, nil, size, nil
	}
	return sessionv1.Kind(b[headerSize]), b[FrameOverhead:size:size], size, nil
}

// Buffered reports whether another complete frame is already in memory, so
// that Next would not read. A frame that Next will refuse counts.
func (r *Reader) Buffered() bool {
	_, _, size, err := Cut(r.buf[r.start:r.end])
	return err != nil || size > 0 && size <= r.end-r.start
}

// fill reads until n bytes are there from start on.
func (r *Reader) fill(n int) error {
	for r.end-r.start < n {
		r.makeRoom(n)
		got, err := r.r.Read(r.buf[r.end:])
		r.end += got
		if got > 0 {
			continue
		}
		switch {
		case err == nil:
			return io.ErrNoProgress
		case errors.Is(err, io.EOF) && r.end > r.start:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
	return nil
}

// makeRoom sees to it that there is room to read into and that n bytes from
// start will fit some day. The buffer grows as bytes arrive, not because a
// header promises them.
func (r *Reader) makeRoom(n int) {
	have := r.end - r.start
	switch {
	case have == 0:
		r.start, r.end = 0, 0
		if len(r.buf) > readerSize && n <= readerSize {
			r.buf = make([]byte, readerSize)
		}
	case r.start+n > len(r.buf) || r.end == len(r.buf):
		if n > len(r.buf) && have >= len(r.buf)-len(r.buf)/4 {
			bigger := make([]byte, min(2*len(r.buf), n+readerSize))
			copy(bigger, r.buf[r.start:r.end])
			r.buf = bigger
		} else {
			copy(r.buf, r.buf[r.start:r.end])
		}
		r.start, r.end = 0, have
	}
}
