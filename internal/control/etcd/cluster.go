package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/weftrun/weft/internal/control"
)

// dialTimeout bounds the making of a connection.
const dialTimeout = 5 * time.Second

// Open returns a client of the members at some URLs.
func Open(urls []string, t *TLS) (*Store, error) {
	c, err := dial(urls, t)
	if err != nil {
		return nil, err
	}
	return newStore(c), nil
}

func dial(urls []string, t *TLS) (*clientv3.Client, error) {
	cfg := clientv3.Config{Endpoints: urls, DialTimeout: dialTimeout, Logger: zap.NewNop(),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: dialTimeout}
	if t != nil {
		info := t.info()
		config, err := info.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("etcd: certificate %s: %w", t.Cert, err)
		}
		cfg.TLS = config
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd: dial %s: %w", strings.Join(urls, ", "), err)
	}
	return c, nil
}

// MemberInfo is what the cluster knows of a member.
type MemberInfo struct {
	ID      uint64
	Name    string // empty until it has started
	Client  []string
	Peer    []string
	Learner bool // without a vote: it still learns what the others know
}

// Members lists the members of the store's cluster.
func (s *Store) Members(ctx context.Context) ([]MemberInfo, error) {
	got, err := s.client.MemberList(ctx)
	if err != nil {
		return nil, s.failed(ctx, "list members", "", err)
	}
	out := make([]MemberInfo, 0, len(got.Members))
	for _, m := range got.Members {
		out = append(out, MemberInfo{ID: m.ID, Name: m.Name, Client: m.ClientURLs, Peer: m.PeerURLs, Learner: m.IsLearner})
	}
	return out, nil
}

// Remove takes a member out of the cluster for good. It waits for the others
// to be enough to decide anything.
func (s *Store) Remove(ctx context.Context, id uint64) error {
	err := persist(ctx, func() error {
		_, err := s.client.MemberRemove(ctx, id)
		return err
	})
	if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return s.failed(ctx, "remove a member", "", err)
	}
	return nil
}

// removalTime is how long a server may take to end once it is out.
const removalTime = 5 * time.Second

// Leave takes this member out of its cluster, stops it and deletes its data.
func (m *Member) Leave(ctx context.Context) error {
	s := m.Store()
	err := s.Remove(ctx, m.ID())
	if errors.Is(err, control.ErrUnavailable) {
		select { // a server that learns of its removal ends, maybe before it can answer
		case <-m.etcd.Server.StopNotify():
			err = nil
		case <-time.After(removalTime):
		case <-ctx.Done():
		}
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	return errors.Join(m.Close(), os.RemoveAll(filepath.Join(m.cfg.Dir, "member")))
}

// ID is the member's in its cluster.
func (m *Member) ID() uint64 { return uint64(m.etcd.Server.MemberID()) }

// Leads reports whether it leads its cluster's replication, which is not to
// be the coordinator.
func (m *Member) Leads() bool { return m.etcd.Server.Leader() == m.etcd.Server.MemberID() }

// hasData reports whether a member has run in dir.
func hasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "member", "wal"))
	return err == nil
}

// joining is a member that is on its way into a cluster.
type joining struct {
	client  *clientv3.Client // of the others
	id      uint64
	cluster string // its members as etcd wants them
}

// join announces a member to its cluster.
func join(ctx context.Context, cfg *Config) (_ *joining, err error) {
	j := &joining{}
	if j.client, err = dial(cfg.Join, cfg.TLS); err != nil {
		return nil, err
	}
	members, err := j.announce(ctx, cfg)
	if err != nil {
		j.close()
		return nil, fmt.Errorf("etcd: join %s: %w", strings.Join(cfg.Join, ", "), err)
	}
	var all []string
	for _, m := range members {
		name := m.Name
		switch {
		case m.ID == j.id:
			name = cfg.Name
		case name == "":
			name = strconv.FormatUint(m.ID, 16) // it has not started yet
		}
		for _, u := range m.PeerURLs {
			all = append(all, name+"="+u)
		}
	}
	j.cluster = strings.Join(all, ",")
	return j, nil
}

// announce adds the member, or finds what it added when it last tried.
func (j *joining) announce(ctx context.Context, cfg *Config) ([]*pb.Member, error) {
	got, err := j.client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range got.Members {
		if !slices.Contains(m.PeerURLs, cfg.Peer) {
			continue
		}
		if j.id = m.ID; m.Name == "" {
			return got.Members, nil
		}
		return nil, fmt.Errorf("member %x at %s is in the cluster already, and its data is not in %s: remove it and join again", m.ID, cfg.Peer, cfg.Dir)
	}
	var added *clientv3.MemberAddResponse
	err = persist(ctx, func() (err error) {
		added, err = j.client.MemberAddAsLearner(ctx, []string{cfg.Peer})
		return err
	})
	if err != nil {
		return nil, err
	}
	j.id = added.Member.ID
	return added.Members, nil
}

// promote gives the member its vote as soon as it knows what the others know.
func (j *joining) promote(ctx context.Context) error {
	err := persist(ctx, func() error {
		_, err := j.client.MemberPromote(ctx, j.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("etcd: member %x gets no vote: %w", j.id, err)
	}
	return nil
}

// persist tries a change of the members until etcd takes it: it makes one at a
// time, and wants all members in touch for some seconds before.
func persist(ctx context.Context, change func() error) error {
	for {
		err := change()
		if err == nil || !transient(err) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func transient(err error) bool {
	for _, e := range []error{
		rpctypes.ErrTooManyLearners, rpctypes.ErrMemberLearnerNotReady, rpctypes.ErrUnhealthy,
		rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrNoLeader, rpctypes.ErrNotLeader,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (j *joining) close() { _ = j.client.Close() }
