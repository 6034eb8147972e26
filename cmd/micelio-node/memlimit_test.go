package main

import (
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/micelio/micelio/node"
)

const gib = 1 << 30

// machine is a file system of files with these contents.
func machine(files ...string) fstest.MapFS {
	root := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		root[files[i]] = &fstest.MapFile{Data: []byte(files[i+1] + "\n")}
	}
	return root
}

func TestTheMemoryLimitFollowsBudgetsAndContainer(t *testing.T) {
	const meminfo = "MemTotal:       16777216 kB\nMemFree: 1 kB" // 16 GiB
	for name, c := range map[string]struct {
		root    fstest.MapFS
		ram     int64
		env     string
		want    int64
		because string
		warned  bool
	}{
		"a small tier":     {machine("proc/meminfo", meminfo), gib, "", gib/10*13 + baseMemory, "the node's budgets", false},
		"no tier":          {machine("proc/meminfo", meminfo), -1, "", 10_000_000/10*13 + baseMemory, "the node's budgets", false},
		"a tier too large": {machine("proc/meminfo", meminfo), 32 * gib, "", 16 * gib / 100 * 90, "the machine's memory", true},
		"a tight one":      {machine("proc/meminfo", meminfo), 12 * gib, "", 16 * gib / 100 * 90, "the machine's memory", false},
		"the operator's":   {machine("proc/meminfo", meminfo), gib, "900MiB", 0, "GOMEMLIMIT", false},
		"nothing known":    {machine(), gib, "", gib/10*13 + baseMemory, "the node's budgets", false},
		"junk": {machine("proc/meminfo", "MemTotal: many kB", "proc/self/cgroup", "0::\n::::\n\x00", "sys/fs/cgroup/memory.max", "-7"),
			gib, "", gib/10*13 + baseMemory, "the node's budgets", false},
		"version 2": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b", "sys/fs/cgroup/a/b/memory.max", "1073741824"),
			gib, "", gib / 100 * 90, "the container's memory", true},
		"a parent's": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b", "sys/fs/cgroup/a/b/memory.max", "max",
			"sys/fs/cgroup/a/memory.max", "2147483648", "sys/fs/cgroup/memory.max", "4294967296"),
			2 * gib, "", 2 * gib / 100 * 90, "the container's memory", true},
		"high": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/", "sys/fs/cgroup/memory.max", "max",
			"sys/fs/cgroup/memory.high", "1073741824"),
			gib / 4, "", gib/4/10*13 + baseMemory, "the node's budgets", false},
		"the host's path in a container": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/system.slice/docker-1.scope",
			"sys/fs/cgroup/memory.max", "536870912"), gib / 4, "", 512 << 20 / 100 * 90, "the container's memory", true},
		"version 1": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n1:name=systemd:/x",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
			gib, "", gib / 100 * 90, "the container's memory", true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := node.Config{RAMBytes: c.ram, FillMemoryBytes: 10_000_000}
			got := chooseMemoryLimit(cfg, c.root, func(string) string { return c.env })
			if math.Abs(float64(got.bytes-c.want)) > 100 || got.because != c.because || (got.warning != "") != c.warned {
				t.Errorf("%+v, want %d because of %s, warned: %t", got, c.want, c.because, c.warned)
			}
			if c.warned && !strings.Contains(got.warning, "--ram-bytes") {
				t.Errorf("the warning does not say what to do: %s", got.warning)
			}
		})
	}
}

func FuzzMemoryTables(f *testing.F) {
	f.Add("0::/a/b\n4:memory:/c", "MemTotal: 1 kB", "max")
	f.Fuzz(func(t *testing.T, groups, meminfo, limit string) {
		root := machine("proc/self/cgroup", groups, "proc/meminfo", meminfo, "sys/fs/cgroup/memory.max", limit)
		if n, _ := availableMemory(root); n <= 0 {
			t.Errorf("%d bytes of memory are available", n)
		}
	})
}
