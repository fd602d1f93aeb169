package own

// pools keep a bounded number of unused records, so that a steady load
// allocates nothing and a peak is given back.
type pools struct {
	limit    int
	tasks    []*task
	depss    []*deps
	exts     []*ext
	objects  []*object
	families []*family
	borrows  []*borrow
}

// keepSlice bounds the slices that a recycled record keeps.
const keepSlice = 64

func take[T any](list *[]*T) *T {
	if n := len(*list); n > 0 {
		v := (*list)[n-1]
		(*list)[n-1] = nil
		*list = (*list)[:n-1]
		return v
	}
	return new(T)
}

func give[T any](list *[]*T, v *T, limit int) {
	if len(*list) < limit {
		*list = append(*list, v)
	}
}

func (p *pools) task() *task     { return take(&p.tasks) }
func (p *pools) deps() *deps     { return take(&p.depss) }
func (p *pools) ext() *ext       { return take(&p.exts) }
func (p *pools) object() *object { return take(&p.objects) }
func (p *pools) family() *family { return take(&p.families) }
func (p *pools) borrow() *borrow { return take(&p.borrows) }

func (p *pools) putTask(t *task) {
	*t = task{}
	give(&p.tasks, t, p.limit)
}

func (p *pools) putDeps(d *deps) {
	*d = deps{objs: emptied(d.objs)}
	give(&p.depss, d, p.limit)
}

func (p *pools) putExt(e *ext) {
	clear(e.waiters)
	*e = ext{waiters: emptied(e.waiters), holders: emptied(e.holders), inner: emptied(e.inner), copies: emptied(e.copies)}
	give(&p.exts, e, p.limit)
}

func (p *pools) putObject(o *object) {
	*o = object{}
	give(&p.objects, o, p.limit)
}

func (p *pools) putFamily(f *family) {
	*f = family{}
	give(&p.families, f, p.limit)
}

func (p *pools) putBorrow(b *borrow) {
	*b = borrow{tokens: emptied(b.tokens)}
	give(&p.borrows, b, p.limit)
}

func emptied[T any](s []T) []T {
	if cap(s) > keepSlice {
		return nil
	}
	return s[:0]
}

// ring keeps the latest limit values.
type ring[T any] struct {
	limit int
	buf   []T
	next  int // where the oldest is, once the ring is full
}

// push adds v and returns what it displaced.
func (r *ring[T]) push(v T) (old T, displaced bool) {
	if len(r.buf) < r.limit {
		r.buf = append(r.buf, v)
		return old, false
	}
	old = r.buf[r.next]
	r.buf[r.next] = v
	if r.next++; r.next == r.limit {
		r.next = 0
	}
	return old, true
}

// at returns the i-th oldest value.
func (r *ring[T]) at(i int) *T {
	if i += r.next; i >= len(r.buf) {
		i -= len(r.buf)
	}
	return &r.buf[i]
}
