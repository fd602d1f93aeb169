package guard

import "time"

// share is a fraction of the limit in bytes.
func (m *Machine) share(f float64) int64 { return int64(f * float64(m.limit)) }

// begins is the use from which a level holds.
func (m *Machine) begins(l Level) int64 {
	parts := [...]float64{StopAdmitting: m.o.StopAt, SpillObjects: m.o.SpillAt, EndTasks: m.o.EndAt}
	return max(1, m.share(parts[l]))
}

// endsAt is the use below which it does not any more.
func (m *Machine) endsAt(l Level) int64 { return m.begins(l) - m.share(m.o.Margin) }

// judge finds the level.
func (m *Machine) judge(now time.Duration, fx []Effect) []Effect {
	l := m.level
	for l < EndTasks && m.use >= m.begins(l+1) {
		l++
	}
	for l > None && m.use < m.endsAt(l) {
		l--
	}
	if l == m.level {
		return fx
	}
	if l >= SpillObjects && m.level < SpillObjects {
		m.spillSince = now
	}
	m.level = l
	return append(fx, Effect{Kind: Pressure, Level: l, Used: m.use, Limit: m.limit})
}

// limitStore gives the store a target while it is to spill: what all others
// leave it below the end of the level. It depends on the others alone, so the
// store's own coming and going does not move it.
func (m *Machine) limitStore(fx []Effect) []Effect {
	if m.level < SpillObjects && !m.limited {
		return fx
	}
	full := m.now.StoreLimit
	target := min(max(m.endsAt(SpillObjects)-(m.use-m.now.Store), 0), full)
	if m.level >= SpillObjects {
		target = min(target, m.now.Store) // it may not grow
	}
	if m.level < SpillObjects && target == full {
		m.limited, m.target = false, 0
		return append(fx, Effect{Kind: Target, Bytes: full, Used: m.use, Limit: m.limit})
	}
	// It is said again while the store is above it: pages that spilling freed
	// since it was last said are still kept for reuse.
	above := m.level >= SpillObjects && m.now.Store > target+m.limit/100
	if m.limited && !above && m.target <= full && near(target, m.target, m.limit/100) {
		return fx
	}
	m.limited, m.target = true, target
	return append(fx, Effect{Kind: Target, Bytes: target, Used: m.use, Limit: m.limit})
}

func near(a, b, by int64) bool { return a-b <= by && b-a <= by }

// relieve ends a task if nothing else helps.
func (m *Machine) relieve(now time.Duration, fx []Effect) []Effect {
	m.stuck = false
	if m.level < EndTasks || m.victim.worker != 0 || m.spilling(now) {
		return fx
	}
	i := m.choose()
	if i == 0 {
		m.stuck = true
		return fx
	}
	t := m.tasks.get(i)
	m.victim = victim{worker: t.worker, at: now}
	t.doomed = true
	m.ends++
	times := m.ended.add(t.id)
	return append(fx, Effect{Kind: End, Task: t.id, Attempt: t.attempt, Worker: t.worker, Bytes: m.held(t.worker),
		Used: m.use, Limit: m.limit, TooLarge: m.tooLarge(t), Text: m.verdict(t, times)})
}

// spilling reports whether the store is making room that will do, and still has
// time to.
func (m *Machine) spilling(now time.Duration) bool {
	freed := m.use - max(0, m.now.Store-m.target)
	return m.limited && freed < m.begins(EndTasks) && now-m.spillSince < m.o.SpillFirst && m.use < m.share(m.o.CriticalAt)
}
