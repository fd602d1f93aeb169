package meminfo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// Unknown is a size that this machine does not tell.
const Unknown = -1

// Reader reads figures. Make it with [New].
type Reader struct {
	root   fs.FS
	mounts []mount // of memory controllers, once they have been found
	looked bool
}

// New returns a reader below root; nil is the machine's.
func New(root fs.FS) *Reader {
	if root == nil {
		root = os.DirFS("/")
	}
	return &Reader{root: root}
}

// Memory is what this process and others may use.
type Memory struct {
	Total     int64 // of the machine
	Limit     int64 // Total, or that of a cgroup if it is less
	Available int64 // what could be had without swapping, within all limits
}

// Read returns the figures of now.
func (r *Reader) Read() (Memory, error) {
	m, err := r.machine()
	if err != nil {
		return m, err
	}
	for _, g := range r.cgroups() {
		if g.Limit == Unknown {
			continue
		}
		m.Limit = min(m.Limit, g.Limit)
		if free := g.Free(); free != Unknown && (m.Available == Unknown || free < m.Available) {
			m.Available = free
		}
	}
	return m, nil
}

// machine reads /proc/meminfo.
func (r *Reader) machine() (Memory, error) {
	m := Memory{Total: Unknown, Limit: Unknown, Available: Unknown}
	text, err := fs.ReadFile(r.root, "proc/meminfo")
	if err != nil {
		return m, fmt.Errorf("meminfo: the machine's memory: %w", err)
	}
	m.Total, m.Available = kilobytes(text, "MemTotal"), kilobytes(text, "MemAvailable")
	if m.Limit = m.Total; m.Total == Unknown {
		return m, errors.New("meminfo: /proc/meminfo does not tell MemTotal")
	}
	return m, nil
}

// Process returns the anonymous memory and swap of a process; a pid of 0 is
// this one. What it shares, such as the object store's memory, is not in it.
func (r *Reader) Process(pid int) (int64, error) {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	text, err := fs.ReadFile(r.root, "proc/"+who+"/status")
	if err != nil {
		return 0, fmt.Errorf("meminfo: memory of process %s: %w", who, err)
	}
	anon := kilobytes(text, "RssAnon")
	if anon == Unknown {
		// Before Linux 4.5, or a zombie: then there is no VmRSS either.
		anon = max(0, kilobytes(text, "VmRSS"))
	}
	return anon + max(0, kilobytes(text, "VmSwap")), nil
}

// kilobytes finds the line "key:   n kB".
func kilobytes(text []byte, key string) int64 {
	for line := range bytes.Lines(text) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || string(name) != key {
			continue
		}
		fields := bytes.Fields(value)
		if len(fields) == 0 {
			return Unknown
		}
		n, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil || n < 0 || n > 1<<52 {
			return Unknown
		}
		return n << 10
	}
	return Unknown
}
