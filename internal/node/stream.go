package node

import (
	"context"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/dispatch"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

// stream is a generator's items between their making and their reading. Own
// decides which items count and gives the producer credit; the values are here.
// All of it is under the node's lock.
type stream struct {
	n       *Node
	t       *task
	made    int // items that the current attempt has made
	credit  int // items that the producer may still make
	bytes   int64
	resume  func() // a producer in this process that waits for credit
	pending []client.Result
	next    int // index of the first of pending
	ended   bool
	count   int
	err     *wire.Error
	closed  bool

	wake  chan struct{} // of an embedded consumer; one that waits at a time
	sess  *session      // any other consumer
	asked bool          // it has asked for some
	want  int           // items that it asked for and was not sent
	read  int           // items that own knows to have been read
	told  bool          // of the end
}

func newStream(n *Node, t *task) *stream {
	s := &stream{n: n, t: t, wake: make(chan struct{}, 1)}
	s.restart()
	return s
}

// restart prepares for another attempt, whose items own compares with those
// delivered already.
func (s *stream) restart() {
	s.made, s.credit, s.bytes = 0, s.t.spec.WindowItems, s.t.spec.WindowBytes
}

// mayMake reports whether the window has room for another item.
func (s *stream) mayMake() bool { return s.credit > 0 && s.bytes > 0 }

// yield is how a generator in this process, in the run c, delivers an item. It
// waits for credit, without its CPU, and returns false when nobody wants more.
func (s *stream) yield(c *client.TaskContext, v any) bool {
	n := s.n
	n.lock()
	for !s.mayMake() && s.wanted(c) {
		ready := make(chan struct{})
		s.resume = func() { close(ready) }
		n.block(s.t, dispatch.Blocked)
		n.unlock()
		select {
		case <-ready:
		case <-c.Done():
		}
		n.lock()
		if s.t.run == c && n.tasks[s.t.id] == s.t {
			n.block(s.t, dispatch.Unblocked)
		}
	}
	wanted := s.wanted(c)
	if wanted {
		size, _ := client.SizeOf(v)
		n.made(s, client.Result{Val: v}, own.Return{Node: n.id, Size: size})
	}
	n.unlock()
	return wanted
}

// wanted reports whether the items of the run c are.
func (s *stream) wanted(c *client.TaskContext) bool {
	return !s.closed && !s.t.cancelled && s.t.run == c && !c.Cancelled()
}

// made records the next item of the current attempt.
func (n *Node) made(s *stream, res client.Result, ret own.Return) {
	t := s.t
	ret.Object = t.id.Return(uint32(s.made))
	s.made++
	s.credit--
	s.bytes -= ret.Size
	if len(n.guests) > 0 && n.guests[t.id] != nil {
		n.postItem(t, res, &ret)
		return
	}
	t.out = &outcome{results: []client.Result{res}}
	n.stepOwn(&own.Event{Kind: own.Item, Task: t.id, Attempt: t.attempt, Node: n.ranAt(t), Return: ret})
	n.settleOwn()
	t.out = nil
}

// itemReady passes an item on to the consumer's side.
func (n *Node) itemReady(e *own.Effect) {
	t := n.task(e.Task)
	if t == nil || t.stream == nil || t.out == nil {
		return
	}
	s := t.stream
	res := t.out.results[0]
	if entry := n.objects[e.Object]; entry != nil && entry.at {
		entry.ready = true
	} else if t.call == nil || n.leaves(t) { // own counts it
		entry := n.object(e.Object)
		entry.ready, entry.res, entry.codec = true, res, t.codec(0)
	}
	if !s.closed {
		s.pending = append(s.pending, res)
		s.deliver()
	}
}

// streamEnd notes that no more items will come.
func (n *Node) streamEnd(e *own.Effect) {
	t := n.task(e.Task)
	if t == nil || t.stream == nil {
		return
	}
	s := t.stream
	if s.ended || s.closed { // by the consumer or the node's end
		return
	}
	s.ended, s.count = true, e.N
	if t.out != nil {
		s.err = t.out.err // also if own counts it as a result
	}
	s.deliver()
}

// deliver wakes or feeds the consumer.
func (s *stream) deliver() {
	if s.closed {
		return
	}
	if s.sess != nil {
		s.n.pushItems(s)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ask is how a consumer in another process asks for n more items. The first time
// is in advance; from then on they are as many as it has read since.
func (s *stream) ask(n int) {
	if s.asked {
		s.acknowledge(n)
	}
	s.asked = true
	s.want += n
	s.n.pushItems(s)
}

// acknowledge tells own that n items were read, so that the producer gets credit.
func (s *stream) acknowledge(n int) {
	n = min(n, s.next-s.read)
	if n <= 0 || s.closed {
		return
	}
	s.read += n
	s.n.stepOwn(&own.Event{Kind: own.Consume, Task: s.t.id, N: n})
}

// take removes the next item.
func (s *stream) take() (client.Result, id.Object) {
	res := s.pending[0]
	s.pending[0] = client.Result{}
	s.pending = s.pending[1:]
	o := s.t.id.Return(uint32(s.next))
	s.next++
	return res, o
}

// Next implements client.Stream.
func (s *stream) Next(ctx context.Context) (client.Item, error) {
	for {
		item, ok := s.poll()
		if ok {
			return item, nil
		}
		if err := s.await(ctx); err != nil {
			return client.Item{}, err
		}
	}
}

func (s *stream) await(ctx context.Context) error {
	if run := client.FromContext(ctx); run != nil {
		defer run.Sess.Blocked(ctx)()
	}
	select {
	case <-s.wake:
		return nil
	case <-ctx.Done():
		return wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}

// poll returns the next item or the end, if either is there.
func (s *stream) poll() (client.Item, bool) {
	s.n.lock()
	defer s.n.unlock()
	if len(s.pending) > 0 {
		res, o := s.take()
		s.acknowledge(1)
		f := &client.Future{ID: o, Sess: s.n.local, Codec: s.t.codec(0)}
		if e := s.n.objects[o]; e != nil {
			s.n.local.counted(f)
			s.n.complete(f, e)
		} else {
			f.Complete(res)
		}
		return client.Item{Future: f, Index: s.next - 1}, true
	}
	if !s.ended {
		return client.Item{}, false
	}
	delete(s.n.streams, s.t.id)
	end := client.Item{End: true, Index: s.count}
	if s.err != nil {
		end.Err = s.err
	}
	return end, true
}

// Close implements client.Stream.
func (s *stream) Close() {
	s.n.lock()
	defer s.n.unlock()
	s.drop()
}

// drop cancels the producer and what was made for nobody.
func (s *stream) drop() {
	if s.closed {
		return
	}
	s.closed, s.pending = true, nil
	delete(s.n.streams, s.t.id)
	if s.resume != nil {
		s.resume()
		s.resume = nil
	}
	s.n.stepOwn(&own.Event{Kind: own.DropStream, Task: s.t.id})
}

// end has the consumer see the node's end.
func (s *stream) end() {
	s.drop()
	s.fail(errClosed())
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fail ends a stream that could not be started or cannot go on.
func (s *stream) fail(err error) {
	if s.ended {
		return
	}
	s.ended, s.err = true, wire.AsError(err, wire.Internal)
	if s.sess == nil {
		s.deliver()
	}
}

// credit lets the producer go on.
func (n *Node) credit(e *own.Effect) {
	t := n.task(e.Task)
	if t == nil || t.stream == nil {
		return
	}
	if t.worker == elsewhere {
		n.postCredit(t, e)
		return
	}
	s := t.stream
	s.credit += e.N
	s.bytes += e.Bytes
	if t.worker != inProcess {
		n.creditWorker(t, e)
		return
	}
	if s.resume != nil && s.mayMake() {
		s.resume()
		s.resume = nil
	}
}

// pushItems sends a consumer in another process the items it asked for.
func (n *Node) pushItems(s *stream) {
	for s.want > 0 && len(s.pending) > 0 {
		index := s.next
		if o := s.t.id.Return(uint32(index)); n.away[o] != nil {
			n.bring(o, s.t.spec.Job, func(err error) {
				if err == nil {
					n.pushItems(s)
				}
			})
			return
		}
		_, o := s.take()
		s.want--
		if e := n.objects[o]; e != nil {
			s.sess.send(n, outgoing{kind: sessionv1.Kind_KIND_ITEM, obj: e, index: index})
		}
	}
	if s.ended && len(s.pending) == 0 && !s.told {
		s.told = true
		s.acknowledge(s.next - s.read)
		delete(n.streams, s.t.id)
		end := &sessionv1.StreamEnd{Task: append([]byte(nil), s.t.id[:]...), Count: uint32(s.count)}
		if s.err != nil {
			end.Error = wire.ErrorToPB(s.err)
		}
		s.sess.send(n, outgoing{kind: sessionv1.Kind_KIND_STREAM_END, msg: end})
	}
}
