package main

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/micelio/micelio/node"
)

// A memoryLimit is what the garbage collector is told to keep the process
// within, in bytes.
type memoryLimit struct {
	bytes   int64
	because string // what set it
	warning string // what an operator should know, if anything
}

const (
	// The collector lets the heap grow to twice of what lives before it runs,
	// and so makes 64 GiB of cache need 128. A limit makes it run earlier only
	// when the heap gets there: with 1.3 times the budgets it cost 5 % of CPU
	// time where live values were replaced all the time.
	heapNumerator, heapDenominator = 13, 10

	// baseMemory is what a node takes besides its budgets, in bytes: code,
	// stacks and buffers of some thousand connections, the index of the SSD tier.
	baseMemory = 256 << 20

	// containerPercent is the part of a container's memory that the limit may
	// be: the rest is for what the collector does not count, page cache under
	// writeback and the kernel's socket buffers.
	containerPercent = 90
)

// chooseMemoryLimit decides how much memory a node of this configuration should
// take: what its budgets need, but not more than the container or the machine
// has. root is the file system "/", env looks a variable up. A limit that the
// operator has set in GOMEMLIMIT stands, and bytes is 0 then.
func chooseMemoryLimit(cfg node.Config, root fs.FS, env func(string) string) memoryLimit {
	if env("GOMEMLIMIT") != "" {
		return memoryLimit{because: "GOMEMLIMIT"}
	}
	ram := max(cfg.RAMBytes, 0)
	budgets := min(max(ram, ram/2+cfg.FillMemoryBytes), 1<<60)
	l := memoryLimit{bytes: budgets/heapDenominator*heapNumerator + baseMemory, because: "the node's budgets"}
	available, where := availableMemory(root)
	if most := available / 100 * containerPercent; l.bytes > most {
		l.bytes, l.because = most, where
		if need := budgets + baseMemory; need > most {
			l.warning = fmt.Sprintf("the memory budgets of %d bytes and %d for all else do not fit %s of %d bytes: "+
				"lower --ram-bytes or give the process more", budgets, int64(baseMemory), where, available)
		}
	}
	return l
}

// availableMemory returns the least of what the machine has and of what the
// control groups of this process and their parents allow, in bytes.
func availableMemory(root fs.FS) (int64, string) {
	least, where := int64(math.MaxInt64), "no limit"
	consider := func(n int64, ok bool, what string) {
		if ok && n > 0 && n < least {
			least, where = n, what
		}
	}
	total, ok := memTotal(readText(root, "proc/meminfo"))
	consider(total, ok, "the machine's memory")
	for _, group := range memoryGroups(readText(root, "proc/self/cgroup")) {
		for dir := path.Clean("/" + group.path); ; dir = path.Dir(dir) {
			for _, file := range group.files {
				n, ok := limitOf(readText(root, path.Join(group.mount, dir, file)))
				consider(n, ok, "the container's memory")
			}
			if dir == "/" {
				break
			}
		}
	}
	return least, where
}

// A memoryGroup is a control group and where its limits are. In a container the
// path may be the host's, which does not exist there; then the mount itself is
// the container's group, and all that is left of it.
type memoryGroup struct {
	mount, path string
	files       []string
}

// memoryGroups reads /proc/self/cgroup: "0::/path" for version 2, and
// "4:memory:/path" for version 1 (cgroups(7)).
func memoryGroups(table string) []memoryGroup {
	var groups []memoryGroup
	for line := range strings.Lines(table) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		controllers := strings.Split(fields[1], ",")
		switch {
		case fields[0] == "0" && fields[1] == "":
			groups = append(groups, memoryGroup{"sys/fs/cgroup", fields[2], []string{"memory.max", "memory.high"}})
		case slices.Contains(controllers, "memory"):
			groups = append(groups, memoryGroup{"sys/fs/cgroup/memory", fields[2], []string{"memory.limit_in_bytes"}})
		}
	}
	return groups
}

// limitOf reads a file of one number. "max", and the huge number that stands for
// it in version 1, are no limits.
func limitOf(text string) (int64, bool) {
	const unlimited = 1 << 60
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n < unlimited
}

// memTotal reads /proc/meminfo.
func memTotal(text string) (int64, bool) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err == nil && n < 1<<50
		}
	}
	return 0, false
}

// readText returns a file's text, none if it cannot be read.
func readText(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return string(b)
}
