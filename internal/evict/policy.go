package evict

import "time"

// pump serves what waits as far as room can be made, and starts what will make
// more of it.
func (m *Machine) pump(now time.Duration) {
	for i := m.first(); i != 0; i = m.first() {
		e := &m.entries[i]
		if e.bytes > m.cfg.Limit {
			m.dequeue(i)
			m.place(i)
			continue
		}
		if !m.makeRoom(e.bytes, awaited) {
			m.pressure = now + m.cfg.Patience
			break
		}
		m.dequeue(i)
		m.grant(i)
	}
	m.spillAhead(now)
	m.fallBack(now)
}

func (m *Machine) grant(i int32) {
	e := &m.entries[i]
	b := &m.jobs[e.job]
	m.clock = max(m.clock, b.granted)
	b.granted = m.clock + e.bytes
	e.state = Held
	m.used += e.bytes
	m.emit(Grant, i)
}

// makeRoom reports whether bytes fit, after giving up what costs nothing:
// secondary copies and what is on disk too, and what is awaited only if upTo says
// so. It gives up nothing in vain.
func (m *Machine) makeRoom(bytes int64, upTo listID) bool {
	over := m.used + bytes - m.target
	for l := secondary; l <= upTo; l++ {
		over -= m.lists[l].bytes
	}
	if over > 0 {
		return false
	}
	for m.used+bytes > m.target {
		switch {
		case m.lists[secondary].head != 0:
			m.drop(m.lists[secondary].head)
		case m.lists[clean].head != 0:
			m.evict(m.lists[clean].head)
		default:
			m.evict(m.lists[awaited].head)
		}
	}
	return true
}

func (m *Machine) drop(i int32) {
	m.delist(i)
	m.used -= m.entries[i].bytes
	if m.entries[i].disk {
		m.copied -= m.entries[i].bytes
	}
	m.emit(Drop, i)
	m.forget(i)
}

func (m *Machine) evict(i int32) {
	m.delist(i)
	e := &m.entries[i]
	m.used -= e.bytes
	m.copied -= e.bytes
	e.state = Spilled
	m.emit(Evict, i)
}

// spillAhead keeps the disk writing while producers wait, and for a while
// after, until two batches are free, so that they find room without waiting.
// It also brings use down to the target. What readers have pinned will be free
// again if it is on disk too: nothing is written ahead for their sake.
func (m *Machine) spillAhead(now time.Duration) {
	over := m.used + m.waitingBytes - m.lists[secondary].bytes - m.spillingBytes - m.target
	need := over - m.lists[clean].bytes - m.lists[awaited].bytes
	if now < m.pressure {
		need = max(need, over+2*m.cfg.Batch-m.copied)
	}
	for need > 0 && m.spillingBytes <= m.cfg.Batch && now >= m.retry && m.lists[dirty].head != 0 {
		need -= m.spillBatch()
	}
}

func (m *Machine) spillBatch() (bytes int64) {
	m.batch++
	for i := m.lists[dirty].head; i != 0; i = m.lists[dirty].head {
		e := &m.entries[i]
		if bytes > 0 && bytes+e.bytes > m.cfg.Batch {
			break
		}
		m.delist(i)
		e.state = Spilling
		bytes += e.bytes
		m.emit(Spill, i)
		m.effects[len(m.effects)-1].Batch = m.batch
	}
	m.spillingBytes += bytes
	return bytes
}

// fallBack gives those that wait a place on disk when nothing moved for long.
func (m *Machine) fallBack(now time.Duration) {
	if len(m.waiting) == 0 || m.spillingBytes > 0 {
		return
	}
	if !m.stuck && now-m.still < m.cfg.Patience {
		return
	}
	m.stuck = true
	for i := m.first(); i != 0; i = m.first() {
		m.dequeue(i)
		m.place(i)
	}
}

func (m *Machine) place(i int32) {
	m.entries[i].state = Placing
	m.emit(Fallback, i)
}

// Deadline returns when the next Tick is due, if one is.
func (m *Machine) Deadline() (time.Duration, bool) {
	if len(m.waiting) == 0 || m.spillingBytes > 0 {
		return 0, false
	}
	at := m.still + m.cfg.Patience
	if m.lists[dirty].head != 0 && m.retry > 0 {
		at = min(at, m.retry)
	}
	return at, true
}
