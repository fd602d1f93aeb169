package evict

import (
	"time"
)

// Step applies an event and appends what to do. An event that does not fit the
// state (an abort of what was never reserved) changes nothing and is kept in
// the story.
func (m *Machine) Step(now time.Duration, ev Event, effects []Effect) []Effect {
	m.effects = effects
	if !m.apply(now, &ev) {
		m.story.add(now, record{kind: ev.Kind, ignored: true, res: ev.Res, object: ev.Object, bytes: ev.Bytes})
		m.effects = nil
		return effects
	}
	m.story.add(now, record{kind: ev.Kind, res: ev.Res, object: ev.Object, bytes: ev.Bytes})
	m.pump(now)
	for _, f := range m.effects[len(effects):] {
		m.story.add(now, record{kind: f.Kind, res: f.Res, object: f.Object, bytes: f.Bytes})
	}
	effects, m.effects = m.effects, nil
	return effects
}

func (m *Machine) apply(now time.Duration, ev *Event) bool {
	switch ev.Kind {
	case Reserve:
		return m.reserve(now, ev)
	case NoMemory, FallbackDone, FallbackFailed, Abort, Seal:
		i := m.byRes[ev.Res]
		return i != 0 && m.applyRes(now, i, ev)
	case Target:
		m.target = min(max(ev.Bytes, 0), m.cfg.Limit)
		return true
	case Tick:
		return true
	}
	i := m.objects[ev.Object]
	return i != 0 && m.applyObject(now, i, ev)
}

func (m *Machine) applyRes(now time.Duration, i int32, ev *Event) bool {
	e := &m.entries[i]
	switch ev.Kind {
	case Abort:
		m.abort(now, i)
		return true
	case Seal:
		return m.seal(now, i, ev)
	case NoMemory:
		if e.state != Held {
			return false
		}
		m.used -= e.bytes
		m.place(i)
	case FallbackDone:
		if e.state != Placing {
			return false
		}
		e.state = PlacedHeld
	case FallbackFailed:
		if e.state != Placing {
			return false
		}
		m.emit(Fail, i)
		m.forget(i)
	}
	return true
}

func (m *Machine) applyObject(now time.Duration, i int32, ev *Event) bool {
	e := &m.entries[i]
	switch ev.Kind {
	case Pin:
		return m.pin(now, i)
	case Prefetch:
		return m.prefetch(now, i)
	case Unpin:
		return m.unpin(now, i)
	case Free:
		if e.doomed {
			return false
		}
		e.doomed = true
		m.freeIfIdle(now, i)
		return true
	case Promote:
		if !e.secondary {
			return false
		}
		m.delist(i)
		e.secondary = false
		m.enlist(i)
		return true
	case Demote:
		m.delist(i)
		m.enlistFirst(i)
		return true
	case SpillDone, SpillFailed:
		return m.spillEnd(now, i, ev.Kind == SpillDone)
	case Restored, RestoreNoMemory, RestoreFailed:
		return m.restoreEnd(now, i, ev.Kind)
	}
	return false
}

func (m *Machine) emit(k Kind, i int32) {
	e := &m.entries[i]
	m.effects = append(m.effects, Effect{Kind: k, Res: e.res, Object: e.object, Bytes: e.bytes})
}

// moved notes that memory was released or may be from now on.
func (m *Machine) moved(now time.Duration) { m.still, m.stuck = now, false }

func (m *Machine) reserve(now time.Duration, ev *Event) bool {
	if m.byRes[ev.Res] != 0 || ev.Bytes < 0 {
		return false
	}
	if len(m.waiting) == 0 && !m.stuck {
		m.still = now
	}
	i := m.newEntry()
	e := &m.entries[i]
	e.state, e.res, e.bytes, e.secondary = Waiting, ev.Res, ev.Bytes, ev.Secondary
	e.job = m.joinJob(ev.Job)
	m.byRes[ev.Res] = i
	m.enqueue(i)
	return true
}

func (m *Machine) abort(now time.Duration, i int32) {
	e := &m.entries[i]
	if e.state == Waiting {
		m.dequeue(i)
	}
	if e.state.inMemory() {
		m.used -= e.bytes
		m.moved(now)
	}
	m.forget(i)
}

func (m *Machine) seal(now time.Duration, i int32, ev *Event) bool {
	e := &m.entries[i]
	if (e.state != Held && e.state != PlacedHeld) || ev.Bytes < 0 || ev.Bytes > e.bytes || m.objects[ev.Object] != 0 {
		return false
	}
	delete(m.byRes, e.res)
	m.objects[ev.Object] = i
	e.object, e.res = ev.Object, 0
	if e.state == PlacedHeld {
		e.state, e.bytes = External, ev.Bytes
		return true
	}
	m.used -= e.bytes - ev.Bytes
	e.state, e.bytes = Resident, ev.Bytes
	m.enlist(i)
	m.moved(now)
	return true
}

// pin counts a reader. One of a spilled object has it restored if there is room
// that no producer waits for, or else served from the file.
func (m *Machine) pin(now time.Duration, i int32) bool {
	e := &m.entries[i]
	if e.doomed && e.pins == 0 {
		return false
	}
	m.delist(i)
	e.pins++
	if e.loader {
		e.loader = false
	} else {
		e.reads = min(e.reads+1, 2)
	}
	if e.state == Spilled && !m.restore(now, i, awaited) {
		e.state = Mapped
		m.emit(MapFile, i)
	}
	return true
}

// prefetch brings a spilled object back, or has one in memory stay there longer.
func (m *Machine) prefetch(now time.Duration, i int32) bool {
	e := &m.entries[i]
	switch {
	case e.doomed:
		return false
	case e.state == Resident:
		m.delist(i)
		m.enlist(i)
		return true
	}
	return e.state == Spilled && m.restore(now, i, clean)
}

// restore begins to bring a spilled object back if there is room that no
// producer waits for, when objects up to those of a list give way.
func (m *Machine) restore(now time.Duration, i int32, upTo listID) bool {
	e := &m.entries[i]
	if len(m.waiting) > 0 {
		return false
	}
	if !m.makeRoom(e.bytes, upTo) {
		m.pressure = max(m.pressure, now+m.cfg.Patience)
		return false
	}
	e.state, e.restored, e.loader = Restoring, true, true
	e.reads = uint8(min(e.pins, 1))
	m.used += e.bytes
	m.copied += e.bytes
	m.emit(Restore, i)
	return true
}

func (m *Machine) unpin(now time.Duration, i int32) bool {
	e := &m.entries[i]
	if e.pins == 0 {
		return false
	}
	if e.pins--; e.pins > 0 {
		return true
	}
	if e.state == Mapped {
		e.state = Spilled
	}
	if m.freeIfIdle(now, i) || e.state != Resident {
		return true
	}
	if e.restored && e.reads == 1 {
		m.enlistFirst(i)
	} else {
		m.enlist(i)
	}
	m.moved(now)
	return true
}

// freeIfIdle releases a doomed object that nobody reads or moves.
func (m *Machine) freeIfIdle(now time.Duration, i int32) bool {
	e := &m.entries[i]
	if !e.doomed || e.pins > 0 || e.state == Spilling || e.state == Restoring {
		return false
	}
	m.delist(i)
	if e.state.inMemory() {
		m.used -= e.bytes
		if e.disk {
			m.copied -= e.bytes
		}
	}
	if e.disk {
		m.retry = 0 // there is room on the disk
	}
	m.moved(now)
	m.emit(Release, i)
	m.forget(i)
	return true
}

func (m *Machine) spillEnd(now time.Duration, i int32, ok bool) bool {
	e := &m.entries[i]
	if e.state != Spilling {
		return false
	}
	e.state = Resident
	m.spillingBytes -= e.bytes
	if ok {
		e.disk = true
		m.copied += e.bytes
		m.moved(now)
	} else {
		m.retry = now + m.cfg.Patience
	}
	if !m.freeIfIdle(now, i) {
		m.enlistFirst(i) // it was the least recently used
	}
	return true
}

func (m *Machine) restoreEnd(now time.Duration, i int32, k Kind) bool {
	e := &m.entries[i]
	if e.state != Restoring {
		return false
	}
	if k == Restored {
		e.state = Resident
	} else {
		m.used -= e.bytes
		m.copied -= e.bytes
		e.state = Spilled
	}
	if k == RestoreNoMemory && e.pins > 0 {
		e.state = Mapped
		m.emit(MapFile, i)
	}
	if !m.freeIfIdle(now, i) {
		m.enlist(i)
	}
	return true
}
