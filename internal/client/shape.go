package client

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/protobuf/proto"
)

// encodable checks that values of t can leave the process.
func encodable(t reflect.Type) error {
	return encodablePart(t, typeName(t), map[reflect.Type]bool{})
}

// encodablePart is encodable for a part of the user's type; path says where.
func encodablePart(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	if seen[t] || isHolder(t) || marshals(t) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
		return fmt.Errorf("%s: a %s cannot be encoded to leave the process", path, t)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Errorf("%s: a value of interface type %s cannot be decoded again; use a concrete type", path, t)
		}
	case reflect.Pointer:
		return encodablePart(t.Elem(), path, seen)
	case reflect.Slice, reflect.Array:
		return encodablePart(t.Elem(), path+"[]", seen)
	case reflect.Map:
		if err := encodablePart(t.Key(), path+" key", seen); err != nil {
			return err
		}
		return encodablePart(t.Elem(), path+" value", seen)
	case reflect.Struct:
		return encodableStruct(t, path, seen)
	}
	return nil
}

func encodableStruct(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[proto.Message]()) {
		return fmt.Errorf("%s: %s is a protobuf message; alone and as the pointer *%s it can travel, inside other values it cannot", path, t, t.Name())
	}
	encoded, left := 0, 0
	for i := range t.NumField() {
		f := t.Field(i)
		if !isEncoded(f) {
			left++
			continue
		}
		encoded++
		if err := encodablePart(f.Type, path+"."+f.Name, seen); err != nil {
			return err
		}
	}
	if encoded == 0 && left > 0 {
		return fmt.Errorf("%s: no field of %s is exported, so nothing of it would be encoded; export them or implement MarshalBinary and UnmarshalBinary", path, t)
	}
	return nil
}

// isEncoded reports whether f is part of its struct's encoding. Exported fields
// of an embedded struct are, whatever the struct's name.
func isEncoded(f reflect.StructField) bool {
	tag, ok := f.Tag.Lookup("cbor")
	if !ok {
		tag = f.Tag.Get("json")
	}
	if name, _, _ := strings.Cut(tag, ","); name == "-" && tag == "-" {
		return false
	}
	if f.IsExported() {
		return true
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.Anonymous && t.Kind() == reflect.Struct
}

var (
	refHolder   = reflect.TypeFor[RefHolder]()
	actorHolder = reflect.TypeFor[ActorHolder]()
)

func isHolder(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(refHolder) || p.Implements(actorHolder)
}

// marshals reports whether t brings its own encoding.
func marshals(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	both := func(out, in reflect.Type) bool { return p.Implements(out) && p.Implements(in) }
	return both(reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[cbor.Unmarshaler]()) ||
		both(reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()) ||
		both(reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]())
}

// shape says what to look for in values of a type before they are encoded. The
// zero shape is nothing.
type shape struct {
	refs      bool // they may hold references
	dynamic   bool // they may hold values of any type
	recursive bool // they may hold themselves
}

var shapes sync.Map // reflect.Type -> shape

func shapeOf(t reflect.Type) shape {
	if s, ok := shapes.Load(t); ok {
		return s.(shape)
	}
	var s shape
	s.visit(t, map[reflect.Type]bool{})
	shapes.Store(t, s)
	return s
}

// visit adds what t and all that is part of it have. seen[t] is true while t's
// parts are visited and false afterwards.
func (s *shape) visit(t reflect.Type, seen map[reflect.Type]bool) {
	if open, known := seen[t]; known {
		s.recursive = s.recursive || open
		return
	}
	seen[t] = true
	switch {
	case isHolder(t):
		s.refs = true
	case marshals(t):
	case t.Kind() == reflect.Interface:
		s.dynamic = true
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Array:
		s.visit(t.Elem(), seen)
	case t.Kind() == reflect.Map:
		s.visit(t.Key(), seen)
		s.visit(t.Elem(), seen)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); isEncoded(f) {
				s.visit(f.Type, seen)
			}
		}
	}
	seen[t] = false
}

var errTooDeep = errors.New("the value is nested too deeply, or it contains itself")
