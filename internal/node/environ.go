package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/weftrun/weft/internal/dispatch"
	"github.com/weftrun/weft/internal/environ"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
	"github.com/weftrun/weft/internal/worker"
)

// environFolder is where the node has runtime environments.
const environFolder = "environments"

// openEnvirons removes what a node that was killed has left there.
func (n *Node) openEnvirons() error {
	dir := filepath.Join(n.dir, environFolder)
	n.environs = environ.New(environ.Config{Dir: dir, Limit: n.cfg.EnvironBytes})
	return os.RemoveAll(dir)
}

// environment acquires what p's class needs and has s start a worker in it. That
// may take minutes.
func (n *Node) environment(p *process, j *job, s *worker.Spec) error {
	if p.class.Env.IsZero() {
		return nil
	}
	e, err := n.acquireEnviron(j, p.class)
	if err != nil {
		return err
	}
	p.env, s.Env = e, e.Variables
	if p.class.Language != wire.Python {
		return nil
	}
	s.Path = e.Python
	if e.Command != "" {
		s.Path, s.Args = "/bin/sh", e.Args(worker.Module)
		s.Hint = "the command of py_executable must run a Python that finds the package weft"
	}
	return nil
}

// acquireEnviron is environ.Acquire of what a class of worker needs.
func (n *Node) acquireEnviron(j *job, class dispatch.Class) (*environ.Environment, error) {
	d, err := environ.Parse(class.Env)
	if err != nil {
		return nil, err
	}
	origin := &environ.Origin{Variables: os.Environ(), Blob: func(ctx context.Context, hash []byte) ([]byte, error) { return n.jobBlob(ctx, j, hash) }}
	if class.Language == wire.Python {
		origin.Python = j.python
	}
	return n.environs.Acquire(n.ctx, d, origin)
}

// prepare builds the environment of a Python driver's tasks before one needs it.
func (n *Node) prepare(s *session, m *sessionv1.Prepare) error {
	j := n.jobs[s.job]
	switch {
	case len(m.RuntimeEnv) > wire.MaxRuntimeEnv:
		return &wire.Error{Code: wire.Protocol, Op: "prepare", Message: fmt.Sprintf("a runtime environment of %d bytes", len(m.RuntimeEnv))}
	case j == nil || j.python == "" || j.prepared || n.closed:
		return nil
	}
	j.prepared = true
	class := dispatch.Class{Job: j.id, Env: spec.NewRuntimeEnv(strings.Clone(m.RuntimeEnv)), Language: wire.Python}
	n.spawnHere(func() {
		if e, err := n.acquireEnviron(j, class); err == nil { // or who needs it says why not
			e.Release()
		}
	})
	return nil
}

// Prepare implements proto.Handler.
func (h *handler) Prepare(m *sessionv1.Prepare) error {
	return h.in(func() error { return h.n.prepare(h.s, m) })
}

// environPending reports whether a worker of t's class waits for its environment.
func (n *Node) environPending(t *spec.Task) bool {
	if t.Env.IsZero() {
		return false
	}
	for _, p := range n.workers {
		if p.proc == nil && p.class.Job == t.Job && p.class.Env == t.Env {
			return true
		}
	}
	return false
}

// jobBlob returns what a driver or worker of the job has sent, from another node if need be.
func (n *Node) jobBlob(ctx context.Context, j *job, hash []byte) ([]byte, error) {
	n.mu.Lock()
	data := j.blobs.data[string(hash)]
	n.mu.Unlock()
	if data != nil {
		return data, nil
	}
	if n.cfg.Network == nil {
		return nil, &wire.Error{Code: wire.NotFound, Op: "fetch", Message: fmt.Sprintf("the job has no blob %x", hash)}
	}
	data, err := n.pullBlob(ctx, j, hash)
	if sum := sha256.Sum256(data); err == nil && !bytes.Equal(sum[:], hash) {
		err = &wire.Error{Code: wire.Protocol, Op: "fetch", Message: fmt.Sprintf("blob %x came with another hash", hash)}
	}
	return data, err
}

// metadata is what a worker is told of the driver's process and of its own.
func (p *process) metadata(j *job) map[string]string {
	switch {
	case j == nil:
		return nil
	case p.env == nil:
		return j.metadata
	}
	m := map[string]string{}
	maps.Copy(m, j.metadata)
	m["runtime_env"], m["working_dir"], m["py_path"] = p.class.Env.String(), p.env.Dir, strings.Join(p.env.Path, string(os.PathListSeparator))
	return m
}
