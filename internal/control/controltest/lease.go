package controltest

import (
	"time"

	"github.com/weftrun/weft/internal/control"
)

func (s *suite) putLeased(key string, l control.LeaseID) control.Revision {
	s.Helper()
	return s.commit(control.Txn{Do: []control.Op{{Kind: control.Put, Key: key, Lease: l}}})
}

func leaseExpires(s *suite) {
	l := s.grant()
	s.put("stays", "")
	s.putLeased("a", l)
	rev := s.putLeased("b", l)
	if r := s.get("a"); r.Lease != l {
		s.Fatalf("a has lease %x, want %x", r.Lease, l)
	}
	w := s.watch("", rev)
	s.Advance(3 * time.Second)
	events := s.collect(w, 2)
	if len(events) != 2 || !events[0].Deleted || !events[1].Deleted || events[0].Modified != events[1].Modified {
		s.Fatalf("the lease's end is %q at %d and %d", describe(events), events[0].Modified, events[1].Modified)
	}
	s.wantKeys(s.list(control.Range{}), false, "stays")
}

func leaseRenewed(s *suite) {
	l, err := s.Store.Grant(s.ctx, 3*time.Second)
	if err != nil {
		s.Fatal(err)
	}
	s.putLeased("a", l)
	for range 3 {
		s.Advance(2 * time.Second)
		if err := s.Store.Renew(s.ctx, l); err != nil {
			s.Fatal(err)
		}
	}
	s.get("a")
}

func leaseRevoked(s *suite) {
	l, other := s.grant(), s.grant()
	s.putLeased("a", l)
	s.putLeased("b", l)
	before := s.putLeased("c", other)
	if err := s.Store.Revoke(s.ctx, l); err != nil {
		s.Fatal(err)
	}
	after := s.list(control.Range{})
	s.wantKeys(after, false, "c")
	if after.Revision != before+1 {
		s.Fatalf("the revocation is revision %d, after %d", after.Revision, before)
	}
	if err := s.Store.Revoke(s.ctx, l); err != nil {
		s.Fatalf("revoking it again: %v", err)
	}
}

func leaseReplaced(s *suite) {
	first, second := s.grant(), s.grant()
	s.putLeased("a", first)
	s.putLeased("a", second)
	s.putLeased("b", first)
	s.put("b", "without")
	if err := s.Store.Revoke(s.ctx, first); err != nil {
		s.Fatal(err)
	}
	s.wantKeys(s.list(control.Range{}), false, "a", "b")
	if err := s.Store.Revoke(s.ctx, second); err != nil {
		s.Fatal(err)
	}
	s.wantKeys(s.list(control.Range{}), false, "b")
}

func leaseGone(s *suite) {
	l := s.grant()
	if err := s.Store.Revoke(s.ctx, l); err != nil {
		s.Fatal(err)
	}
	s.wantError(s.Store.Renew(s.ctx, l), control.ErrNoLease, "renew")
	_, err := s.Store.Commit(s.ctx, control.Txn{Do: []control.Op{
		control.Set("b", nil), {Kind: control.Put, Key: "a", Lease: l},
	}})
	s.wantError(err, control.ErrNoLease, "a put")
	s.absent("b")
}

func closes(s *suite) {
	w := s.watch("", s.now())
	ended := make(chan error, 1)
	go func() {
		_, err := w.Next(s.ctx)
		ended <- err
	}()
	if err := s.Store.Close(); err != nil {
		s.Fatal(err)
	}
	s.wantError(<-ended, control.ErrClosed, "a wait at a closed store")
	_, err := s.Store.Get(s.ctx, "a")
	s.wantError(err, control.ErrClosed, "get")
	_, err = s.Store.Commit(s.ctx, control.Txn{})
	s.wantError(err, control.ErrClosed, "commit")
	if err := s.Store.Close(); err != nil {
		s.Fatalf("closing it again: %v", err)
	}
}
