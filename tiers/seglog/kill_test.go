package seglog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

var kills = flag.Int("kills", 110, "points at which a process that uses a store is killed; a change of what is written deserves 500")

// The test binary runs itself under strace as a process that works on a store:
// workerDir names its directory, the others what it does.
const (
	workerDir     = "SEGLOG_TEST_DIR"
	workerSeed    = "SEGLOG_TEST_SEED"
	workerVersion = "SEGLOG_TEST_VERSION" // the first that it writes
	workerRun     = "SEGLOG_TEST_RUN"     // beside Run, from many goroutines
)

func TestMain(m *testing.M) {
	dir := os.Getenv(workerDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	seed, _ := strconv.ParseUint(os.Getenv(workerSeed), 10, 64)
	version, _ := strconv.Atoi(os.Getenv(workerVersion))
	if err := work(dir, seed, version, os.Getenv(workerRun) != ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	workerLives   = 3
	workerObjects = 24
	workerTasks   = 3 // that write beside one another
	// Seven segments, or five: at least two are full of what came last, but for
	// what did not fit at their ends, what was moved into them, and what the
	// processes that died there had left of them.
	workerCapacity = 7 << 20
	workerRecent   = 512 << 10
)

// work opens a store, uses and closes it, some lives long. It says what it is
// about to do and what has been done, one write to the standard output each.
func work(dir string, seed uint64, version int, running bool) error {
	// strace counts the calls of each thread, so there is one that writes.
	runtime.LockOSThread()
	var next atomic.Int64
	next.Store(int64(version))
	for life := range workerLives {
		fsys, err := OpenDir(dir)
		if err != nil {
			return err
		}
		// The second life is in a smaller store, so files are removed.
		s, err := Open(fsys, Options{Capacity: workerCapacity - int64(life%2)*(2<<20)})
		if err != nil {
			return err
		}
		if !running {
			w := worker{s, rand.New(rand.NewPCG(seed, uint64(life))), "object", &next, true}
			for range 42 {
				w.step()
			}
		} else {
			ctx, stop := context.WithCancel(context.Background())
			var housekeeping, tasks sync.WaitGroup
			housekeeping.Go(func() { s.Run(ctx) })
			for task := range workerTasks {
				tasks.Go(func() {
					w := worker{s, rand.New(rand.NewPCG(seed, uint64(life<<8|task))), fmt.Sprint("task-", task), &next, false}
					for range 10 {
						w.step()
					}
				})
			}
			tasks.Wait()
			stop()
			housekeeping.Wait()
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// A worker is one task of the process. Tasks share no object, so that what one
// says is in order.
type worker struct {
	s      *Store
	rnd    *rand.Rand
	prefix string
	next   *atomic.Int64
	alone  bool // it does what Run would do
}

func (w *worker) step() {
	name := fmt.Sprint(w.prefix, "-", w.rnd.IntN(workerObjects))
	switch n := w.rnd.IntN(20); {
	case n < 12:
		v := w.next.Add(1)
		size := []int{0, 1, 700, 5000, 70_000, 200_000, 250_000, 300_000, 700_001}[w.rnd.IntN(9)]
		fmt.Printf("put %s %d %d\n", name, v, size)
		if put(w.s, name, int(v), size) {
			fmt.Printf("has %s %d %d\n", name, v, size)
		}
	case n < 15:
		v := w.next.Add(1)
		fmt.Printf("delete %s %d 0\n", name, v)
		w.s.Delete(idOf(name))
		fmt.Printf("deleted %s %d 0\n", name, v)
	case n < 16 && w.alone:
		w.s.everySecond(context.Background())
	default:
		fetch(w.s, name) // what is read is kept longer
	}
	if w.alone && (w.s.wantsRoom() || w.rnd.IntN(8) == 0) {
		w.s.tidy(context.Background())
	}
}

// A killed history is what processes have said about a store.
type killed struct {
	next    int
	names   map[string]*fate
	written []*fate // the objects in the order in which they were written, also again
	sizes   []int
}

// A fate is what may have become of an object.
type fate struct {
	put     map[int]bool // versions of which a process said that it begins to write them
	current int          // the last version that was acknowledged and not deleted since, 0: none
	floor   int          // nothing before this version may be seen again
	open    bool         // something was begun that was not acknowledged
}

var saying = regexp.MustCompile(`^(put|has|delete|deleted) (\S+) (\d+) (\d+)$`)

// hear takes in what a process said until it died.
func (k *killed) hear(t *testing.T, said []byte) {
	lines := bufio.NewScanner(bytes.NewReader(said))
	for lines.Scan() {
		m := saying.FindStringSubmatch(lines.Text())
		if m == nil {
			t.Fatalf("a process says %q", lines.Text())
		}
		version, _ := strconv.Atoi(m[3])
		size, _ := strconv.Atoi(m[4])
		k.next = max(k.next, version)
		f := k.names[m[2]]
		if f == nil {
			f = &fate{put: map[int]bool{}}
			k.names[m[2]] = f
		}
		switch m[1] {
		case "put":
			f.put[version], f.open = true, true
			k.written, k.sizes = append(k.written, f), append(k.sizes, size+2*page)
		case "has":
			f.current, f.floor, f.open = version, version, false
		case "delete":
			f.open = true
		case "deleted":
			f.current, f.floor, f.open = 0, version, false
		}
	}
}

// check opens the store that a killed process has left, and reads everything.
func (k *killed) check(t *testing.T, dir string) {
	t.Helper()
	fsys, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(fsys, Options{Capacity: workerCapacity})
	if err != nil {
		t.Fatalf("the store does not open: %v", err)
	}
	defer s.Close()
	recent := map[*fate]bool{}
	for i, sum := len(k.written)-1, 0; i >= 0; i-- {
		if sum += k.sizes[i]; sum > workerRecent {
			break
		}
		recent[k.written[i]] = true
	}
	begun := 0
	for name, f := range k.names {
		if f.open {
			begun++
		}
		v, found, err := fetch(s, name)
		switch {
		case err != nil && !errors.Is(err, ErrAbsent):
			t.Errorf("%s: %v", name, err)
		case err != nil || !found:
			if recent[f] && !f.open && f.current != 0 {
				t.Errorf("%s: version %d was written lately and is gone (%v)", name, f.current, err)
			}
		case !f.put[v]:
			t.Errorf("%s: version %d was never written", name, v)
		case v < f.floor:
			t.Errorf("%s: version %d is back, which was replaced or deleted by %d", name, v, f.floor)
		}
	}
	// The write that was under way may have got half of its bytes to the disk, and
	// so may have that of something moved.
	if d := s.Stats().Damaged; d > int64(begun)+1 {
		t.Errorf("%d damaged records, of %d writes that were under way", d, begun)
	}
	s.tidy(t.Context())
	if !put(s, "after", 1, 100_000) {
		t.Error("the store takes nothing more")
	}
	mustHave(t, s, "after", 1)
}

// writingCalls change files. The question mark is for machines without them.
const writingCalls = "pwrite64,?pwritev,fsync,fdatasync,ftruncate,fallocate,?rename,?renameat,?renameat2,?unlink,unlinkat"

// A point is a moment in the life of a process: its nth call of a kind. strace
// counts the kinds and the threads one by one.
type point struct {
	call string
	n    int
}

var calling = regexp.MustCompile(`(?m)^\d+ +([a-z0-9]+)\(`)

// traced runs a worker under strace until a point is reached, and returns what
// it said and how often it made each call. dead is false if it came to its end.
func traced(t *testing.T, program, dir string, at point, env ...string) (said []byte, calls map[string]int, dead bool) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-qq", "-o", trace, "-e", "trace=" + writingCalls}
	if at.n > 0 {
		args = append(args, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", at.call, at.n))
	}
	cmd := exec.CommandContext(t.Context(), "strace", append(args, program)...)
	cmd.Env = append(append(os.Environ(), workerDir+"="+dir), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	log, logErr := os.ReadFile(trace)
	if logErr != nil {
		t.Fatalf("strace: %v, %v: %s", err, logErr, &stderr)
	}
	calls = map[string]int{}
	for _, m := range calling.FindAllSubmatch(log, -1) {
		calls[string(m[1])]++
	}
	dead = bytes.Contains(log, []byte("killed by SIGKILL"))
	if err != nil && !dead {
		t.Fatalf("the process was not killed, it ended with %v: %s", err, &stderr)
	}
	return said, calls, dead
}

// needStrace skips the test where processes cannot be traced, or fails where the
// tools of all tests must be there.
func needStrace(t *testing.T) {
	t.Helper()
	out, err := exec.Command("strace", "-f", "-o", os.DevNull, "true").CombinedOutput()
	if err == nil {
		return
	}
	if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
		t.Fatalf("strace: %v: %s", err, out)
	}
	t.Skipf("strace does not work here: %v: %s", err, out)
}

// A process may die before any of its writes, syncs, allocations and removals:
// the next one starts, has what was acknowledged lately, and nothing that was
// replaced or deleted. Many die on the same disk one after the other.
func TestAProcessKilledAtAnyWriteLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of processes")
	}
	needStrace(t)
	// Not this binary: the race detector makes a process dear to start, and this
	// test is about what is in files.
	program := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, running := range []bool{false, true} {
		name, run := "alone", ""
		if running {
			name, run = "beside Run", "yes"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, calls, _ := traced(t, program, t.TempDir(), point{}, workerSeed+"=1", workerRun+"="+run)
			if running {
				killAtPoints(t, program, *kills/6, 8, nil, map[string]int{"pwrite64": calls["pwrite64"] / 8, "fsync": calls["fsync"] / 8}, run)
				return
			}
			// Calls that only a process without a past makes for certain.
			var first []point
			for _, call := range []string{"fallocate", "ftruncate", "unlinkat", "unlink"} {
				for n := range calls[call] {
					first = append(first, point{call, n + 1})
				}
			}
			disks := len(first)
			killAtPoints(t, program, *kills*5/6, max(*kills*5/6/disks, 2), first, map[string]int{"pwrite64": calls["pwrite64"], "fsync": calls["fsync"]}, run)
		})
	}
}

// killAtPoints kills so many processes, so many of them on one disk. The first
// one of a disk dies at one of first, the others at the calls of rest, at points
// that lie evenly between the first call and the last.
func killAtPoints(t *testing.T, program string, points, ofOneDisk int, first []point, rest map[string]int, run string) {
	var mu sync.Mutex
	hit, places := map[string]int{}, map[point]bool{}
	var disks sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		disks.Go(func() {
			for !t.Failed() {
				disk := int(next.Add(1) - 1)
				if disk*ofOneDisk >= points {
					return
				}
				dir, k := t.TempDir(), &killed{names: map[string]*fate{}}
				for step := range ofOneDisk {
					i := disk*ofOneDisk + step
					call := "pwrite64"
					if (disk+step)%4 == 0 {
						call = "fsync"
					}
					at, seed := point{call, 1 + i*(rest[call]-1)/points}, i
					if step == 0 && disk < len(first) {
						at, seed = first[disk], 1
					}
					said, _, dead := traced(t, program, dir, at, fmt.Sprint(workerSeed, "=", seed), fmt.Sprint(workerVersion, "=", k.next), workerRun+"="+run)
					k.hear(t, said)
					if k.check(t, dir); t.Failed() {
						t.Errorf("seed %d: after the death of %d processes on a disk, the last one at %v", seed, step+1, at)
						return
					}
					mu.Lock()
					if dead {
						hit[at.call]++
						places[at] = true
					}
					mu.Unlock()
				}
			}
		})
	}
	disks.Wait()
	t.Logf("killed at %d points of %v: %v", len(places), rest, hit)
	if len(places) < points*3/4 && !t.Failed() {
		t.Errorf("killed at %d points, want about %d", len(places), points)
	}
}
