package event

import (
	"strings"
	"sync"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// MaxText bounds an Entry's Text, in bytes; what is longer loses its middle.
const MaxText = 4096

// maxNames bounds the names that one Log interns; the rest are nameless.
const maxNames = 1<<16 - 1

// Config says how much a Log keeps. Zero fields are the defaults.
type Config struct {
	// Start is the wall time of duration zero; default now.
	Start time.Time
	// Node is whose events these are.
	Node id.Node
	// Ordinary is how many ordinary records are kept, 64 bytes each. Default 65,536.
	Ordinary int
	// Kept is how many failures and changes of state are kept. Default 16,384.
	Kept int
	// Budget is how many ordinary records a second are recorded one by one.
	// Default 10,000; -1 for no limit.
	Budget int
}

func (c Config) withDefaults() Config {
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	if c.Ordinary <= 0 {
		c.Ordinary = 1 << 16
	}
	if c.Kept <= 0 {
		c.Kept = 1 << 14
	}
	if c.Budget == 0 {
		c.Budget = 10_000
	}
	return c
}

// Log holds what happened on one node. Make one with New.
type Log struct {
	cfg Config

	mu       sync.Mutex
	ordinary ring[Record]
	kept     ring[note]
	last     time.Duration // At of the newest record; time never goes back
	stats    Stats

	window  time.Duration // end of the current second
	used    int           // ordinary records in it
	tallies []tally       // by Name and ordinary kind
	touched []int         // indexes of tallies that count something

	names  []string
	byName map[string]Name

	wake chan struct{} // closed by the next Append; nil when nobody waits
}

// note is a kept record and its text.
type note struct {
	Record
	text string
}

// tally sums the records of one name and kind that a second had no room for.
type tally struct {
	n          uint32
	ran, bytes int64
	job        id.Job
}

// New returns an empty Log. Its rings grow as they fill.
func New(cfg Config) *Log {
	cfg = cfg.withDefaults()
	return &Log{
		cfg:      cfg,
		ordinary: newRing[Record](cfg.Ordinary),
		kept:     newRing[note](cfg.Kept),
		names:    []string{""},
		byName:   map[string]Name{},
	}
}

// Start is the wall time that the records' times are counted from.
func (l *Log) Start() time.Time { return l.cfg.Start }

// Node is whose events these are.
func (l *Log) Node() id.Node { return l.cfg.Node }

// Name interns a name that many records will have. Past 65,535 of them names
// are dropped and zero is returned.
func (l *Log) Name(name string) Name {
	name = strings.ToValidUTF8(name, "\uFFFD")
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, ok := l.byName[name]; ok || name == "" {
		return n
	}
	if len(l.names) > maxNames {
		return 0
	}
	n := Name(len(l.names))
	name = strings.Clone(name)
	l.names = append(l.names, name)
	l.byName[name] = n
	l.growTallies()
	return n
}

// Append records r, which happened at now.
func (l *Log) Append(now time.Duration, r Record) {
	l.mu.Lock()
	l.advance(now)
	r.At = l.last
	l.stats.count(&r)
	switch {
	case !r.Kind.ordinary():
		l.kept.push(note{Record: r})
	case l.used < l.cfg.Budget || l.cfg.Budget < 0:
		l.used++
		l.ordinary.push(r)
	default:
		l.tally(&r)
	}
	l.signal()
	l.mu.Unlock()
}

// Note records r with a text for people; it is kept whatever its kind.
func (l *Log) Note(now time.Duration, r Record, text string) {
	text = shorten(text)
	l.mu.Lock()
	l.advance(now)
	r.At = l.last
	l.stats.count(&r)
	l.kept.push(note{r, text})
	l.signal()
	l.mu.Unlock()
}

// Tick ends the second of counting that now is past; Append does too, so it is
// needed only when nothing happens any more. Drain calls it.
func (l *Log) Tick(now time.Duration) {
	l.mu.Lock()
	l.advance(now)
	l.mu.Unlock()
}

// advance moves time on, and at the end of a second writes its counts.
func (l *Log) advance(now time.Duration) {
	if now > l.last {
		l.last = now
	}
	if l.last >= l.window {
		l.closeWindow()
	}
}

func (l *Log) closeWindow() {
	for _, i := range l.touched {
		t := &l.tallies[i]
		l.ordinary.push(Record{
			At: l.last, Kind: Counted | Kind(i%int(ordinaryEnd)), Name: Name(i / int(ordinaryEnd)),
			N: t.n, Ran: time.Duration(t.ran), Bytes: t.bytes, Job: t.job,
		})
		*t = tally{}
	}
	l.touched = l.touched[:0]
	l.used = 0
	l.window = l.last.Truncate(time.Second) + time.Second
}

func (l *Log) tally(r *Record) {
	if l.tallies == nil {
		l.growTallies()
	}
	i := int(r.Name)*int(ordinaryEnd) + int(r.Kind)
	t := &l.tallies[i]
	if t.n == 0 {
		l.touched = append(l.touched, i)
		t.job = r.Job
	}
	t.n++
	t.ran += int64(r.Ran)
	t.bytes += r.Bytes
	if t.job != r.Job {
		t.job = id.Job{}
	}
}

// growTallies makes room for every name, ahead of Append.
func (l *Log) growTallies() {
	need := len(l.names) * int(ordinaryEnd)
	for len(l.tallies) < need {
		l.tallies = append(l.tallies, tally{})
	}
	if cap(l.touched) < need {
		l.touched = append(make([]int, 0, cap(l.tallies)), l.touched...)
	}
}

// signal wakes those who wait for news.
func (l *Log) signal() {
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// shorten keeps the beginning and the end of a text that is too long, as valid
// UTF-8 in memory of its own.
func shorten(s string) string {
	const cut = " […] "
	if len(s) > MaxText {
		half := (MaxText - len(cut)) / 2
		s = s[:half] + cut + s[len(s)-half:]
	}
	return strings.Clone(strings.ToValidUTF8(s, ""))
}
