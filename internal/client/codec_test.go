package client

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// A paperSession notes what codecs tell a session.
type paperSession struct {
	Session

	shared  []id.Object
	adopted []id.Object
	handles map[id.Actor]int
}

func (s *paperSession) Share(f *Future) { s.shared = append(s.shared, f.ID) }

func (s *paperSession) Adopt(o id.Object) *Future {
	s.adopted = append(s.adopted, o)
	return &Future{ID: o, Sess: s}
}

func (s *paperSession) Handle(a id.Actor, n int) {
	if s.handles == nil {
		s.handles = map[id.Actor]int{}
	}
	s.handles[a] += n
}

// ref and actorHandle are what the root package's types look like to a codec.
type ref struct{ f *Future }

func (r ref) Future() *Future              { return r.f }
func (r *ref) SetFuture(f *Future)         { r.f = f }
func (r ref) MarshalCBOR() ([]byte, error) { return MarshalRef(r.f) }

func (r *ref) UnmarshalCBOR(b []byte) (err error) { r.f, err = UnmarshalRef(b); return err }

type actorHandle struct {
	s Session
	a id.Actor
}

func (h actorHandle) Handle() (Session, id.Actor)         { return h.s, h.a }
func (h *actorHandle) SetHandle(s Session, a id.Actor)    { h.s, h.a = s, a }
func (h actorHandle) MarshalCBOR() ([]byte, error)        { return MarshalActor(h.a) }
func (h *actorHandle) UnmarshalCBOR(b []byte) (err error) { h.a, err = UnmarshalActor(b); return err }

// passOn encodes v and decodes it again.
func passOn[T any](s Session, v T) (T, wire.Value, error) {
	var zero T
	c, err := CodecFor[T]()
	if err != nil {
		return zero, wire.Value{}, err
	}
	enc, err := c.Encode(s, v)
	if err != nil {
		return zero, enc, err
	}
	got, err := c.Decode(s, enc)
	if err != nil || got == nil {
		return zero, enc, err
	}
	return got.(T), enc, nil
}

func checkSame[T any](t interface {
	Helper()
	Errorf(format string, args ...any)
}, v T,
) {
	t.Helper()
	got, enc, err := passOn(&paperSession{}, v)
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%T %#v: got %#v, %v (encoded as %s % x)", v, v, got, err, enc.Tag, enc.Data)
	}
}

type node struct {
	Name string
	Next *node
	Kids map[string]*node
}

type everything struct {
	B  bool
	I  int8
	U  uint64
	F  float32
	S  string
	By []byte
	A  [3]int
	M  map[int]string
	P  *int
	T  time.Time
	D  time.Duration
	IP netip.Addr
	Bi *big.Int
	N  node
	X  any
	in int //nolint:unused // it stays behind
}

func TestValuesSurvive(t *testing.T) {
	seven := 7
	checkSame(t, 0)
	checkSame(t, -1)
	checkSame(t, math.MinInt64)
	checkSame(t, math.MaxInt64)
	checkSame(t, uint64(math.MaxUint64))
	checkSame(t, int8(-128))
	checkSame(t, "")
	checkSame(t, "h\xff\x00é")
	checkSame(t, 1.5)
	checkSame(t, math.Inf(-1))
	checkSame(t, float32(0.1))
	checkSame(t, true)
	checkSame(t, false)
	checkSame(t, struct{}{})
	checkSame(t, []byte{1, 2})
	checkSame(t, []byte(nil))
	checkSame(t, []byte{})
	checkSame(t, []int(nil))
	checkSame(t, []int{})
	checkSame(t, []int{1, -70000, 1 << 40})
	checkSame(t, []float64{1, math.Inf(1)})
	checkSame(t, []string{"a", ""})
	checkSame(t, [][]byte{{1}, nil, {}})
	checkSame(t, map[string][]int{"a": {1}, "b": nil})
	checkSame(t, map[[2]int]bool{{1, 2}: true})
	checkSame(t, &seven)
	checkSame(t, (*node)(nil))
	checkSame(t, &node{"a", &node{Name: "b"}, map[string]*node{"k": {Name: "c"}}})
	checkSame(t, time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC))
	checkSame(t, time.Time{})
	checkSame(t, 90*time.Second)
	checkSame(t, big.NewInt(0).Lsh(big.NewInt(3), 200))
	checkSame(t, netip.MustParseAddr("::1"))
	checkSame(t, any(nil))
	checkSame(t, any("text"))
	checkSame(t, any(int64(-3)))
	checkSame(t, any(map[string]any{"a": []any{int64(1), "b", nil, true}}))
	checkSame(t, any(map[any]any{int64(1): "one"}))
	checkSame(t, everything{B: true, I: -3, U: 1 << 63, F: 2.5, S: "s", By: []byte("b"), A: [3]int{1, 2, 3}, M: map[int]string{-1: "m"}, P: &seven,
		T: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)).UTC(), D: 5, IP: netip.MustParseAddr("10.0.0.1"), Bi: big.NewInt(-5),
		N: node{Name: "n"}, X: []any{int64(1), map[string]any{}}})
}

func TestProtobufSurvives(t *testing.T) {
	got, enc, err := passOn(nil, durationpb.New(5*time.Second))
	if err != nil || enc.Tag != wire.Proto || !proto.Equal(got, durationpb.New(5*time.Second)) {
		t.Errorf("got %v as %s, %v", got, enc.Tag, err)
	}
	if got, _, err := passOn[*durationpb.Duration](nil, nil); got != nil || err != nil {
		t.Errorf("nil: got %v, %v", got, err)
	}
}

// The fast paths agree with package cbor, in both directions.
func TestPlainMatchesLibrary(t *testing.T) {
	check := func(t *rapid.T, v any) {
		want, err := encMode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendPlain(v); got != nil && string(got) != string(want) {
			t.Fatalf("%T %v: encoded as % x, want % x", v, v, got, want)
		}
		typ := reflect.TypeOf(v)
		if got := readPlain(typ, want); got != nil && !reflect.DeepEqual(got, v) {
			t.Fatalf("%T %v: decoded as %v", v, v, got)
		}
		// Whatever is cut off or changed is no crash, and no other value than the library's.
		broken := want[:rapid.IntRange(0, len(want)).Draw(t, "cut")]
		if len(broken) > 0 {
			broken = append([]byte(nil), broken...)
			broken[rapid.IntRange(0, len(broken)-1).Draw(t, "at")] ^= rapid.Byte().Draw(t, "flip")
		}
		if got := readPlain(typ, broken); got != nil {
			lib := reflect.New(typ)
			if err := decMode.Unmarshal(broken, lib.Interface()); err != nil || !reflect.DeepEqual(fmt.Sprint(got), fmt.Sprint(lib.Elem().Interface())) {
				t.Fatalf("%T from % x: got %v, the library %v, %v", v, broken, got, lib.Elem(), err)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.Int().Draw(t, "int"))
		check(t, rapid.Int64().Draw(t, "int64"))
		check(t, rapid.Uint64().Draw(t, "uint64"))
		check(t, rapid.String().Draw(t, "string"))
		check(t, rapid.Bool().Draw(t, "bool"))
		check(t, rapid.Float64().Draw(t, "float64"))
		check(t, rapid.SliceOf(rapid.Float64()).Draw(t, "float64s"))
		check(t, rapid.SliceOf(rapid.Float32()).Draw(t, "float32s"))
		check(t, rapid.SliceOf(rapid.Int()).Draw(t, "ints"))
		check(t, rapid.SliceOf(rapid.Int64()).Draw(t, "int64s"))
		check(t, struct{}{})
	})
}

type locked struct {
	mu sync.Mutex
	n  int
}

func (l *locked) use() { l.mu.Lock(); l.n++; l.mu.Unlock() }

type selfSlice []selfSlice

func TestTypesThatCannotTravel(t *testing.T) {
	(&locked{}).use()
	type inner struct{ Done chan int }
	for _, c := range []struct {
		codec func() (Codec, error)
		want  string
	}{
		{CodecFor[chan int], "chan int: a chan int cannot be encoded"},
		{CodecFor[struct{ A struct{ F func() } }], ".A.F: a func() cannot be encoded"},
		{CodecFor[map[string][]inner], "value[].Done: a chan int"},
		{CodecFor[error], "interface type error cannot be decoded again"},
		{CodecFor[struct{ E error }], ".E: a value of interface type error"},
		{CodecFor[locked], "no field of client.locked is exported"},
		{CodecFor[struct{ L *locked }], ".L: no field of client.locked is exported"},
		{CodecFor[complex128], "a complex128 cannot be encoded"},
		{CodecFor[uintptr], "a uintptr cannot be encoded"},
		{CodecFor[durationpb.Duration], "is a protobuf message; alone and as the pointer *Duration it can travel"},
		{CodecFor[[]*durationpb.Duration], "inside other values it cannot"},
	} {
		if _, err := c.codec(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	for _, ok := range []func() (Codec, error){CodecFor[selfSlice], CodecFor[struct{}], CodecFor[node], CodecFor[struct {
		C chan int `cbor:"-"`
		N int
	}]} {
		if _, err := ok(); err != nil {
			t.Error(err)
		}
	}
}

func TestValuesThatCannotTravel(t *testing.T) {
	loop := &node{}
	loop.Next = loop
	self := map[string]any{}
	self["me"] = self
	for what, v := range map[string]any{
		"contains itself":              loop,
		"it contains itself":           self,
		"a chan int cannot be encoded": map[string]any{"c": make(chan int)},
		"use a field of the concrete":  []any{ref{&Future{}}},
		"an argument of its own":       []any{durationpb.New(1)},
	} {
		c, err := CodecOf(reflect.TypeOf(v))
		if err == nil {
			_, err = c.Encode(&paperSession{}, v)
		}
		if err == nil || !strings.Contains(err.Error(), what) || !errors.Is(err, wire.Encode) {
			t.Errorf("got %v, want %q", err, what)
		}
	}
	if _, _, err := passOn(&paperSession{}, any(func() {})); err == nil {
		t.Error("a function in an any was encoded")
	}
}

type basket struct {
	One  ref
	Many []ref
	By   map[string]*ref
	Keys map[string]ref
	Who  actorHandle
	Null ref
}

// References inside values are counted before they leave and bound when they
// arrive, wherever they are.
func TestRefsInValues(t *testing.T) {
	task := id.NewTask(id.Node{1}, 5)
	r := func(i uint32) ref { return ref{&Future{ID: task.Return(i)}} }
	r3 := r(3)
	v := basket{One: r(0), Many: []ref{r(1), r(2)}, By: map[string]*ref{"p": &r3}, Keys: map[string]ref{"k": r(4)}, Who: actorHandle{a: task}}
	s := &paperSession{}
	got, enc, err := passOn(s, v)
	if err != nil {
		t.Fatal(err)
	}
	var want []id.Object
	for i := range uint32(5) {
		want = append(want, task.Return(i))
	}
	for what, list := range map[string][]id.Object{"listed": enc.Refs, "shared": s.shared, "adopted": s.adopted} {
		if !reflect.DeepEqual(list, want) {
			t.Errorf("%s: got %v, want %v", what, list, want)
		}
	}
	for i, f := range []*Future{got.One.f, got.Many[0].f, got.Many[1].f, got.By["p"].f, got.Keys["k"].f} {
		if f.Sess != s || f.ID != want[i] {
			t.Errorf("reference %d: got %+v", i, f)
		}
	}
	if got.Null.f != nil {
		t.Errorf("the zero reference became %v", got.Null.f.ID)
	}
	if got.Who.s != s || got.Who.a != task || s.handles[task] != 2 {
		t.Errorf("actor: got %+v with %d handles, want one for the way and one there", got.Who, s.handles[task])
	}
}

func TestForeignEncodings(t *testing.T) {
	c, _ := CodecFor[int]()
	_, err := c.Decode(nil, wire.Value{Tag: wire.Pickle, Data: []byte{0x80}})
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.Encode || e.Hint == "" || !strings.Contains(e.Message, "pickle") {
		t.Errorf("pickle: got %v", err)
	}
	if _, err := c.Decode(nil, wire.Value{Tag: wire.CBOR, Data: []byte{0x61, 'x'}}); !errors.Is(err, wire.Encode) {
		t.Errorf("text as int: got %v", err)
	}
	raw, _ := CodecFor[[]byte]()
	if b, err := raw.Decode(nil, wire.Value{Tag: wire.CBOR, Data: []byte{0x41, 7}}); err != nil || !reflect.DeepEqual(b, []byte{7}) {
		t.Errorf("CBOR bytes as []byte: got %v, %v", b, err)
	}
}

func TestTypeNames(t *testing.T) {
	const here = "github.com/weftrun/weft/internal/client."
	for _, c := range []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[int](), "int"},
		{reflect.TypeFor[[]*node](), "[]*" + here + "node"},
		{reflect.TypeFor[map[id.Task][2]ref](), "map[github.com/weftrun/weft/internal/id.Task][2]" + here + "ref"},
		{reflect.TypeFor[any](), "interface {}"},
		{reflect.TypeFor[struct{ A node }](), `struct{A ` + here + `node "";}`},
	} {
		if got := typeName(c.typ); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestCollect(t *testing.T) {
	c, err := CodecFor[[]int]()
	if err != nil {
		t.Fatal(err)
	}
	col := c.(Collector)
	byRef, encoded := &Future{}, &Future{}
	byRef.Complete(Result{Val: 1})
	v, _ := col.Element().Encode(nil, 2)
	encoded.Complete(Result{Enc: &Encoded{Value: v}})
	if got, err := col.Collect([]*Future{byRef, encoded}); err != nil || !reflect.DeepEqual(got, []int{1, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := col.Join([]any{1, "two"}); err == nil {
		t.Error("a string became an element of []int")
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range []any{1, "a", everything{N: node{Name: "x"}}, []float64{1}, map[string]any{"a": 1}} {
		b, err := encMode.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xda, 0x77, 0x65, 0x66, 0x01, 0x54})
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, codec := range []func() (Codec, error){CodecFor[int], CodecFor[string], CodecFor[everything], CodecFor[basket],
			CodecFor[[]float64], CodecFor[[]int], CodecFor[any], CodecFor[[]byte]} {
			c, _ := codec()
			_, _ = c.Decode(&paperSession{}, wire.Value{Tag: wire.CBOR, Data: b})
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	for _, v := range []any{12345, 1.5, "a short text", struct{ X, Y int }{1, 2}, make([]float64, 1000), []byte("some bytes")} {
		c, err := CodecOf(reflect.TypeOf(v))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.Type(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				enc, _ := c.Encode(nil, v)
				if _, err := c.Decode(nil, enc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
