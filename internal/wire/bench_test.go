package wire

import (
	"bytes"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
)

// The messages of one small task, in the order in which it meets them.
func taskMessages() map[string]Message {
	task := id.NewTask(id.Node{1}, id.Seq(3, 1_000_000))
	object := task.Return(0)
	args := []*sessionv1.Arg{{Value: ValueToPB(Value{Tag: CBOR, Data: []byte{0x19, 0x03, 0xe8}})}}
	ret := ValueToPB(Value{Tag: CBOR, Data: []byte{0x1a, 0, 0x0f, 0x42, 0x40}})
	return map[string]Message{
		"Submit":      &sessionv1.Submit{Template: 1, Seq: task.Seq(), Args: args},
		"Execute":     &sessionv1.Execute{Task: task[:], Attempt: 1, Lease: 77, TemplateId: 1, Args: args, Job: []byte{1, 2, 3, 4}},
		"Result":      &sessionv1.Result{Task: task[:], Attempt: 1, Lease: 77, Returns: []*sessionv1.Value{ret}, Ran: 12_345},
		"ObjectValue": &sessionv1.ObjectValue{Object: object[:], Value: ret},
	}
}

// A resettable message is decoded again and again.
type resettable interface {
	Message
	ResetVT()
}

func BenchmarkEncode(b *testing.B) {
	for name, msg := range taskMessages() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendFrame(buf[:0], sessionv1.Kind_KIND_SUBMIT, msg)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	into := map[string]resettable{"Submit": &sessionv1.Submit{}, "Execute": &sessionv1.Execute{}, "Result": &sessionv1.Result{},
		"ObjectValue": &sessionv1.ObjectValue{}}
	for name, msg := range taskMessages() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := AppendFrame(nil, 0, msg)[FrameOverhead:]
			m := into[name]
			for b.Loop() {
				if err := m.UnmarshalVTUnsafe(body); err != nil {
					b.Fatal(err)
				}
				m.ResetVT()
			}
		})
	}
}

// An endless stream of what is in chunk.
type endless struct {
	chunk []byte
	at    int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.chunk[e.at:])
	e.at = (e.at + n) % len(e.chunk)
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	one := AppendFrame(nil, sessionv1.Kind_KIND_SUBMIT, taskMessages()["Submit"])
	r := NewReader(&endless{chunk: bytes.Repeat(one, 1000)})
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
