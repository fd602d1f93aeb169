package node

import (
	"fmt"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// taskOverhead is what the node keeps of a task beyond its message, in bytes.
	taskOverhead = 512
	// maxRequests bounds the requests of a session that wait for an answer.
	maxRequests = 1024
	// maxSessionTemplates bounds the descriptions that a session registers.
	maxSessionTemplates = 1 << 16
	// overdraft is how far below zero a session may be, in bytes, when it asks
	// for more: its threads may have sent in another order than they counted.
	overdraft = 1 << 20
)

// A ledger admits the work of sessions: it decides how many bytes of submits
// each may send. What was granted and not repaid never exceeds limit, but for two
// things. Each session may have a little, so that one that fills the node does
// not lock others out. And the last message of a session may cost more than is
// left, so that every message can be sent.
//
// Work is repaid when it ends, so a session that waits gets on as long as any
// work does. Work that waits for credit itself cannot end: tasks that submit
// tasks, nested or more than fit. When nothing runs that does not wait, those
// get more than the limit, a little at a time (Node.unstall). So neither
// depth nor number of nested tasks is limited by more than memory, and a driver's
// queue, however long, does not stop the tasks in it.
type ledger struct {
	limit  int64 // bytes
	used   int64 // granted and not repaid
	window int64 // what a session is to have ahead
	least  int64 // what a session may have whatever the others do
	hungry []*account
}

// An account is a session's part of the ledger.
type account struct {
	left    int64 // credit; below 0 if it is overdrawn
	charged int64 // by work that has not ended
	waits   bool  // in the ledger's hungry
	puts    int64 // credit for inline puts
	freed   int64 // puts to be repaid
	asked   int   // requests that wait for an answer
}

func newLedger(limit int64) *ledger {
	l := &ledger{limit: limit}
	l.least = min(1<<20, max(limit/16, 1))
	l.window = max(l.least, min(32<<20, limit/8))
	return l
}

// open gives a new session its first credit.
func (l *ledger) open(a *account) {
	a.puts = l.putCredit()
	l.top(a)
}

// offer is what a can be granted now. Small change is not worth a message.
func (l *ledger) offer(a *account) int64 {
	room := max(l.limit-l.used, l.least-(a.charged+a.left))
	grant := min(room, l.window-a.left)
	if grant < max(l.least/4, 1) || a.left+grant <= 0 {
		return 0
	}
	return grant
}

// top grants what can be, or notes that a waits.
func (l *ledger) top(a *account) int64 {
	grant := l.offer(a)
	if grant > 0 {
		l.give(a, grant)
	} else if !a.waits {
		a.waits = true
		l.hungry = append(l.hungry, a)
	}
	return grant
}

func (l *ledger) give(a *account, grant int64) {
	a.left += grant
	l.used += grant
}

// spend charges a with new work and returns what it is granted next; ok is false
// if it had no credit.
func (l *ledger) spend(a *account, cost int64) (grant int64, ok bool) {
	if a.left <= -overdraft {
		return 0, false
	}
	a.left -= cost
	a.charged += cost
	if a.left > l.window/2 || a.waits {
		return 0, true
	}
	return l.top(a), true
}

// repay takes back what work has cost that is over. Its account is nil if that
// is closed. Then feed may have something to give.
func (l *ledger) repay(a *account, cost int64) {
	l.used -= cost
	if a != nil {
		a.charged -= cost
	}
}

// feed calls grant for those who waited and can have more.
func (l *ledger) feed(grant func(*account, int64)) {
	rest := l.hungry[:0]
	for _, a := range l.hungry {
		n := l.offer(a)
		if n == 0 {
			rest = append(rest, a)
			continue
		}
		a.waits = false
		l.give(a, n)
		grant(a, n)
	}
	clear(l.hungry[len(rest):])
	l.hungry = rest
}

// close takes back what a has not spent.
func (l *ledger) close(a *account) {
	l.used -= a.left
	a.left = 0
	for i, other := range l.hungry {
		if other == a {
			l.hungry = append(l.hungry[:i], l.hungry[i+1:]...)
			return
		}
	}
}

// putCredit is a session's for values that it puts inline.
func (l *ledger) putCredit() int64 { return min(64<<20, l.limit/4) }

// admit charges s with a submit whose message has size bytes.
func (n *Node) admit(s *session, size int) (cost int32, err error) {
	cost = int32(taskOverhead + size)
	grant, ok := n.ledger.spend(&s.account, int64(cost))
	if !ok {
		return 0, overdrawn("submit", s.account.left)
	}
	if grant > 0 {
		s.credit(n, &sessionv1.Credit{Bytes: uint64(grant)})
	}
	return cost, nil
}

func overdrawn(op string, left int64) *wire.Error {
	return &wire.Error{Code: wire.Protocol, Op: op, Message: fmt.Sprintf("the session has used %d bytes more than its credit", -left),
		Hint: "a client waits for Credit before it sends more"}
}

// repay returns the credit of a task that is over.
func (n *Node) repay(t *task) {
	if t.enc == nil || t.enc.cost == 0 {
		return
	}
	var a *account
	if s := n.sessions[t.session]; s != nil {
		a = &s.account
	}
	n.ledger.repay(a, int64(t.enc.cost))
	t.enc.cost = 0
	if len(n.ledger.hungry) > 0 {
		n.ledger.feed(n.granted)
		n.unstall()
	}
}

// granted tells the session of an account.
func (n *Node) granted(a *account, bytes int64) {
	for _, s := range n.sessions {
		if &s.account == a {
			s.credit(n, &sessionv1.Credit{Bytes: uint64(bytes)})
		}
	}
}

func (s *session) credit(n *Node, m *sessionv1.Credit) {
	if c := s.conn; c != nil && !s.ended {
		n.later(func() { c.c.SendSide(sessionv1.Kind_KIND_CREDIT, m) })
	}
}

// admitPut charges s with an inline put.
func (n *Node) admitPut(s *session, size int) (cost int32, err error) {
	if s.account.puts <= -overdraft {
		return 0, overdrawn("put", s.account.puts)
	}
	cost = int32(taskOverhead + size)
	s.account.puts -= int64(cost)
	return cost, nil
}

// repayPut returns the credit of a put that was freed, in large pieces.
func (n *Node) repayPut(e *object) {
	s := n.sessions[e.putBy]
	if e.cost == 0 || s == nil {
		return
	}
	a := &s.account
	if a.freed += int64(e.cost); a.freed >= n.ledger.putCredit()/4 {
		s.credit(n, &sessionv1.Credit{Puts: uint64(a.freed)})
		a.puts, a.freed = a.puts+a.freed, 0
	}
}

// ask counts a request of s that will be answered later.
func (s *session) ask() error {
	if s.account.asked == maxRequests {
		return &wire.Error{Code: wire.Protocol, Op: "request",
			Message: fmt.Sprintf("more than %d requests wait for an answer", maxRequests)}
	}
	s.account.asked++
	return nil
}

// answer sends the answer to a request.
func (s *session) answer(n *Node, o outgoing) {
	s.account.asked--
	s.send(n, o)
}

// unstall gives more to sessions whose tasks wait for credit, if no task runs
// that does not wait: nothing would ever be repaid.
func (n *Node) unstall() {
	if len(n.ledger.hungry) == 0 || n.dispatch.Running() > 0 || n.methodRuns() {
		return
	}
	for _, s := range n.sessions {
		a := &s.account
		if s.worker == nil || !a.waits || a.left > 0 {
			continue
		}
		grant := n.ledger.least/4 + 1 - a.left
		n.ledger.give(a, grant)
		n.granted(a, grant)
	}
}

// methodRuns reports whether a worker has an actor that runs and does not wait.
func (n *Node) methodRuns() bool {
	for _, p := range n.workers {
		waits := map[string]bool{}
		for _, t := range p.tasks {
			if t.spec.Kind == spec.KindMethod {
				waits[t.actor.String()] = waits[t.actor.String()] || t.blocked
			}
		}
		for _, blocked := range waits {
			if !blocked {
				return true
			}
		}
	}
	return false
}

// waitsForCredit says why a task in a worker may not submit more, if that is so.
func (n *Node) waitsForCredit(t *task) (why string, waits bool) {
	s := n.workerSession(t.worker)
	if s == nil || s.account.left > 0 {
		return "", false
	}
	return fmt.Sprintf("it runs, and waits to submit more: submitted work takes %s of %s at this node; its CPU is lent meanwhile",
		state.Bytes(n.ledger.used), state.Bytes(n.ledger.limit)), true
}
