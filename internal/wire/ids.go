package wire

import (
	"fmt"

	"github.com/weftrun/weft/internal/id"
)

// PackObjects appends the bytes of ids to dst.
func PackObjects(dst []byte, ids ...id.Object) []byte {
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

// PackTasks appends the bytes of ids to dst; actors and groups are tasks.
func PackTasks(dst []byte, ids ...id.Task) []byte {
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

// UnpackObjects appends the ids concatenated in b to dst.
func UnpackObjects(dst []id.Object, b []byte) ([]id.Object, error) {
	const size = len(id.Object{})
	if len(b)%size != 0 {
		return dst, badLength("a list of object ids", len(b), size)
	}
	for ; len(b) > 0; b = b[size:] {
		dst = append(dst, id.Object(b[:size]))
	}
	return dst, nil
}

// UnpackTasks appends the ids concatenated in b to dst.
func UnpackTasks(dst []id.Task, b []byte) ([]id.Task, error) {
	const size = len(id.Task{})
	if len(b)%size != 0 {
		return dst, badLength("a list of task ids", len(b), size)
	}
	for ; len(b) > 0; b = b[size:] {
		dst = append(dst, id.Task(b[:size]))
	}
	return dst, nil
}

// ReadTask reads one id of a task, actor or group.
func ReadTask(b []byte) (t id.Task, err error) {
	err = readID("task", t[:], b)
	return t, err
}

// ReadObject reads one object's id.
func ReadObject(b []byte) (o id.Object, err error) {
	err = readID("object", o[:], b)
	return o, err
}

// ReadNode reads one node's id.
func ReadNode(b []byte) (n id.Node, err error) {
	err = readID("node", n[:], b)
	return n, err
}

// ReadJob reads one job's id.
func ReadJob(b []byte) (j id.Job, err error) {
	err = readID("job", j[:], b)
	return j, err
}

// ReadOptionalTask is ReadTask, but no bytes are the zero id.
func ReadOptionalTask(b []byte) (id.Task, error) {
	if len(b) == 0 {
		return id.Task{}, nil
	}
	return ReadTask(b)
}

func readID(kind string, dst, b []byte) error {
	if len(b) != len(dst) {
		return &Error{Code: Protocol, Message: fmt.Sprintf("a %s id has %d bytes, want %d", kind, len(b), len(dst))}
	}
	copy(dst, b)
	return nil
}

func badLength(what string, n, size int) error {
	return &Error{Code: Protocol, Message: fmt.Sprintf("%s has %d bytes, want a multiple of %d", what, n, size)}
}
