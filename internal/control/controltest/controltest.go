// Package controltest is what an adapter of internal/control must do, written
// as tests. An adapter's own test calls [Run] with a way to make a store:
//
//	controltest.Run(t, func(t *testing.T) controltest.Fixture { … })
//
// Each subtest is named for the rule it checks and uses a store of its own.
package controltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/control"
)

// Fixture is a store to test and the means to test it.
type Fixture struct {
	Store control.Store
	// Advance returns when at least d has passed for the store's leases and
	// those that ended by it have expired.
	Advance func(d time.Duration)
	// History is how many events the store surely forgets some of; a watcher
	// that misses as many must get ErrCompacted. Zero leaves out those tests.
	History int
}

// patience bounds what must happen soon.
const patience = 10 * time.Second

// rules lists the semantics: each name is a sentence about a Store.
var rules = []struct {
	name  string
	check func(*suite)
}{
	{"an empty store has no records", emptyStore},
	{"a put is read back with its revisions", putGet},
	{"callers own the bytes they gave and got", bytesAreCopied},
	{"get of what is not there is ErrNotFound", getAbsent},
	{"a delete deletes, and of nothing changes nothing", deletes},
	{"a prefix is deleted as one change", deletePrefix},
	{"list is sorted, of one prefix, in pages", lists},
	{"a transaction happens whole or not at all", atomicity},
	{"a name can be taken once", takeName},
	{"a lost update is refused", lostUpdate},
	{"a deleted and remade record is not unchanged", remade},
	{"what is wrong is ErrInvalid", invalid},
	{"of many writers one wins each revision", concurrentWriters},
	{"a context that has ended changes nothing", endedContext},
	{"a watcher sees each change after its revision, once, in order", watchOrder},
	{"a watcher sees one revision whole", watchWhole},
	{"a watcher sees only its prefix", watchPrefix},
	{"a watcher from a listing misses nothing", watchFromListing},
	{"a wait that is given up loses nothing", watchGiveUp},
	{"a watcher waits until there is a change", watchWaits},
	{"a closed watcher ends", watchClosed},
	{"forgotten history is ErrCompacted", watchCompacted},
	{"a watcher that falls behind gets ErrCompacted and no more", watchOverflow},
	{"a lease's records go with it, as one change", leaseExpires},
	{"a renewed lease lives on", leaseRenewed},
	{"a revoked lease's records go at once", leaseRevoked},
	{"a put replaces its record's lease", leaseReplaced},
	{"a lease that is gone cannot be used", leaseGone},
	{"one candidate leads, and the next with a greater term", electOne},
	{"a leader that falls silent is followed", electAfterSilence},
	{"a campaign that is given up leaves nothing", electionGivenUp},
	{"a leader whose lease is gone learns it", leadershipLost},
	{"a closed store is ErrClosed, and ends its watchers", closes},
}

// Run checks every rule on stores that open makes. open registers its own
// clean-up with t.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, rule := range rules {
		t.Run(strings.ReplaceAll(rule.name, " ", "_"), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
			defer cancel()
			rule.check(&suite{T: t, Fixture: open(t), ctx: ctx})
		})
	}
}

type suite struct {
	*testing.T
	Fixture

	ctx context.Context
}

func (s *suite) commit(t control.Txn) control.Revision {
	s.Helper()
	rev, err := s.Store.Commit(s.ctx, t)
	if err != nil {
		s.Fatalf("commit %v: %v", t, err)
	}
	return rev
}

func (s *suite) put(key, value string) control.Revision {
	s.Helper()
	return s.commit(control.Txn{Do: []control.Op{control.Set(key, []byte(value))}})
}

func (s *suite) get(key string) control.Record {
	s.Helper()
	r, err := s.Store.Get(s.ctx, key)
	if err != nil {
		s.Fatalf("get %q: %v", key, err)
	}
	return r
}

func (s *suite) list(r control.Range) control.Listing {
	s.Helper()
	l, err := s.Store.List(s.ctx, r)
	if err != nil {
		s.Fatalf("list %+v: %v", r, err)
	}
	return l
}

func (s *suite) absent(key string) {
	s.Helper()
	if r, err := s.Store.Get(s.ctx, key); !errors.Is(err, control.ErrNotFound) {
		s.Fatalf("get %q: %+v, %v; want ErrNotFound", key, r, err)
	}
}

func (s *suite) wantError(err, want error, what string, args ...any) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s: error is %v, want %v", fmt.Sprintf(what, args...), err, want)
	}
}

func keysOf(l control.Listing) []string {
	keys := []string{}
	for _, r := range l.Records {
		keys = append(keys, r.Key)
	}
	return keys
}

func (s *suite) wantKeys(l control.Listing, more bool, want ...string) {
	s.Helper()
	if got := keysOf(l); !slices.Equal(got, want) || l.More != more {
		s.Fatalf("list: %q, more %v; want %q, %v", got, l.More, want, more)
	}
}

// grant makes a lease of a second, the least that every adapter has.
func (s *suite) grant() control.LeaseID {
	s.Helper()
	l, err := s.Store.Grant(s.ctx, time.Second)
	if err != nil {
		s.Fatalf("grant: %v", err)
	}
	return l
}
