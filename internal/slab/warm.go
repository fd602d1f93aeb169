package slab

import "sort"

// free is a freed extent that is still populated. It is in two lists: its
// writer's stack of that size, from whose top it is reused, and the pool's list
// by age, from whose old end it is punched.
type free struct {
	file  *file
	pages run
	given int64 // of a condemned extent: bytes already accounted to another one

	older, newer *free
	below, above *free
	stack        *stack
}

// stack holds a writer's warm extents of one size, the last freed on top.
type stack struct {
	pages int64
	top   *free
}

// writer is what the pool knows of a Writer: its slabs and its warm extents,
// those of big extents apart so that small ones do not break them up.
type writer struct {
	who   Writer
	files []*file
	warm  [2][]*stack // by pages; [1] is big
}

func bigIndex(big bool) int {
	if big {
		return 1
	}
	return 0
}

func (w *writer) find(big bool, pages int64) (i int, found bool) {
	list := w.warm[bigIndex(big)]
	i = sort.Search(len(list), func(i int) bool { return list[i].pages >= pages })
	return i, i < len(list) && list[i].pages == pages
}

// stackOf returns the stack for a size, making it if need be. Stacks are kept:
// there are as many as size classes, and remainders of splits are few.
func (w *writer) stackOf(big bool, pages int64) *stack {
	i, found := w.find(big, pages)
	list := &w.warm[bigIndex(big)]
	if !found {
		*list = append(*list, nil)
		copy((*list)[i+1:], (*list)[i:])
		(*list)[i] = &stack{pages: pages}
	}
	return (*list)[i]
}

// bestFit returns the warm extent to reuse for a size: the last freed of
// exactly it, or else of the next larger one.
func (w *writer) bestFit(big bool, pages int64) *free {
	i, _ := w.find(big, pages)
	for list := w.warm[bigIndex(big)]; i < len(list); i++ {
		if list[i].top != nil {
			return list[i].top
		}
	}
	return nil
}

// pushWarm makes a freed run of an owned slab reusable.
func (p *Pool) pushWarm(f *file, r run) {
	n := p.nodes
	if n != nil {
		p.nodes = n.below
	} else {
		n = &free{}
	}
	s := f.owner.stackOf(f.big, r.pages)
	*n = free{file: f, pages: r, older: p.newest, below: s.top, stack: s}
	if s.top != nil {
		s.top.above = n
	}
	s.top = n
	if p.newest != nil {
		p.newest.newer = n
	} else {
		p.oldest = n
	}
	p.newest = n
	p.warm += r.pages * PageSize
	f.used++
}

// popWarm takes a run out of both lists; its pages stay populated.
func (p *Pool) popWarm(n *free) {
	if n.above != nil {
		n.above.below = n.below
	} else {
		n.stack.top = n.below
	}
	if n.below != nil {
		n.below.above = n.above
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		p.newest = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		p.oldest = n.newer
	}
	p.warm -= n.pages.pages * PageSize
	n.file.used--
}

func (p *Pool) recycle(n *free) { *n = free{below: p.nodes}; p.nodes = n }
