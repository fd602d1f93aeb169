package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/control"
)

// Member is an etcd server in this process. Make one with Start.
type Member struct {
	cfg    Config
	etcd   *embed.Etcd
	client *clientv3.Client // of this server
	guard  sync.WaitGroup
	stop   context.CancelFunc
	close  func() error

	failing sync.Once
	failed  chan struct{}
	err     error // why; read after failed
}

// Start runs a member until Close, and returns when it serves. One that joins
// first learns what the others know and has no vote until then, so that a
// head that comes and goes again takes nobody's majority.
func Start(ctx context.Context, cfg Config) (_ *Member, err error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	m := &Member{cfg: cfg, failed: make(chan struct{})}
	ec, err := cfg.embed(logger(cfg.Log, m.fail))
	if err != nil {
		return nil, err
	}
	var j *joining
	if len(cfg.Join) > 0 && !hasData(cfg.Dir) {
		if j, err = join(ctx, &cfg); err != nil {
			return nil, err
		}
		defer j.close()
		ec.InitialCluster, ec.ClusterState = j.cluster, embed.ClusterStateFlagExisting
	}
	if m.etcd, err = embed.StartEtcd(ec); err != nil {
		return nil, fmt.Errorf("etcd: start %s in %s: %w", cfg.Name, cfg.Dir, err)
	}
	m.client = v3client.New(m.etcd.Server)
	background, stop := context.WithCancel(context.Background())
	m.stop, m.close = stop, sync.OnceValue(m.shutDown)
	m.guard.Go(func() { m.watchDisk(background) })
	if err := m.ready(ctx, j); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// ready waits until the member serves, and has a vote.
func (m *Member) ready(ctx context.Context, j *joining) error {
	select {
	case <-m.etcd.Server.ReadyNotify():
	case err := <-m.etcd.Err():
		return fmt.Errorf("etcd: start %s: %w", m.cfg.Name, err)
	case <-m.etcd.Server.StopNotify():
		return fmt.Errorf("etcd: %s stopped while it started; was it removed from its cluster? Then delete %s and join again", m.cfg.Name, m.cfg.Dir)
	case <-m.failed:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("etcd: %s waits for a majority of its members: %w", m.cfg.Name, ctx.Err())
	}
	if j == nil {
		return nil
	}
	return j.promote(ctx)
}

// Store returns a client of this member. Close it before the member.
func (m *Member) Store() *Store { return newStore(v3client.New(m.etcd.Server)) }

// Failed is closed when etcd has given up, as on a disk that fails. The other
// members go on; this one serves nothing until it is started anew.
func (m *Member) Failed() <-chan struct{} { return m.failed }

// Err says why it failed.
func (m *Member) Err() error {
	select {
	case <-m.failed:
		return m.err
	default:
		return nil
	}
}

func (m *Member) fail(why string) {
	m.failing.Do(func() {
		m.err = fmt.Errorf("etcd: member %s in %s has failed: %s: look at the disk and start this head again", m.cfg.Name, m.cfg.Dir, why)
		close(m.failed)
	})
}

// Backup writes the data as of now, for etcdutl to restore.
func (m *Member) Backup(ctx context.Context, w io.Writer) error {
	r, err := m.client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("etcd: backup: %w", err)
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

// Reclaim forgets all history, gives the file's unused bytes back, and accepts
// writes again that were refused for want of room. The member does not answer
// for some seconds a gigabyte.
func (m *Member) Reclaim(ctx context.Context) error {
	got, err := m.client.Get(ctx, root, clientv3.WithCountOnly())
	if err == nil {
		_, err = m.client.Compact(ctx, got.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err == nil {
		err = m.etcd.Server.Defragment()
	}
	if err == nil {
		err = m.alarm(ctx, pb.AlarmRequest_DEACTIVATE)
	}
	if err != nil {
		return fmt.Errorf("etcd: reclaim: %w", err)
	}
	return nil
}

// alarm stops what adds records in the whole cluster, or lets it go on as far
// as it is for this member.
func (m *Member) alarm(ctx context.Context, do pb.AlarmRequest_AlarmAction) error {
	_, err := m.etcd.Server.Alarm(ctx, &pb.AlarmRequest{
		MemberID: uint64(m.etcd.Server.MemberID()), Action: do, Alarm: pb.AlarmType_NOSPACE,
	})
	return err
}

// diskEvery is between two looks at the disk.
const diskEvery = time.Second

// watchDisk raises etcd's alarm while the disk has less than the reserve.
func (m *Member) watchDisk(ctx context.Context) {
	every := time.NewTicker(diskEvery)
	defer every.Stop()
	raised := false
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		free, err := m.cfg.free(m.cfg.Dir)
		if err != nil || (free < m.cfg.Reserve) == raised {
			continue
		}
		do := pb.AlarmRequest_ACTIVATE
		if raised {
			do = pb.AlarmRequest_DEACTIVATE
		}
		if m.alarm(ctx, do) == nil {
			raised = !raised
		}
	}
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Close stops the member. Its data stays.
func (m *Member) Close() error { return m.close() }

func (m *Member) shutDown() error {
	m.stop()
	m.guard.Wait()
	err := m.client.Close()
	m.etcd.Close()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("etcd: close: %w", err)
	}
	return nil
}

var _ control.Store = (*Store)(nil)
