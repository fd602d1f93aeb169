package guard

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// jobUse is what a job's workers use, and what its largest candidate does.
type jobUse struct {
	job       id.Job
	bytes     int64
	candidate int64 // 0: it has none
}

// choose returns the task to end, or 0.
func (m *Machine) choose() int32 {
	if i := m.chooseAmong(true); i != 0 {
		return i
	}
	return m.chooseAmong(false)
}

func (m *Machine) chooseAmong(retriable bool) int32 {
	m.sumJobs(retriable)
	var worst *jobUse
	for i := range m.jobs {
		j := &m.jobs[i]
		if j.candidate > 0 && (worst == nil || j.bytes > worst.bytes) {
			worst = j
		}
	}
	if worst == nil {
		return 0
	}
	// The youngest has the least to lose. One that holds little would die for
	// nothing.
	for i := m.tasks.at[0].prev; i != 0; i = m.tasks.get(i).prev {
		t := m.tasks.get(i)
		if t.fn.Job == worst.job && m.candidate(t, retriable) && m.held(t.worker) >= worst.candidate/4 {
			return i
		}
	}
	return 0
}

// candidate reports whether t could be ended.
func (m *Machine) candidate(t *task, retriable bool) bool {
	return t.retriable == retriable && !t.shared && !t.doomed && t.worker != 0 && m.held(t.worker) > 0 &&
		m.ended.count[t.id] < m.o.MaxEnds
}

// tooLarge reports whether t would have to be ended even if it ran alone and the
// store were empty.
func (m *Machine) tooLarge(t *task) bool { return m.now.Node+m.held(t.worker) >= m.begins(EndTasks) }

// sumJobs fills m.jobs, by id.
func (m *Machine) sumJobs(retriable bool) {
	m.jobs = m.jobs[:0]
	for i := range m.now.Workers {
		w := &m.now.Workers[i]
		m.jobUse(w.Job).bytes += w.Bytes
	}
	for t := range m.tasks.all {
		if m.candidate(t, retriable) {
			j := m.jobUse(t.fn.Job)
			j.candidate = max(j.candidate, m.held(t.worker))
		}
	}
}

func (m *Machine) jobUse(job id.Job) *jobUse {
	i, found := slices.BinarySearchFunc(m.jobs, job, func(u jobUse, j id.Job) int { return bytes.Compare(u.job[:], j[:]) })
	if !found {
		m.jobs = slices.Insert(m.jobs, i, jobUse{job: job})
	}
	return &m.jobs[i]
}

// topConsumers is how many are named.
const topConsumers = 5

// Consumer is one that uses memory.
type Consumer struct {
	Name  string
	Bytes int64
}

// Consumers are the parts of the last sample, those with most first.
func (m *Machine) Consumers() []Consumer {
	s := &m.now
	list := []Consumer{{"the object store", s.Store}, {"the node's own process", s.Node}}
	if outside := s.Limit - m.limit; outside > 0 {
		list = append(list, Consumer{"what is not the node's", outside})
	}
	for i := range s.Workers {
		w := &s.Workers[i]
		name := fmt.Sprintf("worker %d", w.ID)
		if w.Name != "" {
			name += " (" + w.Name + ")"
		}
		list = append(list, Consumer{name, w.Bytes})
	}
	slices.SortStableFunc(list, func(a, b Consumer) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return list
}

// verdict is the error's text: who used what, and why it hit this one.
func (m *Machine) verdict(t *task, times int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the node's memory guard ended it when %s of memory were in use: ", m.usage())
	m.writeConsumers(&b)
	m.writeReason(&b, t)
	if times > 1 {
		fmt.Fprintf(&b, "; it has been ended %d times", times)
	}
	return b.String()
}

// writeReason says why t was chosen.
func (m *Machine) writeReason(b *strings.Builder, t *task) {
	held := Size(m.held(t.worker))
	if m.tooLarge(t) {
		fmt.Fprintf(b, "; it used %s of %s in worker %d, alone: it would not fit if nothing else ran", held, Size(m.limit), t.worker)
		return
	}
	fmt.Fprintf(b, "; it held %s in worker %d and was the youngest task", held, t.worker)
	if t.retriable {
		b.WriteString(" that may run again")
	}
	fmt.Fprintf(b, " of job %v, whose workers hold %s", t.fn.Job, Size(m.jobUse(t.fn.Job).bytes))
}

func (m *Machine) usage() string {
	return fmt.Sprintf("%s of %s (%d%%)", Size(m.use), Size(m.limit), 100*m.use/max(m.limit, 1))
}

func (m *Machine) writeConsumers(b *strings.Builder) {
	var rest int64
	list := m.Consumers()
	for i, c := range list {
		switch {
		case i >= topConsumers:
			rest += c.Bytes
		case c.Bytes > 0:
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(b, "%s %s", c.Name, Size(c.Bytes))
		}
	}
	if rest > 0 {
		fmt.Fprintf(b, ", %d more %s", len(list)-topConsumers, Size(rest))
	}
}

// Size prints a number of bytes for people.
func Size(n int64) string {
	const k = 1024
	switch {
	case n >= k*k*k:
		return fmt.Sprintf("%.1f GiB", float64(n)/(k*k*k))
	case n >= k*k:
		return fmt.Sprintf("%.1f MiB", float64(n)/(k*k))
	case n >= k:
		return fmt.Sprintf("%.1f KiB", float64(n)/k)
	}
	return fmt.Sprintf("%d bytes", n)
}
