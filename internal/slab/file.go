package slab

import (
	"errors"
	"fmt"
	"os"
	"sort"

	"golang.org/x/sys/unix"
)

// file is one slab: a sparse memfd, mapped by the node, and which of its pages
// are in no extent, neither live nor warm.
type file struct {
	id     ID
	owner  *writer // nil once the writer is gone
	big    bool    // holds one extent of more than 1/16 of the limit
	fd, ro int
	size   int64
	rw     []byte // the node's mapping, for restore, node-side puts and spills
	view   []byte // the read-only one that in-process readers get; made on first use
	cold   []run  // unpopulated pages, by address, coalesced
	used   int    // extents that are live, warm or busy
	live   int    // extents handed out and not freed
}

// run is a range of pages.
type run struct{ page, pages int64 }

// newFile makes a memfd of size bytes that nobody can truncate.
func newFile(size int64) (*file, error) {
	fd, err := memfd()
	if err != nil {
		return nil, fmt.Errorf("slab: memfd_create: %w", err)
	}
	f := &file{fd: fd, ro: -1, size: size, cold: []run{{0, size / PageSize}}}
	if err := f.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("slab: prepare a memfd of %d bytes: %w", size, err), f.close())
	}
	return f, nil
}

// noExec is MFD_NOEXEC_SEAL, which kernels before 6.3 refuse as unknown.
const noExec = 0x8

func memfd() (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("weft-slab", flags|noExec)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("weft-slab", flags)
	}
	return fd, err
}

func (f *file) prepare() (err error) {
	if err = unix.Ftruncate(f.fd, f.size); err != nil {
		return err
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err = unix.FcntlInt(uintptr(f.fd), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	f.ro, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f.rw, err = unix.Mmap(f.fd, 0, int(f.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

// readOnly returns the mapping that in-process readers are given: a write
// through it faults at the writer's line instead of changing a sealed object.
func (f *file) readOnly() ([]byte, error) {
	if f.view != nil {
		return f.view, nil
	}
	view, err := unix.Mmap(f.ro, 0, int(f.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("slab: map %d bytes read-only: %w", f.size, err)
	}
	f.view = view
	return view, nil
}

// dup returns a descriptor of its own for the caller to send and close.
func (f *file) dup(writable bool) (*os.File, error) {
	fd := f.ro
	if writable {
		fd = f.fd
	}
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("slab: duplicate the descriptor of slab %d: %w", f.id, err)
	}
	return os.NewFile(uintptr(n), "weft-slab"), nil
}

func (f *file) close() error {
	var errs []error
	for _, m := range [][]byte{f.rw, f.view} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(append(errs, f.closeFDs())...)
}

// closeFDs leaves the mappings, for a pool that is closed while views of its
// memory are still in use in this process.
func (f *file) closeFDs() error {
	errs := []error{unix.Close(f.fd)}
	if f.ro >= 0 {
		errs = append(errs, unix.Close(f.ro))
	}
	f.fd, f.ro, f.rw, f.view = -1, -1, nil, nil
	return errors.Join(errs...)
}

// populateStep is how much one fallocate populates: an interrupted one undoes
// its work, so a long one under a storm of signals would never end.
const populateStep = 16 << 20 / PageSize

// populate gives the run its pages; the kernel zeroes them.
func (f *file) populate(r run) error {
	for r.pages > 0 {
		n := min(r.pages, populateStep)
		err := retryEINTR(func() error {
			return unix.Fallocate(f.fd, 0, r.page*PageSize, n*PageSize)
		})
		if err != nil {
			return err
		}
		r = run{r.page + n, r.pages - n}
	}
	return nil
}

// punch takes the run's pages from the file and from every mapping of it.
func (f *file) punch(r run) error {
	return retryEINTR(func() error {
		return unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.page*PageSize, r.pages*PageSize)
	})
}

// retryEINTR repeats a call that a signal interrupted.
func retryEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// takeCold cuts a run of the given length from the lowest address it fits at.
func (f *file) takeCold(pages int64) (run, bool) {
	for i := range f.cold {
		c := &f.cold[i]
		if c.pages < pages {
			continue
		}
		r := run{c.page, pages}
		c.page, c.pages = c.page+pages, c.pages-pages
		if c.pages == 0 {
			f.cold = append(f.cold[:i], f.cold[i+1:]...)
		}
		return r, true
	}
	return run{}, false
}

// addCold returns an unpopulated run, joined with its neighbours.
func (f *file) addCold(r run) {
	i := sort.Search(len(f.cold), func(i int) bool { return f.cold[i].page > r.page })
	joinsPrev := i > 0 && f.cold[i-1].page+f.cold[i-1].pages == r.page
	joinsNext := i < len(f.cold) && r.page+r.pages == f.cold[i].page
	switch {
	case joinsPrev && joinsNext:
		f.cold[i-1].pages += r.pages + f.cold[i].pages
		f.cold = append(f.cold[:i], f.cold[i+1:]...)
	case joinsPrev:
		f.cold[i-1].pages += r.pages
	case joinsNext:
		f.cold[i].page, f.cold[i].pages = r.page, f.cold[i].pages+r.pages
	default:
		f.cold = append(f.cold, run{})
		copy(f.cold[i+1:], f.cold[i:])
		f.cold[i] = r
	}
}
