package meminfo

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Cgroup is one cgroup that this process is in, or an ancestor.
type Cgroup struct {
	Path        string // below the reader's root
	Limit       int64  // Unknown: none
	Used        int64
	Reclaimable int64 // of Used, what the kernel takes back first
}

// Free is what may still be used.
func (g Cgroup) Free() int64 {
	if g.Limit == Unknown || g.Used == Unknown {
		return Unknown
	}
	return min(max(g.Limit-g.Used+g.Reclaimable, 0), g.Limit)
}

// mount is where a memory controller is mounted.
type mount struct {
	point string // below the reader's root
	base  string // the cgroup that is visible there
	files *files
}

// files names a version's files and fields.
type files struct {
	version                  int
	limit, used              string
	inactive, active, kernel string
}

var (
	version1 = files{1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file", ""}
	version2 = files{2, "memory.max", "memory.current", "inactive_file", "active_file", "slab_reclaimable"}
)

// unlimited is the least that version 1 says for no limit.
const unlimited = 1 << 62

// cgroups lists those that this process is in, the innermost first.
func (r *Reader) cgroups() []Cgroup {
	if !r.looked {
		r.findMounts()
	}
	var list []Cgroup
	for _, m := range r.mounts {
		inside, ok := r.membership(m.files.version)
		if !ok {
			continue
		}
		at := path.Join(m.point, below(inside, m.base))
		for {
			list = append(list, r.cgroup(at, m.files))
			if at == m.point || len(at) <= len(m.point) {
				break
			}
			at = path.Dir(at)
		}
	}
	return list
}

// below is the path of cgroup seen from base. One that is not below it, as
// happens in containers, is taken for what is visible.
func below(cgroup, base string) string {
	if base == "/" {
		return strings.TrimPrefix(cgroup, "/")
	}
	if rest, ok := strings.CutPrefix(cgroup, base); ok && (rest == "" || rest[0] == '/') {
		return strings.TrimPrefix(rest, "/")
	}
	return ""
}

// findMounts reads /proc/self/mountinfo.
func (r *Reader) findMounts() {
	text, err := fs.ReadFile(r.root, "proc/self/mountinfo")
	if err != nil {
		return // there may be one later
	}
	r.looked = true
	for line := range bytes.Lines(text) {
		if m, ok := parseMount(string(line)); ok {
			r.mounts = append(r.mounts, m)
		}
	}
	// Where version 1 has the memory controller, version 2 does not.
	if slices.ContainsFunc(r.mounts, func(m mount) bool { return m.files.version == 1 }) {
		r.mounts = slices.DeleteFunc(r.mounts, func(m mount) bool { return m.files.version == 2 })
	}
}

// parseMount reads "31 23 0:28 BASE POINT opts ... - TYPE SOURCE OPTS".
func parseMount(line string) (mount, bool) {
	head, tail, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(head), strings.Fields(tail)
	if !ok || len(left) < 5 || len(right) < 3 {
		return mount{}, false
	}
	m := mount{base: unescape(left[3]), point: strings.TrimPrefix(unescape(left[4]), "/")}
	switch {
	case right[0] == "cgroup2":
		m.files = &version2
	case right[0] == "cgroup" && slices.Contains(strings.Split(right[2], ","), "memory"):
		m.files = &version1
	default:
		return m, false
	}
	return m, fs.ValidPath(m.point)
}

// unescape undoes the octal escapes of blanks in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// membership returns the cgroup of this process in a version's hierarchy.
func (r *Reader) membership(version int) (string, bool) {
	text, err := fs.ReadFile(r.root, "proc/self/cgroup")
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		isVersion2 := parts[0] == "0" && parts[1] == ""
		if version == 2 && isVersion2 || version == 1 && slices.Contains(strings.Split(parts[1], ","), "memory") {
			return path.Clean("/" + parts[2]), true
		}
	}
	return "", false
}

// cgroup reads the figures of one cgroup.
func (r *Reader) cgroup(at string, f *files) Cgroup {
	g := Cgroup{Path: at, Limit: r.number(at, f.limit)}
	if g.Limit >= unlimited {
		g.Limit = Unknown
	}
	if g.Limit == Unknown {
		return g
	}
	g.Used = r.number(at, f.used)
	stat, err := fs.ReadFile(r.root, path.Join(at, "memory.stat"))
	if err != nil {
		return g
	}
	// Half of what was lately read from files stays: programs are among it.
	g.Reclaimable = field(stat, f.inactive) + field(stat, f.active)/2 + field(stat, f.kernel)
	return g
}

// number reads a file with one number; "max" and anything else are Unknown.
func (r *Reader) number(dir, file string) int64 {
	text, err := fs.ReadFile(r.root, path.Join(dir, file))
	if err != nil {
		return Unknown
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || n < 0 {
		return Unknown
	}
	return n
}

// field finds the line "key n"; 0 if there is none.
func field(text []byte, key string) int64 {
	for line := range bytes.Lines(text) {
		name, value, ok := bytes.Cut(line, []byte(" "))
		if ok && string(name) == key {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return max(0, n)
		}
	}
	return 0
}
