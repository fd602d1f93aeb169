package evict

import "github.com/weftrun/weft/internal/id"

// listID names an order of eviction. An entry is in one exactly while it could
// be moved: resident, sealed, unpinned, referenced.
type listID uint8

const (
	noList    listID = iota
	secondary        // copies whose primary is on another node
	clean            // also on disk
	awaited          // too, and brought back for somebody who has not read it yet
	dirty            // in memory only
	listCount
)

// list is least recently used first, linked through the entries.
type list struct {
	head, tail int32
	bytes      int64
}

func (m *Machine) listOf(e *entry) listID {
	switch {
	case e.state != Resident || e.pins > 0:
		return noList
	case e.secondary:
		return secondary
	case e.disk && e.restored && e.reads == 0:
		return awaited
	case e.disk:
		return clean
	}
	return dirty
}

// enlist puts an entry at the recent end of the list it belongs to, if any.
func (m *Machine) enlist(i int32) {
	e := &m.entries[i]
	e.list = m.listOf(e)
	if e.list == noList {
		return
	}
	l := &m.lists[e.list]
	e.prev, e.next = l.tail, 0
	if l.tail != 0 {
		m.entries[l.tail].next = i
	} else {
		l.head = i
	}
	l.tail = i
	l.bytes += e.bytes
}

// enlistFirst is enlist at the end that is evicted next.
func (m *Machine) enlistFirst(i int32) {
	e := &m.entries[i]
	e.list = m.listOf(e)
	if e.list == noList {
		return
	}
	l := &m.lists[e.list]
	e.prev, e.next = 0, l.head
	if l.head != 0 {
		m.entries[l.head].prev = i
	} else {
		l.tail = i
	}
	l.head = i
	l.bytes += e.bytes
}

func (m *Machine) delist(i int32) {
	e := &m.entries[i]
	if e.list == noList {
		return
	}
	l := &m.lists[e.list]
	m.unlink(i, &l.head, &l.tail)
	l.bytes -= e.bytes
	e.list = noList
}

func (m *Machine) unlink(i int32, head, tail *int32) {
	e := &m.entries[i]
	if e.prev != 0 {
		m.entries[e.prev].next = e.next
	} else {
		*head = e.next
	}
	if e.next != 0 {
		m.entries[e.next].prev = e.prev
	} else {
		*tail = e.prev
	}
	e.prev, e.next = 0, 0
}

// newEntry returns the index of an empty entry; pointers into entries are
// invalid after it.
func (m *Machine) newEntry() int32 {
	if i := m.spare; i != 0 {
		m.spare = m.entries[i].next
		m.entries[i] = entry{}
		return i
	}
	m.entries = append(m.entries, entry{})
	return int32(len(m.entries) - 1)
}

func (m *Machine) forget(i int32) {
	e := &m.entries[i]
	delete(m.byRes, e.res)
	if e.object != (id.Object{}) && m.objects[e.object] == i {
		delete(m.objects, e.object)
	}
	m.leaveJob(e.job)
	*e = entry{next: m.spare}
	m.spare = i
}

// job is one job's queue of reservations. It exists while any entry names it.
type job struct {
	name       id.Job
	entries    int
	head, tail int32
	granted    int64 // virtual time: the bytes it was granted, never behind the clock
}

func (m *Machine) joinJob(name id.Job) int32 {
	j, ok := m.byJob[name]
	if !ok {
		if j = m.noJob; j != 0 {
			m.noJob = m.jobs[j].head
		} else {
			m.jobs = append(m.jobs, job{})
			j = int32(len(m.jobs) - 1)
		}
		m.jobs[j] = job{name: name, granted: m.clock}
		m.byJob[name] = j
	}
	m.jobs[j].entries++
	return j
}

func (m *Machine) leaveJob(j int32) {
	b := &m.jobs[j]
	if b.entries--; b.entries > 0 {
		return
	}
	delete(m.byJob, b.name)
	*b = job{head: m.noJob}
	m.noJob = j
}

// enqueue makes a reservation wait behind those of its job.
func (m *Machine) enqueue(i int32) {
	e := &m.entries[i]
	b := &m.jobs[e.job]
	e.prev, e.next = b.tail, 0
	if b.tail != 0 {
		m.entries[b.tail].next = i
	} else {
		b.head = i
		b.granted = max(b.granted, m.clock)
		m.waiting = append(m.waiting, e.job)
	}
	b.tail = i
	m.waitingBytes += e.bytes
}

func (m *Machine) dequeue(i int32) {
	e := &m.entries[i]
	b := &m.jobs[e.job]
	m.unlink(i, &b.head, &b.tail)
	m.waitingBytes -= e.bytes
	if b.head != 0 {
		return
	}
	for k, j := range m.waiting {
		if j == e.job {
			m.waiting = append(m.waiting[:k], m.waiting[k+1:]...)
			return
		}
	}
}

// first returns the reservation that is served next: the oldest of the job that
// was granted least.
func (m *Machine) first() int32 {
	best := int32(0)
	for _, j := range m.waiting {
		if best == 0 || m.jobs[j].granted < m.jobs[best].granted {
			best = j
		}
	}
	if best == 0 {
		return 0
	}
	return m.jobs[best].head
}
