package client

import (
	"sync"
	"sync/atomic"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// maxTemplates is how many descriptions the node is told of before their
// numbers are used again: a program may use other options for every call.
const maxTemplates = 4096

// templates are the numbers under which the node knows descriptions.
type templates struct {
	known sync.Map // *spec.Task -> *described; a cache of what mu guards
	count atomic.Int32

	mu     sync.Mutex
	byText map[string]*described // by what the node was told
	all    []*described          // in the order of their numbers, which begin at 1
	hand   int                   // of all: where to look for a number that can be used again
}

// described is a description and its number. While calls that name the number
// are on their way to the socket it cannot become another's.
type described struct {
	number uint32
	text   string
	users  atomic.Int32 // -1: the number is another's
}

// use keeps d's number until release, unless it is another's already.
func (d *described) use() bool {
	for {
		n := d.users.Load()
		if n < 0 {
			return false
		}
		if d.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *described) release() { d.users.Add(-1) }

// template returns the description under which the node knows t, telling it
// first. The caller releases it when the message that names it is queued.
func (r *Remote) template(t *spec.Task) *described {
	ts := &r.templates
	if d, ok := ts.known.Load(t); ok && d.(*described).use() {
		return d.(*described)
	}
	m := wire.TemplateToPB(0, t)
	text := string(wire.AppendFrame(nil, sessionv1.Kind_KIND_TEMPLATE, m))
	ts.mu.Lock()
	defer ts.mu.Unlock()
	d := ts.byText[text]
	if d == nil || !d.use() {
		d = ts.add(text)
		m.Id = d.number
		r.out.queue(sessionv1.Kind_KIND_TEMPLATE, m)
	}
	ts.remember(t, d)
	return d
}

// remember caches d as t's. What is not used any more goes with everything else.
func (ts *templates) remember(t *spec.Task, d *described) {
	if ts.count.Add(1) > maxTemplates {
		ts.known.Clear()
		ts.count.Store(1)
	}
	ts.known.Store(t, d)
}

// add gives text a number, in use; under the lock.
func (ts *templates) add(text string) *described {
	d := &described{text: text}
	d.users.Store(1)
	if ts.byText == nil {
		ts.byText = map[string]*described{}
	}
	ts.byText[text] = d
	if old := ts.idle(); old != nil {
		delete(ts.byText, old.text)
		d.number = old.number
		ts.all[d.number-1] = d
		return d
	}
	ts.all = append(ts.all, d)
	d.number = uint32(len(ts.all))
	return d
}

// idle takes its number from a description that no call is about to name, when
// there are enough of them.
func (ts *templates) idle() *described {
	if len(ts.all) < maxTemplates {
		return nil
	}
	for range ts.all {
		d := ts.all[ts.hand]
		ts.hand = (ts.hand + 1) % len(ts.all)
		if d.users.CompareAndSwap(0, -1) {
			return d
		}
	}
	return nil
}
