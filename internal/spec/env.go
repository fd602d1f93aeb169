package spec

import "unique"

// RuntimeEnv is what the processes of a task need beyond the program: canonical
// JSON, which is kept once however many tasks have it. Equal texts are equal
// values. The zero value needs nothing.
type RuntimeEnv struct{ text unique.Handle[string] }

// NewRuntimeEnv returns the environment that a canonical text describes.
func NewRuntimeEnv(text string) RuntimeEnv {
	if text == "" || text == "{}" {
		return RuntimeEnv{}
	}
	return RuntimeEnv{unique.Make(text)}
}

// IsZero reports whether nothing is needed.
func (e RuntimeEnv) IsZero() bool { return e == RuntimeEnv{} }

// String returns e's text, "" if nothing is needed.
func (e RuntimeEnv) String() string {
	if e.IsZero() {
		return ""
	}
	return e.text.Value()
}
