package sim

import (
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
)

// makeItem makes the next item of a stream and goes on if the window lets it.
// What an earlier attempt delivered is passed over in silence.
func (e *execution) makeItem() {
	n, index := e.n, e.item
	e.item++
	if index < e.skip {
		e.workOn()
		return
	}
	r := own.Return{Object: e.task.Return(index), Size: e.program.sizeOf(0), Node: n.id}
	if n.c.chatty {
		n.c.note("%s makes item %d of %s", n, index, n.c.taskName(e.task))
	}
	if r.Size > inlineMax {
		r.Where = own.AtNode
		n.store[r.Object] = copyOf{r.Size, e.attempt}
	}
	e.open--
	m := message{kind: msgItem, task: e.task, attempt: e.attempt, returns: []own.Return{r}, at: n.id}
	to := n.c.byID[n.own.Home(e.owner.id)]
	switch {
	case to == n:
		n.gotItem(&m)
	case n.gone[to.index]:
		n.discard(m.returns)
	default:
		n.send(to.id, m)
	}
	if e.phase == working && (e.open > 0 || e.item == e.program.Items) {
		e.workOn()
	}
}

// gotItem takes an item in at its owner.
func (n *node) gotItem(m *message) {
	if heir := n.own.Home(m.task.Owner()); heir != n.id {
		n.send(heir, *m)
		return
	}
	n.stepOwn(&own.Event{Kind: own.Item, Task: m.task, Attempt: m.attempt, Node: m.at, Return: m.returns[0]})
}

// credit lets a producer go on.
func (n *node) credit(to id.Node, m message) {
	if to != n.id {
		n.send(to, m)
		return
	}
	e := n.execs[attemptKey{m.task, m.attempt}]
	if e == nil {
		return
	}
	stuck := e.phase == working && e.open <= 0 && e.item < e.program.Items
	if e.open += m.n; stuck && e.open > 0 {
		e.workOn()
	}
}

// Consume reads the next item of a stream, if there is one, at the driver that
// submitted it, which then holds it.
func (c *Cluster) Consume(t id.Task) bool {
	n := c.byID[t.Owner()]
	w := n.tasks[t]
	if n.down || w == nil || w.read == w.made || w.dropped {
		return false
	}
	o := t.Return(w.read)
	w.read++
	n.sessionOf(w.session).holds[o]++
	c.oracle.ref(n, o, 1)
	n.stepOwn(&own.Event{Kind: own.Consume, Task: t, N: 1})
	c.flush()
	return true
}

// DropStream says that nobody will read on.
func (c *Cluster) DropStream(t id.Task) {
	n := c.byID[t.Owner()]
	w := n.tasks[t]
	if n.down || w == nil || w.dropped {
		return
	}
	w.dropped = true
	n.stepOwn(&own.Event{Kind: own.DropStream, Task: t})
	c.flush()
}
