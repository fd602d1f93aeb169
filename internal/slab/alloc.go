package slab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrClosed is returned by a pool after Close.
var ErrClosed = errors.New("slab: the pool is closed")

// Reuse is Alloc if that takes no system call: from warm pages.
func (p *Pool) Reuse(w Writer, size int64) (Extent, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.writers[w]
	if own == nil || p.closed {
		return Extent{}, false
	}
	f, r, ok := p.reuse(own, p.Charge(size)/PageSize)
	if !ok {
		return Extent{}, false
	}
	return f.extent(r), true
}

// Alloc returns an extent of at least size bytes in a slab of w, its pages
// populated. Its content is whatever w's process or the kernel left there. The
// error is a [NoRoomError] or a [NoMemoryError].
func (p *Pool) Alloc(w Writer, size int64) (Extent, error) {
	pages := p.Charge(size) / PageSize
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return Extent{}, ErrClosed
	}
	own := p.writer(w)
	if f, r, ok := p.reuse(own, pages); ok {
		p.mu.Unlock()
		return f.extent(r), nil
	}
	f, r, victims, err := p.plan(own, pages)
	for errors.Is(err, errPunching) {
		p.punchDone.Wait()
		f, r, victims, err = p.plan(p.writer(w), pages)
	}
	p.mu.Unlock()
	if err != nil {
		return Extent{}, err
	}
	p.punch(victims)
	if err := f.populate(r); err != nil {
		p.unplan(f, r)
		return Extent{}, &NoMemoryError{Asked: size, Op: "populate pages", Err: err}
	}
	return f.extent(r), nil
}

func (f *file) extent(r run) Extent {
	return Extent{Slab: f.id, Offset: r.page * PageSize, Size: r.pages * PageSize}
}

func (p *Pool) writer(w Writer) *writer {
	own := p.writers[w]
	if own == nil {
		own = &writer{who: w}
		p.writers[w] = own
	}
	return own
}

// reuse serves an extent from warm pages, splitting a larger one if none fits
// exactly; the rest stays warm.
func (p *Pool) reuse(w *writer, pages int64) (*file, run, bool) {
	n := w.bestFit(p.isBig(pages), pages)
	if n == nil {
		return nil, run{}, false
	}
	f, r := n.file, n.pages
	p.popWarm(n)
	p.recycle(n)
	if r.pages > pages {
		p.pushWarm(f, run{r.page + pages, r.pages - pages})
	}
	p.hits++
	p.take(f, pages)
	return f, run{r.page, pages}, true
}

func (p *Pool) take(f *file, pages int64) {
	p.live += pages * PageSize
	f.used++
	f.live++
}

// plan finds addresses for an extent and the warm extents that must be punched
// first to keep within the limit, and accounts for both. The caller punches
// and populates without the lock, in this order, so that what is resident never
// exceeds what is accounted.
func (p *Pool) plan(w *writer, pages int64) (*file, run, []*free, error) {
	need := pages * PageSize
	over := p.populated + need - p.cfg.Limit
	if p.closed {
		return nil, run{}, nil, ErrClosed
	}
	if p.live+need > p.cfg.Limit {
		return nil, run{}, nil, &NoRoomError{Asked: need, Live: p.live, Limit: p.cfg.Limit}
	}
	if over > p.warm+bytesOf(p.doomed) {
		return nil, run{}, nil, errPunching
	}
	f, r, err := p.address(w, pages)
	if err != nil {
		return nil, run{}, nil, err
	}
	p.misses++
	victims := p.victims(over)
	freed := bytesOf(victims)
	// What the victims free goes straight to this extent; a surplus is only
	// accounted as free once it is punched.
	given := min(freed, need)
	p.busy -= given
	p.populated += need - given
	p.take(f, pages)
	return f, r, p.handOver(victims, given), nil
}

// handOver marks how much of the victims' bytes the caller accounted for
// already; the rest leaves the account when they are punched.
func (p *Pool) handOver(victims []*free, given int64) []*free {
	for _, v := range victims {
		n := min(given, v.pages.pages*PageSize)
		v.given, given = n, given-n
	}
	return victims
}

// errPunching says that there will be room when another goroutine has finished
// punching pages that are free already.
var errPunching = errors.New("slab: pages are being punched")

func bytesOf(list []*free) (n int64) {
	for _, v := range list {
		n += v.pages.pages * PageSize
	}
	return n
}

// victims returns what to punch for bytes of room: everything freed in slabs
// whose writer is gone, then the oldest warm extents.
func (p *Pool) victims(bytes int64) []*free {
	list := p.doomed
	p.doomed = nil
	return append(list, p.collect(bytes-bytesOf(list))...)
}

// collect takes the warm extents freed longest ago, at least bytes of them, out
// of the lists and into the account of those being punched.
func (p *Pool) collect(bytes int64) (victims []*free) {
	for bytes > 0 && p.oldest != nil {
		n := p.oldest
		p.popWarm(n)
		p.condemn(n)
		victims = append(victims, n)
		bytes -= n.pages.pages * PageSize
	}
	return victims
}

func (p *Pool) condemn(n *free) {
	p.busy += n.pages.pages * PageSize
	n.file.used++
}

// address finds unpopulated pages in one of the writer's slabs, or makes one.
func (p *Pool) address(w *writer, pages int64) (*file, run, error) {
	big := p.isBig(pages)
	for _, f := range w.files {
		if f.big != big {
			continue
		}
		if r, ok := f.takeCold(pages); ok {
			return f, r, nil
		}
	}
	size := max(p.cfg.Slab, pages*PageSize)
	if big {
		size = pages * PageSize
	}
	f, err := newFile(size)
	if err != nil {
		return nil, run{}, err
	}
	p.nextID++
	f.id, f.big, f.owner = p.nextID, big, w
	p.slabs[f.id] = f
	w.files = append(w.files, f)
	r, _ := f.takeCold(pages)
	return f, r, nil
}

// unplan undoes a plan whose pages the machine would not give.
func (p *Pool) unplan(f *file, r run) {
	p.mu.Lock()
	p.live -= r.pages * PageSize
	f.live--
	p.busy += r.pages * PageSize // some of the pages may be there
	n := &free{file: f, pages: r}
	p.mu.Unlock()
	p.punch([]*free{n})
}

// punch gives back the pages of condemned extents, and the slabs that are then
// empty. No lock is held: nobody else can reach a condemned extent.
func (p *Pool) punch(victims []*free) {
	if len(victims) == 0 {
		return
	}
	for _, v := range victims {
		if err := v.file.punch(v.pages); err != nil {
			// The call cannot fail on a range of our own memfd.
			panic(fmt.Sprintf("slab: assertion: punch pages %v of slab %d: %v", v.pages, v.file.id, err))
		}
	}
	p.retire(p.settlePunched(victims))
}

// settlePunched accounts for punched extents and returns the slabs to close.
func (p *Pool) settlePunched(victims []*free) (empty []*file) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.punchDone.Broadcast()
	for _, v := range victims {
		n := v.pages.pages * PageSize
		p.busy -= n - v.given
		p.populated -= n - v.given
		p.punched += n
		v.file.used--
		v.file.addCold(v.pages)
		if v.file.used == 0 && p.drop(v.file) {
			empty = append(empty, v.file)
		}
		p.recycle(v)
	}
	return empty
}

// drop takes a slab with no populated page out of the tables, unless it is the
// only shared slab of a writer that is still there: its address space costs
// nothing and its process has it mapped.
func (p *Pool) drop(f *file) bool {
	if p.slabs[f.id] != f {
		return false
	}
	if w := f.owner; w != nil {
		shared := 0
		for _, o := range w.files {
			if !o.big {
				shared++
			}
		}
		if !f.big && shared == 1 {
			return false
		}
		w.remove(f)
	}
	delete(p.slabs, f.id)
	return true
}

func (w *writer) remove(f *file) {
	for i, o := range w.files {
		if o == f {
			w.files = append(w.files[:i], w.files[i+1:]...)
			return
		}
	}
}

// Free returns an extent. Its pages stay warm for its writer; call [Pool.Settle]
// afterwards, without locks, to give back what is over the cap.
func (p *Pool) Free(e Extent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.file(e.Slab)
	p.live -= e.Size
	f.live--
	f.used--
	p.release(f, run{e.Offset / PageSize, e.Size / PageSize})
}

func (p *Pool) release(f *file, r run) {
	if f.owner != nil {
		p.pushWarm(f, r)
		return
	}
	n := &free{file: f, pages: r}
	p.condemn(n)
	p.doomed = append(p.doomed, n)
}

// Shrink keeps the first size bytes of an extent and frees the rest.
func (p *Pool) Shrink(e Extent, size int64) Extent {
	keep := p.Charge(size)
	if keep >= e.Size {
		return e
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.file(e.Slab)
	p.live -= e.Size - keep
	p.release(f, run{(e.Offset + keep) / PageSize, (e.Size - keep) / PageSize})
	e.Size = keep
	return e
}

func (p *Pool) file(id ID) *file {
	f := p.slabs[id]
	if f == nil {
		panic(fmt.Sprintf("slab: assertion: slab %d is not there: an extent was freed twice", id))
	}
	return f
}

// Settle gives back the pages that are warm beyond the cap and those freed in
// slabs whose writer is gone.
func (p *Pool) Settle() { p.Trim(p.cfg.Warm) }

// Trim gives back warm pages until at most keep bytes of them are left.
func (p *Pool) Trim(keep int64) {
	p.mu.Lock()
	victims := p.victims(bytesOf(p.doomed) + p.warm - keep)
	p.mu.Unlock()
	p.punch(victims)
}

// CloseWriter says that w's process is gone: its warm pages are given back now
// and the extents that are still in use when they are freed. Extents that it
// reserved must be freed by whoever holds them.
func (p *Pool) CloseWriter(w Writer) {
	p.mu.Lock()
	own := p.writers[w]
	if own == nil {
		p.mu.Unlock()
		return
	}
	delete(p.writers, w)
	victims := p.doomed
	p.doomed = nil
	for _, stacks := range own.warm {
		for _, s := range stacks {
			for s.top != nil {
				n := s.top
				p.popWarm(n)
				p.condemn(n)
				victims = append(victims, n)
			}
		}
	}
	var empty []*file
	for _, f := range own.files {
		f.owner = nil // the condemned extents keep it until they are punched
		if f.used == 0 && p.drop(f) {
			empty = append(empty, f)
		}
	}
	p.mu.Unlock()
	p.punch(victims)
	p.retire(empty)
}

func (p *Pool) retire(files []*file) {
	for _, f := range files {
		if err := f.close(); err != nil {
			panic(fmt.Sprintf("slab: assertion: close slab %d: %v", f.id, err))
		}
		p.cfg.Retired(f.id)
	}
}

// Bytes returns the extent's memory for the node's own writing.
func (p *Pool) Bytes(e Extent) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := e.Offset + e.Size
	return p.file(e.Slab).rw[e.Offset:end:end]
}

// View returns the extent's memory read-only: a write through it faults.
func (p *Pool) View(e Extent) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	view, err := p.file(e.Slab).readOnly()
	if err != nil {
		return nil, err
	}
	end := e.Offset + e.Size
	return view[e.Offset:end:end], nil
}

// File returns a descriptor of a slab to send to another process, and the bytes
// to map of it. The caller closes it. Writable is for the slab's writer alone.
func (p *Pool) File(id ID, writable bool) (*os.File, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.slabs[id]
	if f == nil {
		return nil, 0, fmt.Errorf("slab: slab %d is gone; ask for the object's location again", id)
	}
	d, err := f.dup(writable)
	return d, f.size, err
}

// Resident returns the bytes the kernel keeps for the pool's memfds: the truth
// that Stats().Populated accounts for.
func (p *Pool) Resident() (n int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.slabs {
		var st unix.Stat_t
		if err := unix.Fstat(f.fd, &st); err != nil {
			return 0, fmt.Errorf("slab: stat slab %d: %w", f.id, err)
		}
		n += st.Blocks * 512
	}
	return n, nil
}
