package node

import (
	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

// object is what the node knows of a counted object: its value, and those who
// wait for it. It exists from when somebody asks for it or its value is there
// until own frees it.
type object struct {
	id    id.Object
	ready bool
	res   client.Result
	codec client.Codec // of res.Val, should it have to leave the process
	at    bool         // its bytes are in the store
	lost  bool         // only in a message: the argument's value has gone
	size  int64
	tag   wire.Tag
	refs  []id.Object
	putBy id.Session // who put it inline
	cost  int32      // and has credit back when it is freed

	futures []*client.Future // of this process
	gets    []*session       // to be sent the value
	watches []*session       // to be told
}

// object returns the entry of o, making it if need be.
func (n *Node) object(o id.Object) *object {
	e := n.objects[o]
	if e == nil {
		e = &object{id: o}
		n.objects[o] = e
	}
	return e
}

// returned records t's i-th result where it is needed and describes it for own.
func (n *Node) returned(t *task, i uint32, o *outcome) own.Return {
	oid := t.id.Return(i)
	ret := own.Return{Object: oid, Node: n.id}
	if o.err != nil {
		ret.Where = own.ByError
		return ret
	}
	if e := n.objects[oid]; e != nil && e.at {
		ret.Where, ret.Size, ret.Inner = own.AtNode, e.size, e.refs
		return ret
	}
	if a := n.away[oid]; a != nil {
		e := n.objects[oid]
		ret.Where, ret.Node, ret.Size, ret.Inner = own.AtNode, a.node, e.size, e.refs
		return ret
	}
	if int(i) < len(o.results) {
		if enc := o.results[i].Enc; enc != nil {
			ret.Size, ret.Inner = int64(len(enc.Data)), enc.Refs
		}
	}
	return ret
}

// result is t's i-th result as the outcome at hand has it.
func (t *task) result(i uint32) client.Result {
	switch {
	case t.out == nil:
		return client.Result{Err: &wire.Error{Code: wire.Internal, Op: t.spec.Name, Message: "a result without an outcome"}}
	case t.out.err != nil:
		return client.Result{Err: t.out.err}
	case int(i) < len(t.out.results):
		return t.out.results[i]
	}
	return client.Result{}
}

// ready tells those who wait for an object that it is decided.
func (n *Node) ready(e *own.Effect) {
	t := n.task(e.Object.Task())
	entry := n.objects[e.Object]
	if e.Gone != own.Present {
		n.gone(e, entry)
		return
	}
	if t != nil && t.call != nil && int(e.Object.Index()) < len(t.call.Rets) {
		f := t.call.Rets[e.Object.Index()]
		if f.Shared.Load() && entry == nil {
			entry = n.object(e.Object)
		}
		if entry != nil && entry.at {
			n.completeStored(f, entry)
		} else {
			f.Complete(t.result(e.Object.Index()))
		}
	}
	if entry == nil {
		if t == nil || t.call != nil {
			return
		}
		entry = n.object(e.Object)
	}
	if away := n.awayOf(entry.id); !entry.ready {
		entry.ready = true
		if t != nil && !entry.at && away == nil {
			entry.res = t.result(e.Object.Index())
			entry.codec = t.codec(e.Object.Index())
		}
	}
	if t != nil && t.enc != nil && t.enc.await {
		n.pushAwaited(n.sessions[t.session], entry)
	}
	n.tell(entry)
}

// pushLimit is the size in bytes up to which an awaited value is pushed without
// having been asked for.
const pushLimit = 4 << 10

// pushAwaited sends a return to the session that submitted its task: the value
// if it is small, else that it is there.
func (n *Node) pushAwaited(s *session, e *object) {
	switch {
	case s == nil:
	case !e.at && n.away[e.id] == nil && (e.res.Enc == nil || len(e.res.Enc.Data) <= pushLimit):
		n.pushValue(s, e)
	default:
		n.pushReady(s, e.id)
	}
}

// codec is that of t's i-th result, if this process knows the function.
func (t *task) codec(i uint32) client.Codec {
	fn, err := t.function()
	switch {
	case err != nil || len(fn.Rets) == 0:
		return nil
	case int(i) < len(fn.Rets) && fn.Stream == nil && !fn.Split:
		return fn.Rets[i]
	}
	return fn.Rets[0]
}

// tell answers everybody who waits for a ready object.
func (n *Node) tell(e *object) {
	if len(n.away) > 0 && n.away[e.id] != nil && len(e.futures)+len(e.gets) > 0 {
		n.tellWhenHere(e)
		return
	}
	n.answer(e)
}

// answer gives those who wait for e what it is.
func (n *Node) answer(e *object) {
	for _, f := range e.futures {
		n.complete(f, e)
	}
	for _, s := range e.gets {
		n.pushValue(s, e)
	}
	for _, s := range e.watches {
		n.pushReady(s, e.id)
	}
	e.futures, e.gets, e.watches = nil, nil, nil
}

// gone tells those who wait that an object will never have a value.
func (n *Node) gone(e *own.Effect, entry *object) {
	if entry == nil {
		return
	}
	entry.ready = true
	entry.res = client.Result{Err: goneError(e)}
	n.tell(entry)
	delete(n.objects, e.Object)
}

func goneError(e *own.Effect) *wire.Error {
	err := &wire.Error{Op: "get " + e.Object.String(), Message: e.Why}
	switch e.Gone {
	case own.Freed:
		err.Code, err.Hint = wire.ObjectFreed, "keep a Ref to it for as long as its value may be asked for"
	case own.OwnerDied:
		err.Code = wire.OwnerDied
	case own.Lost:
		err.Code = wire.ObjectLost
	default:
		err.Code, err.Message = wire.NotFound, firstOf(e.Why, "no object of this id was ever made here")
	}
	return err
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// free drops an object that nobody refers to.
func (n *Node) free(o id.Object) {
	e := n.objects[o]
	if e == nil {
		return
	}
	delete(n.objects, o)
	delete(n.away, o)
	delete(n.trees, o)
	n.repayPut(e)
	if e.at {
		n.later(func() { n.store.Free(o) })
	}
}

// argError is the error of the first argument of t that has failed.
func (n *Node) argError(t *task) *wire.Error {
	if t.call != nil {
		return callArgError(t.call)
	}
	for i := range t.enc.args {
		a := &t.enc.args[i]
		for _, o := range a.list {
			if err := n.objectError(o); err != nil {
				return err
			}
		}
		if !a.obj.IsZero() {
			if err := n.objectError(a.obj); err != nil {
				return err
			}
		}
	}
	return nil
}

func callArgError(c *client.Call) *wire.Error {
	for i := range c.Args {
		if f := c.Args[i].Fut; f != nil && f.Ready() && f.Result().Err != nil {
			return wire.AsError(f.Result().Err, wire.Internal)
		}
		if list, ok := c.Args[i].Val.(client.List); ok {
			for _, f := range list {
				if f.Ready() && f.Result().Err != nil {
					return wire.AsError(f.Result().Err, wire.Internal)
				}
			}
		}
	}
	return nil
}

func (n *Node) objectError(o id.Object) *wire.Error {
	e := n.objects[o]
	switch {
	case e == nil:
		return &wire.Error{Code: wire.ObjectFreed, Op: "argument " + o.String(),
			Message: "the object is gone", Hint: "keep a Ref to it until the task has been submitted"}
	case e.ready && e.res.Err != nil:
		return wire.AsError(e.res.Err, wire.Internal)
	}
	return nil
}

// completeStored gives a Future of this process a value whose bytes are in the
// store. They are copied out, since nothing says when the program has read them.
func (n *Node) completeStored(f *client.Future, e *object) {
	n.spawnHere(func() {
		var res client.Result
		at, err := n.store.PinWait(n.ctx, 0, e.id)
		if err != nil {
			res.Err = &wire.Error{Code: wire.ObjectLost, Op: "get " + e.id.String(), Message: err.Error(), Err: err}
		} else {
			data := append([]byte(nil), at.Bytes...)
			n.store.Unpin(0, e.id, 1)
			res.Enc = &client.Encoded{Value: wire.Value{Tag: e.tag, Data: data, Refs: e.refs}}
		}
		n.mu.Lock() // Close may complete it too
		defer n.mu.Unlock()
		f.Complete(res)
	})
}

// complete gives a Future of this process its value.
func (n *Node) complete(f *client.Future, e *object) {
	if e.at {
		n.completeStored(f, e)
		return
	}
	f.Complete(e.res)
}

func closedResult() client.Result { return client.Result{Err: errClosed()} }
