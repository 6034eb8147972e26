package proc

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stat is a process whose name looks like the end of a name.
const stat = "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 9 9 20 0 3 0 100 1000000 512 18446744073709551615"

func TestAProcessIsParsedWhateverItsName(t *testing.T) {
	pid, e, err := parse(stat)
	want := Use{CPU: 2 * time.Second, RSS: 512 * int64(os.Getpagesize())}
	if err != nil || pid != 42 || e.parent != 7 || e.use != want {
		t.Errorf("process %d, %+v, %v; want %+v", pid, e, err, want)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1 2", strings.Replace(stat, "150", "x", 1)} {
		if _, e, err := parse(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, e)
		}
	}
}

func TestDescendantsAreCharged(t *testing.T) {
	all := map[int]entry{
		1: {0, Use{1, 1}}, 2: {1, Use{10, 10}}, 3: {2, Use{100, 100}}, 4: {2, Use{1000, 1000}}, 5: {1, Use{10000, 10000}},
	}
	if got := sum(all, 2); got != (Use{1110, 1110}) {
		t.Errorf("a process, a child and another use %+v", got)
	}
}

func TestAProgramIsHeldToItsProcessorAndStopped(t *testing.T) {
	_, core, err := Two()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p, err := Start(core, os.Environ(), &log, "sh", "-c", "echo started; exec sleep 1000")
	if err != nil {
		t.Fatal(err)
	}
	var got unix.CPUSet
	if err := unix.SchedGetaffinity(p.PID(), &got); err != nil || got.Count() != 1 || !got.IsSet(core) {
		t.Errorf("it may run on %v, %v; want processor %d", got, err, core)
	}
	if u, err := p.Use(); err != nil || u.RSS <= 0 {
		t.Errorf("it uses %+v, %v", u, err)
	}
	p.Stop()
	if _, err := p.Use(); err == nil {
		t.Error("it is still there")
	}
}

func TestAThreadIsFreeAgain(t *testing.T) {
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	core, _, err := Two()
	if err != nil {
		t.Fatal(err)
	}
	release, err := Pin(core)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("allowed are %v, %v; before %v", after, err, before)
	}
}

func TestWhatOthersUseIsTheRest(t *testing.T) {
	const before = "cpu  100 10 50 1000 40 5 5 30 7 7\ncpu0 1 2 3\n"
	const after = "cpu  150 10 90 1090 50 5 5 40 7 7\n"
	b, err1 := parseMachine(before)
	a, err2 := parseMachine(after)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	a.own = b.own + 300*time.Millisecond
	// 100 ticks were busy and 100 idle; 30 were our own and 20 a server's.
	if got := Foreign(b, a, 200*time.Millisecond); got != 0.25 {
		t.Errorf("others used %v of the machine, want 0.25", got)
	}
	if got := Foreign(b, b, 0); got != 0 {
		t.Errorf("in no time others used %v", got)
	}
	for _, bad := range []string{"", "cpu 1 2", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 x 7 8"} {
		if c, err := parseMachine(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, c)
		}
	}
	if c, err := Now(); err != nil || c.busy+c.idle <= 0 {
		t.Errorf("the clock is %+v, %v", c, err)
	}
}
