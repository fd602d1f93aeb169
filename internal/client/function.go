package client

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Codec encodes and decodes values of one Go type.
type Codec interface {
	// Type names the type, for signatures and errors.
	Type() string
	// Encode returns v's bytes. References inside v are shared with the node first.
	Encode(s Session, v any) (wire.Value, error)
	// Decode is the inverse. It does not keep val.Data unless Aliases.
	Decode(s Session, val wire.Value) (any, error)
}

// Function is a registered task function, actor constructor or actor method.
// Exactly one of Invoke and Stream is set.
type Function struct {
	Name   string
	Sig    uint64 // hash of the types; with Name, the function's id
	Where  string // file:line of the registration
	Args   []Codec
	Rets   []Codec // one for a stream: the item; a constructor has none
	Split  bool    // Invoke fills a number of returns the caller chooses, all of Rets[0]
	Create bool    // a constructor: out[0] is the instance, never encoded

	// Invoke runs it: self is the actor's instance for a method, in has an
	// entry an argument, out an entry a return.
	Invoke func(ctx context.Context, self any, in, out []any) error
	// Stream runs it and passes items on; it stops when yield returns false.
	Stream func(ctx context.Context, self any, in []any, yield func(any) bool) error
}

// Signature hashes the names of f's types.
func (f *Function) Signature() uint64 {
	h := fnv.New64a()
	for _, c := range f.Args {
		fmt.Fprint(h, c.Type(), ",")
	}
	fmt.Fprint(h, "->")
	for _, c := range f.Rets {
		fmt.Fprint(h, c.Type(), ",")
	}
	return h.Sum64()
}

// fits reports how a description that does not come from f's registration, but
// from a caller of another language, is no call of f.
func (f *Function) fits(t *spec.Task) error {
	fail := func(format string, args ...any) error {
		return &wire.Error{Code: wire.NotRegistered, Op: f.Name, Message: fmt.Sprintf(format, args...) + ", at " + f.Where}
	}
	switch {
	case f.Create != (t.Kind == spec.KindCreate):
		return fail("it is registered as another kind of thing: an actor's constructor is one, a function another")
	case (f.Stream != nil) != t.Stream:
		return fail("it is a stream on one side only (num_returns=\"streaming\" in Python)")
	case !f.Create && f.Stream == nil && !f.Split && t.Returns != len(f.Rets):
		return fail("%d results are asked for, and it has %d", t.Returns, len(f.Rets))
	}
	return nil
}

// registry holds this program's functions. It is filled while packages
// initialise and read afterwards.
var registry = struct {
	sync.RWMutex
	byName map[string]*Function
}{byName: map[string]*Function{}}

// Register adds f. A name can be taken once.
func Register(f *Function) error {
	f.Sig = f.Signature()
	registry.Lock()
	defer registry.Unlock()
	if old := registry.byName[f.Name]; old != nil {
		return &wire.Error{Code: wire.AlreadyExists, Op: "register " + f.Name,
			Message: "the name is taken by the registration at " + old.Where, Hint: "give one of them another name"}
	}
	registry.byName[f.Name] = f
	return nil
}

// FindFunction returns the function called name, if its types hash to sig; 0 is
// a caller of another language, who does not know them.
func FindFunction(name string, sig uint64) (*Function, error) {
	registry.RLock()
	f := registry.byName[name]
	registry.RUnlock()
	switch {
	case f == nil:
		return nil, &wire.Error{Code: wire.NotRegistered, Op: name, Message: "this program registers no function of that name" + near(name),
			Hint: "register it in a package-level variable of a package that the program imports"}
	case sig != 0 && f.Sig != sig:
		return nil, &wire.Error{Code: wire.NotRegistered, Op: name, Message: "it is registered with other types at " + f.Where,
			Hint: "build the caller and the worker from the same source"}
	}
	return f, nil
}

// near lists registered names that may have been meant; if none may, the first.
func near(name string) string {
	registry.RLock()
	defer registry.RUnlock()
	var names []string
	for n := range registry.byName {
		if far(n, name) <= max(len(name)/3, 2) || strings.HasSuffix(n, "."+name) || strings.HasSuffix(name, "."+n) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return "; it has " + someNames()
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(far(a, name), far(b, name)), cmp.Compare(a, b))
	})
	return "; it has " + strings.Join(names[:min(len(names), 5)], ", ")
}

// someNames lists the first names that are registered; under the lock.
func someNames() string {
	names := slices.Sorted(maps.Keys(registry.byName))
	const most = 20
	switch more := len(names) - most; {
	case len(names) == 0:
		return "none at all"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// far is the number of bytes to add, remove or change to make b of a.
func far(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// RegistryHash identifies the set of registered functions.
func RegistryHash() uint64 {
	registry.RLock()
	defer registry.RUnlock()
	names := make([]string, 0, len(registry.byName))
	for n, f := range registry.byName {
		names = append(names, fmt.Sprintf("%s#%x", n, f.Sig))
	}
	slices.Sort(names)
	h := fnv.New64a()
	fmt.Fprint(h, names)
	return h.Sum64()
}
