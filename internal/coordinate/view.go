package coordinate

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/weftrun/weft/internal/resource"
)

// Changed reports whether figures differ by enough to be worth telling: a tenth
// of what the node has of a resource, or anything that decides what it can run.
func Changed(old, now *Figures) bool {
	if !old.Total.Equal(&now.Total) || !sameLabels(old.Labels, now.Labels) || (old.Queued == 0) != (now.Queued == 0) {
		return true
	}
	for name, total := range now.Total.All {
		was, is := old.Free.Get(name), now.Free.Get(name)
		if diff := max(was-is, is-was); diff > 0 && (diff*10 >= total || (was > 0) != (is > 0)) {
			return true
		}
	}
	return false
}

func sameLabels(a, b resource.Labels) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// figures takes a member's figures and has them told if they changed.
func (m *Machine) figures(n *member, f *Figures) {
	if f == nil || !Changed(&n.view.Figures, f) {
		return
	}
	n.view.Figures = *f
	m.room()
	if !n.isDirty && len(n.seenBy) > 0 {
		n.isDirty = true
		m.dirty = append(m.dirty, n)
	}
}

// introduce gives a new member its view, and puts it into others'.
func (m *Machine) introduce(n *member) {
	m.sample(n)
	for i := 0; len(n.seenBy) < m.o.Sample && i < 2*m.o.Sample; i++ {
		if o := m.pick(n, i, 1); o != nil && o != n && len(o.sees) < 2*m.o.Sample {
			m.see(o, n)
		}
	}
}

// sample fills a member's view: with all others, if it has room for them.
func (m *Machine) sample(n *member) {
	if len(m.members.order)-1 <= m.o.Sample {
		for _, o := range m.members.order {
			m.see(n, o)
			m.see(o, n)
		}
		return
	}
	for i := 0; len(n.sees) < m.o.Sample && i < 2*m.o.Sample; i++ {
		m.see(n, m.pick(n, i, 0))
	}
}

// see puts o into n's view. The news of it go out with the next flush.
func (m *Machine) see(n, o *member) {
	if n == o || slices.Contains(n.sees, o) {
		return
	}
	n.sees = append(n.sees, o)
	o.seenBy = append(o.seenBy, n)
	if !o.isDirty {
		o.isDirty = true
		m.dirty = append(m.dirty, o)
	}
}

// pick returns one of all members, as good as by chance but the same in every
// replay.
func (m *Machine) pick(n *member, i, salt int) *member {
	id := n.id()
	x := binary.BigEndian.Uint64(id[:]) + uint64(2*i+salt+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return m.members.order[(x^x>>31)%uint64(len(m.members.order))]
}

// seek finds members for work that the asker's view has nobody for: those that
// could do it, the ones with room first.
func (m *Machine) seek(ev *Event, fx []Effect) []Effect {
	n := m.members.byID[ev.Node]
	const enough = 8
	found := 0
	for _, room := range []bool{true, false} {
		for i := 0; i < len(m.members.order) && found < enough && len(n.sees) < 4*m.o.Sample; i++ {
			o := m.members.order[i]
			have := &o.view.Total
			if room {
				have = &o.view.Free
			}
			if o == n || o.draining || !ev.Selector.Match(o.view.Labels) || !have.Fits(ev.Need) {
				continue
			}
			found++
			m.see(n, o)
			n.news = append(n.news, &o.view)
		}
	}
	return m.tell(n, fx)
}

// tell sends a member its news.
func (m *Machine) tell(n *member, fx []Effect) []Effect {
	if len(n.news) == 0 {
		return fx
	}
	m.stats.Views += uint64(len(n.news))
	fx = append(fx, Effect{Kind: Views, Node: n.id(), Views: n.news})
	n.news = n.news[:0:cap(n.news)]
	return fx
}

// flush tells the members what changed in their views. The next flush is the
// later the more there was to tell.
func (m *Machine) flush(now time.Duration, fx []Effect) []Effect {
	if len(m.dirty) == 0 {
		return fx
	}
	sent := 0
	for _, n := range m.dirty {
		n.isDirty = false
		sent += len(n.seenBy)
		for _, w := range n.seenBy {
			if len(w.news) == 0 {
				m.readers = append(m.readers, w)
			}
			w.news = append(w.news, &n.view)
		}
	}
	for _, w := range m.readers {
		fx = m.tell(w, fx)
	}
	clear(m.dirty)
	clear(m.readers)
	m.dirty, m.readers = m.dirty[:0], m.readers[:0]
	m.flushAt = now + max(m.o.ViewEvery, time.Duration(sent)*time.Second/time.Duration(m.o.ViewRate))
	return fx
}
