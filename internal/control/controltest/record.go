package controltest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/weftrun/weft/internal/control"
)

func emptyStore(s *suite) {
	l := s.list(control.Range{})
	s.wantKeys(l, false)
	if l.Revision < 1 {
		s.Fatalf("an empty store is at revision %d, want at least 1", l.Revision)
	}
}

func putGet(s *suite) {
	first := s.put("a", "1")
	if r := s.get("a"); r.Key != "a" || string(r.Value) != "1" || r.Created != first || r.Modified != first || r.Lease != 0 {
		s.Fatalf("after the first put at %d: %+v", first, r)
	}
	second := s.put("a", "2")
	if second != first+1 {
		s.Fatalf("the second change is revision %d, after %d", second, first)
	}
	if r := s.get("a"); string(r.Value) != "2" || r.Created != first || r.Modified != second {
		s.Fatalf("after the second put at %d: %+v", second, r)
	}
	s.put("empty", "")
	if r := s.get("empty"); len(r.Value) != 0 {
		s.Fatalf("an empty value came back as %q", r.Value)
	}
}

func bytesAreCopied(s *suite) {
	mine := []byte("mine")
	s.commit(control.Txn{Do: []control.Op{control.Set("k", mine)}})
	mine[0] = 'X'
	got := s.get("k")
	got.Value[1] = 'X'
	listed := s.list(control.Range{}).Records[0]
	listed.Value[2] = 'X'
	if again := s.get("k"); string(again.Value) != "mine" {
		s.Fatalf("a caller's write changed the record to %q", again.Value)
	}
}

func getAbsent(s *suite) {
	s.put("ab", "")
	s.absent("a")
	s.absent("abc")
}

func deletes(s *suite) {
	rev := s.put("a", "1")
	if got := s.commit(control.Txn{Do: []control.Op{control.Remove("nothing")}}); got != rev {
		s.Fatalf("deleting nothing made revision %d of %d", got, rev)
	}
	if got := s.commit(control.Txn{}); got != rev {
		s.Fatalf("an empty transaction made revision %d of %d", got, rev)
	}
	if got := s.commit(control.Txn{Do: []control.Op{control.Remove("a")}}); got != rev+1 {
		s.Fatalf("the delete is revision %d, after %d", got, rev)
	}
	s.absent("a")
}

func deletePrefix(s *suite) {
	for _, key := range []string{"j/1", "j/2", "j", "j0", "k"} {
		s.put(key, "")
	}
	before := s.list(control.Range{}).Revision
	rev := s.commit(control.Txn{Do: []control.Op{{Kind: control.DeletePrefix, Key: "j/"}}})
	if rev != before+1 {
		s.Fatalf("the delete is revision %d, after %d", rev, before)
	}
	s.wantKeys(s.list(control.Range{}), false, "j", "j0", "k")
}

func lists(s *suite) {
	for _, key := range []string{"b/3", "b/1", "c", "b/2", "a", "b", "b0"} {
		s.put(key, key)
	}
	s.wantKeys(s.list(control.Range{}), false, "a", "b", "b/1", "b/2", "b/3", "b0", "c")
	s.wantKeys(s.list(control.Range{Prefix: "b/"}), false, "b/1", "b/2", "b/3")
	s.wantKeys(s.list(control.Range{Prefix: "b/", Limit: 2}), true, "b/1", "b/2")
	s.wantKeys(s.list(control.Range{Prefix: "b/", Limit: 3}), false, "b/1", "b/2", "b/3")
	s.wantKeys(s.list(control.Range{Prefix: "b/", Limit: 2, After: "b/2"}), false, "b/3")
	s.wantKeys(s.list(control.Range{Prefix: "b/", After: "b/25"}), false, "b/3")
	s.wantKeys(s.list(control.Range{Prefix: "b/", After: "a"}), false, "b/1", "b/2", "b/3")
	s.wantKeys(s.list(control.Range{Prefix: "b/", After: "c"}), false)
	s.wantKeys(s.list(control.Range{Prefix: "nothing"}), false)
	if r := s.list(control.Range{Prefix: "c"}).Records[0]; string(r.Value) != "c" {
		s.Fatalf("a listed record has value %q", r.Value)
	}
}

func atomicity(s *suite) {
	rev := s.put("a", "1")
	_, err := s.Store.Commit(s.ctx, control.Txn{
		If: []control.Cond{{Key: "a", Modified: rev}, {Key: "b", Modified: rev}},
		Do: []control.Op{control.Set("a", []byte("2")), control.Set("c", nil)},
	})
	s.wantError(err, control.ErrConflict, "a condition on what is not there")
	var conflict *control.ConflictError
	if !errors.As(err, &conflict) || conflict.Cond.Key != "b" || conflict.Have != 0 {
		s.Fatalf("the conflict is %+v, want one about b", conflict)
	}
	s.absent("c")
	if r := s.get("a"); string(r.Value) != "1" {
		s.Fatalf("a refused transaction changed a to %q", r.Value)
	}
	rev = s.commit(control.Txn{
		If: []control.Cond{{Key: "a", Modified: rev}, control.Absent("b")},
		Do: []control.Op{control.Remove("a"), control.Set("b", []byte("3")), control.Set("c", []byte("4"))},
	})
	s.absent("a")
	if b, c := s.get("b"), s.get("c"); b.Modified != rev || c.Modified != rev {
		s.Fatalf("one transaction at %d made revisions %d and %d", rev, b.Modified, c.Modified)
	}
}

func takeName(s *suite) {
	name := control.ActorNameKey("default", "counter/1")
	take := func(who string) error {
		_, err := s.Store.Commit(s.ctx, control.Txn{
			If: []control.Cond{control.Absent(name)},
			Do: []control.Op{control.Set(name, []byte(who)), control.Set(control.Key("actors", "by-id", who), []byte("record"))},
		})
		return err
	}
	if err := take("first"); err != nil {
		s.Fatal(err)
	}
	err := take("second")
	s.wantError(err, control.ErrConflict, "taking a taken name")
	var conflict *control.ConflictError
	if !errors.As(err, &conflict) || conflict.Have != s.get(name).Modified {
		s.Fatalf("the conflict is %+v, want the revision that took the name", conflict)
	}
	s.wantKeys(s.list(control.Range{Prefix: control.Prefix("actors", "by-id")}), false, "actors/by-id/first")
}

func lostUpdate(s *suite) {
	s.put("n", "1")
	read := s.get("n")
	s.put("n", "2")
	_, err := s.Store.Commit(s.ctx, control.Txn{
		If: []control.Cond{control.Unchanged(read)},
		Do: []control.Op{control.Set("n", []byte("from 1"))},
	})
	s.wantError(err, control.ErrConflict, "an update of what has changed")
	if r := s.get("n"); string(r.Value) != "2" {
		s.Fatalf("n is %q", r.Value)
	}
}

func remade(s *suite) {
	s.put("a", "1")
	read := s.get("a")
	s.commit(control.Txn{Do: []control.Op{control.Remove("a")}})
	rev := s.put("a", "1")
	if r := s.get("a"); r.Created != rev {
		s.Fatalf("a record made anew at %d has been created at %d", rev, r.Created)
	}
	_, err := s.Store.Commit(s.ctx, control.Txn{If: []control.Cond{control.Unchanged(read)}})
	s.wantError(err, control.ErrConflict, "a condition on the record before")
}

func invalid(s *suite) {
	big := bytes.Repeat([]byte("x"), control.MaxValue+1)
	long := string(big[:control.MaxKey+1])
	many := make([]control.Op, control.MaxOps+1)
	for i := range many {
		many[i] = control.Set(strconv.Itoa(i), nil)
	}
	for name, txn := range map[string]control.Txn{
		"no key":              {Do: []control.Op{control.Set("", nil)}},
		"long key":            {Do: []control.Op{control.Set(long, nil)}},
		"big value":           {Do: []control.Op{control.Set("a", big)}},
		"too many":            {Do: many},
		"no kind":             {Do: []control.Op{{Key: "a"}}},
		"twice":               {Do: []control.Op{control.Set("a", nil), control.Set("a", nil)}},
		"put and delete":      {Do: []control.Op{control.Set("a", nil), control.Remove("a")}},
		"put in the prefix":   {Do: []control.Op{{Kind: control.DeletePrefix, Key: "a"}, control.Set("ab", nil)}},
		"everything":          {Do: []control.Op{{Kind: control.DeletePrefix}}},
		"condition, no key":   {If: []control.Cond{{Modified: 1}}},
		"condition, revision": {If: []control.Cond{{Key: "a", Modified: -1}}},
	} {
		_, err := s.Store.Commit(s.ctx, txn)
		s.wantError(err, control.ErrInvalid, "%s", name)
	}
	_, err := s.Store.Get(s.ctx, "")
	s.wantError(err, control.ErrInvalid, "get of no key")
	_, err = s.Store.Grant(s.ctx, 0)
	s.wantError(err, control.ErrInvalid, "a lease of no time")
	s.wantKeys(s.list(control.Range{}), false)
	s.commit(control.Txn{Do: many[:control.MaxOps]})
}

func concurrentWriters(s *suite) {
	const writers, rounds = 8, 20
	s.put("n", "0")
	increment := func() {
		for {
			r, err := s.Store.Get(s.ctx, "n")
			if err != nil {
				s.Error(err)
				return
			}
			n, _ := strconv.Atoi(string(r.Value))
			_, err = s.Store.Commit(s.ctx, control.Txn{
				If: []control.Cond{control.Unchanged(r)},
				Do: []control.Op{control.Set("n", []byte(strconv.Itoa(n+1)))},
			})
			if err == nil {
				return
			}
			if !errors.Is(err, control.ErrConflict) {
				s.Error(err)
				return
			}
		}
	}
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range rounds {
				increment()
			}
		})
	}
	all.Wait()
	if r := s.get("n"); string(r.Value) != strconv.Itoa(writers*rounds) {
		s.Fatalf("%d increments made %s", writers*rounds, r.Value)
	}
}

func endedContext(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.Store.Commit(ctx, control.Txn{Do: []control.Op{control.Set("a", nil)}})
	s.wantError(err, context.Canceled, "commit")
	_, err = s.Store.Get(ctx, "a")
	s.wantError(err, context.Canceled, "get")
	_, err = s.Store.List(ctx, control.Range{})
	s.wantError(err, context.Canceled, "list")
	s.absent("a")
}
