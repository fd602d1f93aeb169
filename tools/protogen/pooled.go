package main

import (
	"bytes"
	"regexp"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// resetOfBytes finds, in a generated ResetVT, the lines that save the memory of
// a field for its next value and put it back.
var resetOfBytes = regexp.MustCompile(`(?m)^\t\t(f\d+) := m\.(\w+)\[:0\]\n`)

// resetFunc finds a ResetVT and its message.
var resetFunc = regexp.MustCompile(`(?ms)^func \(m \*(\w+)\) ResetVT\(\) \{\n.*?^\}\n`)

// forgetBytes changes the ResetVT of pooled messages so that they do not keep
// the memory of byte fields. A message that was decoded with UnmarshalVTUnsafe
// does not own that memory: the next UnmarshalVT, of whoever gets the message
// from the pool, would write into somebody's frame or value.
func forgetBytes(file protoreflect.FileDescriptor, code []byte) []byte {
	return resetFunc.ReplaceAllFunc(code, func(fn []byte) []byte {
		name := string(resetFunc.FindSubmatch(fn)[1])
		message := file.Messages().ByName(protoreflect.Name(name))
		if message == nil {
			return fn
		}
		for _, saved := range resetOfBytes.FindAllSubmatch(fn, -1) {
			if isBytes(message, string(saved[2])) {
				fn = bytes.Replace(fn, saved[0], nil, 1)
				fn = bytes.Replace(fn, []byte("\t\tm."+string(saved[2])+" = "+string(saved[1])+"\n"), nil, 1)
			}
		}
		return fn
	})
}

// isBytes reports whether message has a field of bytes of that name in Go.
func isBytes(message protoreflect.MessageDescriptor, goName string) bool {
	fields := message.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Kind() == protoreflect.BytesKind && !f.IsList() && camelCase(string(f.Name())) == goName {
			return true
		}
	}
	return false
}

// camelCase is how generators name the field in Go.
func camelCase(name string) string {
	var b []byte
	up := true
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			up = true
			continue
		case up && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		b = append(b, c)
		up = false
	}
	return string(b)
}
