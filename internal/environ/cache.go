package environ

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/wire"
)

const (
	// DefaultLimit is how many bytes pieces may have together before unused ones go.
	DefaultLimit = 10 << 30
	// failureLasts is how long a piece that could not be built is not tried again.
	failureLasts = 10 * time.Second
)

// Config of a Cache.
type Config struct {
	Dir   string                              // of the pieces; made with the first, removed by Close
	Limit int64                               // bytes; 0 is DefaultLimit
	Now   func() time.Time                    // nil is time.Now
	Build func(context.Context, *Build) error // nil runs weft._build
}

// Cache builds environments and keeps their pieces. All methods may be used
// concurrently.
type Cache struct {
	cfg Config

	mu     sync.Mutex
	pieces map[string]*piece
	built  int // ever; numbers folders
}

// piece is one thing that was built, or is being built.
type piece struct {
	dir   string
	done  chan struct{} // closed when it is built or has failed
	err   error
	size  int64
	users int       // environments that have it, or wait for it
	used  time.Time // when the last of them let go, or it failed
}

// New returns a cache with nothing in it.
func New(cfg Config) *Cache {
	cfg.Limit = cmp.Or(cfg.Limit, DefaultLimit)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Build == nil {
		cfg.Build = run
	}
	return &Cache{cfg: cfg, pieces: map[string]*piece{}}
}

// Close removes all pieces. Nothing may be built or used any more.
func (c *Cache) Close() error { return os.RemoveAll(c.cfg.Dir) }

// get returns a piece for one more user, which builds it if it is the first; on
// an error there is no user more.
func (c *Cache) get(ctx context.Context, b Build, o *Origin) (*piece, error) {
	p, first := c.claim(b.key)
	if first {
		c.build(ctx, p, &b, o)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		c.release(p)
		return nil, context.Cause(ctx)
	}
	if p.err != nil {
		c.release(p)
		return nil, p.err
	}
	return p, nil
}

// claim finds a piece, or makes one that the caller has to build.
func (c *Cache) claim(key string) (p *piece, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.pieces[key]
	if p == nil || p.failed() && c.cfg.Now().Sub(p.used) >= failureLasts {
		c.built++
		p = &piece{dir: filepath.Join(c.cfg.Dir, fmt.Sprintf("%s-%d", key, c.built)), done: make(chan struct{})}
		c.pieces[key], first = p, true
	}
	p.users++
	return p, first
}

// failed reports whether p was tried in vain; under the cache's lock.
func (p *piece) failed() bool { return p.isDone() && p.err != nil }

func (p *piece) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// build makes p, for which others wait.
func (c *Cache) build(ctx context.Context, p *piece, b *Build, o *Origin) {
	err := c.make(ctx, p.dir, b, o)
	var size int64
	if err == nil {
		size, err = sizeOf(p.dir)
	}
	if err != nil {
		_ = os.RemoveAll(p.dir)
		err = explained(ctx, b, err)
	}
	c.mu.Lock()
	p.size, p.err, p.used = size, err, c.cfg.Now()
	close(p.done)
	c.mu.Unlock()
	c.sweep()
}

// make has b built in dir.
func (c *Cache) make(ctx context.Context, dir string, b *Build, o *Origin) error {
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return err
	}
	b.Target, b.Python = dir, o.Python
	if b.Kind != packages {
		b.Limit = c.cfg.Limit
	}
	if strings.HasPrefix(b.Source, uploaded) {
		folder := dir + ".source"
		defer func() { _ = os.RemoveAll(folder) }() // what is left goes with the cache
		if err := o.save(ctx, b, folder); err != nil {
			return err
		}
	}
	return c.cfg.Build(ctx, b)
}

// save writes the uploaded package that b is made of into a new folder.
func (o *Origin) save(ctx context.Context, b *Build, folder string) error {
	data, name, err := o.fetch(ctx, b.Source)
	if err == nil {
		err = os.Mkdir(folder, 0o700)
	}
	if err != nil {
		return err
	}
	b.Source = filepath.Join(folder, name)
	return os.WriteFile(b.Source, data, 0o600)
}

// explained is the error of a build that failed.
func explained(ctx context.Context, b *Build, err error) error {
	e := *wire.AsError(err, wire.SetupFailed)
	why := e.Message
	if cause := context.Cause(ctx); cause != nil { // which ended the builder
		why = cause.Error()
	}
	e.Code, e.Op = wire.SetupFailed, "runtime environment"
	e.Message = fmt.Sprintf("%s of its runtime environment: %s", b.name, why)
	e.Hint = cmp.Or(e.Hint, fmt.Sprintf("correct the runtime_env; it is tried again after %v", failureLasts))
	return &e
}

// release gives a piece back.
func (c *Cache) release(p *piece) {
	c.mu.Lock()
	p.users--
	if p.err == nil {
		p.used = c.cfg.Now()
	}
	c.mu.Unlock()
	c.sweep()
}

// sweep removes what is unused, the longest first, until the rest fits, and
// forgets failures that no longer count.
func (c *Cache) sweep() {
	for _, dir := range c.unwanted() {
		_ = os.RemoveAll(dir) // what is left goes with the cache
	}
}

func (c *Cache) unwanted() (dirs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var total int64
	var unused []string
	now := c.cfg.Now()
	for key, p := range c.pieces {
		total += p.size
		switch {
		case p.users > 0:
		case p.err == nil:
			unused = append(unused, key)
		case now.Sub(p.used) >= failureLasts:
			delete(c.pieces, key)
		}
	}
	slices.SortFunc(unused, func(a, b string) int { return c.pieces[a].used.Compare(c.pieces[b].used) })
	for _, key := range unused {
		if total <= c.cfg.Limit {
			break
		}
		total -= c.pieces[key].size
		dirs = append(dirs, c.pieces[key].dir)
		delete(c.pieces, key)
	}
	return dirs
}

// sizeOf sums the files below dir, in bytes.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	})
	return size, err
}
