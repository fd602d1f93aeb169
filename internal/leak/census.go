package leak

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A census says how much the process has of each thing outside the Go heap.
type census map[thing]holding

// A thing is what can leak, named so that a copy made later has another name
// or is counted with the first: processes by pid, descriptors by what they
// refer to, mappings and files by what is mapped or stored.
type thing struct {
	kind Kind
	name string
}

// A holding is how often (or, for mappings, how many bytes) and where.
type holding struct {
	amount int64
	detail string
}

// count takes the census. Things that go while it counts are left out.
func count(dirs []string) census {
	c := census{}
	c.countProcesses()
	c.countDescriptors()
	c.countMappings()
	for _, dir := range dirs {
		c.countFiles(dir)
	}
	return c
}

func (c census) add(kind Kind, name string, amount int64, detail string) {
	key := thing{kind, name}
	h := c[key]
	h.amount += amount
	h.detail = strings.TrimLeft(h.detail+", "+detail, ", ")
	c[key] = h
}

// beyond lists, sorted, what c has more of than before.
func (c census) beyond(before census) []Leak {
	var leaks []Leak
	byName := func(a, b thing) int {
		return strings.Compare(string(a.kind)+a.name, string(b.kind)+b.name)
	}
	for _, key := range slices.SortedFunc(maps.Keys(c), byName) {
		now, had := c[key], before[key].amount
		if now.amount <= had {
			continue
		}
		what := fmt.Sprintf("%s (%s)", key.name, now.detail)
		if had > 0 {
			what += fmt.Sprintf(": %d, was %d", now.amount, had)
		}
		leaks = append(leaks, Leak{key.kind, what})
	}
	return leaks
}

// countProcesses finds this process's children, those that ended and were not
// waited for included.
func (c census) countProcesses() {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		pid, state, parent, ok := parseStat(string(stat))
		if !ok || parent != os.Getpid() {
			continue
		}
		c.add(Process, strconv.Itoa(pid), 1, describeProcess(pid, state))
	}
}

// parseStat reads the first fields of a /proc/PID/stat: "pid (name) state
// ppid ...", where the name may hold anything.
func parseStat(stat string) (pid int, state string, parent int, ok bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return 0, "", 0, false
	}
	rest := strings.Fields(stat[end+1:])
	if len(rest) < 2 {
		return 0, "", 0, false
	}
	pid, errPid := strconv.Atoi(strings.TrimSpace(stat[:open]))
	parent, errParent := strconv.Atoi(rest[1])
	return pid, rest[0], parent, errPid == nil && errParent == nil
}

func describeProcess(pid int, state string) string {
	if state == "Z" {
		return "ended, but not waited for"
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "state " + state
	}
	return string(bytes.TrimSpace(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
}

func (c census) countDescriptors() {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	listing := fmt.Sprintf("/proc/%d/fd", os.Getpid())
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || target == listing {
			continue
		}
		c.add(FD, target, 1, "fd "+e.Name())
	}
}

// countMappings adds up the shared mappings of each file or memfd. The Go
// runtime makes none.
func (c census) countMappings() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		name, bytes, at, ok := parseMapping(line)
		if ok {
			c.add(Mapping, name, bytes, at)
		}
	}
}

// parseMapping reads a line of /proc/PID/maps, "from-to perms offset device
// inode path"; ok is false for a private mapping.
func parseMapping(line string) (name string, bytes int64, at string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 || !strings.HasSuffix(fields[1], "s") {
		return "", 0, "", false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	low, errLow := strconv.ParseUint(from, 16, 64)
	high, errHigh := strconv.ParseUint(to, 16, 64)
	if errLow != nil || errHigh != nil {
		return "", 0, "", false
	}
	size := int64(high - low)
	name = strings.Join(fields[5:], " ") + " inode " + fields[4]
	return name, size, fmt.Sprintf("%d bytes %s at 0x%s", size, fields[1], from), true
}

func (c census) countFiles(dir string) {
	// The walk goes on past what cannot be read: the rest still counts.
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it went away, or is not ours
		}
		if d.IsDir() {
			return nil
		}
		detail := d.Type().String()
		if info, err := d.Info(); err == nil {
			detail = fmt.Sprintf("%s, %d bytes", info.Mode(), info.Size())
		}
		c.add(File, name, 1, detail)
		return nil
	})
}
