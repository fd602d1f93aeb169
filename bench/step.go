package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// stepsOf measures a pure machine by the worst of its benchmarks.
func stepsOf(machine string) *topic {
	name := "step-" + machine
	return &topic{
		name: name,
		rows: []row{
			{name: name + "/time", what: "a step of the machine `" + machine + "`", asked: "≤ 0.5 µs",
				unit: nanoseconds, reached: atMost(500)},
			{name: name + "/allocations", what: "… its allocations in a steady state", asked: "0", unit: count, reached: atMost(0)},
		},
		measure: func(ctx context.Context, m *meter) error {
			program, err := m.testProgram(ctx, machine)
			if err != nil {
				return err
			}
			return m.cold(func() error { return m.step(ctx, machine, program) })
		},
	}
}

// machineBenchmarks says which benchmarks show a machine in a steady state, and
// how many steps one operation of theirs is; 0 if they report ns/step themselves.
var machineBenchmarks = []struct {
	machine, name string
	steps         float64
}{
	{"place", "BenchmarkHere", 1},
	{"place", "BenchmarkPush", 2},
	{"place", "BenchmarkChoose", 4},
	{"dispatch", "BenchmarkCycle", 2},
	{"own", "BenchmarkUnshared", 0},
	{"own", "BenchmarkCounted", 0},
	{"own", "BenchmarkQueue", 0},
	{"actor", "BenchmarkCallFinished", 2},
	{"actor", "BenchmarkPipelined", 2},
	{"actor", "BenchmarkPipelinedActors20000", 2},
	{"evict", "BenchmarkStep", 0},
}

// testProgram compiles the tests of an internal package, once.
func (m *meter) testProgram(ctx context.Context, pkg string) (string, error) {
	path := filepath.Join(m.dir, pkg+".test")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, "./internal/"+pkg).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compile the benchmarks of internal/%s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

func (m *meter) step(ctx context.Context, machine, program string) error {
	var worst, allocations float64
	slowest := ""
	for _, b := range machineBenchmarks {
		if b.machine != machine {
			continue
		}
		out, err := benchmark(ctx, program, b.name, m.span().String())
		if err != nil {
			return err
		}
		for _, line := range benchLines(out) {
			ns := line["ns/step"]
			if b.steps > 0 {
				ns = line["ns/op"] / b.steps
			}
			if ns > worst {
				worst, slowest = ns, b.name
			}
			allocations = max(allocations, line["allocs/op"])
		}
	}
	m.subject(m.topic+"/time", worst)
	m.subject(m.topic+"/allocations", allocations)
	m.remark(m.topic+"/time", slowest+" was the slowest")
	return nil
}

// benchmark runs one benchmark of a test program.
func benchmark(ctx context.Context, program, name, benchtime string, env ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, "-test.run", "^$", "-test.bench", "^"+name+"$",
		"-test.benchmem", "-test.benchtime", benchtime)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err == nil && len(benchLines(string(out))) == 0 {
		err = fmt.Errorf("there is no %s", name)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

var benchValue = regexp.MustCompile(`([0-9.e+]+) ([A-Za-z/]+)`)

// benchLines reads the values of each line of a benchmark's output, by unit.
func benchLines(out string) []map[string]float64 {
	var lines []map[string]float64
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		values := map[string]float64{}
		for _, f := range fields[2:] {
			if v := benchValue.FindStringSubmatch(f); v != nil {
				values[v[2]], _ = strconv.ParseFloat(v[1], 64)
			}
		}
		lines = append(lines, values)
	}
	return lines
}
