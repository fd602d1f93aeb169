package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/weftrun/weft/internal/cluster"
	"github.com/weftrun/weft/internal/control/etcd"
	"github.com/weftrun/weft/internal/node"
)

// headPort is where a head listens unless told otherwise.
const headPort = "6380"

// nodeConfig is a node, alone or in a cluster.
type nodeConfig struct {
	node.Config
	head   bool
	join   []string // heads
	listen string   // for other nodes; "": it is alone
	known  string   // listen as others know it
}

// clusterFlags are the flags of `weft start` about the cluster.
type clusterFlags struct {
	head              bool
	listen, advertise string
}

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.head, "head", false, "begin a cluster: keep its metadata and coordinate it; other nodes join it with --address HOST:PORT")
	flags.StringVar(&f.listen, "listen", "", "HOST:PORT for other nodes (default: 127.0.0.1, port "+headPort+" of a head, any of another node)")
	flags.StringVar(&f.advertise, "advertise", "", "HOST:PORT at which other nodes reach that, if it is another")
}

// complete says what the node is in which cluster. join is the address given.
func (f *clusterFlags) complete(cfg *nodeConfig, join string) error {
	cfg.head, cfg.listen, cfg.known = f.head, f.listen, f.advertise
	switch {
	case f.head && join != "":
		return usagef("--head begins a cluster and --address %s joins one: want one of the two", join)
	case !f.head && join == "" && (f.listen != "" || f.advertise != ""):
		return usagef("--listen and --advertise are for a node of a cluster: want --head, or --address HOST:PORT of a head")
	case f.head && f.listen == "":
		cfg.listen = net.JoinHostPort("127.0.0.1", headPort)
	case join != "" && f.listen == "":
		cfg.listen = "127.0.0.1:0"
	}
	if join == "" {
		return nil
	}
	for address := range strings.SplitSeq(join, ",") {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" {
			return usagef("--address %s: to join a cluster give HOST:PORT of a head; where this node's own files are is --dir", join)
		}
		cfg.join = append(cfg.join, address)
	}
	return nil
}

// member is a node of a cluster, with the metadata store if it is a head.
type member struct {
	*cluster.Member
	cfg      nodeConfig
	etcd     *etcd.Member
	expelled chan struct{}
	once     sync.Once
}

// newMember makes one.
func newMember(cfg nodeConfig) (daemon, error) {
	return &member{cfg: cfg, expelled: make(chan struct{})}, nil
}

// Start implements daemon.
func (m *member) Start(ctx context.Context) (err error) {
	c := cluster.Config{Node: m.cfg.Config, Listen: m.cfg.listen, Advertise: m.cfg.known, Heads: m.cfg.join,
		Expelled: func() { m.once.Do(func() { close(m.expelled) }) }}
	if m.cfg.head {
		if m.etcd, err = startEtcd(ctx, m.cfg.Dir, m.cfg.Log); err != nil {
			return err
		}
		c.Store = m.etcd.Store()
	}
	if m.Member, err = cluster.New(c); err != nil {
		return err
	}
	return m.Member.Start(ctx)
}

// startEtcd runs the metadata store of a cluster with one head: others reach it
// through that.
func startEtcd(ctx context.Context, dir string, log *slog.Logger) (*etcd.Member, error) {
	dir = filepath.Join(dir, "metadata")
	m, err := etcd.Start(ctx, etcd.Config{Dir: dir, Client: "unix:" + filepath.Join(dir, "client"), Peer: "unix:" + filepath.Join(dir, "peer"), Log: log})
	if err != nil {
		return nil, fmt.Errorf("the cluster's metadata: %w", err)
	}
	return m, nil
}

// Close implements daemon.
func (m *member) Close(ctx context.Context) (err error) {
	if m.Member != nil {
		err = m.Member.Close(ctx)
	}
	if m.etcd != nil {
		err = errors.Join(err, m.etcd.Close())
	}
	return err
}

// Expelled is closed when the cluster has declared the node dead.
func (m *member) Expelled() <-chan struct{} { return m.expelled }
