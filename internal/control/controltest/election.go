package controltest

import (
	"context"
	"time"

	"github.com/weftrun/weft/internal/control"
)

const office = "office"

func (s *suite) campaign(who string) *control.Leadership {
	s.Helper()
	l, err := control.Campaign(s.ctx, s.Store, office, []byte(who), time.Minute)
	if err != nil {
		s.Fatalf("%s campaigns: %v", who, err)
	}
	return l
}

// candidate campaigns in the background.
func (s *suite) candidate(who string) <-chan *control.Leadership {
	won := make(chan *control.Leadership, 1)
	go func() {
		l, err := control.Campaign(s.ctx, s.Store, office, []byte(who), time.Minute)
		if err != nil {
			s.Errorf("%s campaigns: %v", who, err)
		}
		won <- l
	}()
	return won
}

func (s *suite) resign(l *control.Leadership) {
	s.Helper()
	if err := l.Resign(s.ctx); err != nil {
		s.Fatal(err)
	}
}

// as writes what only a leader may.
func (s *suite) as(l *control.Leadership, key string) error {
	_, err := s.Store.Commit(s.ctx, control.Txn{
		If: []control.Cond{l.Cond()},
		Do: []control.Op{control.Set(key, nil)},
	})
	return err
}

func electOne(s *suite) {
	first := s.campaign("first")
	if who := string(s.get(office).Value); who != "first" {
		s.Fatalf("%q leads", who)
	}
	won := s.candidate("second")
	if err := s.as(first, "a"); err != nil {
		s.Fatal(err)
	}
	select {
	case <-won:
		s.Fatal("two lead")
	default:
	}
	s.resign(first)
	second := <-won
	if second.Term() <= first.Term() {
		s.Fatalf("term %d follows %d", second.Term(), first.Term())
	}
	s.wantError(s.as(first, "b"), control.ErrConflict, "a write of the leader before")
	s.absent("b")
	<-first.Lost()
	if err := first.Err(); err != nil {
		s.Fatalf("it resigned, and: %v", err)
	}
	s.resign(second)
	s.absent(office)
}

// A leader that is not heard of has a lease that nobody renews.
func electAfterSilence(s *suite) {
	silent := s.putLeased(office, s.grant())
	won := s.candidate("second")
	s.Advance(3 * time.Second)
	second := <-won
	if second.Term() <= silent {
		s.Fatalf("term %d follows %d", second.Term(), silent)
	}
	s.resign(second)
}

func electionGivenUp(s *suite) {
	first := s.campaign("first")
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := control.Campaign(ctx, s.Store, office, nil, time.Minute)
		ended <- err
	}()
	cancel()
	s.wantError(<-ended, context.Canceled, "a campaign given up")
	s.resign(first)
	s.absent(office)
}

func leadershipLost(s *suite) {
	l, err := control.Campaign(s.ctx, s.Store, office, nil, 2*time.Second)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.Store.Revoke(s.ctx, s.get(office).Lease); err != nil {
		s.Fatal(err)
	}
	<-l.Lost()
	s.wantError(l.Err(), control.ErrNoLease, "its end")
	s.resign(l)
}
