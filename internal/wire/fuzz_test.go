package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
)

// What a Reader makes of any bytes are the frames that they are, or an error,
// and never more memory than twice what came.
func FuzzReader(f *testing.F) {
	put := AppendFrame(nil, sessionv1.Kind_KIND_PUT, &sessionv1.Put{Seq: 7})
	for _, seed := range [][]byte{nil, put, put[:3], put[:len(put)-1], append(put, put...), {0, 0, 0, 0}, {1, 0, 0, 0, 9},
		{255, 255, 255, 255, 1}, {0, 0, 0, 4, 1}, []byte("GET / HTTP/1.1\r\n\r\n")} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		r := NewReader(&pieces{rest: stream, size: max(1, piece)})
		var again []byte
		for {
			kind, body, err := r.Next()
			if err != nil {
				if errors.Is(err, io.EOF) && len(again) != len(stream) {
					t.Fatalf("EOF after %d of %d bytes", len(again), len(stream))
				}
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrFrameEmpty) &&
					!errors.Is(err, ErrFrameTooLarge) {
					t.Fatalf("an unexpected error: %v", err)
				}
				break
			}
			again = AppendFrame(again, kind, rawBody(body))
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatalf("read %x from %x", again, stream)
		}
		if len(r.buf) > max(readerSize, 2*len(stream)+readerSize) {
			t.Fatalf("%d bytes of room for %d", len(r.buf), len(stream))
		}
	})
}

// pieces is a stream that gives size bytes at a time.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// rawBody is a message that is encoded already.
type rawBody []byte

func (r rawBody) SizeVT() int                                  { return len(r) }
func (r rawBody) MarshalToSizedBufferVT(b []byte) (int, error) { return copy(b, r), nil }
func (r rawBody) UnmarshalVT([]byte) error                     { return nil }
func (r rawBody) UnmarshalVTUnsafe([]byte) error               { return nil }

// What decodes to a description is one that a node can use, and says the same
// when it is encoded again.
func FuzzTemplate(f *testing.F) {
	seed(f, TemplateToPB(12, fullTask(f)), &sessionv1.Template{}, &sessionv1.Template{Function: "f", Returns: 1, Strategy: 2})
	f.Fuzz(func(t *testing.T, body []byte) {
		var p sessionv1.Template
		if p.UnmarshalVTUnsafe(body) != nil {
			return
		}
		task, err := TemplateFromPB(&p, someJob)
		if err != nil {
			if !errors.Is(err, Invalid) {
				t.Fatalf("an unexpected error: %v", err)
			}
			return
		}
		again, err := TemplateFromPB(TemplateToPB(p.Id, task), someJob)
		if err != nil || again.Key() != task.Key() || again.Name != task.Name || again.Returns != task.Returns {
			t.Fatalf("got %+v, %v, want %+v", again, err, task)
		}
	})
}

func FuzzGroup(f *testing.F) {
	seed(f, &sessionv1.Group{Group: make([]byte, 16), Bundles: []*sessionv1.Bundle{{Resources: map[string]int64{"CPU": 5}}}})
	f.Fuzz(func(t *testing.T, body []byte) {
		var p sessionv1.Group
		if p.UnmarshalVTUnsafe(body) != nil {
			return
		}
		if _, g, err := GroupFromPB(&p, someJob); err == nil && len(g.Bundles) != len(p.Bundles) {
			t.Fatalf("%d of %d bundles", len(g.Bundles), len(p.Bundles))
		}
	})
}

// A value and an error are what they say, or refused; nothing of the frame is
// kept.
func FuzzValue(f *testing.F) {
	seed(f, ValueToPB(Value{Tag: CBOR, Data: []byte("abc"), Refs: []id.Object{{1}}}), &sessionv1.Value{Tag: 256},
		&sessionv1.Value{Refs: []byte{1}}, &sessionv1.Value{Error: &sessionv1.Error{Code: 1}, At: &sessionv1.Location{Slab: 1}})
	f.Fuzz(func(t *testing.T, body []byte) {
		var p sessionv1.Value
		if p.UnmarshalVTUnsafe(body) != nil {
			return
		}
		v, err := ValueFromPB(&p)
		if err == nil && (len(v.Data) != len(p.Data) || len(v.Refs)*20 != len(p.Refs)) {
			t.Fatalf("got %v of %v", v, &p)
		}
		if e := ErrorFromPB(p.Error); (e == nil) != (p.Error == nil) || e != nil && (e.Code == 0 || e.Error() == "") {
			t.Fatalf("got %v of %v", e, p.Error)
		}
	})
}

// The hot messages decode the same whether they are new or used again.
func FuzzReuse(f *testing.F) {
	seed(f, taskMessages()["Submit"], taskMessages()["Execute"], taskMessages()["Result"], taskMessages()["ObjectValue"])
	used := []interface {
		proto.Message
		resettable
	}{&sessionv1.Submit{}, &sessionv1.Execute{}, &sessionv1.Result{}, &sessionv1.ObjectValue{}, &sessionv1.Counts{}, &sessionv1.Objects{}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range used {
			fresh := m.ProtoReflect().New().Interface()
			want := fresh.(Message).UnmarshalVT(body)
			got := m.UnmarshalVTUnsafe(body)
			if (got == nil) != (want == nil) || got == nil && !proto.Equal(m, fresh) {
				t.Fatalf("%T: got %v, %v, want %v, %v", m, m, got, fresh, want)
			}
			m.ResetVT()
		}
	})
}

func seed(f *testing.F, messages ...Message) {
	f.Helper()
	for _, m := range messages {
		body := AppendFrame(nil, 0, m)[FrameOverhead:]
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
}
