package sim

import (
	"time"
)

// event is something that will happen at a virtual time. Exactly one of link,
// run and do is set: the two frequent kinds carry no closure.
type event struct {
	at   time.Duration
	seq  uint64 // order of scheduling, so that equal times have an order
	link *link
	run  *execution
	gen  uint32 // of run; an older one is void
	do   func()
}

// heap is a 4-ary heap of events by (at, seq).
type heap []event

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *heap) push(e event) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !before(&e, &s[up]) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = e
}

func (h *heap) pop() event {
	s := *h
	top, last := s[0], s[len(s)-1]
	n := len(s) - 1
	s[n] = event{}
	s = s[:n]
	*h = s
	if n == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= n {
			break
		}
		least := first
		for j := first + 1; j < min(first+4, n); j++ {
			if before(&s[j], &s[least]) {
				least = j
			}
		}
		if !before(&s[least], &last) {
			break
		}
		s[i] = s[least]
		i = least
	}
	s[i] = last
	return top
}

// after schedules do. Background events (ticks, views) do not keep Stabilize
// from ending.
func (c *Cluster) after(d time.Duration, do func()) {
	c.work++
	c.schedule(event{at: c.now + d, do: func() { c.work--; do() }})
}

// background schedules do without counting it as work under way.
func (c *Cluster) background(d time.Duration, do func()) {
	c.schedule(event{at: c.now + d, do: do})
}

func (c *Cluster) schedule(e event) {
	c.seq++
	e.seq = c.seq
	c.events.push(e)
}

// step runs the next event and reports whether there was one by then.
func (c *Cluster) step(until time.Duration) bool {
	if len(c.events) == 0 || c.events[0].at > until {
		return false
	}
	e := c.events.pop()
	c.now = e.at
	switch {
	case e.link != nil:
		c.work--
		e.link.arrive()
	case e.run != nil:
		c.work--
		if e.run.gen == e.gen {
			e.run.advance()
		}
	default:
		e.do()
	}
	c.flush()
	return true
}

// Run lets d of virtual time go by.
func (c *Cluster) Run(d time.Duration) {
	until := c.now + d
	for c.step(until) && c.failure == nil {
	}
	c.now = max(c.now, until)
}

// Stabilize runs until nothing is under way, or limit has gone by; it reports
// whether it came to rest.
func (c *Cluster) Stabilize(limit time.Duration) bool {
	until := c.now + limit
	for c.failure == nil {
		if c.work == 0 && c.quiet() {
			return true
		}
		if !c.step(until) {
			c.now = until
			return false
		}
	}
	return false
}
