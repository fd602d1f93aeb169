package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weftrun/weft/internal/client"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// away is an object that is ready and whose bytes are at another node.
type away struct {
	node    id.Node
	relay   id.Node // that is about to have it too; may be zero
	lost    bool    // it was not there when it was described: its owner is to say where it is
	pulling bool
	waiting []func(error) // to be called, with the lock, when it is here (nil) or cannot be had
}

// awayOf is where the bytes of an object are, nil if here or nowhere. Where one
// place has gone own knows of another, if there is one.
func (n *Node) awayOf(o id.Object) *away {
	a, e := n.away[o], n.objects[o]
	if a != nil || e == nil || e.ready || e.at || len(n.peers) == 0 {
		return a
	}
	for _, at := range n.own.Locations(o, nil) {
		if at != n.id && !n.dead[at] {
			a, e.ready = &away{node: at}, true
			n.away[o] = a
			break
		}
	}
	return a
}

// describeObject is the value of a ready object, for another node. It reports
// false if there is none.
func (n *Node) describeObject(o id.Object) (*nodev1.Return, bool) {
	e, a := n.objects[o], n.awayOf(o)
	if e == nil || !e.ready && !e.at {
		return nil, false
	}
	r := &nodev1.Return{Object: o[:]}
	switch {
	case e.at:
		r.Node, r.Value = n.id[:], e.located()
	case a != nil:
		r.Node, r.Value = a.node[:], e.located()
	case e.res.Err != nil:
		r.Value = &sessionv1.Value{Error: wire.ErrorToPB(wire.AsError(e.res.Err, wire.Internal))}
	case e.res.Enc != nil:
		r.Value = wire.ValueToPB(e.res.Enc.Value)
	default:
		return nil, false
	}
	return r, true
}

// located describes an object's bytes without them.
func (e *object) located() *sessionv1.Value {
	return &sessionv1.Value{Tag: uint32(e.tag), Size: uint64(e.size), Refs: wire.PackObjects(nil, e.refs...)}
}

// learn notes the value of an object that another node has told of, unless
// there is one, and describes what it was told for own.
func (n *Node) learn(r *nodev1.Return) (ret own.Return, res client.Result, err error) {
	v, err := wire.ValueFromPB(r.Value)
	if err == nil {
		ret.Object, err = wire.ReadObject(r.Object)
	}
	if err == nil && len(r.Node) > 0 {
		ret.Where = own.AtNode
		ret.Node, err = wire.ReadNode(r.Node)
	}
	var relay id.Node
	if err == nil && len(r.Relay) > 0 {
		relay, err = wire.ReadNode(r.Relay)
	}
	if err != nil {
		return ret, res, err
	}
	ret.Size, ret.Inner = int64(r.Value.GetSize()), v.Refs
	switch {
	case r.Value.GetError() != nil:
		ret.Where = own.ByError
		res.Err = wire.ErrorFromPB(r.Value.Error)
	case ret.Where == own.Inline && (r.Value == nil || int64(len(v.Data)) != ret.Size):
		ret.Where, ret.Node = own.AtNode, n.id // where it is not: it is lost
	case ret.Where == own.Inline:
		res.Enc = &client.Encoded{Value: v}
	}
	e := n.object(ret.Object)
	if e.ready || e.at {
		if a := n.away[ret.Object]; a != nil && !a.pulling && ret.Where == own.AtNode && len(r.Node) > 0 {
			a.node, a.relay, a.lost = ret.Node, relay, r.Value == nil // it may have moved
		}
		return ret, res, nil
	}
	e.res, e.size, e.tag, e.refs = res, ret.Size, v.Tag, v.Refs
	if ret.Where == own.AtNode { // said to be here, it is not: bring finds that out
		n.away[ret.Object] = &away{node: ret.Node, relay: relay, lost: r.Value == nil}
	}
	return ret, res, nil
}

// bring has the bytes of an object pulled here, and calls then with the lock
// when they are, or cannot be had.
func (n *Node) bring(o id.Object, job id.Job, then func(error)) {
	a := n.awayOf(o)
	a.waiting = append(a.waiting, then)
	if a.pulling {
		return
	}
	a.pulling = true
	size, from, relay := n.objects[o].size, a.node, a.relay
	if n.dead[relay] {
		relay = id.Node{}
	}
	n.later(func() {
		n.spawnHere(func() {
			gone, err := true, errLost
			if !a.lost && from != n.id {
				gone, err = n.pull(o, from, relay, size, job)
			}
			n.lock()
			n.pulled(o, a, gone, err)
			n.unlock()
		})
	})
}

var errLost = errors.New("it was lost before it was sent")

// pull copies an object from another node's store into this one's. With an
// error, gone says whether it is not there any more: it may also be that there
// is no room here, or no way there. A relay, unless it is zero, is asked first.
func (n *Node) pull(o id.Object, from, relay id.Node, size int64, job id.Job) (gone bool, err error) {
	room, err := n.store.ReserveWait(n.ctx, store.Request{Job: job, Task: o.Task(), Size: size, Local: true})
	if err != nil {
		return false, err
	}
	a := n.arrive(o, room.At.Bytes)
	err = errors.New("there is no relay")
	if !relay.IsZero() {
		err = n.copyFrom(relay, "relay/"+o.String(), room.At.Bytes, a.add)
	}
	if err != nil {
		err = n.copyFrom(from, "object/"+o.String(), room.At.Bytes, a.add)
	}
	gone = err != nil && !errors.Is(err, wire.Timeout)
	return gone, n.arrived(o, a, func() error {
		if err == nil {
			return n.store.Seal(0, room.ID, o, size)
		}
		_ = n.store.Abort(0, room.ID)
		return err
	})
}

// copyFrom fills buf with what another node has under a name, and says what has
// come.
func (n *Node) copyFrom(from id.Node, name string, buf []byte, came func(from, to int64)) error {
	r, err := n.cfg.Network.Pull(n.ctx, from, name)
	if err != nil {
		return err
	}
	if err = readAll(r, buf, came); err == nil {
		if extra, _ := r.Read(make([]byte, 1)); extra > 0 {
			err = fmt.Errorf("%s is larger than the %d bytes that it was said to have", name, len(buf))
		}
	}
	return errors.Join(err, r.Close())
}

// readAll fills buf: at once if the reader says itself what has come.
func readAll(r io.Reader, buf []byte, came func(from, to int64)) error {
	if x, ok := r.(interface {
		Notify(came func(from, to int64))
	}); ok {
		x.Notify(came)
		_, err := io.ReadFull(r, buf)
		return err
	}
	for at := 0; at < len(buf); {
		n, err := io.ReadFull(r, buf[at:min(at+pieceBytes, len(buf))])
		if err != nil {
			return err
		}
		came(int64(at), int64(at+n))
		at += n
	}
	return nil
}

// pulled notes that an object is here, or that its copy at a's node is gone, or
// that neither is so.
func (n *Node) pulled(o id.Object, a *away, gone bool, err error) {
	e := n.objects[o]
	wanted := e != nil && n.away[o] == a
	waiting := a.waiting
	a.pulling, a.waiting = false, nil
	switch {
	case err == nil && wanted:
		delete(n.away, o)
		e.at, e.ready = true, true
		n.stepOwn(&own.Event{Kind: own.CopyAdded, Object: o, Node: n.id})
	case err == nil:
		n.later(func() { n.store.Free(o) })
	case wanted && gone:
		delete(n.away, o)
		e.ready = false // until its owner says where else it is
		if !a.lost {
			n.stepOwn(&own.Event{Kind: own.CopyLost, Object: o, Node: a.node})
		}
	}
	if err == nil && !wanted {
		err = errLost
	}
	for _, then := range waiting {
		then(err)
	}
	if wanted && err != nil && n.ctx.Err() == nil {
		n.wantAgain(o, gone, err)
	}
}

// wantAgain goes on for those who wait for the value of an object that could not
// be brought.
func (n *Node) wantAgain(o id.Object, gone bool, err error) {
	e := n.objects[o]
	switch {
	case e == nil || len(e.futures)+len(e.gets)+len(e.watches) == 0:
	case !gone && errors.Is(err, wire.StoreFull): // they are told, and may ask again
		n.answer(&object{id: o, ready: true, res: client.Result{Err: err}, futures: e.futures, gets: e.gets, watches: e.watches})
		e.futures, e.gets, e.watches = nil, nil, nil
	default:
		n.stepOwn(&own.Event{Kind: own.Want, Object: o})
	}
}

// arguments is the arguments of an attempt that are being brought here.
type arguments struct{ missing int }

// withArguments has the arguments of t's attempt brought that are at other
// nodes, and then goes on with it, unless it is over by then. An argument may
// have gone with its node since own found all of them there: while place asked
// others for room, for one. Then the attempt is over too.
func (n *Node) withArguments(t *task, then func()) {
	if t.enc == nil {
		then()
		return
	}
	all := &arguments{}
	lost := n.eachArgument(t, func(o id.Object) bool {
		a := n.awayOf(o)
		if a == nil {
			return n.objects[o].there()
		}
		all.missing++
		n.coming[t.id] = all
		n.bring(o, t.spec.Job, func(err error) {
			if n.coming[t.id] != all {
				return
			}
			if all.missing--; err != nil {
				n.argumentLost(t, o, a.node, err)
			} else if all.missing == 0 {
				delete(n.coming, t.id)
				then()
			}
		})
		return true
	})
	switch {
	case !lost.IsZero():
		n.argumentLost(t, lost, n.id, errLost)
	case all.missing == 0:
		then()
	}
}

// argumentLost ends an attempt whose argument is not where it was looked for, or
// cannot be brought.
func (n *Node) argumentLost(t *task, o id.Object, looked id.Node, err error) {
	delete(n.coming, t.id)
	code := wire.ObjectLost
	if errors.Is(err, wire.StoreFull) {
		code = wire.StoreFull
	}
	t.out = &outcome{err: &wire.Error{Code: code, Op: t.spec.Name, Node: n.id, Message: fmt.Sprintf("argument %s is lost: %v", o, err)}}
	n.attemptOver(t, &own.Event{Fault: own.ArgLost, Object: o, To: looked})
}

// eachArgument calls f for each object among t's arguments until one is not
// there, and returns that.
func (n *Node) eachArgument(t *task, f func(id.Object) (there bool)) (lost id.Object) {
	for i := range t.enc.args {
		a := &t.enc.args[i]
		for _, o := range a.list {
			if !f(o) {
				return o
			}
		}
		if !a.obj.IsZero() && !f(a.obj) {
			return a.obj
		}
	}
	return lost
}

// there reports whether an object that is at no other node has a value.
func (e *object) there() bool {
	return e != nil && (e.ready || e.at || e.res.Err != nil || e.res.Enc != nil)
}

// missing reports whether an object has no value here.
func (n *Node) missing(o id.Object) bool { return n.awayOf(o) != nil || !n.objects[o].there() }

// tellWhenHere has an object's bytes brought for those who wait for them.
func (n *Node) tellWhenHere(e *object) {
	for _, s := range e.watches {
		n.pushReady(s, e.id)
	}
	e.watches = nil
	o := e.id
	n.bring(o, id.Job{}, func(err error) {
		if e := n.objects[o]; err == nil && e != nil {
			n.tell(e)
		}
	})
}

// forgetPlaces notes that the objects at a node that has died are not there
// any more. Own has heard of that and says what becomes of them.
func (n *Node) forgetPlaces(dead id.Node) {
	for o, a := range n.away {
		if a.node != dead {
			continue
		}
		delete(n.away, o)
		if e := n.objects[o]; e != nil {
			e.ready = false
		}
		for _, then := range a.waiting {
			then(errNodeDied)
		}
		a.waiting = nil
		n.wantAgain(o, true, errNodeDied)
	}
}

var errNodeDied = errors.New("the node that had it is gone")

// Serve opens what other nodes pull from this one: the bytes of an object
// ("object/ID", or "relay/ID" while they come), what a job's workers need ("blob/JOB/HASH", "program/JOB"), or
// rows of this node's state ("state/KIND/QUERY").
// A reader that is closed has let go of it.
func (n *Node) Serve(ctx context.Context, name string) (io.ReadCloser, error) {
	kind, rest, _ := strings.Cut(name, "/")
	switch kind {
	case "object":
		o, err := id.ParseObject(rest)
		if err != nil {
			return nil, err
		}
		return n.serveObject(ctx, o)
	case "relay":
		o, err := id.ParseObject(rest)
		if err != nil {
			return nil, err
		}
		return n.serveRelayed(ctx, o)
	case "blob":
		return n.serveBlob(rest)
	case "program":
		return n.serveProgram(rest)
	case "state":
		return n.serveState(ctx, rest)
	}
	return nil, &wire.Error{Code: wire.NotFound, Op: "serve", Message: "nothing is called " + name}
}

// pinnedReader reads an object that cannot go meanwhile.
type pinnedReader struct {
	n    *Node
	o    id.Object
	data []byte
}

func (n *Node) serveObject(ctx context.Context, o id.Object) (io.ReadCloser, error) {
	at, err := n.store.PinWait(ctx, 0, o)
	if err != nil {
		return nil, &wire.Error{Code: wire.ObjectLost, Op: "serve " + o.String(), Node: n.id, Message: err.Error(), Err: err}
	}
	return &pinnedReader{n, o, at.Bytes}, nil
}

func (r *pinnedReader) Read(buf []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	c := copy(buf, r.data)
	r.data = r.data[c:]
	return c, nil
}

// Bytes is what is not yet read, until the reader is closed.
func (r *pinnedReader) Bytes() []byte { return r.data }

func (r *pinnedReader) Close() error {
	r.n.store.Unpin(0, r.o, 1)
	r.data = nil
	return nil
}
