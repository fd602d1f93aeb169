package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
)

func TestFrames(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 100, readerSize - 10, readerSize, 3 * readerSize, 5, 0}
	for i, n := range sizes {
		stream = AppendFrame(stream, sessionv1.Kind(i), &sessionv1.Log{Text: bytes.Repeat([]byte{byte(i)}, n)})
	}
	readers := map[string]func(io.Reader) io.Reader{
		"whole":    func(r io.Reader) io.Reader { return r },
		"one byte": iotest.OneByteReader,
		"half":     iotest.HalfReader,
		"with EOF": iotest.DataErrReader,
	}
	for name, wrap := range readers {
		r := NewReader(wrap(bytes.NewReader(stream)))
		for i, n := range sizes {
			kind, body, err := r.Next()
			if err != nil || kind != sessionv1.Kind(i) {
				t.Fatalf("%s: frame %d: got kind %d, %v", name, i, kind, err)
			}
			var m sessionv1.Log
			if err := m.UnmarshalVTUnsafe(body); err != nil || len(m.Text) != n || n > 0 && m.Text[n-1] != byte(i) {
				t.Fatalf("%s: frame %d: got %d bytes, %v, want %d", name, i, len(m.Text), err, n)
			}
		}
		if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after the last frame: got %v, want EOF", name, err)
		}
		if len(r.buf) > readerSize {
			t.Errorf("%s: room for large frames was not given back: %d", name, len(r.buf))
		}
	}
}

func TestFrameErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"half a header", []byte{1, 0}, io.ErrUnexpectedEOF},
		{"half a body", []byte{9, 0, 0, 0, 1, 2, 3}, io.ErrUnexpectedEOF},
		{"no kind", []byte{0, 0, 0, 0}, ErrFrameEmpty},
		{"too large", []byte{1, 0, 0, 4, 1}, ErrFrameTooLarge},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), ErrFrameTooLarge},
		{"a promise only", []byte{0, 0, 0, 4, 1}, io.ErrUnexpectedEOF},
	} {
		r := NewReader(bytes.NewReader(c.stream))
		if _, _, err := r.Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if len(r.buf) > 2*readerSize {
			t.Errorf("%s: %d bytes of room were made for it", c.name, len(r.buf))
		}
	}
}

func TestBuffered(t *testing.T) {
	one := AppendFrame(nil, sessionv1.Kind_KIND_PUT, &sessionv1.Put{Seq: 7})
	stream := append(append(append([]byte{}, one...), one...), one[:len(one)-1]...)
	r := NewReader(bytes.NewReader(stream))
	for i, want := range []bool{true, false} {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if got := r.Buffered(); got != want {
			t.Errorf("after frame %d: Buffered is %t, want %t", i, got, want)
		}
	}
}

// A message that is used again does not write into the frame that it was
// decoded from before, and neither does who gets its parts from their pool.
func TestReuseLeavesFramesAlone(t *testing.T) {
	frame := func(fill byte) []byte {
		data := bytes.Repeat([]byte{fill}, 100)
		return AppendFrame(nil, 0, &sessionv1.ObjectValue{Object: data[:20], Value: &sessionv1.Value{Data: data, Refs: data}})[FrameOverhead:]
	}
	first, second := frame(1), frame(2)
	var m sessionv1.ObjectValue
	for range 100 { // the pool may drop some
		if err := m.UnmarshalVTUnsafe(first); err != nil {
			t.Fatal(err)
		}
		m.ResetVT()
		if err := m.UnmarshalVT(second); err != nil {
			t.Fatal(err)
		}
		m.ResetVT()
	}
	if !bytes.Equal(first, frame(1)) {
		t.Errorf("the first frame has become %x", first)
	}
}
