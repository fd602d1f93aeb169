package slab

import (
	"errors"
	"fmt"
)

// Stats is a moment of a pool. Sizes are bytes.
type Stats struct {
	Limit     int64
	Populated int64 // resident pages: Live, Warm and those being punched
	Live      int64 // in extents
	Warm      int64 // freed and kept for reuse
	Slabs     int
	Hits      int64 // extents served from warm pages
	Misses    int64 // extents whose pages had to be populated
	Punched   int64 // bytes given back to the machine, in total
}

// Stats returns the pool's figures.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Limit: p.cfg.Limit, Populated: p.populated, Live: p.live, Warm: p.warm,
		Slabs: len(p.slabs), Hits: p.hits, Misses: p.misses, Punched: p.punched}
}

func (s Stats) String() string {
	return fmt.Sprintf("populated %d of %d bytes (live %d, warm %d) in %d slabs; %d warm and %d cold extents, %d bytes punched",
		s.Populated, s.Limit, s.Live, s.Warm, s.Slabs, s.Hits, s.Misses, s.Punched)
}

// Check reports a broken invariant.
func (p *Pool) Check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sum := p.live + p.warm + p.busy; sum != p.populated {
		return fmt.Errorf("slab: live %d + warm %d + busy %d is not populated %d", p.live, p.warm, p.busy, p.populated)
	}
	if p.populated > p.cfg.Limit {
		return fmt.Errorf("slab: populated %d over limit %d", p.populated, p.cfg.Limit)
	}
	return errors.Join(p.checkWarm(), p.checkFiles())
}

func (p *Pool) checkWarm() error {
	sum := int64(0)
	for n := p.oldest; n != nil; n = n.newer {
		sum += n.pages.pages * PageSize
		if n.stack.pages != n.pages.pages || n.file.owner == nil {
			return fmt.Errorf("slab: warm pages %v of slab %d are in the wrong stack", n.pages, n.file.id)
		}
	}
	if sum != p.warm {
		return fmt.Errorf("slab: warm extents sum to %d, not %d", sum, p.warm)
	}
	return nil
}

func (p *Pool) checkFiles() error {
	for id, f := range p.slabs {
		cold, end := int64(0), int64(-1)
		for _, r := range f.cold {
			if r.page <= end || r.pages <= 0 {
				return fmt.Errorf("slab: slab %d: cold runs %v are not sorted and apart", id, f.cold)
			}
			cold, end = cold+r.pages, r.page+r.pages
		}
		if end > f.size/PageSize || (f.used == 0) != (cold == f.size/PageSize) {
			return fmt.Errorf("slab: slab %d: %d extents, %d of %d pages cold", id, f.used, cold, f.size/PageSize)
		}
	}
	return nil
}

// Close releases everything and returns an error if extents were still in use;
// their mappings in this process are left in place, because a view of them
// may be, and so is their memory.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	var errs []error
	for _, f := range p.slabs {
		if f.live > 0 {
			errs = append(errs, f.closeFDs())
			continue
		}
		errs = append(errs, f.close())
	}
	if p.live > 0 {
		errs = append(errs, fmt.Errorf("slab: closed with %d bytes in use; views of them stay mapped", p.live))
	}
	p.slabs, p.writers = map[ID]*file{}, map[Writer]*writer{}
	p.oldest, p.newest, p.doomed, p.nodes = nil, nil, nil, nil
	p.populated, p.live, p.warm, p.busy = 0, 0, 0, 0
	return errors.Join(errs...)
}
