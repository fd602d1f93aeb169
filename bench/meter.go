package main

import (
	"encoding/json"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sample is one measured value of a row, or a remark on it.
type sample struct {
	Row     string  `json:"row"`
	Round   int     `json:"round"`
	Limit   bool    `json:"limit,omitempty"`
	Value   float64 `json:"value"`
	Remark  string  `json:"remark,omitempty"`
	Message string  `json:"message,omitempty"`
}

// meter is a topic's means of measuring and of telling what it has measured.
type meter struct {
	rounds int
	quick  bool
	weft   string // the binary
	dir    string // temporary, removed by the parent
	topic  string
	prof   string // folder for profiles; "" is none
	round  int    // 0 is the warm-up, of which nothing is told
	to     *json.Encoder
}

func newMeter(o *options, to *os.File) *meter {
	unix.CloseOnExec(samplesFD) // the parent reads until nobody can write
	return &meter{rounds: o.rounds, quick: o.quick, weft: o.weft, dir: o.tmp, prof: o.prof, to: json.NewEncoder(to)}
}

// subject tells a value of what a row is about; limit one of its limit.
func (m *meter) subject(row string, v float64) { m.tell(sample{Row: row, Value: v}) }
func (m *meter) limit(row string, v float64)   { m.tell(sample{Row: row, Value: v, Limit: true}) }

// remark adds words to a row: what the figure does not say.
func (m *meter) remark(row, text string) { m.tell(sample{Row: row, Remark: text}) }

func (m *meter) tell(s sample) {
	if m.round == 0 {
		return
	}
	s.Round = m.round
	if err := m.to.Encode(s); err != nil {
		os.Exit(1) // the parent is gone
	}
}

// alternate measures the parts in turn, round after round, each round beginning
// with another one. A first, untold round warms everything up.
func (m *meter) alternate(parts ...func() error) error {
	m.round = 0
	if err := m.once(parts); err != nil {
		return err
	}
	return m.cold(parts...)
}

// cold is alternate for what must not be warmed up, or takes too long.
func (m *meter) cold(parts ...func() error) error {
	for m.round = 1; m.round <= m.rounds; m.round++ {
		if err := m.once(parts); err != nil {
			return err
		}
	}
	return nil
}

func (m *meter) once(parts []func() error) error {
	for i := range parts {
		if err := parts[(i+m.round)%len(parts)](); err != nil {
			return err
		}
	}
	return nil
}

// span is how long a value is measured that costs little.
func (m *meter) span() time.Duration {
	if m.quick {
		return 30 * time.Millisecond
	}
	return 300 * time.Millisecond
}

// pick is full, or small under -quick.
func (m *meter) pick(full, small int) int {
	if m.quick {
		return small
	}
	return full
}

// each repeats f, which does batch operations, for a span, and returns how many
// nanoseconds one operation took.
func (m *meter) each(batch int, f func() error) (float64, error) {
	start, n := time.Now(), 0
	for {
		if err := f(); err != nil {
			return 0, err
		}
		n += batch
		if d := time.Since(start); d >= m.span() {
			return float64(d) / float64(n), nil
		}
	}
}

// took is how many nanoseconds f takes.
func took(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return float64(time.Since(start)), err
}

// perSecond turns nanoseconds for n things into a rate.
func perSecond(n int, ns float64) float64 { return float64(n) / ns * 1e9 }
