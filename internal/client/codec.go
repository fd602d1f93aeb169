package client

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
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
	SetHandle(s Session, a id.Actor)
}

// codecs caches by reflect.Type: the types of a program are finite.
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
	case t == reflect.TypeFor[Arrow]():
		return arrowCodec{base.name}, nil
	case t.Kind() == reflect.Pointer && t.Implements(reflect.TypeFor[proto.Message]()):
		return protoCodec{base}, nil
	}
	if err := encodable(t); err != nil {
		return nil, err
	}
	base.shape, base.plain = shapeOf(t), isPlain(t)
	if t.Kind() != reflect.Slice {
		return base, nil
	}
	return sliceCodec{base, sync.OnceValues(func() (Codec, error) { return CodecOf(t.Elem()) })}, nil
}

// typeName names a type the same way in every process, and no two types alike.
func typeName(t reflect.Type) string {
	if t.Name() != "" {
		if t.PkgPath() == "" {
			return t.Name()
		}
		return t.PkgPath() + "." + t.Name()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + typeName(t.Elem())
	case reflect.Slice:
		return "[]" + typeName(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), typeName(t.Elem()))
	case reflect.Map:
		return "map[" + typeName(t.Key()) + "]" + typeName(t.Elem())
	case reflect.Struct:
		var b strings.Builder
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(&b, "%s %s %q;", f.Name, typeName(f.Type), f.Tag)
		}
		return "struct{" + b.String() + "}"
	}
	return t.String()
}

// codec encodes values of one type as CBOR.
type codec struct {
	typ   reflect.Type
	name  string
	shape shape
	plain bool // scalar.go knows it
}

// maxDepth bounds how deep values are nested, so that one that contains itself
// is an error and not the end of the process.
const maxDepth = 10_000

// decMode reads every type; a map inside an any becomes a map[any]any. anyMode
// makes it a map[string]any, which is what programs put there.
var encMode, decMode, anyMode = cborModes()

func cborModes() (cbor.EncMode, cbor.DecMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano, TimeTag: cbor.EncTagRequired,
		TextMarshaler: cbor.TextMarshalerTextString}.EncMode()
	if err != nil {
		panic(err)
	}
	opts := cbor.DecOptions{MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32, MaxNestedLevels: maxDepth + 10,
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IntDec: cbor.IntDecConvertSignedOrBigInt,
		UTF8:               cbor.UTF8DecodeInvalid, // a Go string may hold any bytes
		ByteStringToString: cbor.ByteStringToStringAllowed, TextUnmarshaler: cbor.TextUnmarshalerTextString}
	dec, err := opts.DecMode()
	if err != nil {
		panic(err)
	}
	opts.DefaultMapType = reflect.TypeFor[map[string]any]()
	dyn, err := opts.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec, dyn
}

// Type implements Codec.
func (c codec) Type() string { return c.name }

// Encode implements Codec.
func (c codec) Encode(s Session, v any) (wire.Value, error) {
	if v == nil {
		return wire.Value{Tag: wire.None}, nil
	}
	out := wire.Value{Tag: wire.CBOR}
	if c.plain {
		if out.Data = appendPlain(v); out.Data != nil {
			return out, nil
		}
	}
	var err error
	if c.shape != (shape{}) {
		if out.Refs, err = shareRefs(s, c.typ, v); err != nil {
			return wire.Value{}, c.fail(err)
		}
	}
	if out.Data, err = encMode.Marshal(v); err != nil {
		return wire.Value{}, c.fail(err)
	}
	return out, nil
}

// Decode implements Codec.
func (c codec) Decode(s Session, val wire.Value) (any, error) {
	switch val.Tag {
	case wire.None:
		return reflect.Zero(c.typ).Interface(), nil
	case wire.CBOR:
	default:
		return nil, wrongTag(c.name, val.Tag)
	}
	if c.plain {
		if v := readPlain(c.typ, val.Data); v != nil {
			return v, nil
		}
	}
	v, err := c.unmarshal(val.Data)
	if err != nil {
		return nil, c.fail(err)
	}
	if c.shape.refs {
		bindRefs(s, v.Elem())
	}
	return v.Elem().Interface(), nil
}

func (c codec) unmarshal(data []byte) (reflect.Value, error) {
	v := reflect.New(c.typ)
	if c.shape.dynamic {
		if anyMode.Unmarshal(data, v.Interface()) == nil {
			return v, nil
		}
		v = reflect.New(c.typ) // there is a map with keys that are no strings
	}
	return v, decMode.Unmarshal(data, v.Interface())
}

func (c codec) fail(err error) error {
	return &wire.Error{Code: wire.Encode, Op: c.name, Message: err.Error(), Err: err}
}

func wrongTag(name string, tag wire.Tag) error {
	e := &wire.Error{Code: wire.Encode, Op: name, Message: fmt.Sprintf("the value is encoded as %s, which a %s cannot be read from", tag, name)}
	if tag == wire.Pickle {
		e.Hint = "have the Python side give weft.portable(value): plain data, bytes, a protobuf message or an Arrow table"
	}
	return e
}

// rawCodec passes bytes as they are.
type rawCodec struct{ name string }

// Type implements Codec.
func (c rawCodec) Type() string { return c.name }

// Encode implements Codec. The value shares v's bytes.
func (c rawCodec) Encode(_ Session, v any) (wire.Value, error) {
	b, _ := v.([]byte)
	if b == nil {
		return wire.Value{Tag: wire.None}, nil
	}
	return wire.Value{Tag: wire.Raw, Data: b}, nil
}

// Decode implements Codec.
func (c rawCodec) Decode(_ Session, val wire.Value) (any, error) {
	switch val.Tag {
	case wire.None:
		return []byte(nil), nil
	case wire.Raw, wire.Arrow, wire.Proto: // who asks for bytes knows what they are
		return append(make([]byte, 0, len(val.Data)), val.Data...), nil
	case wire.CBOR: // another language's bytes inside its plain data
		var b []byte
		if err := decMode.Unmarshal(val.Data, &b); err != nil {
			return nil, &wire.Error{Code: wire.Encode, Op: c.name, Message: err.Error(), Err: err}
		}
		return b, nil
	}
	return nil, wrongTag(c.name, val.Tag)
}

// Arrow is an Arrow IPC stream, which Python reads as a pyarrow.Table.
type Arrow []byte

// arrowCodec passes Arrow as it is.
type arrowCodec struct{ name string }

// Type implements Codec.
func (c arrowCodec) Type() string { return c.name }

// Encode implements Codec. The value shares v's bytes.
func (c arrowCodec) Encode(_ Session, v any) (wire.Value, error) {
	b, _ := v.(Arrow)
	if b == nil {
		return wire.Value{Tag: wire.None}, nil
	}
	return wire.Value{Tag: wire.Arrow, Data: b}, nil
}

// Decode implements Codec.
func (c arrowCodec) Decode(_ Session, val wire.Value) (any, error) {
	switch val.Tag {
	case wire.None:
		return Arrow(nil), nil
	case wire.Arrow:
		return append(make(Arrow, 0, len(val.Data)), val.Data...), nil
	}
	return nil, wrongTag(c.name, val.Tag)
}

// protoCodec encodes protobuf messages.
type protoCodec struct{ codec }

// Encode implements Codec.
func (c protoCodec) Encode(_ Session, v any) (wire.Value, error) {
	m, ok := v.(proto.Message)
	if !ok || !m.ProtoReflect().IsValid() { // a nil pointer
		return wire.Value{Tag: wire.None}, nil
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return wire.Value{}, c.fail(err)
	}
	return wire.Value{Tag: wire.Proto, Data: b}, nil
}

// Decode implements Codec.
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
		return nil, c.fail(err)
	}
	return m, nil
}

// sliceCodec also makes slices of objects' values.
type sliceCodec struct {
	codec
	elem func() (Codec, error) // late, for a type may be a slice of itself
}

// Element implements Collector.
func (c sliceCodec) Element() Codec {
	elem, err := c.elem()
	if err != nil {
		panic(fmt.Sprintf("client: %s can be encoded, but its elements cannot: %v", c.name, err))
	}
	return elem
}

// Collect implements Collector.
func (c sliceCodec) Collect(fs []*Future) (any, error) {
	elems, elem := make([]any, len(fs)), c.Element()
	for i, f := range fs {
		v, err := ValueOf(f, elem)
		if err != nil {
			return nil, err
		}
		elems[i] = v
	}
	return c.Join(elems)
}

// Join implements Collector.
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
	v, err := c.Decode(f.Sess, res.Enc.Value)
	runtime.KeepAlive(f) // holds the pin, and what the value refers to
	return v, err
}
