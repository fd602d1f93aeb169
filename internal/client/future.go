package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// Result is what an object turned out to be: an error, a value by reference,
// or an encoded value that nobody has decoded yet.
type Result struct {
	Val any
	Err error
	Enc *Encoded // not nil: decode it to get the value; Val is unset
}

// Encoded is an encoded value.
type Encoded struct {
	wire.Value
	// Pinned: Data lies in shared memory and is valid only while the Future is
	// reachable.
	Pinned bool
}

// SizeOf is the size in bytes of a value by reference, if that is known without
// encoding it.
func SizeOf(v any) (size int64, known bool) {
	switch v := v.(type) {
	case []byte:
		return int64(len(v)), true
	case string:
		return int64(len(v)), true
	}
	return 0, false
}

// Future is an object as one process sees it: its id, and its value once that
// is here. A Ref in the root package is a pointer to a Future.
//
// A Future completes once. Waiters that come before wait on a channel of their
// own; afterwards reading it takes no lock.
type Future struct {
	ID    id.Object
	Sess  Session
	Codec Codec // of a value by reference, should it have to leave the process

	Shared  atomic.Bool // the node counts a reference for this process
	Asked   atomic.Bool // remote: somebody waits for the value
	There   atomic.Bool // remote: it is available, but its value was not sent
	taken   atomic.Bool // somebody completes it, or has
	waiters atomic.Pointer[waiter]
	res     Result
}

// waiter is an entry of a Future's list of those to tell.
type waiter struct {
	next *waiter
	ch   chan struct{}
	fn   func()
}

// completed marks the end of a list of waiters: there is a result.
var completed = &waiter{}

var waiterPool = sync.Pool{New: func() any { return &waiter{ch: make(chan struct{}, 1)} }}

// Complete gives f its result and tells all who wait. Later calls do nothing
// and report false; the first may then not quite be over.
func (f *Future) Complete(r Result) bool {
	if !f.taken.CompareAndSwap(false, true) { // as when a session ends while somebody asks
		return false
	}
	f.res = r // visible before the mark is
	tell(f.waiters.Swap(completed))
	return true
}

// tell wakes waiters in the order in which they came.
func tell(head *waiter) {
	var prev *waiter
	for head != nil {
		head.next, prev, head = prev, head, head.next
	}
	for w := prev; w != nil; {
		next := w.next
		if w.fn != nil {
			w.fn()
		} else {
			w.ch <- struct{}{}
		}
		w = next
	}
}

// Ready reports whether f has its result.
func (f *Future) Ready() bool { return f.waiters.Load() == completed }

// Result returns the result; only valid once Ready.
func (f *Future) Result() *Result { return &f.res }

// push adds w to the list; false if f is complete already.
func (f *Future) push(w *waiter) bool {
	for {
		head := f.waiters.Load()
		if head == completed {
			return false
		}
		w.next = head
		if f.waiters.CompareAndSwap(head, w) {
			return true
		}
	}
}

// OnDone calls fn once when f completes, at once if it has. fn runs on the
// goroutine that completes f and must not block.
func (f *Future) OnDone(fn func()) {
	if !f.push(&waiter{fn: fn}) {
		fn()
	}
}

// Wait returns nil when f is complete, or ctx's error.
func (f *Future) Wait(ctx context.Context) error {
	if f.Ready() {
		return nil
	}
	w := waiterPool.Get().(*waiter)
	if !f.push(w) {
		waiterPool.Put(w)
		return nil
	}
	done := ctx.Done()
	if done == nil {
		<-w.ch
		waiterPool.Put(w)
		return nil
	}
	select {
	case <-w.ch:
		waiterPool.Put(w)
		return nil
	case <-done:
		// w stays in the list and is told later; it is not reused.
		return context.Cause(ctx)
	}
}
