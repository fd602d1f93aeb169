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

var (
	refHolder   = reflect.TypeFor[RefHolder]()
	actorHolder = reflect.TypeFor[ActorHolder]()
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
	if err := tag.UnmarshalCBOR(b); err != nil || tag.Number != number {
		return nil, &wire.Error{Code: wire.Encode, Message: "this is no reference to " + what}
	}
	var raw []byte
	err := decMode.Unmarshal(tag.Content, &raw)
	return raw, err
}

// encodable checks that values of t can leave the process; path says where in
// the user's type t is.
func encodable(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	if seen[t] || isHolder(t) || marshals(t) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr:
		return fmt.Errorf("%s: a %s cannot be encoded to leave the process", path, t)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Errorf("%s: a value of interface type %s cannot be decoded again; use a concrete type", path, t)
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return encodable(t.Elem(), path, seen)
	case reflect.Map:
		if err := encodable(t.Key(), path+" key", seen); err != nil {
			return err
		}
		return encodable(t.Elem(), path+" value", seen)
	case reflect.Struct:
		return encodableStruct(t, path, seen)
	}
	return nil
}

func encodableStruct(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	exported := 0
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous || f.Tag.Get("cbor") == "-" || f.Tag.Get("json") == "-" {
			continue
		}
		exported++
		if err := encodable(f.Type, path+"."+f.Name, seen); err != nil {
			return err
		}
	}
	if exported == 0 && t.NumField() > 0 {
		return fmt.Errorf("%s: all fields of %s are unexported, so nothing of it would be encoded; export them or implement MarshalCBOR", path, t)
	}
	return nil
}

func isHolder(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(refHolder) || p.Implements(actorHolder)
}

// marshals reports whether t brings its own encoding.
func marshals(t reflect.Type) bool {
	type binary interface {
		MarshalBinary() ([]byte, error)
		UnmarshalBinary([]byte) error
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[cbor.Marshaler]()) && p.Implements(reflect.TypeFor[cbor.Unmarshaler]()) ||
		p.Implements(reflect.TypeFor[binary]())
}

// holdsRefs reports whether values of t may contain references.
func holdsRefs(t reflect.Type, seen map[reflect.Type]bool) bool {
	if isHolder(t) {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsRefs(t.Elem(), seen)
	case reflect.Map:
		return holdsRefs(t.Key(), seen) || holdsRefs(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() && holdsRefs(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// shareRefs has the node count every reference inside v, and lists them.
func shareRefs(s Session, v reflect.Value) (refs []id.Object) {
	walk(v, false, func(v reflect.Value) {
		if h, ok := v.Interface().(interface{ Future() *Future }); ok {
			if f := h.Future(); f != nil {
				s.Share(f)
				refs = append(refs, f.ID)
			}
		}
	})
	return refs
}

// bindRefs gives every reference inside v, which is addressable and was just
// decoded, to the session.
func bindRefs(s Session, v reflect.Value) {
	walk(v, true, func(v reflect.Value) {
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
	})
}

// walk calls f for every reference inside v. With change, f may change them,
// also where they are in maps.
func walk(v reflect.Value, change bool, f func(reflect.Value)) {
	if !v.IsValid() {
		return
	}
	if isHolder(v.Type()) {
		f(v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walk(v.Elem(), change, f)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(v.Index(i), change, f)
		}
	case reflect.Map:
		walkMap(v, change, f)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				walk(v.Field(i), change, f)
			}
		}
	}
}

// walkMap visits a map's values. They cannot be changed in place: a copy is,
// and goes back.
func walkMap(v reflect.Value, change bool, f func(reflect.Value)) {
	for it := v.MapRange(); it.Next(); {
		if !change {
			walk(it.Value(), change, f)
			continue
		}
		val := reflect.New(it.Value().Type()).Elem()
		val.Set(it.Value())
		walk(val, change, f)
		v.SetMapIndex(it.Key(), val)
	}
}
