package main

import (
	"context"
	"errors"
	"regexp"
	"time"
)

var simulation = &topic{
	name: "sim", rounds: 2, timeout: 15 * time.Minute,
	rows: []row{
		{name: "sim/decisions", what: "simulation of 10,000 nodes and 1,000,000 tasks, on one core", asked: "≥ 200,000 decisions/s",
			unit: rate, reached: atLeast(200_000)},
		{name: "sim/results", what: "… different results of the same seed, over all rounds", asked: "1", unit: count, reached: atMost(1)},
	},
	measure: func(ctx context.Context, m *meter) error {
		program, err := m.testProgram(ctx, "sim")
		if err != nil {
			return err
		}
		hashes := map[string]bool{}
		return m.cold(func() error { return m.simulate(ctx, program, hashes) })
	},
}

var simHash = regexp.MustCompile(`hash ([0-9a-f]+)`)

func (m *meter) simulate(ctx context.Context, program string, hashes map[string]bool) error {
	out, err := benchmark(ctx, program, "BenchmarkCluster", "1x", "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	hash := simHash.FindStringSubmatch(out)
	if hash == nil {
		return errors.New("the simulation told no hash of its trace")
	}
	hashes[hash[1]] = true
	m.subject("sim/decisions", benchLines(out)[0]["decisions/s"])
	m.subject("sim/results", float64(len(hashes)))
	m.remark("sim/results", "hash "+hash[1])
	return nil
}
