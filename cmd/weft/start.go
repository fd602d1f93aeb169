package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

// stopTimeout is how long a node may take to end before it is left behind, once
// nothing runs; defaultGrace is how long what runs may take before.
const (
	stopTimeout  = 10 * time.Second
	defaultGrace = 30 * time.Second
)

// startFlags are the flags of `weft start`.
type startFlags struct {
	cpus                           float64
	memory, storeBytes, queueBytes size
	spillBytes                     size
	environBytes                   size
	resources, labels              []string
	dir, socket, spillDir          string
	logFormat, logLevel            string
	detach                         bool
	lifeFD                         int
	readyFD                        int
	cluster                        clusterFlags
}

func (p *program) startCommand() *cobra.Command {
	var f startFlags
	c := &cobra.Command{
		Use:   "start",
		Short: "Run a node",
		Long: "Start runs a node in the foreground until Ctrl-C, `weft stop` or SIGTERM. What runs then may end, for up\n" +
			"to 30 s; a second Ctrl-C ends the node at once. With --detach it returns as soon as the node is ready, and the node goes on.\n\n" +
			"The node's files are in one directory, which only its user can enter: by default\n" +
			"$XDG_RUNTIME_DIR/weft, or /tmp/weft-UID. There is one node in a directory.",
		Example: "  weft start --detach\n  weft start --head -d\n  weft start --address 127.0.0.1:6380 --dir /tmp/second -d\n  weft start --cpus 4 --store-bytes 2GiB --resources gpu_memory=24 --labels zone=a",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.config(p)
			if err != nil {
				return err
			}
			if f.detach {
				return p.detach(c.Context(), c.Flags(), cfg)
			}
			return p.startNode(c.Context(), cfg, &f)
		},
	}
	flags := c.Flags()
	flags.Float64Var(&f.cpus, "cpus", 0, "CPUs that tasks may use (default: what this machine has)")
	flags.Var(&f.memory, "memory", "memory that the node and its workers may use, such as 8GiB (default: detected)")
	flags.Var(&f.storeBytes, "store-bytes", "shared memory for objects (default: 30% of the memory)")
	flags.Var(&f.queueBytes, "queue-bytes", "memory for submitted tasks that have not ended (default: a quarter of the memory)")
	flags.StringArrayVar(&f.resources, "resources", nil, "custom resources, NAME=AMOUNT[,NAME=AMOUNT]; may be repeated")
	flags.StringArrayVar(&f.labels, "labels", nil, "labels for placement, KEY=VALUE[,KEY=VALUE]; may be repeated")
	f.cluster.add(flags)
	flags.StringVar(&f.dir, "dir", "", "the node's directory")
	flags.StringVar(&f.socket, "socket", "", "where programs connect (default: "+socketName+" in the directory)")
	flags.StringVar(&f.spillDir, "spill-dir", "", "where objects go that memory has no room for (default: in the directory)")
	flags.Var(&f.spillBytes, "spill-bytes", "how much of that disk they may take (default: no limit)")
	flags.Var(&f.environBytes, "environment-bytes", "how much of runtime environments is kept on disk (default: 10GiB)")
	flags.StringVar(&f.logFormat, "log-format", "text", "of the node's log on stderr: text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVarP(&f.detach, "detach", "d", false, "run the node in the background")
	flags.IntVar(&f.readyFD, readyFlag, -1, "tell on this file descriptor when the node is ready")
	flags.IntVar(&f.lifeFD, lifeFlag, -1, "end, and remove the directory, when this file descriptor is closed at its other end")
	_ = flags.MarkHidden(readyFlag)
	_ = flags.MarkHidden(lifeFlag)
	return c
}

// config turns flags to a node's configuration.
func (f *startFlags) config(p *program) (nodeConfig, error) {
	cfg := nodeConfig{Config: node.Config{
		Dir: f.dir, Socket: f.socket, SpillDir: f.spillDir, StoreBytes: int64(f.storeBytes), SpillBytes: int64(f.spillBytes),
		EnvironBytes: int64(f.environBytes),
		QueueBytes:   int64(f.queueBytes), MemoryLimit: int64(f.memory), Resources: map[string]float64{}, Labels: resource.Labels{}, Build: buildVersion(),
	}}
	err := errors.Join(
		pairs("--resources", f.resources, func(name, value string) (err error) {
			cfg.Resources[name], err = strconv.ParseFloat(value, 64)
			return err
		}),
		pairs("--labels", f.labels, func(key, value string) error { cfg.Labels[key] = value; return nil }),
	)
	if err != nil {
		return cfg, err
	}
	if f.cpus < 0 {
		return cfg, usagef("--cpus %v: a machine has no negative CPUs", f.cpus)
	}
	if f.cpus > 0 {
		cfg.Resources[resource.CPU] = f.cpus
	}
	if _, err := newLogHandler(f, nil); err != nil {
		return cfg, err
	}
	if err := f.cluster.complete(&cfg, p); err != nil {
		return cfg, err
	}
	return cfg, f.paths(p, &cfg.Config)
}

// paths completes and makes absolute where the node's files are.
func (f *startFlags) paths(p *program, cfg *node.Config) error {
	if cfg.Dir == "" {
		cfg.Dir = p.defaultDir()
	}
	for _, path := range []*string{&cfg.Dir, &cfg.Socket, &cfg.SpillDir} {
		if *path == "" {
			continue
		}
		whole, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = whole
	}
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(cfg.Dir, socketName)
	}
	if !strings.HasSuffix(cfg.Socket, ".sock") {
		return usagef("--socket %s: the name must end in .sock", cfg.Socket)
	}
	return nil
}

// pairs splits KEY=VALUE[,KEY=VALUE].
func pairs(flag string, args []string, set func(key, value string) error) error {
	for _, arg := range args {
		for pair := range strings.SplitSeq(arg, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok || key == "" {
				return usagef("%s %q: want KEY=VALUE", flag, pair)
			}
			if err := set(key, value); err != nil {
				return usagef("%s %s: %w", flag, key, err)
			}
		}
	}
	return nil
}

// startNode runs a node until it is told to end.
func (p *program) startNode(ctx context.Context, cfg nodeConfig, f *startFlags) error {
	ready, err := p.readyPipe(f.readyFD, cfg.Dir)
	if err != nil {
		return err
	}
	err = p.runNode(ctx, cfg, f, ready)
	return ready.failed(err)
}

func (p *program) runNode(ctx context.Context, cfg nodeConfig, f *startFlags, ready *readyPipe) error {
	began := time.Now()
	dir, err := openDir(cfg.Dir, cfg.Socket)
	if err != nil {
		return err
	}
	defer dir.close()
	if err := errors.Join(freeSocket(cfg.Socket), freeSocket(apiSocket(cfg.Socket))); err != nil {
		return err
	}
	if cfg.Log, err = newLogger(f, ready.logTo(p.stderr)); err != nil {
		return err
	}
	n, err := p.newNode(cfg)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return errors.Join(err, n.Close(ctx))
	}
	r := &running{program: p, node: n, stop: make(chan time.Duration, 1)}
	if f.lifeFD >= 0 {
		defer func() { _ = os.RemoveAll(cfg.Dir) }()
		syscall.CloseOnExec(f.lifeFD) // it is no worker's
		go r.watchLife(os.NewFile(uintptr(f.lifeFD), lifeFlag))
	}
	listener, err := listenAPI(ctx, apiSocket(cfg.Socket))
	if err != nil {
		return errors.Join(err, n.Close(ctx))
	}
	return r.serve(ctx, listener, func() error { return ready.tell(r.report(ctx, cfg, time.Since(began))) })
}

// listenAPI serves the user alone, wherever the socket is.
func listenAPI(ctx context.Context, path string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("the API's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// running is a node that has started.
type running struct {
	*program

	node daemon
	stop chan time.Duration // by the API: how long running tasks may take
}

// serve answers the API until the node is told to end, and ends it.
func (r *running) serve(ctx context.Context, l net.Listener, ready func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	serving := make(chan error, 1)
	go func() { serving <- api.Serve(ctx, l, r.handler()) }()
	err := ready()
	if err == nil {
		err = r.wait(ctx, serving)
	}
	cancel()
	return errors.Join(err, <-serving)
}

// handler is the node's API.
func (r *running) handler() http.Handler {
	h := api.Handler(r.node, r.askStop)
	if m, ok := r.node.(*member); ok {
		return m.api(h)
	}
	return h
}

// lifeFlag is for programs that start a node of their own. The node ends with
// them, however they end: the kernel closes their end of a socket.
const lifeFlag = "life-fd"

func (r *running) watchLife(life *os.File) {
	_, _ = io.Copy(io.Discard, life)
	r.askStop(0)
}

// askStop takes a wish to end; after the first, one is as good as many.
func (r *running) askStop(grace time.Duration) {
	select {
	case r.stop <- grace:
	default:
	}
}

// wait returns when the node has ended.
func (r *running) wait(ctx context.Context, serving chan error) error {
	grace := defaultGrace
	select {
	case grace = <-r.stop:
	case <-r.signals:
	case <-ctx.Done():
	case <-r.draining():
		return r.close(r.drain(0))
	case <-r.expelled():
		return errors.Join(errExpelled, r.close(true))
	case err := <-serving: // nobody could look at the node or end it any more
		serving <- nil
		return errors.Join(fmt.Errorf("the API has ended: %w", err), r.close(true))
	}
	return r.close(grace == 0 || r.drain(grace))
}

// errExpelled is why a node ends that nobody has ended.
var errExpelled = errors.New("the cluster has declared this node dead, because it was silent for too long: what it ran is run elsewhere; start it again to join anew")

// expelled is closed when the cluster wants the node no more.
func (r *running) expelled() <-chan struct{} {
	if m, ok := r.node.(interface{ Expelled() <-chan struct{} }); ok {
		return m.Expelled()
	}
	return nil
}

// draining is closed when the cluster wants the node to leave.
func (r *running) draining() <-chan struct{} {
	if m, ok := r.node.(interface{ Draining() <-chan struct{} }); ok {
		return m.Draining()
	}
	return nil
}

// drain lets what runs end, within grace (0 is any time), or until somebody asks
// again: then it reports true.
func (r *running) drain(grace time.Duration) (urgent bool) {
	ctx, cancel := context.WithCancel(context.Background())
	if grace > 0 {
		ctx, cancel = context.WithTimeout(ctx, grace)
	}
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = r.node.Drain(ctx) // what does not end in time is ended
	}()
	select {
	case <-drained:
	case <-r.signals:
		urgent = true
	case <-r.stop:
		urgent = true
	}
	cancel()
	<-drained
	return urgent
}

// close ends the node: tidily within a time, or at once.
func (r *running) close(now bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if now {
		cancel()
	}
	closed := make(chan error, 1)
	go func() { closed <- r.node.Close(ctx) }()
	for {
		select {
		case err := <-closed:
			if now && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-r.signals:
		case <-r.stop:
		}
		now = true
		cancel()
	}
}

// readyReport is what `weft start` says when the node is ready.
type readyReport struct {
	Node    string             `json:"node"`
	PID     int                `json:"pid"`
	Address string             `json:"address"`
	API     string             `json:"api"`
	Dir     string             `json:"dir"`
	Took    time.Duration      `json:"took_ns"`
	Cluster string             `json:"cluster,omitempty"` // where other nodes reach it
	Join    string             `json:"join,omitempty"`    // the command for others, of a head
	Total   map[string]float64 `json:"resources"`
	Store   int64              `json:"store_bytes"`
}

func (r *running) report(ctx context.Context, cfg nodeConfig, took time.Duration) readyReport {
	report := readyReport{PID: os.Getpid(), Address: cfg.Socket, API: apiSocket(cfg.Socket), Dir: cfg.Dir, Took: took}
	if m, ok := r.node.(*member); ok {
		report.Cluster, report.Join = m.Address(), m.invitation
	}
	if status, err := r.node.State().Status(ctx); err == nil {
		report.Node, report.Total, report.Store = status.Node.ID, status.Node.Total, status.Node.Store.Limit
	}
	return report
}

// announce tells people how to use the node and how to end it.
func (p *program) announce(r readyReport, detached bool) error {
	if p.json() {
		return p.printJSON(r)
	}
	at := ""
	if r.Dir != p.defaultDir() {
		at = " --address " + r.Dir
	}
	p.say("Weft node %s is ready in %s: %s, %s for objects", r.Node, state.Span(r.Took), state.Amounts(r.Total), state.Bytes(r.Store))
	p.say("  programs   export %s=%s", addressVariable, r.Address)
	if r.Join != "" {
		p.say("  join       %s", r.Join)
		p.say("  elsewhere  weft token create --role driver%s", at)
	}
	p.say("  look       weft status%s", at)
	if detached {
		p.say("  stop       weft stop%s", at)
		p.say("  log        %s", filepath.Join(r.Dir, logName))
	} else {
		p.say("  stop       Ctrl-C, or weft stop%s", at)
	}
	return nil
}
