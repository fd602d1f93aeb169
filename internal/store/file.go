package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
)

var errNoDisk = errors.New("no spill disk is set")

// disk is the store's side of Config.Disk: which files there are and how much
// of them is in use. Guarded by the store's lock, except for the creation of
// files.
type disk struct {
	Disk
	limit, fileSize int64

	creating sync.Mutex // taken before the store's lock; held over Create
	files    map[FileID]*spillFile
	current  map[id.Job]*spillFile // where a job's next batch goes
	nextID   FileID
	used     int64 // bytes of ranges in use

	spilled, restored, mapped, fallbacks int64 // bytes, in total
}

// spillFile is one file: batches one after the other, or one fallback object.
// It is of one job, because whoever reads one of its objects can map it all.
type spillFile struct {
	id    FileID
	f     File
	job   id.Job
	size  int64
	tail  int64 // where the next batch goes
	users int   // objects in it, and jobs that are working on it
}

// diskCopy is where a spilled object or a fallback reservation is on disk.
type diskCopy struct {
	file     *spillFile
	off, n   int64 // whole pages
	crc      uint32
	checked  bool   // the CRC was found right, or there is none
	view     []byte // mapped for readers
	writable []byte // mapped for a producer in this process
}

// sealed is a reservation's file once it is an object: there is no checksum,
// because the bytes never passed through the node.
func (c diskCopy) sealed() diskCopy {
	c.checked = true
	return c
}

func pageUp(n int64) int64 { return (n + slab.PageSize - 1) &^ (slab.PageSize - 1) }

// space finds room for n bytes at the end of the job's current file, or of a
// new one. The caller becomes a user of the file.
func (s *Store) space(j id.Job, n int64) (*spillFile, int64, error) {
	if s.disk.Disk == nil {
		return nil, 0, errNoDisk
	}
	s.disk.creating.Lock()
	defer s.disk.creating.Unlock()
	f, off, err := s.takeSpace(j, n)
	if f != nil || err != nil {
		return f, off, err
	}
	f, err = s.createFile(j, "spill", max(n, s.disk.fileSize))
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.unlock()
	old := s.disk.current[j]
	s.disk.current[j] = f
	if old != nil && old.users == 0 {
		s.retireFile(old)
	}
	f.tail, f.users = n, 1
	s.disk.used += n
	return f, 0, nil
}

func (s *Store) takeSpace(j id.Job, n int64) (*spillFile, int64, error) {
	s.mu.Lock()
	defer s.unlock()
	if err := s.diskRoom(n); err != nil {
		return nil, 0, err
	}
	f := s.disk.current[j]
	if f == nil || f.tail+n > f.size {
		return nil, 0, nil
	}
	off := f.tail
	f.tail += n
	f.users++
	s.disk.used += n
	return f, off, nil
}

func (s *Store) diskRoom(n int64) error {
	if l := s.disk.limit; l > 0 && s.disk.used+n > l {
		return fmt.Errorf("store: %d of the %d bytes allowed in %s are in use, no room for %d more", s.disk.used, l, s.disk.Path(), n)
	}
	return nil
}

// createFile makes and registers a file; the store's lock is not held.
func (s *Store) createFile(j id.Job, what string, size int64) (*spillFile, error) {
	s.mu.Lock()
	s.disk.nextID++
	n := s.disk.nextID
	s.unlock()
	f, err := s.disk.Create(fmt.Sprintf("%s-%d", what, n), size)
	if err != nil {
		return nil, err
	}
	file := &spillFile{id: n | diskFile, f: f, job: j, size: size}
	s.mu.Lock()
	defer s.unlock()
	s.disk.files[file.id] = file
	return file, nil
}

// freeCopy gives up an object's place on disk.
func (s *Store) freeCopy(c *diskCopy) {
	if c.file == nil {
		return
	}
	f, off, n := c.file, c.off, c.n
	s.unmap(f, &c.view)
	s.unmap(f, &c.writable)
	*c = diskCopy{}
	s.freeRange(f, off, n)
}

func (s *Store) unmap(f *spillFile, mem *[]byte) {
	if m := *mem; m != nil {
		*mem = nil
		s.after(func() {
			if err := f.f.Unmap(m); err != nil {
				s.cfg.Log.Warn("unmap a spill file", "file", f.f.Name(), "err", err)
			}
		})
	}
}

// freeRange ends a use of a file: the last one removes it, others punch their
// range out.
func (s *Store) freeRange(f *spillFile, off, n int64) {
	s.disk.used -= n
	if f.users--; f.users == 0 {
		s.retireFile(f)
		return
	}
	if s.closed {
		return
	}
	f.users++
	s.after(func() { s.workers.submit(func() { s.punch(f, off, n) }) })
}

func (s *Store) punch(f *spillFile, off, n int64) {
	if err := f.f.Punch(off, n); err != nil {
		s.cfg.Log.Warn("give back the space of a spilled object", "file", f.f.Name(), "err", err)
	}
	s.mu.Lock()
	defer s.unlock()
	s.leaveFile(f)
}

// leaveFile ends a use that had no range of its own.
func (s *Store) leaveFile(f *spillFile) {
	if f.users--; f.users == 0 && s.disk.current[f.job] != f {
		s.retireFile(f)
	}
}

// retireFile closes a file that nothing is in. Closing frees its space.
func (s *Store) retireFile(f *spillFile) {
	if s.disk.files[f.id] == nil {
		return
	}
	delete(s.disk.files, f.id)
	if s.disk.current[f.job] == f {
		delete(s.disk.current, f.job)
	}
	s.after(func() {
		if err := f.f.Close(); err != nil {
			s.cfg.Log.Warn("close a spill file", "file", f.f.Name(), "err", err)
		}
		s.cfg.Retired(f.id)
	})
}
