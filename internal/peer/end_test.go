package peer

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/id"
)

// call is a stream on its way, and what it carries in each direction.
type call struct {
	stream   uint64
	from, to int // ends
	hello    uint64
	answer   *batch // with the number that the callee expects
	refusal  uint64 // the number that the callee knows
	refused  bool
	pipe     [2][]batch // what end i has sent
	gone     [2]bool    // that end has seen its end
	lost     bool       // nothing more arrives
}

// world is two ends and the streams between them.
type world struct {
	ends  [2]end
	calls []*call
	put   [2]uint64 // messages given to the end
	got   [2]uint64 // that came out of it
}

func newWorld() *world {
	a, b := id.Node{1}, id.Node{2}
	return &world{ends: [2]end{newEnd(a, b), newEnd(b, a)}}
}

func (w *world) push(i int) {
	w.put[i]++
	w.ends[i].push(binary.BigEndian.AppendUint64(nil, w.put[i]))
}

// dial lets an end propose a stream if it has none.
func (w *world) dial(i int) {
	if w.ends[i].phase == closed {
		n := w.ends[i].propose()
		w.calls = append(w.calls, &call{stream: n, from: i, to: 1 - i, hello: w.ends[i].next})
	}
}

// step lets one thing happen to a call, as the dice say.
func (w *world) step(t *rapid.T, c *call) {
	caller, callee := &w.ends[c.from], &w.ends[c.to]
	switch {
	case c.lost:
		side := rapid.IntRange(0, 1).Draw(t, "side")
		c.gone[side] = true
		w.ends[side].cut(c.stream)
	case c.answer == nil && !c.refused:
		ok, err := callee.offered(c.stream, c.hello)
		if err != nil {
			t.Fatal(err)
		}
		c.refused, c.refusal = !ok, callee.stream
		c.answer = &batch{next: callee.next}
	case c.refused:
		caller.refused(c.stream, c.refusal)
		c.lost = true
	case c.hello > 0:
		c.hello = 0
		ok, err := caller.answered(c.stream, c.answer.next)
		if err != nil {
			t.Fatal(err)
		}
		c.lost = !ok
	default:
		w.carry(t, c, rapid.IntRange(0, 1).Draw(t, "direction"))
	}
}

// carry lets end i send on the call, or the other receive.
func (w *world) carry(t *rapid.T, c *call, i int) {
	if e := &w.ends[i]; rapid.Bool().Draw(t, "send") && e.carries(c.stream) {
		c.pipe[i] = append(c.pipe[i], e.take(rapid.IntRange(1, 40).Draw(t, "limit"), nil))
		return
	}
	o := 1 - i
	if e := &w.ends[o]; len(c.pipe[i]) > 0 && e.carries(c.stream) {
		b := c.pipe[i][0]
		c.pipe[i] = c.pipe[i][1:]
		fresh, err := e.received(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fresh {
			w.got[o]++
			if n := binary.BigEndian.Uint64(m); n != w.got[o] {
				t.Fatalf("message %d came as number %d", n, w.got[o])
			}
		}
	}
}

// settle calls and carries until all has come and is acknowledged.
func (w *world) settle(t *rapid.T) {
	for _, c := range w.calls {
		c.lost = true
	}
	for range 10_000 {
		if w.got[0] == w.put[1] && w.got[1] == w.put[0] && w.ends[0].bytes+w.ends[1].bytes == 0 {
			return
		}
		w.dial(rapid.IntRange(0, 1).Draw(t, "dials"))
		w.step(t, w.calls[rapid.IntRange(max(0, len(w.calls)-3), len(w.calls)-1).Draw(t, "call")])
		w.reap()
	}
	t.Fatalf("sent %v, came %v, after many steps", w.put, w.got)
}

// reap has ends see that streams are over.
func (w *world) reap() {
	for _, c := range w.calls {
		if c.lost {
			w.ends[0].cut(c.stream)
			w.ends[1].cut(c.stream)
		}
	}
}

// Whatever is cut between any two messages, and whoever calls whom at the same
// time, each message comes once and in order.
func TestLinkCutAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch i := rapid.IntRange(0, 1).Draw(t, "end"); rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				w.push(i)
			case 2:
				w.dial(i)
			case 3:
				if len(w.calls) > 0 && rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
					w.calls[rapid.IntRange(0, len(w.calls)-1).Draw(t, "call")].lost = true
				}
			default:
				if n := len(w.calls); n > 0 {
					w.step(t, w.calls[rapid.IntRange(max(0, n-3), n-1).Draw(t, "call")])
				}
			}
		}
		w.settle(t)
	})
}

// When both call at once one stream is left.
func TestBothCall(t *testing.T) {
	w := newWorld()
	for range 4 {
		a, b := &w.ends[0], &w.ends[1]
		n, m := a.propose(), b.propose()
		if n < m {
			a, b, n, m = b, a, m, n
		}
		if ok, _ := a.offered(m, 1); ok {
			t.Error("the higher number gave way")
		}
		if ok, _ := b.offered(n, 1); !ok {
			t.Error("the lower number did not give way")
		}
		b.refused(m, a.stream)
		if ok, _ := a.answered(n, 1); !ok || !a.carries(n) || !b.carries(n) {
			t.Error("no stream is left")
		}
		a.cut(n)
		b.cut(n)
	}
}

// Numbers that cannot be are errors: the other has lost its state or lies.
func TestImpossibleNumbers(t *testing.T) {
	e := newEnd(id.Node{1}, id.Node{2})
	for range 3 {
		e.push([]byte("m"))
	}
	if _, err := e.offered(1, 5); err == nil {
		t.Error("it is said to have sent what it has not")
	}
	if _, err := e.offered(2, 3); err != nil {
		t.Error(err)
	}
	if _, err := e.offered(3, 1); err == nil {
		t.Error("what was acknowledged is wanted again")
	}
	if _, err := e.received(batch{first: 2, next: 3, messages: [][]byte{nil}}); err == nil {
		t.Error("a gap was accepted")
	}
}
