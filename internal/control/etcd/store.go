package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftrun/weft/internal/control"
)

// root is the prefix of all keys, so that others may use the same etcd.
const root = "weft/"

// Store implements control.Store. Make one with Open or Member.Store.
type Store struct {
	client *clientv3.Client
	root   string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	open   sync.WaitGroup // watchers' goroutines
	close  func() error
}

func newStore(c *clientv3.Client) *Store {
	s := &Store{client: c, root: root}
	s.close = sync.OnceValue(func() error {
		if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("etcd: close: %w", err)
		}
		return nil
	})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Get implements control.Store.
func (s *Store) Get(ctx context.Context, key string) (control.Record, error) {
	if err := control.CheckKey(key); err != nil {
		return control.Record{}, err
	}
	ctx, done, err := s.begin(ctx, "get", key)
	if err != nil {
		return control.Record{}, err
	}
	defer done()
	got, err := s.client.Get(ctx, s.root+key)
	if err != nil {
		return control.Record{}, s.failed(ctx, "get", key, err)
	}
	if len(got.Kvs) == 0 {
		return control.Record{}, fmt.Errorf("control: get %q: %w", key, control.ErrNotFound)
	}
	return s.record(got.Kvs[0]), nil
}

// List implements control.Store.
func (s *Store) List(ctx context.Context, r control.Range) (control.Listing, error) {
	ctx, done, err := s.begin(ctx, "list", r.Prefix)
	if err != nil {
		return control.Listing{}, err
	}
	defer done()
	first := s.root + r.Prefix
	end := clientv3.GetPrefixRangeEnd(first)
	if after := s.root + r.After + "\x00"; r.After != "" && after > first {
		first = after
	}
	got, err := s.client.Get(ctx, first, clientv3.WithRange(end), clientv3.WithLimit(int64(r.Limit)))
	if err != nil {
		return control.Listing{}, s.failed(ctx, "list", r.Prefix, err)
	}
	out := control.Listing{Revision: control.Revision(got.Header.Revision), More: got.More}
	for _, kv := range got.Kvs {
		out.Records = append(out.Records, s.record(kv))
	}
	return out, nil
}

// Commit implements control.Store.
func (s *Store) Commit(ctx context.Context, t control.Txn) (control.Revision, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	ctx, done, err := s.begin(ctx, "commit", firstKey(&t))
	if err != nil {
		return 0, err
	}
	defer done()
	conds := make([]clientv3.Cmp, 0, len(t.If))
	reads := make([]clientv3.Op, 0, len(t.If))
	for _, c := range t.If {
		conds = append(conds, clientv3.Compare(clientv3.ModRevision(s.root+c.Key), "=", int64(c.Modified)))
		reads = append(reads, clientv3.OpGet(s.root+c.Key, clientv3.WithKeysOnly()))
	}
	ops := make([]clientv3.Op, 0, len(t.Do))
	for _, op := range t.Do {
		ops = append(ops, s.op(op))
	}
	got, err := s.client.Txn(ctx).If(conds...).Then(ops...).Else(reads...).Commit()
	switch {
	case err != nil:
		return 0, s.failed(ctx, "commit", firstKey(&t), err)
	case !got.Succeeded:
		return 0, conflict(&t, got)
	}
	return control.Revision(got.Header.Revision), nil
}

func (s *Store) op(op control.Op) clientv3.Op {
	key := s.root + op.Key
	switch op.Kind {
	case control.Delete:
		return clientv3.OpDelete(key)
	case control.DeletePrefix:
		return clientv3.OpDelete(key, clientv3.WithPrefix())
	}
	return clientv3.OpPut(key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
}

// conflict finds the condition that did not hold.
func conflict(t *control.Txn, got *clientv3.TxnResponse) error {
	for i, c := range t.If {
		var have control.Revision
		if kvs := got.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			have = control.Revision(kvs[0].ModRevision)
		}
		if have != c.Modified {
			return &control.ConflictError{Cond: c, Have: have}
		}
	}
	return fmt.Errorf("control: commit: %w", control.ErrConflict)
}

func firstKey(t *control.Txn) string {
	switch {
	case len(t.Do) > 0:
		return t.Do[0].Key
	case len(t.If) > 0:
		return t.If[0].Key
	}
	return ""
}

// Grant implements control.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (control.LeaseID, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("control: a lease of %v: %w", ttl, control.ErrInvalid)
	}
	ctx, done, err := s.begin(ctx, "grant", "")
	if err != nil {
		return 0, err
	}
	defer done()
	got, err := s.client.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	if err != nil {
		return 0, s.failed(ctx, "grant", "", err)
	}
	return control.LeaseID(got.ID), nil
}

// Renew implements control.Store.
func (s *Store) Renew(ctx context.Context, l control.LeaseID) error {
	ctx, done, err := s.begin(ctx, "renew a lease", "")
	if err != nil {
		return err
	}
	defer done()
	if _, err = s.client.KeepAliveOnce(ctx, clientv3.LeaseID(l)); err != nil {
		return s.failed(ctx, "renew a lease", "", err)
	}
	return nil
}

// Revoke implements control.Store.
func (s *Store) Revoke(ctx context.Context, l control.LeaseID) error {
	ctx, done, err := s.begin(ctx, "revoke a lease", "")
	if err != nil {
		return err
	}
	defer done()
	_, err = s.client.Revoke(ctx, clientv3.LeaseID(l))
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return s.failed(ctx, "revoke a lease", "", err)
	}
	return nil
}

// Close implements control.Store. A member's Store leaves the member running.
func (s *Store) Close() error {
	s.cancel()
	s.open.Wait()
	return s.close()
}

// begin returns a context that ends with ctx or the store, and an error if it
// has ended: the client of an embedded member does what it is asked
// nevertheless.
func (s *Store) begin(ctx context.Context, op, key string) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(control.ErrClosed) })
	if s.ctx.Err() != nil {
		cancel(control.ErrClosed)
	}
	done := func() { stop(); cancel(nil) }
	if err := ctx.Err(); err != nil {
		defer done()
		return nil, nil, s.failed(ctx, op, key, err)
	}
	return ctx, done, nil
}

// failed says what an operation was, in the words of package control. A
// deadline that is not ctx's is etcd's own.
func (s *Store) failed(ctx context.Context, op, key string, err error) error {
	known := err
	var e rpctypes.EtcdError
	switch {
	case ctx.Err() != nil:
		known = context.Cause(ctx)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		known = control.ErrNoLease
	case errors.Is(err, rpctypes.ErrCompacted):
		known = control.ErrCompacted
	case errors.Is(err, rpctypes.ErrNoSpace):
		known = control.ErrFull
	case errors.Is(err, context.DeadlineExceeded), clientv3.IsConnCanceled(err), status.Code(err) == codes.Unavailable, errors.As(err, &e) && e.Code() == codes.Unavailable:
		known = fmt.Errorf("%w (%w)", control.ErrUnavailable, err)
	}
	if key == "" {
		return fmt.Errorf("control: %s: %w", op, known)
	}
	return fmt.Errorf("control: %s %q: %w", op, key, known)
}
