package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"time"
)

// topic is one measurement, run in a process of its own.
type topic struct {
	name    string
	rows    []row
	rounds  int           // at most, 0 is as many as asked for; for what takes minutes
	timeout time.Duration // 0 is topicTimeout
	measure func(context.Context, *meter) error
}

// topicTimeout is for a measurement that hangs.
const topicTimeout = 3 * time.Minute

// topics is everything there is, in the order of the table.
var topics = []*topic{
	embeddedTasks, embeddedActors, remoteTasks,
	stepsOf("place"), stepsOf("dispatch"), stepsOf("own"), stepsOf("actor"), stepsOf("evict"),
	putObjects, getObjects, queuedTasks, queuedRemote, manyObjects, spilling, initEmbedded, startNodes, simulation,
	betweenNodes,
}

// row is one line of the table.
type row struct {
	name    string // topic/figure
	what    string
	asked   string // as the issue says it; "" if nothing is
	limit   string // what is measured beside it; "" if nothing
	unit    unit
	reached func(medians) bool // nil if nothing is asked
}

// medians are what a row's verdict looks at.
type medians struct {
	Subject float64
	Limit   float64
	Ratio   float64 // of subject to limit in the same round; 0 without a limit
}

func atMost(v float64) func(medians) bool  { return func(m medians) bool { return m.Subject <= v } }
func atLeast(v float64) func(medians) bool { return func(m medians) bool { return m.Subject >= v } }

// ofLimit asks for a share of the limit.
func ofLimit(share float64) func(medians) bool {
	return func(m medians) bool { return m.Ratio >= share }
}

// timesLimit allows a multiple of the limit.
func timesLimit(n float64) func(medians) bool {
	return func(m medians) bool { return m.Ratio > 0 && m.Ratio <= n }
}

func both(a, b func(medians) bool) func(medians) bool {
	return func(m medians) bool { return a(m) && b(m) }
}

func either(a, b func(medians) bool) func(medians) bool {
	return func(m medians) bool { return a(m) || b(m) }
}

func (t *topic) matches(filter *regexp.Regexp) bool {
	for i := range t.rows {
		if filter.MatchString(t.rows[i].name) {
			return true
		}
	}
	return false
}

func (t *topic) roundsOf(asked int) int {
	if t.rounds > 0 {
		return min(t.rounds, asked)
	}
	return asked
}

// measureTopic is what a child process does: measure one topic and send samples
// through the descriptor that its parent gave it.
func measureTopic(o *options) error {
	for _, t := range topics {
		if t.name != o.topic {
			continue
		}
		m := newMeter(o, os.NewFile(samplesFD, "samples"))
		m.rounds, m.topic = t.roundsOf(o.rounds), t.name
		return m.profiled(func() error { return t.measure(context.Background(), m) })
	}
	return errors.New("there is no topic " + o.topic)
}
