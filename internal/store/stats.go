package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

// topHolders is how many of those who hold the most an error names.
const topHolders = 5

// Stats is a moment of a store. Sizes are bytes.
type Stats struct {
	Limit     int64
	Used      int64 // of the limit: reserved, sealed, being restored
	Objects   int
	Pins      int
	Waiting   int64 // asked for by producers that wait
	DiskUsed  int64
	DiskFiles int
	Spilled   int64 // written, in total
	Restored  int64 // read back into memory, in total
	Mapped    int64 // read from files in place, in total
	Fallback  int64 // made in fallback files, in total
	Slab      slab.Stats
	Policy    evict.Stats
	Jobs      []JobStats     // by id
	Sessions  []SessionStats // by id
}

// JobStats is what a job's objects take.
type JobStats struct {
	Job     id.Job
	Objects int
	Memory  int64
	Disk    int64
}

// SessionStats is what a session holds.
type SessionStats struct {
	Session  id.Session
	Reserved int64 // not sealed
	Pinned   int64
	Pins     int
}

// Stats returns the store's figures.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.machine.Stats()
	st := Stats{Limit: s.pool.Limit(), Used: p.Used, Objects: len(s.objects), Waiting: p.Waiting,
		DiskUsed: s.disk.used, DiskFiles: len(s.disk.files), Spilled: s.disk.spilled, Restored: s.disk.restored,
		Mapped: s.disk.mapped, Fallback: s.disk.fallbacks, Slab: s.pool.Stats(), Policy: p,
		Jobs: s.jobStats(), Sessions: s.sessionStats()}
	for _, own := range st.Sessions {
		st.Pins += own.Pins
	}
	return st
}

func (s *Store) jobStats() []JobStats {
	byJob := map[id.Job]*JobStats{}
	for _, o := range s.objects {
		j := byJob[o.job]
		if j == nil {
			j = &JobStats{Job: o.job}
			byJob[o.job] = j
		}
		j.Objects++
		j.Memory += o.mem.bytes()
		j.Disk += o.copy.n
	}
	list := make([]JobStats, 0, len(byJob))
	for _, j := range byJob {
		list = append(list, *j)
	}
	slices.SortFunc(list, func(a, b JobStats) int { return bytes.Compare(a.Job[:], b.Job[:]) })
	return list
}

func (m *memory) bytes() int64 {
	if m.heap != nil {
		return int64(len(m.heap))
	}
	return m.ext.Size
}

func (s *Store) sessionStats() []SessionStats {
	list := make([]SessionStats, 0, len(s.sessions))
	for _, own := range s.sessions {
		st := SessionStats{Session: own.id}
		for _, r := range own.reserved {
			st.Reserved += r.mem.bytes()
		}
		for o, n := range own.pins {
			st.Pinned += s.objects[o].size
			st.Pins += n
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b SessionStats) int { return cmp.Compare(a.Session, b.Session) })
	return list
}

func (st Stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "memory: %d of %d bytes used, %d waited for; %d objects, %d pins\n", st.Used, st.Limit, st.Waiting, st.Objects, st.Pins)
	fmt.Fprintf(&b, "shared memory: %v\n", st.Slab)
	fmt.Fprintf(&b, "disk: %d bytes in %d files; %d spilled, %d restored, %d mapped, %d in fallback files\n",
		st.DiskUsed, st.DiskFiles, st.Spilled, st.Restored, st.Mapped, st.Fallback)
	for _, j := range st.Jobs {
		fmt.Fprintf(&b, "job %v: %d objects, %d bytes in memory, %d on disk\n", j.Job, j.Objects, j.Memory, j.Disk)
	}
	for _, x := range st.Sessions {
		fmt.Fprintf(&b, "session %d: %d bytes reserved, %d pinned by %d pins\n", x.Session, x.Reserved, x.Pinned, x.Pins)
	}
	return b.String()
}

// holders returns those who keep the most bytes of memory from moving.
func (s *Store) holders(n int) []Holder {
	var list []Holder
	for _, own := range s.sessions {
		for o := range own.pins {
			if obj := s.objects[o]; obj.mem.set {
				list = append(list, Holder{Session: own.id, Object: o, Bytes: obj.mem.bytes()})
			}
		}
		sum := int64(0)
		for _, r := range own.reserved {
			sum += r.mem.bytes()
		}
		if sum > 0 {
			list = append(list, Holder{Session: own.id, Bytes: sum, Reserved: true})
		}
	}
	slices.SortFunc(list, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Session, b.Session), bytes.Compare(a.Object[:], b.Object[:]))
	})
	return list[:min(n, len(list))]
}

// Lookup says what the store knows of an object.
func (s *Store) Lookup(o id.Object) (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj := s.objects[o]
	if obj == nil {
		return Info{}, false
	}
	return s.info(obj), true
}

// Objects says it of all, by id.
func (s *Store) Objects() []Info {
	s.mu.Lock()
	list := make([]Info, 0, len(s.objects))
	for _, o := range s.objects {
		list = append(list, s.info(o))
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Info) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list
}

func (s *Store) info(o *object) Info {
	i := Info{ID: o.id, Job: o.job, Session: o.session, Size: o.size, Where: InFile}
	switch {
	case o.mem.heap != nil:
		i.Where = InHeap
	case o.mem.set:
		i.Where = InSlab
	}
	i.Policy, _ = s.machine.Object(o.id)
	return i
}

// Story returns what happened to an object lately, oldest first.
func (s *Store) Story(o id.Object) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Story(o)
}

// Check reports a broken invariant: among them, memory over the limit.
func (s *Store) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	slabs := s.pool.Stats()
	if used := s.machine.Used(); slabs.Live > used {
		return fmt.Errorf("store: extents of %d bytes are live, %d were granted", slabs.Live, used)
	}
	resident, err := s.pool.Resident()
	if err == nil && resident > s.pool.Limit() {
		err = fmt.Errorf("store: %d bytes of shared memory are resident, over the limit of %d", resident, s.pool.Limit())
	}
	return errors.Join(err, s.machine.Check(), s.pool.Check(), s.checkPins())
}

func (s *Store) checkPins() error {
	pins := map[id.Object]int{}
	for _, own := range s.sessions {
		for o, n := range own.pins {
			pins[o] += n
		}
	}
	for _, o := range s.objects {
		m, ok := s.machine.Object(o.id)
		if o.loading {
			m.Pins--
		}
		if !ok || m.Pins != pins[o.id] {
			return fmt.Errorf("store: object %v has %d pins, its sessions %d", o.id, m.Pins, pins[o.id])
		}
	}
	return nil
}

func sortedObjects(m map[id.Object]int) []id.Object {
	list := make([]id.Object, 0, len(m))
	for o := range m {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b id.Object) int { return bytes.Compare(a[:], b[:]) })
	return list
}

func sortedReservations(m map[evict.Res]*reservation) []evict.Res {
	list := make([]evict.Res, 0, len(m))
	for r := range m {
		list = append(list, r)
	}
	slices.Sort(list)
	return list
}
