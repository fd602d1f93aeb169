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

	"github.com/weftrun/weft/internal/environ"
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
	d, err := environ.Parse(p.class.Env)
	if err != nil {
		return err
	}
	origin := &environ.Origin{Variables: os.Environ(), Blob: func(ctx context.Context, hash []byte) ([]byte, error) { return n.jobBlob(ctx, j, hash) }}
	if p.class.Language == wire.Python {
		origin.Python = j.python
	}
	e, err := n.environs.Acquire(n.ctx, d, origin)
	if err != nil {
		return err
	}
	p.env, s.Env = e, e.Variables
	if origin.Python == "" {
		return nil
	}
	s.Path = e.Python
	s.Args = []string{s.Path, "-m", workerModule}
	if e.Command != "" {
		s.Path, s.Args = "/bin/sh", e.Args(workerModule)
		s.Hint = "the command of py_executable must run a Python that finds the package weft"
	}
	return nil
}

// workerModule is what a worker of Python runs.
const workerModule = "weft._worker"

// jobBlob returns what the job's driver has sent, from its node if that is another.
func (n *Node) jobBlob(ctx context.Context, j *job, hash []byte) ([]byte, error) {
	n.mu.Lock()
	data := j.blobs.data[string(hash)]
	n.mu.Unlock()
	if data != nil {
		return data, nil
	}
	if j.home == nil {
		return nil, &wire.Error{Code: wire.NotFound, Op: "fetch", Message: fmt.Sprintf("the job has no blob %x", hash)}
	}
	data, err := n.pullBlob(ctx, j, hash)
	if sum := sha256.Sum256(data); err == nil && !bytes.Equal(sum[:], hash) {
		err = &wire.Error{Code: wire.Protocol, Op: "fetch", Node: j.home.id, Message: fmt.Sprintf("blob %x came with another hash", hash)}
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
