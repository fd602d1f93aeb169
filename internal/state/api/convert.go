package api

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// encode copies a view to a message: each field to the one that is called as
// its JSON tag. It panics on a field that has none, which a test finds.
func encode[M proto.Message](m M, view any) M {
	encodeStruct(m.ProtoReflect(), reflect.Indirect(reflect.ValueOf(view)))
	return m
}

// decode copies a message to a view that is zero.
func decode[V any](m proto.Message) V {
	var v V
	decodeStruct(reflect.ValueOf(&v).Elem(), m.ProtoReflect())
	return v
}

// eachField calls visit with each field of a view's type and its counterpart.
func eachField(view reflect.Type, m protoreflect.MessageDescriptor, visit func(i int, f protoreflect.FieldDescriptor)) {
	for i := range view.NumField() {
		tag, _, _ := strings.Cut(view.Field(i).Tag.Get("json"), ",")
		f := m.Fields().ByName(protoreflect.Name(tag))
		if f == nil {
			panic(fmt.Sprintf("api: %v.%s has no field in %s", view, view.Field(i).Name, m.FullName()))
		}
		visit(i, f)
	}
}

func encodeStruct(m protoreflect.Message, v reflect.Value) {
	eachField(v.Type(), m.Descriptor(), func(i int, f protoreflect.FieldDescriptor) {
		field := v.Field(i)
		if field.IsZero() {
			return
		}
		switch {
		case f.IsMap():
			target := m.Mutable(f).Map()
			for _, key := range field.MapKeys() {
				target.Set(protoreflect.ValueOfString(key.String()).MapKey(), encodeValue(field.MapIndex(key), nil))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for k := range field.Len() {
				list.Append(encodeValue(field.Index(k), list.NewElement))
			}
		default:
			m.Set(f, encodeValue(field, func() protoreflect.Value { return m.NewField(f) }))
		}
	})
}

// encodeValue makes the value of one element; a message is made by fresh.
func encodeValue(v reflect.Value, fresh func() protoreflect.Value) protoreflect.Value {
	if t, ok := reflect.TypeAssert[time.Time](v); ok {
		return protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect())
	}
	switch v = reflect.Indirect(v); v.Kind() {
	case reflect.Struct:
		m := fresh()
		encodeStruct(m.Message(), v)
		return m
	case reflect.Int, reflect.Int64:
		return protoreflect.ValueOfInt64(v.Int())
	default:
		return protoreflect.ValueOf(v.Interface())
	}
}

func decodeStruct(v reflect.Value, m protoreflect.Message) {
	eachField(v.Type(), m.Descriptor(), func(i int, f protoreflect.FieldDescriptor) {
		target := v.Field(i)
		value := m.Get(f)
		switch {
		case f.IsMap():
			decodeMap(target, value.Map())
		case f.IsList():
			list := value.List()
			if list.Len() == 0 {
				return
			}
			target.Set(reflect.MakeSlice(target.Type(), list.Len(), list.Len()))
			for k := range list.Len() {
				decodeValue(target.Index(k), list.Get(k))
			}
		case m.Has(f):
			decodeValue(target, value)
		}
	})
}

func decodeMap(target reflect.Value, from protoreflect.Map) {
	if from.Len() == 0 {
		return
	}
	target.Set(reflect.MakeMap(target.Type()))
	from.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		element := reflect.New(target.Type().Elem()).Elem()
		decodeValue(element, value)
		target.SetMapIndex(reflect.ValueOf(key.String()), element)
		return true
	})
}

func decodeValue(target reflect.Value, value protoreflect.Value) {
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	if _, ok := reflect.TypeAssert[time.Time](target); ok {
		if stamp, ok := value.Message().Interface().(*timestamppb.Timestamp); ok {
			target.Set(reflect.ValueOf(stamp.AsTime()))
		}
		return
	}
	switch target.Kind() {
	case reflect.Struct:
		decodeStruct(target, value.Message())
	case reflect.Int, reflect.Int64:
		target.SetInt(value.Int())
	default:
		target.Set(reflect.ValueOf(value.Interface()))
	}
}
