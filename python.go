package weft

import (
	"errors"
	"strings"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Arrow is an Arrow IPC stream: an argument or result of this type is a
// pyarrow.Table in Python. A []byte takes one as well, but gives plain bytes.
type Arrow = client.Arrow

// PyTask0 describes a Python function like PyTask1.
func PyTask0[R any](module, name string, def ...TaskOption) *Func0[R] {
	return &Func0[R]{pyFunction[none, none, none, R](module, name, 0, def)}
}

// PyTask1 describes the function of a Python module, as a function of the types
// given: its calls are tasks in Python workers of this program; see Python, the
// option of Init. def are the options of every call.
//
// Arguments and results are encoded as those of Go functions are: Python gets
// numbers, strings, lists, dicts, bytes, protobuf messages and Arrow tables, a
// struct as a dict, a Ref as an ObjectRef. What it raises is an error of code
// UserError with Python's traceback as its Trace.
//
// It panics, naming the caller's line, if a type cannot be encoded. Whether there
// is such a function turns out when it is called.
func PyTask1[A, R any](module, name string, def ...TaskOption) *Func1[A, R] {
	return &Func1[A, R]{pyFunction[A, none, none, R](module, name, 1, def)}
}

// PyTask2 describes a Python function like PyTask1.
func PyTask2[A, B, R any](module, name string, def ...TaskOption) *Func2[A, B, R] {
	return &Func2[A, B, R]{pyFunction[A, B, none, R](module, name, 2, def)}
}

// PyTask3 describes a Python function like PyTask1.
func PyTask3[A, B, C, R any](module, name string, def ...TaskOption) *Func3[A, B, C, R] {
	return &Func3[A, B, C, R]{pyFunction[A, B, C, R](module, name, 3, def)}
}

// PyStream1 describes a Python generator like PyTask1; see Stream1.
func PyStream1[A, R any](module, name string, def ...TaskOption) *StreamFunc[A, R] {
	desc, err := describePython[A, none, none, R](module, name, 1)
	t, err2 := taskDefaults(def)
	t.Stream = true
	return &StreamFunc[A, R]{python(desc, t, firstError(err, err2))}
}

// PyActor0 describes a Python class like PyActor1.
func PyActor0[S any](module, class string, def ...ActorOption) *Class0[S] {
	return &Class0[S]{pyClass[none, none](module, class, 0, def)}
}

// PyActor1 describes the class of a Python module, whose actors live in Python
// workers, each in one of its own. S is a type of the program's that stands for
// the class, so that handles have a type: an empty struct will do.
//
// An asynchronous class needs Concurrency, or its calls run one after the other.
func PyActor1[A, S any](module, class string, def ...ActorOption) *Class1[A, S] {
	return &Class1[A, S]{pyClass[A, none](module, class, 1, def)}
}

// PyActor2 describes a Python class like PyActor1.
func PyActor2[A, B, S any](module, class string, def ...ActorOption) *Class2[A, B, S] {
	return &Class2[A, B, S]{pyClass[A, B](module, class, 2, def)}
}

// PyMethod0 describes a method like PyMethod1.
func PyMethod0[S, R any](of Class[S], name string, opts ...MethodOption) *MethodFn0[S, R] {
	return &MethodFn0[S, R]{pyMethod[none, none, R](of.class(nil), name, 0, opts)}
}

// PyMethod1 describes a method of a class that PyActor0 to PyActor2 describe.
func PyMethod1[S, A, R any](of Class[S], name string, opts ...MethodOption) *MethodFn1[S, A, R] {
	return &MethodFn1[S, A, R]{pyMethod[A, none, R](of.class(nil), name, 1, opts)}
}

// PyMethod2 describes a method like PyMethod1.
func PyMethod2[S, A, B, R any](of Class[S], name string, opts ...MethodOption) *MethodFn2[S, A, B, R] {
	return &MethodFn2[S, A, B, R]{pyMethod[A, B, R](of.class(nil), name, 2, opts)}
}

// describePython starts a Function that is Python's: it is not registered, for
// this program does not have it.
func describePython[A, B, C, R any](module, name string, arity int) (*client.Function, error) {
	fn, err := describe[A, B, C, R](module+":"+name, arity)
	if module == "" || name == "" {
		err = errors.New("a Python function needs a module and a name")
	}
	return fn, err
}

// python is register for a Python function.
func python(fn *client.Function, def spec.Task, err error) *function {
	def.Function, def.Language, def.Portable, def.Isolated = fn.Name, wire.Python, true, true
	if def.Name == "" {
		def.Name = strings.Replace(fn.Name, ":", ".", 1)
	}
	switch {
	case fn.Create:
		def.Kind, def.Returns = spec.KindCreate, 1
	case !def.Stream:
		def.Returns = 1
	}
	return described(fn, def, err)
}

func pyFunction[A, B, C, R any](module, name string, arity int, def []TaskOption) *function {
	fn, err := describePython[A, B, C, R](module, name, arity)
	t, err2 := taskDefaults(def)
	return python(fn, t, firstError(err, err2))
}

func pyClass[A, B any](module, class string, arity int, def []ActorOption) *function {
	fn, err := describePython[A, B, none, none](module, class, arity)
	fn.Create, fn.Rets = true, nil
	t, err2 := actorDefaults(class[strings.LastIndexByte(class, '.')+1:], def)
	return python(fn, t, firstError(err, err2))
}

func pyMethod[A, B, R any](class *function, name string, arity int, opts []MethodOption) *method {
	m := &method{name: name}
	fn, err := describePython[A, B, none, R](class.fn.Name, name, arity)
	fn.Name = name
	if class.def.Language != wire.Python {
		err = firstError(err, errors.New("it is a method of a Go class: use Method0 to Method2"))
	}
	for _, o := range opts {
		err = firstError(err, o.applyMethod(m))
	}
	def := spec.Task{Kind: spec.KindMethod, Name: class.def.Actor.Class + "." + name}
	m.function = python(fn, def, err)
	return m
}
