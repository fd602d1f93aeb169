package node

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever sessions do within their credit, no more is granted than the limit and
// each session's least, and a session whose own work has ended has credit.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(rapid.Int64Range(1, 1<<26).Draw(t, "limit"))
		accounts := make([]*account, rapid.IntRange(1, 5).Draw(t, "sessions"))
		work := make([][]int64, len(accounts))
		for i := range accounts {
			accounts[i] = &account{}
			l.open(accounts[i])
		}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, len(accounts)-1).Draw(t, "session")
			a := accounts[i]
			if rapid.Bool().Draw(t, "submit") && a.left > 0 {
				cost := rapid.Int64Range(1, 1<<22).Draw(t, "cost")
				if _, ok := l.spend(a, cost); !ok {
					t.Fatal("refused although there was credit")
				}
				work[i] = append(work[i], cost)
			} else if len(work[i]) > 0 {
				l.repay(a, work[i][0])
				work[i] = work[i][1:]
				l.feed(func(*account, int64) {})
			}
			l.check(t, accounts)
		}
		for i, a := range accounts {
			for _, cost := range work[i] {
				l.repay(a, cost)
				l.feed(func(*account, int64) {})
			}
			if a.left <= 0 {
				t.Fatalf("session %d has no credit and nothing to wait for: %+v of %+v", i, a, l)
			}
		}
		for _, a := range accounts {
			l.close(a)
		}
		if l.used != 0 || len(l.hungry) > 0 {
			t.Fatalf("left: %+v", l)
		}
	})
}

func (l *ledger) check(t *rapid.T, accounts []*account) {
	var used, ahead int64
	for _, a := range accounts {
		used += a.charged + a.left
		if a.left > l.window {
			t.Fatalf("more credit than a window: %+v of %+v", a, l)
		}
		ahead = max(ahead, a.charged+a.left)
	}
	if used != l.used {
		t.Fatalf("used %d, want %d", l.used, used)
	}
	if bound := l.limit + int64(len(accounts))*(l.least+1<<22); used > bound {
		t.Fatalf("used %d of %d", used, l.limit)
	}
}

// Who is overdrawn by no more than its threads' confusion explains may go on.
func TestOverdraft(t *testing.T) {
	l, a := newLedger(1<<20), &account{}
	l.open(a)
	l.spend(a, a.left+1)
	if _, ok := l.spend(a, 1); !ok {
		t.Error("a small overdraft was refused")
	}
	for range 3 { // there may have been credit for the first
		l.spend(a, overdraft)
	}
	if _, ok := l.spend(a, 1); ok {
		t.Error("work was accepted without credit")
	}
}
