package client

import (
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// CBOR tags of references inside values, from the range that is free to use.
const (
	refTag   = 0x77656601 // content: the object's 20 bytes
	actorTag = 0x77656602 // content: the actor's 16 bytes
)

// MarshalRef is the CBOR form of a reference to f; nil is the zero reference.
func MarshalRef(f *Future) ([]byte, error) {
	if f == nil {
		return encMode.Marshal(nil)
	}
	return encMode.Marshal(cbor.Tag{Number: refTag, Content: f.ID[:]})
}

// UnmarshalRef reads it into a Future that is bound to a session later.
func UnmarshalRef(b []byte) (*Future, error) {
	raw, err := unmarshalTag(b, refTag, "an object")
	if raw == nil || err != nil {
		return nil, err
	}
	o, err := wire.ReadObject(raw)
	return &Future{ID: o}, err
}

// MarshalActor is the CBOR form of an actor handle.
func MarshalActor(a id.Actor) ([]byte, error) {
	if a.IsZero() {
		return encMode.Marshal(nil)
	}
	return encMode.Marshal(cbor.Tag{Number: actorTag, Content: a[:]})
}

// UnmarshalActor reads it.
func UnmarshalActor(b []byte) (id.Actor, error) {
	raw, err := unmarshalTag(b, actorTag, "an actor")
	if raw == nil || err != nil {
		return id.Actor{}, err
	}
	return wire.ReadTask(raw)
}

func unmarshalTag(b []byte, number uint64, what string) ([]byte, error) {
	if len(b) == 1 && b[0] == 0xf6 { // null
		return nil, nil
	}
	var tag cbor.RawTag
	if err := decMode.Unmarshal(b, &tag); err != nil || tag.Number != number {
		return nil, &wire.Error{Code: wire.Encode, Message: "this is no reference to " + what}
	}
	var raw []byte
	err := decMode.Unmarshal(tag.Content, &raw)
	return raw, err
}

// sharer goes through a value that is about to be encoded.
type sharer struct {
	s    Session
	refs []id.Object
}

// shareRefs has the node count every reference inside v, of type t, and lists
// the objects. It fails if v holds what could not be encoded or found again.
func shareRefs(s Session, t reflect.Type, v any) ([]id.Object, error) {
	sh := sharer{s: s}
	if t.Kind() == reflect.Interface {
		return nil, sh.visitAny(reflect.ValueOf(v), 0)
	}
	err := sh.visit(reflect.ValueOf(v), 0)
	return sh.refs, err
}

func (sh *sharer) visit(v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	t := v.Type()
	if shapeOf(t) == (shape{}) {
		return nil
	}
	if isHolder(t) {
		sh.share(v)
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return sh.visit(v.Elem(), depth+1)
		}
	case reflect.Interface:
		if !v.IsNil() {
			return sh.visitAny(v.Elem(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := sh.visit(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := sh.visit(it.Key(), depth+1); err != nil {
				return err
			}
			if err := sh.visit(it.Value(), depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if isEncoded(t.Field(i)) {
				if err := sh.visit(v.Field(i), depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// visitAny is visit for the value of an interface, whose type registration
// could not check.
func (sh *sharer) visitAny(v reflect.Value, depth int) error {
	t := v.Type()
	if c, err := CodecOf(t); err != nil {
		return err
	} else if c, ok := c.(protoCodec); ok {
		return fmt.Errorf("a %s inside a value of interface type would not be decoded again; use it as an argument of its own", c.name)
	}
	if shapeOf(t).refs {
		return fmt.Errorf("a %s inside a value of interface type would not be found again as one; use a field of the concrete type", typeName(t))
	}
	return sh.visit(v, depth)
}

// share has what v stands for outlive its journey.
func (sh *sharer) share(v reflect.Value) {
	if h, ok := reflect.TypeAssert[interface{ Future() *Future }](v); ok {
		if f := h.Future(); f != nil {
			sh.s.Share(f)
			sh.refs = append(sh.refs, f.ID)
		}
		return
	}
	// A value lists the objects, but not the actors that it holds: the session
	// keeps a handle for those it has sent away.
	if h, ok := reflect.TypeAssert[interface{ Handle() (Session, id.Actor) }](v); ok {
		if _, a := h.Handle(); !a.IsZero() {
			sh.s.Handle(a, 1)
		}
	}
}

// bindRefs gives every reference inside v, which is addressable and was just
// decoded, to the session.
func bindRefs(s Session, v reflect.Value) {
	t := v.Type()
	if !shapeOf(t).refs {
		return
	}
	if isHolder(t) {
		bind(s, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			bindRefs(s, v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			bindRefs(s, v.Index(i))
		}
	case reflect.Map:
		bindMap(s, v)
	case reflect.Struct:
		for i := range v.NumField() {
			if isEncoded(t.Field(i)) {
				bindRefs(s, v.Field(i))
			}
		}
	}
}

func bind(s Session, v reflect.Value) {
	switch h := v.Addr().Interface().(type) {
	case RefHolder:
		if f := h.Future(); f != nil && f.Sess == nil {
			h.SetFuture(s.Adopt(f.ID))
		}
	case ActorHolder:
		if _, a := h.Handle(); !a.IsZero() {
			s.Handle(a, 1)
			h.SetHandle(s, a)
		}
	}
}

// bindMap binds what is in a map. That cannot be changed in place: copies are,
// and go back.
func bindMap(s Session, v reflect.Value) {
	addressable := func(x reflect.Value) reflect.Value {
		y := reflect.New(x.Type()).Elem()
		y.Set(x)
		bindRefs(s, y)
		return y
	}
	if !shapeOf(v.Type().Key()).refs {
		for it := v.MapRange(); it.Next(); {
			v.SetMapIndex(it.Key(), addressable(it.Value()))
		}
		return
	}
	bound := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		bound.SetMapIndex(addressable(it.Key()), addressable(it.Value()))
	}
	v.Set(bound)
}
