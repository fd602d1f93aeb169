package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// runner runs jobs one after the other on its goroutine, with memory that it
// uses again and again.
type runner struct {
	w      *workerRole
	job    *job // the running one
	began  time.Time
	begun  sessionv1.TaskRef
	result sessionv1.Result
	val1   sessionv1.Value
	rets1  [1]*sessionv1.Value
	in3    [3]any
	out1   [1]any
}

// run executes the job and answers.
func (d *runner) run() {
	d.began = time.Now()
	j := d.job
	if j.begun {
		d.begun.Task = j.Running.Task[:]
		d.w.r.out.add(sessionv1.Kind_KIND_BEGUN, &d.begun)
	}
	d.result.Returns, d.result.Reservations, d.result.Items, d.result.Exits = nil, nil, 0, false
	d.answer(d.perform())
}

// answer sends the job's result, or err, and forgets the job.
func (d *runner) answer(err error) {
	w, j, m := d.w, d.job, &d.result
	j.Finish()
	w.releaseArguments(j)
	m.Task, m.Attempt, m.Lease = j.Running.Task[:], j.Running.Attempt, j.lease
	m.Ran = uint64(time.Since(d.began))
	m.Error = nil
	if err == nil && !wire.Fits(m) {
		err = &wire.Error{Code: wire.Encode, Message: "its results are too many to be sent together",
			Hint: "return fewer, larger values"}
	}
	if err != nil {
		for _, n := range m.Reservations {
			if n != 0 {
				w.r.abort(n)
			}
		}
		m.Returns, m.Reservations, m.Exits = nil, nil, false
		m.Error = wire.ErrorToPB(d.describe(err))
	}
	w.mu.Lock()
	w.leave(j)
	if run := &j.Running; err != nil && run.Spec != nil && run.Spec.Kind == spec.KindCreate && w.actors[run.Actor] == j.actor {
		delete(w.actors, run.Actor)
	}
	idle := w.busy == 0
	left := idle && w.leaving
	w.mu.Unlock()
	d.job = nil
	if idle {
		w.r.out.send(sessionv1.Kind_KIND_RESULT, m)
	} else {
		w.r.out.add(sessionv1.Kind_KIND_RESULT, m)
	}
	d.in3, d.out1 = [3]any{}, [1]any{}
	d.val1.Data, d.val1.Refs = nil, nil
	j.frame.free()
	if left {
		w.r.out.finish()
		w.r.fail(errLeft)
	}
}

// describe says where an error happened.
func (d *runner) describe(err error) *wire.Error {
	e := *wire.AsError(err, wire.UserError)
	run := &d.job.Running
	e.Place, e.Node, e.Task, e.Actor, e.Attempt = d.w.place, d.w.r.info.Node, run.Task, run.Actor, run.Attempt
	if e.Op == "" && run.Spec != nil {
		e.Op = run.Spec.Name
	}
	return &e
}

// perform calls the job's function and puts its results into d.result.
func (d *runner) perform() error {
	j := d.job
	fn := j.tmpl.fn
	if j.tmpl.err != nil {
		return j.tmpl.err
	}
	if j.Cancelled() {
		return &wire.Error{Code: wire.Cancelled, Op: fn.Name, Message: "before it began"}
	}
	var self any
	if j.tmpl.spec.Kind == spec.KindMethod {
		if j.actor == nil {
			return &wire.Error{Code: wire.ActorUnavailable, Op: fn.Name, Message: "its process does not have this incarnation of the actor"}
		}
		self = j.actor.instance()
	}
	in, err := d.arguments(fn)
	if err != nil {
		return err
	}
	if fn.Stream != nil {
		return d.stream(fn, self, in)
	}
	out := d.out1[:]
	if n := j.tmpl.spec.Returns; n > 1 {
		out = make([]any, n)
	}
	err = Run(&j.TaskContext, fn, self, in, out)
	if errors.Is(err, ErrExit) {
		d.result.Exits, err = true, nil
	}
	switch {
	case err != nil:
		return err
	case fn.Create:
		j.actor.created(out[0])
		d.val1.Tag, d.val1.Size = 0, 0
		d.rets1[0] = &d.val1
		d.result.Returns = d.rets1[:]
		return nil
	}
	return d.results(fn, out[:j.tmpl.spec.Returns])
}

// results encodes what a function returned; large values go to shared memory.
func (d *runner) results(fn *Function, out []any) error {
	m := &d.result
	if m.Returns = d.rets1[:0]; len(out) > 1 {
		m.Returns = make([]*sessionv1.Value, 0, len(out))
	}
	inline := 0
	for i, v := range out {
		codec := fn.Rets[0]
		if !fn.Split {
			codec = fn.Rets[i]
		}
		p := &d.val1
		if i > 0 {
			p = new(sessionv1.Value)
		}
		res, err := d.w.r.encodeResult(&d.job.TaskContext, p, codec, v, min(d.w.r.inlineLimit, max(wire.MaxInline-inline, small)))
		if err != nil {
			e := *wire.AsError(err, wire.Encode)
			e.Op = fn.Name
			e.Message = fmt.Sprintf("result %d: %s", i+1, e.Message)
			return &e
		}
		m.Returns = append(m.Returns, p)
		inline += len(p.Data)
		if res != 0 {
			if m.Reservations == nil {
				m.Reservations = make([]uint64, len(out))
			}
			m.Reservations[i] = res
		}
	}
	return nil
}

// small is the size in bytes of values that are in the message in any case.
const small = 1 << 10

// encodeResult encodes v into p; one of more than limit bytes lies in the
// reservation returned.
func (r *Remote) encodeResult(ctx context.Context, p *sessionv1.Value, codec Codec, v any, limit int) (uint64, error) {
	enc, err := codec.Encode(r, v)
	if err != nil {
		return 0, err
	}
	p.Refs = nil
	wire.FillValue(p, enc)
	if len(enc.Data) <= limit {
		return 0, nil
	}
	p.Data = nil
	return r.reserve(ctx, enc.Data)
}

// arguments decodes the job's arguments.
func (d *runner) arguments(fn *Function) ([]any, error) {
	args := d.job.frame.m.Args
	if len(args) != len(fn.Args) {
		return nil, &wire.Error{Code: wire.Invalid, Op: fn.Name, Message: fmt.Sprintf("it got %d arguments and has %d", len(args), len(fn.Args))}
	}
	in := d.in3[:0]
	for i, a := range args {
		v, err := d.argument(fn.Args[i], a)
		if err != nil {
			e := *wire.AsError(err, wire.Encode)
			e.Op, e.Message = fn.Name, fmt.Sprintf("argument %d: %s", i+1, e.Message)
			return nil, &e
		}
		in = append(in, v)
	}
	return in, nil
}

func (d *runner) argument(c Codec, a *sessionv1.Arg) (any, error) {
	if !a.List {
		return d.decode(c, a.Value)
	}
	col, ok := c.(Collector)
	if !ok {
		return nil, &wire.Error{Code: wire.Invalid, Message: "a list of objects for an argument that is no slice"}
	}
	elems, elem := make([]any, len(a.Values)), col.Element()
	for i, p := range a.Values {
		v, err := d.decode(elem, p)
		if err != nil {
			return nil, err
		}
		elems[i] = v
	}
	return col.Join(elems)
}

// decode reads one value. A task's []byte argument in shared memory is lent to
// it until it returns; an actor, which may keep it, gets a copy.
func (d *runner) decode(c Codec, p *sessionv1.Value) (any, error) {
	r := d.w.r
	v, err := wire.AliasValue(p)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return c.Decode(r, v)
	case p.Error != nil:
		return nil, wire.ErrorFromPB(p.Error)
	case p.At == nil:
		return c.Decode(r, v)
	}
	data, file, err := r.lend(p.At, false)
	if err != nil {
		return nil, &wire.Error{Code: wire.ObjectLost, Message: "its shared memory cannot be read", Err: err}
	}
	v.Data = data
	if _, raw := c.(rawCodec); raw && v.Tag == wire.Raw && d.job.tmpl.spec.Kind == spec.KindTask {
		d.job.lent = append(d.job.lent, file)
		return data, nil
	}
	defer r.slabs.GiveBack(file)
	return c.Decode(r, v)
}

// releaseArguments returns the pins on j's arguments.
func (w *workerRole) releaseArguments(j *job) {
	for _, file := range j.lent {
		w.r.slabs.GiveBack(file)
	}
	j.lent = nil
	const size = len(id.Object{})
	for _, a := range j.frame.m.Args {
		if a.Value.GetAt() != nil {
			w.unpinArgument(a.Object)
		}
		for i, v := range a.Values {
			if v.At != nil && len(a.Objects) >= (i+1)*size {
				w.unpinArgument(a.Objects[i*size : (i+1)*size])
			}
		}
	}
}

func (w *workerRole) unpinArgument(b []byte) {
	if o, err := wire.ReadObject(b); err == nil {
		w.r.unpin(o)
	}
}
