package tiers_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// faultsDir names the directory of a process that runs under strace, which makes
// some of its calls fail.
const (
	faultsDir   = "TIERS_TEST_FAULTS"
	faultsTurns = "TIERS_TEST_TURNS" // after how many turns it gives up waiting for its disk
)

// A diskFault is calls that fail from one on to another, counted thread by
// thread and kind by kind.
type diskFault struct {
	calls, fault string
	pauses       bool // writing is given up for a while
	forever      bool
}

var diskFaults = map[string]diskFault{
	"writes fail":     {"pwrite64", "error=EIO:when=30..45", true, false},
	"no space":        {"pwrite64", "error=ENOSPC:when=30..45", true, false},
	"read-only":       {"pwrite64,fsync,fallocate,ftruncate", "error=EROFS:when=9..16", true, false},
	"syncs fail":      {"fsync", "error=EIO:when=16..26", true, false},
	"reads fail":      {"pread64", "error=EIO:when=20..60", false, false},
	"nothing is sure": {"pwrite64,pread64,fsync,fallocate", "error=EIO:when=25+11", false, true},
}

// No failing call of a disk fails a read. Writing is given up for a while after
// a few failures, and taken up again when the disk is well.
func TestFailingCallsOfTheDiskFailNoRead(t *testing.T) {
	if dir := os.Getenv(faultsDir); dir != "" {
		synctest.Test(t, func(t *testing.T) { sufferFaults(t, dir, func() { time.Sleep(turn) }) })
		return
	}
	t.Parallel()
	needTool(t, "strace")
	for name, fault := range diskFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "strace", "-f", "--seccomp-bpf", "-qqq", "-o", os.DevNull,
				"-e", "trace="+fault.calls, "-e", "inject="+fault.calls+":"+fault.fault,
				os.Args[0], "-test.run=^TestFailingCallsOfTheDiskFailNoRead$", "-test.v")
			turns := 1000
			if fault.forever {
				turns = 200
			}
			cmd.Env = append(os.Environ(), faultsDir+"="+t.TempDir(), fmt.Sprint(faultsTurns, "=", turns), "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			if bytes.Contains(out, []byte("ptrace")) && os.Getenv("MICELIO_TEST_TOOLS") != "required" {
				t.Skipf("strace does not work here: %s", out)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			m := suffering.FindSubmatch(out)
			if m == nil {
				t.Fatalf("nothing is said about the disk: %s", out)
			}
			t.Logf("%s", m[0])
			if well := string(m[2]) == "true"; well == fault.forever {
				t.Errorf("the tier keeps copies again: %v", well)
			}
			if fault.pauses && string(m[1]) == "0" {
				t.Error("writing was never given up")
			}
		})
	}
}

// suffering is what a process says at its end.
var suffering = regexp.MustCompile(`\d+ errors in \d+ seconds, (\d+) pauses, well again (\w+)`)

// A patient reads and writes through a cache, turn by turn, and remembers
// what it has read last.
type patient struct {
	*rig
	n      int
	keys   []object.Key
	bodies map[object.Key][]byte
	wait   func() // for the next turn
}

func newPatient(r *rig, wait func()) *patient {
	return &patient{rig: r, bodies: map[object.Key][]byte{}, wait: wait}
}

// turn is the time between two turns.
const turn = 3 * time.Second

// turn reads some new objects and some known ones.
func (p *patient) turn() {
	p.Helper()
	for _, length := range []int{300, 70_000, 400_000} {
		p.n++
		key, body := blob(uint64(p.n), length)
		p.put(key, body)
		p.want(key, body, "")
		p.keys = append(p.keys, key)
		p.bodies[key] = body
	}
	p.settle()
	if len(p.keys) > 30 {
		for _, key := range p.keys[:3] {
			p.want(key, p.bodies[key], "")
			delete(p.bodies, key)
		}
		p.keys = p.keys[3:]
	}
	for _, key := range p.keys[len(p.keys)-3:] {
		p.want(key, p.bodies[key], "")
	}
	p.wait()
}

// keeps reports whether what was read last is on the disk.
func (p *patient) keeps() bool {
	for _, key := range p.keys[len(p.keys)-3:] {
		if !p.ssd.Has(key) {
			return false
		}
	}
	return true
}

// countErrors is a log that counts its errors: that is how a tier says that it
// gives up writing for a while.
type countErrors struct{ n atomic.Int64 }

func (c *countErrors) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (c *countErrors) Handle(context.Context, slog.Record) error {
	c.n.Add(1)
	return nil
}

func (c *countErrors) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c *countErrors) WithGroup(string) slog.Handler { return c }

// sufferFaults uses a cache until its disk has failed and is well again.
func sufferFaults(t *testing.T, dir string, wait func()) {
	pauses := new(countErrors)
	log, err := tiers.OpenLog(dir, tiers.LogOptions{Capacity: 16 * mib, Log: slog.New(pauses)})
	if err != nil {
		t.Fatal(err)
	}
	p := newPatient(newRigWith(t, dir, tiers.Config{SSD: log}), wait)
	turns, err := strconv.Atoi(os.Getenv(faultsTurns))
	if err != nil {
		t.Fatal(err)
	}
	const recovered = int64(40 * time.Second / turn) // longer than the tier gives up writing
	var sick, well, known int64
	for range turns {
		p.turn()
		errors := p.ssd.Stats().Errors
		if well++; errors > known || !p.keeps() {
			known, well = errors, 0
		}
		if known == 0 {
			continue
		}
		if sick++; well > recovered {
			break
		}
	}
	if known == 0 {
		t.Errorf("the disk never failed: %+v", p.ssd.Stats())
	}
	t.Logf("%d errors in %d seconds, %d pauses, well again %v", known, sick*int64(turn/time.Second), pauses.n.Load(), well > recovered)
}

// A process that is out of file descriptors reads and writes what it has open,
// and grows when it has some again.
func TestATierWithoutFileDescriptorsGrowsLater(t *testing.T) {
	if dir := os.Getenv(faultsDir); dir != "" {
		synctest.Test(t, func(t *testing.T) { runOutOfFiles(t, dir, func() { time.Sleep(turn) }) })
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestATierWithoutFileDescriptorsGrowsLater$", "-test.v")
	cmd.Env = append(os.Environ(), faultsDir+"="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func runOutOfFiles(t *testing.T, dir string, wait func()) {
	p := newPatient(newRigIn(t, new(authority), dir, 0, 64*mib), wait)
	p.turn()
	rich := p.ssd.Stats()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(len(open) - 1) // one of those was for the listing
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		p.turn()
	}
	poor := p.ssd.Stats()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if poor.Errors == 0 || poor.Hits <= rich.Hits {
		t.Errorf("descriptors were never missing, or nothing was read from the tier without them: %+v", poor)
	}
	for range 30 {
		p.turn()
	}
	if s := p.ssd.Stats(); s.Bytes <= poor.Bytes {
		t.Errorf("the tier has %d bytes with few descriptors and %d with enough", poor.Bytes, s.Bytes)
	} else {
		fmt.Println("grew from", poor.Bytes, "to", s.Bytes)
	}
}
