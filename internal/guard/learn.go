package guard

// peaks remembers the peak memory of the functions that ran last.
type peaks struct {
	max   int
	at    []peak // slot 0 is the head of the ring from the last used to the first
	index map[Function]int32
}

type peak struct {
	fn         Function
	bytes      int64
	runs       uint64
	prev, next int32
}

// sink is the part of a difference by which a lower run lowers a peak.
const sink = 16

func newPeaks(limit int) peaks {
	return peaks{max: limit, at: make([]peak, 1, 2), index: map[Function]int32{}}
}

// of is what fn is expected to need; 0 is unknown.
func (p *peaks) of(fn Function) int64 { return p.at[p.index[fn]].bytes }

// learn takes a run that used n bytes into account. The estimate rises to it at
// once, since too low costs a task, and sinks slowly, since too high costs
// waiting only.
func (p *peaks) learn(fn Function, n int64) {
	i := p.slot(fn)
	e := &p.at[i]
	e.runs++
	if n >= e.bytes {
		e.bytes = n
	} else {
		e.bytes -= (e.bytes - n) / sink
	}
}

// slot returns fn's slot as the one used last, at the cost of the one not used
// for longest.
func (p *peaks) slot(fn Function) int32 {
	i, known := p.index[fn]
	switch {
	case known:
		p.unlink(i)
	case len(p.at) <= p.max:
		i = int32(len(p.at))
		p.at = append(p.at, peak{fn: fn})
	default:
		i = p.at[0].prev
		p.unlink(i)
		delete(p.index, p.at[i].fn)
		p.at[i] = peak{fn: fn}
	}
	p.index[fn] = i
	first := p.at[0].next
	p.at[i].prev, p.at[i].next = 0, first
	p.at[0].next, p.at[first].prev = i, i
	return i
}

func (p *peaks) unlink(i int32) {
	e := &p.at[i]
	p.at[e.prev].next, p.at[e.next].prev = e.next, e.prev
}
