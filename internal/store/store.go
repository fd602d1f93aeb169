package store

import (
	"log/slog"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/evict"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

// Store is a node's object store. Make it with [New], end it with [Store.Close].
type Store struct {
	cfg  Config
	pool *slab.Pool

	mu           sync.Mutex
	machine      *evict.Machine
	nextRes      evict.Res
	reservations map[evict.Res]*reservation
	objects      map[id.Object]*object
	sessions     map[id.Session]*session
	disk         disk
	diskErr      error // why the last spill failed
	effects      []evict.Effect
	later        []func() // of the step in progress: run when mu is released
	freed        bool     // extents were: the pool has pages to settle
	timer        *time.Timer
	timerAt      time.Duration // when the timer fires; 0 if it is not set
	closed       bool

	workers workers
}

// session is what the store keeps for a session: what ends with it.
type session struct {
	id       id.Session
	ended    bool
	jobs     []id.Job // whose slabs its process writes
	pins     map[id.Object]int
	reserved map[evict.Res]*reservation
}

// object is a sealed object: where its bytes are. Its state is the machine's.
type object struct {
	id      id.Object
	job     id.Job
	session id.Session
	size    int64
	inHeap  bool
	mem     memory
	copy    diskCopy
	waiting []pinWait // readers that wait until it is restored or mapped
	loading bool
}

// pinWait is a reader that was promised a location.
type pinWait struct {
	session *session
	done    func(Location, error)
}

// New makes an empty store.
func New(cfg Config) (*Store, error) {
	if cfg.Now == nil {
		start := time.Now()
		cfg.Now = func() time.Duration { return time.Since(start) }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dropped == nil {
		cfg.Dropped = func(id.Object) {}
	}
	if cfg.Moved == nil {
		cfg.Moved = func(Move) {}
	}
	if cfg.Retired == nil {
		cfg.Retired = func(FileID) {}
	}
	if cfg.SpillFile == 0 {
		cfg.SpillFile = 1 << 30
	}
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	s := &Store{
		cfg:          cfg,
		reservations: map[evict.Res]*reservation{},
		objects:      map[id.Object]*object{},
		sessions:     map[id.Session]*session{},
		disk:         disk{Disk: cfg.Disk, limit: cfg.DiskLimit, fileSize: cfg.SpillFile, files: map[FileID]*spillFile{}, current: map[id.Job]*spillFile{}},
	}
	s.workers.limit = cfg.Workers
	var err error
	s.pool, err = slab.NewPool(slab.Config{Limit: cfg.Limit, Warm: cfg.Warm,
		Retired: func(i slab.ID) { cfg.Retired(FileID(i)) }})
	if err != nil {
		return nil, err
	}
	s.machine = evict.New(evict.Config{Limit: s.pool.Limit(), Batch: cfg.Batch, Patience: cfg.Patience})
	return s, nil
}

// unlock releases mu and then does what the steps under it left to do.
func (s *Store) unlock() {
	later, freed := s.later, s.freed
	s.later, s.freed = nil, false
	s.armTimer()
	s.mu.Unlock()
	if freed {
		s.pool.Settle()
	}
	for _, f := range later {
		f()
	}
}

// after leaves f to be done when the lock is released.
func (s *Store) after(f func()) { s.later = append(s.later, f) }

// step feeds the machine an event and runs the effects: what is bookkeeping at
// once, so that room is free before anyone is granted it, the rest after unlock.
func (s *Store) step(ev evict.Event) {
	own := s.effects
	s.effects = nil // effects may step again
	own = s.machine.Step(s.cfg.Now(), ev, own[:0])
	for i := 0; i < len(own); i++ {
		if own[i].Kind == evict.Spill {
			i += s.spill(own[i:]) - 1
			continue
		}
		s.run(&own[i])
	}
	s.effects = own
}

func (s *Store) run(f *evict.Effect) {
	switch f.Kind {
	case evict.Grant:
		s.grant(s.reservations[f.Res])
	case evict.Fallback:
		s.fallBack(s.reservations[f.Res])
	case evict.Fail:
		s.fail(s.reservations[f.Res])
	case evict.Release:
		s.forget(s.objects[f.Object])
	case evict.Drop:
		s.forget(s.objects[f.Object])
		dropped := f.Object
		s.after(func() { s.cfg.Dropped(dropped) })
	case evict.Evict:
		s.freeMemory(&s.objects[f.Object].mem)
	case evict.Restore:
		s.load(s.objects[f.Object], s.restore)
	case evict.MapFile:
		s.load(s.objects[f.Object], s.mapCopy)
	}
}

// forget drops an object that the machine let go of.
func (s *Store) forget(o *object) {
	delete(s.objects, o.id)
	s.freeMemory(&o.mem)
	s.freeCopy(&o.copy)
}

// moved tells of an object that has gone to disk, or come back, since began.
func (s *Store) moved(o *object, began time.Duration, back bool) {
	m := Move{Object: o.id, Job: o.job, Bytes: o.size, Took: s.cfg.Now() - began, Back: back}
	s.after(func() { s.cfg.Moved(m) })
}

// freeMemory returns an extent to the pool; what that leaves for the kernel to
// do is done after unlock.
func (s *Store) freeMemory(m *memory) {
	if !m.set {
		return
	}
	if m.heap == nil {
		s.pool.Free(m.ext)
		s.freed = true
	}
	*m = memory{}
}

// armTimer keeps one timer for the machine's deadline.
func (s *Store) armTimer() {
	at, ok := s.machine.Deadline()
	if !ok || s.closed || (s.timerAt != 0 && s.timerAt <= at) {
		return
	}
	s.timerAt = max(at, 1)
	wait := at - s.cfg.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.tick)
		return
	}
	s.timer.Reset(wait)
}

// tick tells the machine that time has passed. A deadline that moved in the
// meantime only makes it early, and the timer is armed again.
func (s *Store) tick() {
	s.mu.Lock()
	if !s.closed {
		s.timerAt = 0
		s.step(evict.Event{Kind: evict.Tick})
	}
	s.unlock()
}

// Free says that nothing refers to an object any more: it goes when its last
// pin does. An object that is not here is no error.
func (s *Store) Free(o id.Object) { s.tell(evict.Free, o) }

// Promote makes a secondary copy the primary one: it is spilled, not dropped.
func (s *Store) Promote(o id.Object) { s.tell(evict.Promote, o) }

// Prefetch hints that objects will be read soon: those on disk are brought back
// in this order, as far as there is room.
func (s *Store) Prefetch(list ...id.Object) {
	s.mu.Lock()
	defer s.unlock()
	for _, o := range list {
		if obj := s.objects[o]; obj != nil && !obj.loading && !s.closed {
			s.step(evict.Event{Kind: evict.Prefetch, Object: o})
		}
	}
}

// Demote hints that an object will not be used soon.
func (s *Store) Demote(o id.Object) { s.tell(evict.Demote, o) }

func (s *Store) tell(k evict.Kind, o id.Object) {
	s.mu.Lock()
	defer s.unlock()
	if s.closed {
		return
	}
	s.step(evict.Event{Kind: k, Object: o})
}

// SetTarget makes the store admit only up to bytes for now, and spill what is
// over it: memory pressure. The limit lifts it.
func (s *Store) SetTarget(bytes int64) {
	s.mu.Lock()
	if !s.closed {
		s.step(evict.Event{Kind: evict.Target, Bytes: bytes})
		s.after(func() { s.pool.Trim(max(0, bytes-s.pool.Stats().Live)) })
	}
	s.unlock()
}

// session returns the record of a live session, making it on first use.
func (s *Store) session(i id.Session) *session {
	own := s.sessions[i]
	if own == nil {
		own = &session{id: i, pins: map[id.Object]int{}, reserved: map[evict.Res]*reservation{}}
		s.sessions[i] = own
	}
	return own
}
