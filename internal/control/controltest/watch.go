package controltest

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/weftrun/weft/internal/control"
)

func (s *suite) watch(prefix string, after control.Revision) control.Watcher {
	s.Helper()
	w, err := s.Store.Watch(s.ctx, prefix, after)
	if err != nil {
		s.Fatalf("watch %q after %d: %v", prefix, after, err)
	}
	s.Cleanup(w.Close)
	return w
}

// collect reads at least n events.
func (s *suite) collect(w control.Watcher, n int) []control.Event {
	s.Helper()
	var all []control.Event
	for len(all) < n {
		batch, err := w.Next(s.ctx)
		if err != nil {
			s.Fatalf("after %d of %d events: %v", len(all), n, err)
		}
		all = append(all, batch...)
	}
	return all
}

// describe prints events, such as "a=1" and "-a".
func describe(events []control.Event) []string {
	var out []string
	for _, e := range events {
		if e.Deleted {
			out = append(out, "-"+e.Key)
		} else {
			out = append(out, fmt.Sprintf("%s=%s", e.Key, e.Value))
		}
	}
	return out
}

func (s *suite) wantEvents(events []control.Event, want ...string) {
	s.Helper()
	if got := describe(events); !slices.Equal(got, want) {
		s.Fatalf("events are %q, want %q", got, want)
	}
}

func (s *suite) now() control.Revision { return s.list(control.Range{Limit: 1}).Revision }

func watchOrder(s *suite) {
	s.put("a", "before")
	w := s.watch("", s.now())
	first := s.put("a", "1")
	s.put("b", "2")
	s.commit(control.Txn{Do: []control.Op{control.Remove("a")}})
	last := s.put("a", "3")
	events := s.collect(w, 4)
	s.wantEvents(events, "a=1", "b=2", "-a", "a=3")
	for i, e := range events {
		if e.Modified != first+control.Revision(i) {
			s.Fatalf("event %d has revision %d, want %d", i, e.Modified, first+control.Revision(i))
		}
	}
	if events[0].Created == first || events[3].Created != last {
		s.Fatalf("created at %d and %d", events[0].Created, events[3].Created)
	}
	// A second one that starts in the middle sees the rest.
	s.wantEvents(s.collect(s.watch("", first+1), 2), "-a", "a=3")
}

func watchWhole(s *suite) {
	w := s.watch("", s.now())
	for i := range 20 {
		var ops []control.Op
		for k := range 30 {
			ops = append(ops, control.Set(fmt.Sprintf("k%02d", k), []byte(strconv.Itoa(i))))
		}
		s.commit(control.Txn{Do: ops})
	}
	total := 0
	for total < 20*30 {
		batch, err := w.Next(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		if len(batch)%30 != 0 {
			s.Fatalf("a batch of %d events splits a change of 30", len(batch))
		}
		total += len(batch)
	}
}

func watchPrefix(s *suite) {
	w := s.watch("jobs/", s.now())
	s.put("jobs", "no")
	s.put("jobs/1", "yes")
	s.put("jobs0", "no")
	s.commit(control.Txn{Do: []control.Op{control.Set("actors/1", []byte("no")), control.Set("jobs/2", []byte("yes"))}})
	s.commit(control.Txn{Do: []control.Op{{Kind: control.DeletePrefix, Key: "jobs"}}})
	events := s.collect(w, 4)
	slices.SortStableFunc(events[2:], compareKeys)
	s.wantEvents(events, "jobs/1=yes", "jobs/2=yes", "-jobs/1", "-jobs/2")
}

func compareKeys(a, b control.Event) int {
	if a.Key < b.Key {
		return -1
	}
	return 1
}

func watchFromListing(s *suite) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			_, err := s.Store.Commit(s.ctx, control.Txn{Do: []control.Op{control.Set(fmt.Sprintf("k%03d", i), nil)}})
			if err != nil {
				s.Error(err)
			}
		}
	}()
	l := s.list(control.Range{})
	w := s.watch("", l.Revision)
	events := s.collect(w, 100-len(l.Records))
	<-done
	got := append(keysOf(l), describe(events)...)
	for i, key := range got {
		if want := fmt.Sprintf("k%03d", i); key != want && key != want+"=" {
			s.Fatalf("key %d is %q", i, key)
		}
	}
}

func watchGiveUp(s *suite) {
	w := s.watch("", s.now())
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := w.Next(ended)
	s.wantError(err, context.Canceled, "a wait whose context has ended")
	for i := range 10 {
		ctx, cancel := context.WithCancel(s.ctx)
		result := make(chan error, 1)
		go func() {
			events, err := w.Next(ctx)
			if len(events) > 0 {
				s.Errorf("woken with %q", describe(events))
			}
			result <- err
		}()
		cancel()
		s.wantError(<-result, context.Canceled, "wait %d", i)
	}
	s.put("a", "1")
	s.wantEvents(s.collect(w, 1), "a=1")
}

func watchWaits(s *suite) {
	w := s.watch("a", s.now())
	got := make(chan []control.Event, 1)
	go func() {
		events, err := w.Next(s.ctx)
		if err != nil {
			s.Error(err)
		}
		got <- events
	}()
	s.put("b", "of no interest")
	select {
	case events := <-got:
		s.Fatalf("woken with %q", describe(events))
	default:
	}
	s.put("a", "1")
	s.wantEvents(<-got, "a=1")
}

func watchClosed(s *suite) {
	w := s.watch("", s.now())
	ended := make(chan error, 1)
	go func() {
		_, err := w.Next(s.ctx)
		ended <- err
	}()
	w.Close()
	w.Close()
	s.wantError(<-ended, control.ErrClosed, "a wait at a closed watcher")
	s.put("a", "1")
}

func watchCompacted(s *suite) {
	if s.History == 0 {
		return
	}
	start := s.now()
	for i := range s.History {
		s.put("k", strconv.Itoa(i))
	}
	w, err := s.Store.Watch(s.ctx, "", start)
	if err == nil { // an adapter may learn it only later
		s.Cleanup(w.Close)
		_, err = w.Next(s.ctx)
	}
	s.wantError(err, control.ErrCompacted, "a watch of what is forgotten")
	s.watch("", s.now())
}

func watchOverflow(s *suite) {
	if s.History == 0 {
		return
	}
	w := s.watch("", s.now())
	s.put("k", "seen")
	s.wantEvents(s.collect(w, 1), "k=seen")
	for i := range s.History {
		s.put("k", strconv.Itoa(i))
	}
	_, err := w.Next(s.ctx)
	for err == nil { // what it had buffered
		_, err = w.Next(s.ctx)
	}
	s.wantError(err, control.ErrCompacted, "a watcher that fell behind")
	s.put("k", "later")
	_, err = w.Next(s.ctx)
	s.wantError(err, control.ErrCompacted, "the call after")
}
