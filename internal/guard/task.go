package guard

import "github.com/weftrun/weft/internal/id"

// task is an attempt that runs, or that was admitted and will.
type task struct {
	id        id.Task
	attempt   uint32
	worker    id.Worker // 0 before it runs
	fn        Function
	retriable bool
	shared    bool
	doomed    bool // this attempt was ended
	declared  int64
	peak      int64 // of its worker, as sampled
	grow      int64 // its part of Machine.growth

	prev, next int32 // older and younger
}

// table holds the tasks from the oldest to the youngest. Slot 0 is the ring's
// head: no task.
type table struct {
	at    []task
	spare []int32
	index map[id.Task]int32
}

func newTable() table { return table{at: make([]task, 1), index: map[id.Task]int32{}} }

func (s *table) find(t id.Task) int32 { return s.index[t] }
func (s *table) get(i int32) *task    { return &s.at[i] }
func (s *table) oldest() int32        { return s.at[0].next }
func (s *table) len() int             { return len(s.index) }
func (s *table) all(yield func(*task) bool) {
	for i := s.oldest(); i != 0; i = s.at[i].next {
		if !yield(&s.at[i]) {
			return
		}
	}
}

func (s *table) add(t id.Task) int32 {
	var i int32
	if n := len(s.spare); n > 0 {
		i = s.spare[n-1]
		s.spare = s.spare[:n-1]
	} else {
		i = int32(len(s.at))
		s.at = append(s.at, task{})
	}
	s.at[i] = task{id: t}
	s.index[t] = i
	s.link(i)
	return i
}

// youngest makes i the youngest.
func (s *table) youngest(i int32) {
	s.unlink(i)
	s.link(i)
}

func (s *table) link(i int32) {
	last := s.at[0].prev
	s.at[i].prev, s.at[i].next = last, 0
	s.at[last].next, s.at[0].prev = i, i
}

func (s *table) unlink(i int32) {
	t := &s.at[i]
	s.at[t.prev].next, s.at[t.next].prev = t.next, t.prev
}

func (s *table) remove(i int32) {
	s.unlink(i)
	delete(s.index, s.at[i].id)
	s.at[i] = task{}
	s.spare = append(s.spare, i)
}

// ends remembers how often tasks were ended, the last max of them.
type ends struct {
	max   int
	count map[id.Task]int
	order []id.Task // ring of those in count, the oldest at next once full
	next  int
}

func (e *ends) add(t id.Task) int {
	e.count[t]++
	if n := e.count[t]; n > 1 {
		return n
	}
	if len(e.order) < e.max {
		e.order = append(e.order, t)
		return 1
	}
	delete(e.count, e.order[e.next])
	e.order[e.next] = t
	e.next = (e.next + 1) % e.max
	return 1
}
