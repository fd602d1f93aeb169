package etcd

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Config says how a Member is made; zero fields are the defaults.
type Config struct {
	Dir  string // of the data; made if it is not there
	Name string // tells members apart

	// URLs such as https://10.0.0.1:6380, on which clients and the other
	// members are served. A head that is alone may have "unix:" and a path.
	Client, Peer string
	// Join has client URLs of members of a cluster to be joined; without any, a
	// new cluster begins. A folder with data is in a cluster already.
	Join []string
	TLS  *TLS // of both URLs and of the way to Join; nil is for http and unix

	// Quota bounds the data's file, in bytes; 2 GiB. Reserve is how much of its
	// disk is left free; 256 MiB.
	Quota, Reserve int64
	// History is how long what changed is kept for watchers; 5 minutes.
	History time.Duration
	// Heartbeat is between the leader and the others; 100 ms. Silence of ten
	// of them begins an election.
	Heartbeat time.Duration

	Log *slog.Logger // warnings and errors of etcd; nil is none

	free func(dir string) (int64, error) // of the disk, for tests
}

// TLS names PEM files. They are read again for each connection, so a rotated
// certificate needs no restart.
type TLS struct{ Cert, Key, CA string }

func (t *TLS) info() transport.TLSInfo {
	if t == nil {
		return transport.TLSInfo{}
	}
	return transport.TLSInfo{CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CA, ClientCertAuth: true}
}

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "head")
	c.Quota = cmp.Or(c.Quota, 2<<30)
	c.Reserve = cmp.Or(c.Reserve, 256<<20)
	c.History = cmp.Or(c.History, 5*time.Minute)
	c.Heartbeat = cmp.Or(c.Heartbeat, 100*time.Millisecond)
	if c.free == nil {
		c.free = freeBytes
	}
	return c
}

// embed returns etcd's own configuration.
func (c *Config) embed(log *zap.Logger) (*embed.Config, error) {
	client, err1 := url.Parse(c.Client)
	peer, err2 := url.Parse(c.Peer)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	e := embed.NewConfig()
	e.Name, e.Dir = c.Name, c.Dir
	e.ListenClientUrls, e.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	e.ListenPeerUrls, e.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	e.InitialCluster = e.InitialClusterFromName(c.Name)
	e.ClientTLSInfo, e.PeerTLSInfo = c.TLS.info(), c.TLS.info()
	e.QuotaBackendBytes = c.Quota
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, c.History.String()
	e.TickMs, e.ElectionMs = uint(c.Heartbeat.Milliseconds()), uint(10*c.Heartbeat.Milliseconds())
	e.EnableGRPCGateway = false
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	return e, nil
}
