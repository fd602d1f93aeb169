package wire

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
)

var (
	someNode = id.Node{1, 2, 3, 4, 5, 6, 7, 8}
	someTask = id.NewTask(someNode, 99)
)

// roundTrip encodes m, decodes it into out, and spoils the bytes, so that what
// shares them shows.
func roundTrip(t *testing.T, m Message, out Message) (spoil func()) {
	t.Helper()
	body := AppendFrame(nil, 0, m)[FrameOverhead:]
	if err := out.UnmarshalVTUnsafe(body); err != nil {
		t.Fatal(err)
	}
	return func() {
		for i := range body {
			body[i] = 0xee
		}
	}
}

func TestValue(t *testing.T) {
	for _, want := range []Value{
		{},
		{Tag: CBOR, Data: []byte("abc")},
		{Tag: Raw, Data: []byte("with refs"), Refs: []id.Object{someTask.Return(0), someTask.Return(7)}},
		{Tag: 200, Data: []byte("of a later version")},
	} {
		var p sessionv1.Value
		spoil := roundTrip(t, ValueToPB(want), &p)
		got, err := ValueFromPB(&p)
		spoil()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	for _, p := range []*sessionv1.Value{{Tag: 256}, {Refs: make([]byte, 21)}} {
		if _, err := ValueFromPB(p); !errors.Is(err, Protocol) {
			t.Errorf("%v: got %v", p, err)
		}
	}
	if v, err := ValueFromPB(nil); err != nil || v.Tag != None {
		t.Errorf("no value: %v, %v", v, err)
	}
}

func TestError(t *testing.T) {
	full := &Error{Code: UserError, Op: "train", Type: "*main.Bad", Message: "no data", Trace: "main.train\n", Task: someTask,
		Actor: someTask, Node: someNode, Attempt: 3, Place: "process 7", Hint: "give it some", Stderr: "last\n",
		Cause: Value{Tag: CBOR, Data: []byte{1}}}
	for _, want := range []*Error{full, {Code: Internal}} {
		var p sessionv1.Error
		spoil := roundTrip(t, ErrorToPB(want), &p)
		got := ErrorFromPB(&p)
		spoil()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
	if ErrorToPB(nil) != nil || ErrorFromPB(nil) != nil {
		t.Error("no error became one")
	}
	local := ErrorFromPB(ErrorToPB(&Error{Code: Encode, Message: "field X", Err: errors.New("too deep")}))
	if local.Message != "field X: too deep" {
		t.Errorf("the cause is lost: %q", local.Message)
	}
}

// A damaged error is still an error, and says that it is damaged.
func TestDamagedError(t *testing.T) {
	e := ErrorFromPB(&sessionv1.Error{Code: 999, Message: "m", Task: []byte{1}, Node: []byte{2}, Cause: &sessionv1.Value{Tag: 1 << 20}})
	if e.Code != Internal || !strings.HasPrefix(e.Message, "m (the error itself arrived damaged:") {
		t.Errorf("got %v", e)
	}
	for _, part := range []string{"999", "task id", "node id", "tag"} {
		if !strings.Contains(e.Message, part) {
			t.Errorf("%q is missing in %q", part, e.Message)
		}
	}
}

func TestAsError(t *testing.T) {
	own := &Error{Code: StoreFull}
	for _, c := range []struct {
		err  error
		want Code
	}{
		{fmt.Errorf("put: %w", own), StoreFull},
		{context.Canceled, Cancelled},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), Timeout},
		{errors.New("else"), Encode},
	} {
		if e := AsError(c.err, Encode); e.Code != c.want {
			t.Errorf("%v: got %v, want %v", c.err, e.Code, c.want)
		}
	}
	if AsError(nil, Encode) != nil {
		t.Error("nil became an error")
	}
}

func TestIDs(t *testing.T) {
	objects := []id.Object{someTask.Return(1), someTask.Return(2)}
	if got, err := UnpackObjects(nil, PackObjects(nil, objects...)); err != nil || !reflect.DeepEqual(got, objects) {
		t.Errorf("got %v, %v", got, err)
	}
	tasks := []id.Task{someTask, {}}
	if got, err := UnpackTasks(nil, PackTasks(nil, tasks...)); err != nil || !reflect.DeepEqual(got, tasks) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, n := range []int{1, 15, 17, 19, 21} {
		b := make([]byte, n)
		_, object := UnpackObjects(nil, b)
		_, task := UnpackTasks(nil, b)
		_, one := ReadTask(b)
		_, optional := ReadOptionalTask(b)
		for _, err := range []error{object, task, one, optional} {
			if !errors.Is(err, Protocol) || !strings.Contains(err.Error(), strconv.Itoa(n)) {
				t.Errorf("%d bytes: got %v", n, err)
			}
		}
	}
	if got, err := ReadOptionalTask(nil); err != nil || !got.IsZero() {
		t.Errorf("got %v, %v", got, err)
	}
	object, err1 := ReadObject(objects[0][:])
	node, err2 := ReadNode(someNode[:])
	job, err3 := ReadJob([]byte{1, 2, 3, 4})
	if err := errors.Join(err1, err2, err3); err != nil || object != objects[0] || node != someNode || job != (id.Job{1, 2, 3, 4}) {
		t.Errorf("got %v, %v, %v, %v", object, node, job, err)
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct{ theirs, want uint32 }{{0, 0}, {1, 1}, {Version, Version}, {Version + 1, Version}, {1 << 31, Version}} {
		got, err := Negotiate(c.theirs)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%d: got %d, %v", c.theirs, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "version 0") {
			t.Error(err)
		}
	}
	if CheckVersion(Version) != nil || CheckVersion(Version+1) == nil || CheckVersion(0) == nil {
		t.Error("a node's choice is judged wrongly")
	}
}
