package weft

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/weftrun/weft/internal/client"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/remote"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/wire"
)

// AddressEnv names the environment variable that Init reads for an address.
const AddressEnv = "WEFT_ADDRESS"

// Session is a program's connection to a node: one inside the program, one that
// runs on this machine, or one of a cluster that this machine is not part of.
type Session struct {
	sess  client.Session
	node  *node.Node    // embedded, else nil
	proxy *remote.Proxy // of a node elsewhere, else nil
}

// current is the session that contexts without one of their own use.
var current atomic.Pointer[Session]

// InitOption changes what Init does.
type InitOption func(*initOptions)

type initOptions struct {
	address string
	cfg     node.Config
}

// Address makes Init join a node instead of starting one: that which serves at
// the given socket path, as `weft start` prints it, or from another machine a node
// of a cluster at weft://HOST:PORT, which is where it listens for others. The token
// that `weft token create --role driver` makes is in WEFT_TOKEN or before HOST and
// an @; beside a head of the same user none is needed. The connection may be cut
// for 30 seconds at a time: what the program has submitted runs on, and nothing is
// lost. A program that ends without Shutdown has a job for as long.
func Address(a string) InitOption { return func(o *initOptions) { o.address = a } }

// Resources says what an embedded node has: CPU, GPU, memory in bytes, and
// custom resources. What is absent is detected.
func Resources(r map[string]float64) InitOption {
	return func(o *initOptions) { o.cfg.Resources = r }
}

// Labels are an embedded node's labels, for On.
func Labels(l map[string]string) InitOption {
	return func(o *initOptions) { o.cfg.Labels = resource.Labels(l) }
}

// StoreBytes limits an embedded node's shared memory for objects. The default
// is 30% of the memory that the process may use.
func StoreBytes(n int64) InitOption { return func(o *initOptions) { o.cfg.StoreBytes = n } }

// MemoryLimit is how many bytes of memory the program and its workers may use
// before the node holds work back. The default is that of the cgroup or machine.
func MemoryLimit(n int64) InitOption { return func(o *initOptions) { o.cfg.MemoryLimit = n } }

// SpillDir is where an embedded node puts objects that its memory cannot hold,
// at most limit bytes of them; 0 is no limit. The default is a temporary folder.
func SpillDir(dir string, limit int64) InitOption {
	return func(o *initOptions) { o.cfg.SpillDir, o.cfg.SpillBytes = dir, limit }
}

// InNamespace is the namespace of this session's named actors. The default is
// one that no other session has.
func InNamespace(ns string) InitOption { return func(o *initOptions) { o.cfg.Namespace = ns } }

// Python is the interpreter of the workers that run PyTask1 and its like. It must
// have the package weft. The default is that of WEFT_PYTHON, or python3.
func Python(path string) InitOption { return func(o *initOptions) { o.cfg.Python = path } }

// Logger receives an embedded node's events. The default is silence.
func Logger(l *slog.Logger) InitOption { return func(o *initOptions) { o.cfg.Log = l } }

// Init connects the program: to the node at Address or WEFT_ADDRESS if either
// is given, else to a node that it runs inside the program, which takes
// milliseconds. It must come first in main: in a worker process of this program
// it serves tasks and does not return.
//
// The first session becomes the one that Remote, Put and the rest use for
// contexts that have none; use Session.Context for further ones.
func Init(ctx context.Context, opts ...InitOption) (*Session, error) {
	if client.IsWorker() {
		os.Exit(client.WorkerMain())
	}
	o := initOptions{address: os.Getenv(AddressEnv)}
	for _, opt := range opts {
		opt(&o)
	}
	s, err := open(ctx, &o)
	if task := os.Getenv(client.ReplayEnv); task != "" {
		os.Exit(client.ReplayMain(ctx, s.client(), task, err))
	}
	if err != nil {
		return nil, err
	}
	current.CompareAndSwap(nil, s)
	return s, nil
}

func open(ctx context.Context, o *initOptions) (*Session, error) {
	if remote.IsAddress(o.address) {
		return openRemote(ctx, o)
	}
	if o.address != "" {
		sess, err := client.Dial(ctx, o.address, client.Options{Namespace: o.cfg.Namespace, Python: o.cfg.Python})
		if err != nil {
			return nil, err
		}
		return &Session{sess: sess}, nil
	}
	o.cfg.Python, o.cfg.Metadata = client.PythonPath(o.cfg.Python), client.PythonMetadata()
	n, err := node.New(o.cfg)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	sess, err := n.Local()
	if err != nil {
		return nil, errors.Join(err, n.Close(ctx))
	}
	return &Session{sess: sess, node: n}, nil
}

// openRemote joins a cluster from outside.
func openRemote(ctx context.Context, o *initOptions) (*Session, error) {
	target, err := remote.ParseAddress(o.address, os.Getenv)
	if err != nil {
		return nil, err
	}
	target.Program = "/proc/self/exe"
	proxy, call, side, err := remote.Start(target)
	if err != nil {
		return nil, err
	}
	sess, err := client.Join(ctx, call, side, target.Address, client.Options{Namespace: o.cfg.Namespace, Python: o.cfg.Python})
	if err != nil {
		now, cancel := context.WithCancel(ctx)
		cancel()
		proxy.Close(now)
		return nil, err
	}
	return &Session{sess: sess, proxy: proxy}, nil
}

// client is the session under s, if there is one.
func (s *Session) client() client.Session {
	if s == nil {
		return nil
	}
	return s.sess
}

// Shutdown ends the first session; see Session.Shutdown.
func Shutdown(ctx context.Context) error {
	s := current.Load()
	if s == nil {
		return nil
	}
	return s.Shutdown(ctx)
}

// Shutdown ends the session: its tasks are cancelled, its actors end unless
// they are detached, an embedded node stops. When it returns, no goroutine,
// process, file or shared memory of the session is left. Refs that have their
// value can still be read; everything else fails with code Closed.
func (s *Session) Shutdown(ctx context.Context) error {
	current.CompareAndSwap(s, nil)
	err := s.sess.Close(ctx)
	if s.proxy != nil {
		s.proxy.Close(ctx)
	}
	if s.node != nil {
		if err2 := s.node.Close(ctx); err == nil {
			err = err2
		}
	}
	return err
}

// Context returns a context whose calls use s.
func (s *Session) Context(ctx context.Context) context.Context {
	return client.WithRunning(ctx, &client.Running{Sess: s.sess})
}

// sessionOf returns the session that ctx's calls use.
func sessionOf(ctx context.Context) (client.Session, error) {
	return sessionOfRun(client.FromContext(ctx))
}

func sessionOfRun(run *client.Running) (client.Session, error) {
	if run != nil {
		return run.Sess, nil
	}
	if s := current.Load(); s != nil {
		return s.sess, nil
	}
	return nil, &Error{Code: wire.Closed, Message: "there is no session", Hint: "call weft.Init first in main"}
}
