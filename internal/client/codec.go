package client

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/protobuf/proto"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// Collector is what the Codec of a slice type can do besides: make a slice of
// many objects' values, for an argument that is a List.
type Collector interface {
	// Element is the codec of the slice's elements.
	Element() Codec
	// Collect reads the values of fs, which are complete, into one slice.
	Collect(fs []*Future) (any, error)
	// Join makes one slice of decoded elements.
	Join(elems []any) (any, error)
}

// RefHolder is a value that stands for an object, such as the root package's Ref.
type RefHolder interface {
	Future() *Future
	SetFuture(*Future)
}

// ActorHolder is a value that stands for an actor.
type ActorHolder interface {
	Handle() (Session, id.Actor)
	SetHandle(Session, id.Actor)
}

var codecs sync.Map // reflect.Type -> codecEntry

type codecEntry struct {
	codec Codec
	err   error
}

// CodecFor returns the codec of type T, or says which part of T cannot be
// encoded and why.
func CodecFor[T any]() (Codec, error) { return CodecOf(reflect.TypeFor[T]()) }

// CodecOf is CodecFor for a type known at run time.
func CodecOf(t reflect.Type) (Codec, error) {
	if e, ok := codecs.Load(t); ok {
		return e.(codecEntry).codec, e.(codecEntry).err
	}
	e := codecEntry{}
	e.codec, e.err = newCodec(t)
	codecs.Store(t, e)
	return e.codec, e.err
}

func newCodec(t reflect.Type) (Codec, error) {
	base := codec{typ: t, name: typeName(t)}
	switch {
	case t == reflect.TypeFor[[]byte]():
		return rawCodec{base.name}, nil
	case t.Kind() == reflect.Pointer && t.Implements(reflect.TypeFor[proto.Message]()):
		return protoCodec{base}, nil
	}
	if err := encodable(t, base.name, map[reflect.Type]bool{}); err != nil {
		return nil, err
	}
	base.refs = holdsRefs(t, map[reflect.Type]bool{})
	if t.Kind() != reflect.Slice {
		return base, nil
	}
	elem, err := CodecOf(t.Elem())
	return sliceCodec{base, elem}, err
}

// typeName names a type the same way in every process.
func typeName(t reflect.Type) string {
	if t.PkgPath() != "" {
		return t.PkgPath() + "." + t.Name()
	}
	return t.String()
}

// codec encodes values of one type as CBOR.
type codec struct {
	typ  reflect.Type
	name string
	refs bool // values may hold references
}

var encMode, decMode = cborModes()

func cborModes() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano, TimeTag: cbor.EncTagRequired}.EncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{MaxArrayElements: 1<<31 - 1, MaxMapPairs: 1<<31 - 1, MaxNestedLevels: 256}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}

func (c codec) Type() string { return c.name }

func (c codec) Encode(s Session, v any) (wire.Value, error) {
	if v == nil {
		return wire.Value{Tag: wire.None}, nil
	}
	out := wire.Value{Tag: wire.CBOR}
	if c.refs {
		out.Refs = shareRefs(s, reflect.ValueOf(v))
	}
	var err error
	if out.Data, err = encMode.Marshal(v); err != nil {
		return wire.Value{}, &wire.Error{Code: wire.Encode, Op: c.name, Message: err.Error()}
	}
	return out, nil
}

func (c codec) Decode(s Session, val wire.Value) (any, error) {
	v := reflect.New(c.typ)
	switch val.Tag {
	case wire.None:
		return v.Elem().Interface(), nil
	case wire.CBOR:
	default:
		return nil, wrongTag(c.name, val.Tag)
	}
	if err := decMode.Unmarshal(val.Data, v.Interface()); err != nil {
		return nil, &wire.Error{Code: wire.Encode, Op: c.name, Message: err.Error()}
	}
	if c.refs {
		bindRefs(s, v.Elem())
	}
	return v.Elem().Interface(), nil
}

func wrongTag(name string, tag wire.Tag) error {
	e := &wire.Error{Code: wire.Encode, Op: name, Message: fmt.Sprintf("the value is encoded as %s, which a %s cannot be read from", tag, name)}
	if tag == wire.Pickle {
		e.Hint = "have the Python side return bytes, Arrow or plain data instead of an arbitrary object"
	}
	return e
}

// rawCodec passes bytes as they are.
type rawCodec struct{ name string }

func (c rawCodec) Type() string { return c.name }

func (c rawCodec) Encode(_ Session, v any) (wire.Value, error) {
	b, _ := v.([]byte)
	return wire.Value{Tag: wire.Raw, Data: b}, nil
}

func (c rawCodec) Decode(_ Session, val wire.Value) (any, error) {
	switch val.Tag {
	case wire.None:
		return []byte(nil), nil
	case wire.Raw:
		return append(make([]byte, 0, len(val.Data)), val.Data...), nil
	}
	return nil, wrongTag(c.name, val.Tag)
}

// protoCodec encodes protobuf messages.
type protoCodec struct{ codec }

func (c protoCodec) Encode(_ Session, v any) (wire.Value, error) {
	if v == nil {
		return wire.Value{Tag: wire.None}, nil
	}
	b, err := proto.Marshal(v.(proto.Message))
	if err != nil {
		return wire.Value{}, &wire.Error{Code: wire.Encode, Op: c.name, Message: err.Error()}
	}
	return wire.Value{Tag: wire.Proto, Data: b}, nil
}

func (c protoCodec) Decode(_ Session, val wire.Value) (any, error) {
	switch val.Tag {
	case wire.None:
		return reflect.Zero(c.typ).Interface(), nil
	case wire.Proto:
	default:
		return nil, wrongTag(c.name, val.Tag)
	}
	m := reflect.New(c.typ.Elem()).Interface()
	if err := proto.Unmarshal(val.Data, m.(proto.Message)); err != nil {
		return nil, &wire.Error{Code: wire.Encode, Op: c.name, Message: err.Error()}
	}
	return m, nil
}

// sliceCodec also makes slices of objects' values.
type sliceCodec struct {
	codec
	elem Codec
}

func (c sliceCodec) Element() Codec { return c.elem }

func (c sliceCodec) Collect(fs []*Future) (any, error) {
	elems := make([]any, len(fs))
	for i, f := range fs {
		v, err := ValueOf(f, c.elem)
		if err != nil {
			return nil, err
		}
		elems[i] = v
	}
	return c.Join(elems)
}

func (c sliceCodec) Join(elems []any) (any, error) {
	out := reflect.MakeSlice(c.typ, len(elems), len(elems))
	for i, v := range elems {
		if v == nil {
			continue
		}
		rv := reflect.ValueOf(v)
		if !rv.Type().AssignableTo(c.typ.Elem()) {
			return nil, &wire.Error{Code: wire.Encode, Op: c.name, Message: fmt.Sprintf("element %d is a %T", i, v)}
		}
		out.Index(i).Set(rv)
	}
	return out.Interface(), nil
}

// ValueOf returns the value of a complete Future, decoded by c if need be.
func ValueOf(f *Future, c Codec) (any, error) {
	res := f.Result()
	if res.Err != nil {
		return nil, res.Err
	}
	if res.Enc == nil {
		return res.Val, nil
	}
	return c.Decode(f.Sess, res.Enc.Value)
}
