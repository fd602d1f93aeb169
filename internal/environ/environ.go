package environ

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/wire"
)

// Origin is what environments are built on: the job's own.
type Origin struct {
	Python    string   // its interpreter, "" if it has none
	Variables []string // of the node, as NAME=value
	// Blob returns what the job has uploaded, by its SHA-256.
	Blob func(ctx context.Context, hash []byte) ([]byte, error)
}

// Environment is one that is there. It is in use until Release.
type Environment struct {
	Python    string   // the interpreter
	Command   string   // what a shell runs instead of Python; "" is Python
	Variables []string // as NAME=value
	Dir       string   // the working directory, "" if there is none
	Path      []string // of modules, in order

	cache  *Cache
	pieces []*piece
}

// Acquire returns the environment that d describes, and builds what is not there.
func (c *Cache) Acquire(ctx context.Context, d *Description, o *Origin) (*Environment, error) {
	e := &Environment{cache: c, Python: o.Python, Command: d.Executable, Variables: d.Variables(o.Variables)}
	if o.Python == "" && !d.plain() {
		return nil, &wire.Error{Code: wire.SetupFailed, Op: "runtime environment", Message: "it has more than variables, but the program is not in Python",
			Hint: "Go programs have env_vars alone"}
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	if err := e.fill(ctx, d, o); err != nil {
		e.Release()
		return nil, err
	}
	return e, nil
}

// bound ends ctx when the environment has taken too long.
func (d *Description) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := DefaultTimeout
	if d.Config.Timeout != 0 {
		limit = time.Duration(d.Config.Timeout * float64(time.Second))
	}
	if limit < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("not there within %v (setup_timeout_seconds)", limit))
}

// DefaultTimeout is how long an environment may take to build.
const DefaultTimeout = 10 * time.Minute

// fill gets the pieces.
func (e *Environment) fill(ctx context.Context, d *Description, o *Origin) error {
	if d.WorkingDir != "" {
		dir, err := e.add(ctx, o.archive(d.WorkingDir), o)
		if err != nil {
			return err
		}
		e.Dir = dir
	}
	for _, uri := range d.PyModules {
		dir, err := e.add(ctx, o.archive(uri), o)
		if err != nil {
			return err
		}
		e.Path = append(e.Path, dir)
	}
	for tool, options := range d.installers() {
		dir, err := e.add(ctx, o.installer(tool, options, d.WorkingDir), o)
		if err != nil {
			return err
		}
		e.Python = filepath.Join(dir, "bin", "python")
		e.Variables = activate(e.Variables, dir)
	}
	return nil
}

// add makes a piece part of e and returns its folder.
func (e *Environment) add(ctx context.Context, b Build, o *Origin) (string, error) {
	b.Variables = e.Variables
	if e.Dir != "" {
		b.Variables = append(slices.Clip(b.Variables), workingDirVariable+"="+e.Dir)
	}
	p, err := e.cache.get(ctx, b, o)
	if err != nil {
		return "", err
	}
	e.pieces = append(e.pieces, p)
	return p.dir, nil
}

// activate is what a virtual environment's script of that name does.
func activate(variables []string, dir string) []string {
	d := Description{EnvVars: map[string]string{"VIRTUAL_ENV": dir, "PATH": filepath.Join(dir, "bin") + string(os.PathListSeparator) + "${PATH}"}}
	return d.Variables(variables)
}

// Release says that no process uses e any more. A second time is nothing.
func (e *Environment) Release() {
	if e == nil {
		return
	}
	for _, p := range e.pieces {
		e.cache.release(p)
	}
	e.pieces = nil
}

// Args is the command line that runs a module instead of Python, nil if Python does.
func (e *Environment) Args(module string) []string {
	if e.Command == "" {
		return nil
	}
	return []string{"sh", "-c", "exec " + strings.TrimSpace(e.Command) + " -m " + module}
}
