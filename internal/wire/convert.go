package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
)

// ValueToPB describes v, which is inline. The message shares v's bytes.
func ValueToPB(v Value) *sessionv1.Value {
	p := new(sessionv1.Value)
	FillValue(p, v)
	return p
}

// FillValue is ValueToPB into a message that is used again; it must be reset.
func FillValue(p *sessionv1.Value, v Value) {
	p.Tag = uint32(v.Tag)
	p.Data = v.Data
	p.Size = uint64(len(v.Data))
	if len(v.Refs) > 0 {
		p.Refs = PackObjects(make([]byte, 0, len(v.Refs)*len(id.Object{})), v.Refs...)
	}
}

// ValueFromPB copies the inline value out of p; Data is empty if the value is
// elsewhere (p.At) and there is none if p.Error is set: callers look at both
// first.
func ValueFromPB(p *sessionv1.Value) (Value, error) {
	v, err := AliasValue(p)
	if len(v.Data) > 0 {
		v.Data = append(make([]byte, 0, len(v.Data)), v.Data...)
	}
	return v, err
}

// AliasValue is ValueFromPB, but Data shares the message's memory.
func AliasValue(p *sessionv1.Value) (v Value, err error) {
	if p == nil {
		return Value{}, nil
	}
	if p.Tag > math.MaxUint8 {
		return Value{}, &Error{Code: Protocol, Message: fmt.Sprintf("a value has the unknown tag %d", p.Tag)}
	}
	v = Value{Tag: Tag(p.Tag), Data: p.Data}
	if n := len(p.Refs); n > 0 {
		v.Refs, err = UnpackObjects(make([]id.Object, 0, n/len(id.Object{})), p.Refs)
	}
	return v, err
}

// AsError returns the Error in err's chain; failing that, one of the given
// code with err as its cause, where context's errors have codes of their own.
func AsError(err error, otherwise Code) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		otherwise = Timeout
	case errors.Is(err, context.Canceled):
		otherwise = Cancelled
	}
	return &Error{Code: otherwise, Message: err.Error(), Err: err}
}

// ErrorToPB describes e. Err, which lives in this process only, goes as text.
func ErrorToPB(e *Error) *sessionv1.Error {
	if e == nil {
		return nil
	}
	p := &sessionv1.Error{Code: uint32(e.Code), Op: e.Op, Type: e.Type, Message: e.text(), Trace: e.Trace,
		Attempt: e.Attempt, Place: e.Place, Hint: e.Hint, Stderr: e.Stderr}
	if !e.Task.IsZero() {
		p.Task = e.Task[:]
	}
	if !e.Actor.IsZero() {
		p.Actor = e.Actor[:]
	}
	if !e.Node.IsZero() {
		p.Node = e.Node[:]
	}
	if e.Cause.Tag != None || len(e.Cause.Data) > 0 {
		p.Cause = ValueToPB(e.Cause)
	}
	return p
}

// text is the message with that of the cause in this process.
func (e *Error) text() string {
	switch {
	case e.Err == nil || strings.Contains(e.Message, e.Err.Error()):
		return e.Message
	case e.Message == "":
		return e.Err.Error()
	}
	return e.Message + ": " + e.Err.Error()
}

// ErrorFromPB copies the error out of p. What a peer got wrong in it becomes
// part of the message: an error report is never lost.
func ErrorFromPB(p *sessionv1.Error) *Error {
	if p == nil {
		return nil
	}
	e := &Error{Op: clone(p.Op), Type: clone(p.Type), Message: clone(p.Message), Trace: clone(p.Trace),
		Attempt: p.Attempt, Place: clone(p.Place), Hint: clone(p.Hint), Stderr: clone(p.Stderr)}
	var errs [4]error
	e.Code = Internal
	if p.Code > 0 && p.Code <= math.MaxUint8 {
		e.Code = Code(p.Code)
	} else {
		errs[0] = fmt.Errorf("its code was %d", p.Code)
	}
	e.Task, errs[1] = ReadOptionalTask(p.Task)
	e.Actor, errs[2] = ReadOptionalTask(p.Actor)
	if len(p.Node) > 0 {
		e.Node, errs[3] = ReadNode(p.Node)
	}
	cause, causeErr := ValueFromPB(p.Cause)
	e.Cause = cause
	if err := errors.Join(append(errs[:], causeErr)...); err != nil {
		e.Message += fmt.Sprintf(" (the error itself arrived damaged: %v)", err)
	}
	return e
}
