package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where and of what the figures are.
type machine struct {
	Date   string `json:"date"`
	Commit string `json:"commit"`
	Go     string `json:"go"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Memory string `json:"memory"`
	Load   string `json:"load"` // average when the run began
}

func environment(ctx context.Context) machine {
	return machine{
		Date: time.Now().Format(time.DateOnly), Commit: commit(ctx), Go: runtime.Version(), Kernel: kernel(),
		CPU: field("/proc/cpuinfo", "model name"), CPUs: runtime.NumCPU(), Memory: field("/proc/meminfo", "MemTotal"),
		Load: loadAverage(),
	}
}

func (m *machine) String() string {
	return fmt.Sprintf("%s, commit %s, %s, Linux %s, %d × %s, memory %s, load %s",
		m.Date, m.Commit, m.Go, m.Kernel, m.CPUs, m.CPU, m.Memory, m.Load)
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude", "*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// field is the value of the first "name : value" line of a file.
func field(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); len(f) > 2 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}
