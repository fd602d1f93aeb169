package meminfo

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// tree makes a file system of path, content pairs.
func tree(pairs ...string) fstest.MapFS {
	t := fstest.MapFS{"proc/meminfo": file("MemTotal:  16384 kB\nMemFree: 100 kB\nMemAvailable:   8192 kB\n")}
	for i := 0; i < len(pairs); i += 2 {
		t[pairs[i]] = file(pairs[i+1])
	}
	return t
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

const (
	mount2      = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	mount1      = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	mountHybrid = mount1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name string
		tree fstest.MapFS
		want Memory
	}{{
		name: "no cgroups",
		tree: tree(),
		want: Memory{Total: 16 * mib, Limit: 16 * mib, Available: 8 * mib},
	}, {
		name: "version 2, nested: the ancestor's limit counts",
		tree: tree("proc/self/mountinfo", mount2, "proc/self/cgroup", "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max", "max\n",
			"sys/fs/cgroup/a/memory.max", "4194304\n", "sys/fs/cgroup/a/memory.current", "3145728\n",
			"sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 524288\nactive_file 524288\nslab_reclaimable 1024\n"),
		want: Memory{Total: 16 * mib, Limit: 4 * mib, Available: mib + 512*kib + 256*kib + kib},
	}, {
		name: "version 2 in a container: its own cgroup is the root",
		tree: tree("proc/self/mountinfo", "30 23 0:26 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "proc/self/cgroup", "0::/\n",
			"sys/fs/cgroup/memory.max", "2097152", "sys/fs/cgroup/memory.current", "1048576"),
		want: Memory{Total: 16 * mib, Limit: 2 * mib, Available: mib},
	}, {
		name: "version 1 in a container: the cgroup's name is the host's",
		tree: tree("proc/self/mountinfo", "35 31 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"proc/self/cgroup", "4:memory:/docker/x\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "3145728", "sys/fs/cgroup/memory/memory.usage_in_bytes", "3145728",
			"sys/fs/cgroup/memory/memory.stat", "inactive_file 5\ntotal_inactive_file 1048576\n"),
		want: Memory{Total: 16 * mib, Limit: 3 * mib, Available: mib},
	}, {
		name: "version 1 without a limit",
		tree: tree("proc/self/mountinfo", mountHybrid, "proc/self/cgroup", "4:memory:/p\n0::/\n",
			"sys/fs/cgroup/memory/p/memory.limit_in_bytes", "9223372036854771712\n",
			"sys/fs/cgroup/unified/memory.max", "1"),
		want: Memory{Total: 16 * mib, Limit: 16 * mib, Available: 8 * mib},
	}, {
		name: "over its limit: nothing is left",
		tree: tree("proc/self/mountinfo", mount2, "proc/self/cgroup", "0::/a\n",
			"sys/fs/cgroup/a/memory.max", "1048576", "sys/fs/cgroup/a/memory.current", "1048577"),
		want: Memory{Total: 16 * mib, Limit: mib, Available: 0},
	}, {
		name: "more than the machine has",
		tree: tree("proc/self/mountinfo", mount2, "proc/self/cgroup", "0::/a\n",
			"sys/fs/cgroup/a/memory.max", "99999999999", "sys/fs/cgroup/a/memory.current", "1"),
		want: Memory{Total: 16 * mib, Limit: 16 * mib, Available: 8 * mib},
	}, {
		name: "files that make no sense",
		tree: tree("proc/self/mountinfo", "x - y\n\n"+mount2, "proc/self/cgroup", "zz\n0::/a\n",
			"sys/fs/cgroup/a/memory.max", "-7", "sys/fs/cgroup/memory.max", "", "sys/fs/cgroup/a/memory.stat", "inactive_file\n"),
		want: Memory{Total: 16 * mib, Limit: 16 * mib, Available: 8 * mib},
	}} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := New(tt.tree).Read()
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestReadFollowsChanges(t *testing.T) {
	files := tree("proc/self/mountinfo", mount2, "proc/self/cgroup", "0::/a\n",
		"sys/fs/cgroup/a/memory.max", "2097152", "sys/fs/cgroup/a/memory.current", "0",
		"sys/fs/cgroup/b/memory.max", "1048576", "sys/fs/cgroup/b/memory.current", "0")
	r := New(files)
	for _, step := range []struct {
		path, text string
		limit      int64
	}{
		{"sys/fs/cgroup/a/memory.max", "2097152", 2 * mib},
		{"sys/fs/cgroup/a/memory.max", "4194304", 4 * mib},
		{"proc/self/cgroup", "0::/b\n", mib},
		{"sys/fs/cgroup/b/memory.max", "max", 16 * mib},
	} {
		files[step.path] = file(step.text)
		if m, err := r.Read(); err != nil || m.Limit != step.limit {
			t.Errorf("after %s = %q: %+v, %v, want limit %d", step.path, step.text, m, err, step.limit)
		}
	}
}

func TestReadSaysWhatIsMissing(t *testing.T) {
	for text, want := range map[string]string{"": "MemTotal", "MemTotal: lots kB\n": "MemTotal", "MemTotal:\n": "MemTotal"} {
		if _, err := New(fstest.MapFS{"proc/meminfo": file(text)}).Read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", text, err)
		}
	}
	if _, err := New(fstest.MapFS{}).Read(); err == nil {
		t.Error("no error without /proc")
	}
}

func TestProcess(t *testing.T) {
	r := New(tree(
		"proc/7/status", "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 300 kB\nRssShmem:\t 600 kB\nVmSwap:\t 40 kB\n",
		"proc/8/status", "Name:\told kernel\nVmRSS:\t 900 kB\nVmSwap:\t 40 kB\n",
		"proc/9/status", "Name:\tzombie\nState:\tZ\n",
		"proc/self/status", "RssAnon:\t 5 kB\n"))
	for pid, want := range map[int]int64{7: 340 * kib, 8: 940 * kib, 9: 0, 0: 5 * kib} {
		if got, err := r.Process(pid); got != want || err != nil {
			t.Errorf("process %d: %d, %v, want %d", pid, got, err, want)
		}
	}
	if _, err := r.Process(10); err == nil {
		t.Error("no error for a process that is gone")
	}
}

func TestThisMachine(t *testing.T) {
	r := New(nil)
	m, err := r.Read()
	if err != nil || m.Total <= 0 || m.Limit <= 0 || m.Limit > m.Total || m.Available < 0 || m.Available > m.Total {
		t.Fatalf("%+v, %v", m, err)
	}
	before, err := r.Process(0)
	if err != nil || before <= 0 {
		t.Fatal(before, err)
	}
	block := make([]byte, 32*mib)
	for i := range block {
		block[i] = 1
	}
	after, err := r.Process(os.Getpid())
	if err != nil || after-before < 24*mib {
		t.Errorf("%d bytes, and with %d more %d; %v", before, len(block), after, err)
	}
	block[0]++
}

func FuzzMount(f *testing.F) {
	f.Add(mountHybrid)
	f.Add("1 2 3 /a /b\\040c - cgroup2 x y")
	f.Fuzz(func(_ *testing.T, line string) {
		_, _ = parseMount(line)
		_, _ = New(tree("proc/self/mountinfo", line, "proc/self/cgroup", "0::/"+line)).Read()
	})
}

func BenchmarkProcess(b *testing.B) {
	r := New(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Process(0)
	}
}

func BenchmarkRead(b *testing.B) {
	r := New(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Read()
	}
}
