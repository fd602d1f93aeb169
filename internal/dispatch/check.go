package dispatch

import (
	"fmt"

	"github.com/weftrun/weft/internal/resource"
)

// Check reports a broken invariant: resources that do not add up, counts that
// are wrong, or a task that waits although it could run.
func (m *Machine) Check() error {
	for _, check := range []func() error{m.checkPools, m.checkCounts, m.checkHeaps, m.checkWorkers, m.checkProgress} {
		if err := check(); err != nil {
			return fmt.Errorf("dispatch: %w", err)
		}
	}
	return nil
}

// tally is what a pool should show, summed up from its leases.
type tally struct {
	used, idle, stuck resource.Vector
	parts, rested     map[Part]resource.Amount // of each device, Amount left out
}

func newTally() *tally {
	return &tally{parts: map[Part]resource.Amount{}, rested: map[Part]resource.Amount{}}
}

func (m *Machine) checkPools() error {
	sums := map[*pool]*tally{&m.node: newTally()}
	for _, g := range m.groups {
		for _, p := range g.bundles {
			sums[p] = newTally()
			for kind := range p.devices {
				for i, size := range p.devices[kind].size {
					sums[&m.node].parts[Part{Kind: kind, Device: i}] += size
				}
			}
			sums[&m.node].used.Add(&p.total)
			sums[&m.node].stuck.Add(&p.total)
		}
	}
	zero, zeroIdle := 0, 0
	for _, l := range m.leases.at {
		if l.id == 0 {
			continue
		}
		t, s := sums[m.home(l)], l.q.shape
		if t == nil {
			return fmt.Errorf("lease %d is in a pool that is not there", l.id)
		}
		if err := l.checkParts(); err != nil {
			return err
		}
		t.count(l)
		zero += b2i(s.zero && !l.blocked)
		zeroIdle += b2i(s.zero && l.resting)
	}
	if m.zeroFree+zero != m.o.ZeroTasks || m.zeroIdle != zeroIdle {
		return fmt.Errorf("%d free, %d taken of %d leases without resources", m.zeroFree, zero, m.o.ZeroTasks)
	}
	for p, t := range sums {
		total := p.free.Clone()
		total.Add(&t.used)
		for _, pair := range [][2]resource.Vector{{total, p.total}, {p.idle, t.idle}, {p.stuck, t.stuck}} {
			if !same(&pair[0], &pair[1]) {
				return fmt.Errorf("pool of group %s bundle %d: free %v, used %v of %v; idle %v, want %v; stuck %v, want %v",
					p.group, p.bundle, p.free, t.used, p.total, p.idle, t.idle, p.stuck, t.stuck)
			}
		}
		if err := p.checkDevices(t); err != nil {
			return err
		}
	}
	return nil
}

// checkParts compares the devices that l holds with what its tasks need.
func (l *lease) checkParts() error {
	var sums [len(resource.Accelerators)]resource.Amount
	for _, x := range l.parts {
		sums[x.Kind] += x.Amount
	}
	for kind, name := range resource.Accelerators {
		if need := l.q.shape.need.Get(name); sums[kind] != need {
			return fmt.Errorf("lease %d holds %d of %s and needs %d", l.id, sums[kind], name, need)
		}
	}
	return nil
}

// checkDevices compares each device with the leases that hold parts of it.
func (p *pool) checkDevices(t *tally) error {
	for kind := range p.devices {
		d := &p.devices[kind]
		for i, size := range d.size {
			x := Part{Kind: kind, Device: i}
			if d.free[i] < 0 || d.free[i]+t.parts[x] != size || d.idle[i] != t.rested[x] {
				return fmt.Errorf("%s %d of group %s bundle %d: %d free and %d used of %d; idle %d, want %d", resource.Accelerators[kind], i,
					p.group, p.bundle, d.free[i], t.parts[x], size, d.idle[i], t.rested[x])
			}
		}
	}
	return nil
}

func (t *tally) count(l *lease) {
	for _, x := range l.parts {
		t.parts[Part{Kind: x.Kind, Device: x.Device}] += x.Amount
		if l.resting {
			t.rested[Part{Kind: x.Kind, Device: x.Device}] += x.Amount
		}
	}
	need := l.q.shape.need.Clone()
	if l.resting {
		t.idle.Add(&need)
	}
	if l.blocked {
		need.CPU = 0
	}
	t.used.Add(&need)
	if l.q.create || l.blocked {
		t.stuck.Add(&need)
	}
}

// same compares vectors that may have zero entries.
func same(a, b *resource.Vector) bool {
	d := a.Clone()
	d.Sub(b)
	for _, amount := range d.All {
		if amount != 0 {
			return false
		}
	}
	return true
}

func (m *Machine) checkCounts() error {
	queued, waiting, starting, running, blocked := 0, 0, 0, 0, 0
	refs := make([]int, len(m.functions.at))
	for _, q := range m.inOrder {
		n := 0
		for i := range q.lanes {
			for e := range q.lanes[i].fifo.all {
				n++
				refs[e.fn]++
			}
		}
		if !q.remote() && n != q.n {
			return fmt.Errorf("queue %v: %d entries, counted %d", q.name, n, q.n)
		}
		queued += n
		starting += q.starting
		waiting += b2i(q.waiting())
		if q.waiting() != (q.wants() > 0) {
			return fmt.Errorf("queue %v: wants %d leases, waiting %v", q.name, q.wants(), q.waiting())
		}
	}
	for _, l := range m.leases.at {
		if l.id == 0 {
			continue
		}
		running += b2i(l.running())
		blocked += b2i(l.blocked)
		tail := int64(0)
		for i := range l.n {
			refs[l.item(i).fn]++
			if i > 0 {
				tail += l.item(i).cost
			}
		}
		if tail != l.tail {
			return fmt.Errorf("lease %d: tail %d, counted %d", l.id, tail, l.tail)
		}
	}
	if queued != m.queued || waiting != m.waiting || starting != m.starting || running != m.running || blocked != m.blocked {
		return fmt.Errorf("queued %d/%d waiting %d/%d starting %d/%d running %d/%d blocked %d/%d",
			queued, m.queued, waiting, m.waiting, starting, m.starting, running, m.running, blocked, m.blocked)
	}
	for i := range refs {
		if refs[i] != m.functions.at[i].refs {
			return fmt.Errorf("function %q: %d tasks, counted %d", m.functions.at[i].name.name, refs[i], m.functions.at[i].refs)
		}
	}
	return nil
}

func (m *Machine) checkHeaps() error {
	for i, j := range m.jobs {
		if j.hpos != i || (i > 0 && j.before(m.jobs[(i-1)/2])) {
			return fmt.Errorf("job %s is out of order", j.id)
		}
		n := 0
		for _, r := range j.ranks {
			for k, q := range r.heap {
				n++
				if q.hpos != k || (k > 0 && q.before(r.heap[(k-1)/2])) || q.shape != r.shape {
					return fmt.Errorf("queue %v is out of order", q.name)
				}
			}
		}
		if n != j.waiting || n == 0 {
			return fmt.Errorf("job %s: %d queues wait, counted %d", j.id, n, j.waiting)
		}
	}
	return nil
}

func (m *Machine) checkWorkers() error {
	for _, c := range m.classList {
		for _, w := range c.workers {
			if c.name.Isolated && len(w.leases) > 1 {
				return fmt.Errorf("worker %d is isolated and has %d leases", w.id, len(w.leases))
			}
			for i, l := range w.leases {
				if l.w != w || l.workerAt != i {
					return fmt.Errorf("worker %d: lease %d is not its own", w.id, l.id)
				}
			}
		}
		if len(c.starting) > 0 && c.pending == 0 {
			return fmt.Errorf("class %v: %d leases wait for a worker that nobody starts", c.name, len(c.starting))
		}
	}
	return nil
}

// checkProgress looks for tasks that could run but were not started.
func (m *Machine) checkProgress() error {
	if !m.admits() {
		return nil
	}
	for _, q := range m.inOrder {
		if q.n > 0 && len(q.idle) > 0 && !m.pressure {
			return fmt.Errorf("queue %v: %d tasks wait beside an idle lease", q.name, q.n)
		}
	}
	for _, j := range m.jobs {
		if q := m.first(j); j == m.jobs[0] && m.fit(q.shape) != nil && !m.reserves(q) {
			return fmt.Errorf("queue %v waits although there is room for it", q.name)
		}
	}
	return nil
}
