package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/weftrun/weft/internal/cluster"
	"github.com/weftrun/weft/internal/control/etcd"
	"github.com/weftrun/weft/internal/head"
	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/token"
)

// headPort is where a head listens unless told otherwise.
const headPort = "6380"

// How long tokens are good for unless told otherwise: of nodes, which are there
// while somebody starts them, and of drivers, which are written down.
const (
	firstToken  = time.Hour
	driverToken = 30 * 24 * time.Hour
)

// nodeConfig is a node, alone or in a cluster.
type nodeConfig struct {
	node.Config
	head   bool
	join   []string // heads
	token  string   // to join with
	heads  string   // folder of local heads' tokens
	listen string   // for other nodes; "": it is alone
	known  string   // listen as others know it
	away   time.Duration
	python string // of drivers from outside whose own is not here
}

// clusterFlags are the flags of `weft start` about the cluster.
type clusterFlags struct {
	head                     bool
	listen, advertise, token string
	away                     time.Duration
}

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.head, "head", false, "begin a cluster, or with --address become another head of one: keep its metadata and be ready to coordinate it")
	flags.StringVar(&f.listen, "listen", "", "HOST:PORT for other nodes, and for drivers on other machines (default: 127.0.0.1, port "+headPort+" of the first head, else any; of a node that joins, its own address on the way to the head)")
	flags.StringVar(&f.advertise, "advertise", "", "HOST:PORT at which other nodes reach that, if it is another")
	flags.StringVar(&f.token, "token", "", "lets this node into the cluster (default $"+token.Env+"; not needed on the head's machine)")
	flags.DurationVar(&f.away, "driver-timeout", 30*time.Second, "how long the connection of a driver on another machine may be gone before its job ends")
}

// complete says what the node is in which cluster. join is the address given.
func (f *clusterFlags) complete(cfg *nodeConfig, p *program) error {
	cfg.head, cfg.listen, cfg.known, cfg.token, cfg.heads = f.head, f.listen, f.advertise, f.token, token.Neighbours(p.defaultDir())
	cfg.away, cfg.python = f.away, driversPython()
	if cfg.token == "" {
		cfg.token = p.getenv(token.Env)
	}
	join := p.address
	if join == "" {
		if !f.head && (f.listen != "" || f.advertise != "" || f.token != "") {
			return usagef("--listen, --advertise and --token are for a node of a cluster: want --head, which may be a cluster of one, or --address HOST:PORT of a head")
		}
		if !f.head {
			return nil
		}
		if f.listen == "" {
			cfg.listen = net.JoinHostPort("127.0.0.1", headPort)
		}
		return cfg.reachable()
	}
	for address := range strings.SplitSeq(join, ",") {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" {
			return usagef("--address %s: to join a cluster give HOST:PORT of a head; where this node's own files are is --dir", join)
		}
		cfg.join = append(cfg.join, address)
	}
	if cfg.listen == "" {
		cfg.listen = net.JoinHostPort(onTheWayTo(cfg.join[0]), "0")
	}
	return cfg.reachable()
}

// reachable refuses an address that others could not dial.
func (cfg *nodeConfig) reachable() error {
	host, _, err := net.SplitHostPort(cfg.listen)
	if err != nil {
		return usagef("--listen %s: want HOST:PORT", cfg.listen)
	}
	if ip := net.ParseIP(host); cfg.known == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		return usagef("--listen %s is every address of this machine: say with --advertise HOST:PORT which of them other nodes reach", cfg.listen)
	}
	return nil
}

// onTheWayTo is this machine's address as one at address sees it.
func onTheWayTo(address string) string {
	c, err := net.Dial("udp", address) //nolint:noctx // it sends nothing
	if err != nil {
		return "127.0.0.1" // what is wrong with address will be said when it is asked
	}
	defer func() { _ = c.Close() }()
	host, _, _ := net.SplitHostPort(c.LocalAddr().String())
	return host
}

// member is a node of a cluster, with the metadata store if it is a head.
type member struct {
	*cluster.Member
	cfg       nodeConfig
	etcd      *etcd.Member
	authority *identity.Authority
	store     *etcd.Store
	token     *token.Token // that this machine's nodes join with

	invitation string // how others join
	expelled   chan struct{}
	once       sync.Once
	draining   chan struct{} // closed when the cluster wants the node to leave
}

// newMember makes one.
func newMember(cfg nodeConfig) (daemon, error) {
	return &member{cfg: cfg, expelled: make(chan struct{}), draining: make(chan struct{})}, nil
}

// Start implements daemon.
func (m *member) Start(ctx context.Context) (err error) {
	c := cluster.Config{Node: m.cfg.Config, Listen: m.cfg.listen, Advertise: m.cfg.known, Away: m.cfg.away, Python: m.cfg.python,
		Expelled: func() { m.once.Do(func() { close(m.expelled) }) }, Draining: func() { close(m.draining) }}
	rand.Read(c.ID[:])
	var others []string
	if len(m.cfg.join) > 0 {
		if others, err = m.join(ctx, &c); err != nil {
			return err
		}
	}
	if m.cfg.head {
		if err := m.found(ctx, &c, others); err != nil {
			return err
		}
	}
	m.Member = cluster.New(c)
	if err := m.Member.Start(ctx); err != nil || !m.cfg.head {
		return err
	}
	return m.welcomeNeighbours(ctx)
}

// join gets the node's credentials, and of a head the cluster's authority and
// where the other members of the metadata store are.
func (m *member) join(ctx context.Context, c *cluster.Config) (metadata []string, err error) {
	var hosts []string
	if m.cfg.head {
		hosts = m.hosts()
	}
	for _, address := range m.cfg.join {
		secret := m.cfg.token
		if secret == "" {
			if secret, err = token.OfNeighbour(m.cfg.heads, address); err != nil {
				return nil, fmt.Errorf("%w: start one with --head, or give the --token that `weft token create` prints at the head", err)
			}
		}
		a, failed := identity.Join(ctx, address, secret, c.ID, hosts)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		c.Credentials, m.authority = a.Credentials, a.Authority
		c.Heads = []head.Where{{Node: a.Head, Address: address}}
		return a.Metadata, nil
	}
	return nil, err
}

// hosts are what others may call this head.
func (m *member) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, address := range []string{m.cfg.listen, m.cfg.known} {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// found makes the node a head, of a new cluster or with those that it joins.
func (m *member) found(ctx context.Context, c *cluster.Config, others []string) (err error) {
	dir := filepath.Join(m.cfg.Dir, "identity")
	if m.authority == nil {
		if m.authority, err = identity.OpenAuthority(dir); err != nil {
			return err
		}
		if c.Credentials, err = m.authority.NewCredentials(c.ID, m.hosts()); err != nil {
			return err
		}
	} else if err := m.authority.Save(dir); err != nil {
		return err
	}
	if m.etcd, err = startEtcd(ctx, &m.cfg, c.Credentials, dir, others); err != nil {
		return err
	}
	m.store = m.etcd.Store()
	c.Store = m.store
	c.Desk = &identity.Desk{Authority: m.authority, Store: m.store, Self: c.ID, Metadata: m.metadata}
	return nil
}

// metadata lists where the members of the metadata store are.
func (m *member) metadata(ctx context.Context) (urls []string, err error) {
	members, err := m.store.Members(ctx)
	for _, x := range members {
		urls = append(urls, x.Client...)
	}
	return urls, err
}

// Close implements daemon.
func (m *member) Close(ctx context.Context) (err error) {
	if m.token != nil {
		err = m.sendNeighboursAway(ctx)
	}
	if m.Member != nil {
		err = errors.Join(err, m.Member.Close(ctx))
	}
	if m.store != nil {
		err = errors.Join(err, m.store.Close())
	}
	if m.etcd != nil {
		err = errors.Join(err, m.etcd.Close())
	}
	return err
}

// Expelled is closed when the cluster has declared the node dead.
func (m *member) Expelled() <-chan struct{} { return m.expelled }

// Draining is closed when the cluster wants the node to leave in good order.
func (m *member) Draining() <-chan struct{} { return m.draining }

// api is what the API of a cluster's node has beside that of any.
func (m *member) api(rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc(tokensPath, m.serveTokens)
	mux.HandleFunc("POST "+drainPath, m.serveDrain)
	return mux
}
