package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Clock stands at what the whole machine, and this process with the children it
// has waited for, have used so far.
type Clock struct {
	busy, idle time.Duration // of all processors together
	own        time.Duration
}

// Now reads the clock.
func Now() (Clock, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Clock{}, err
	}
	c, err := parseMachine(string(stat))
	if err != nil {
		return Clock{}, err
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return Clock{}, fmt.Errorf("getrusage: %w", err)
		}
		c.own += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return c, nil
}

// parseMachine reads the first line of what proc(5) calls /proc/stat.
func parseMachine(stat string) (c Clock, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return Clock{}, fmt.Errorf("/proc/stat: %q", line)
	}
	// user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Clock{}, fmt.Errorf("/proc/stat: %q: %w", line, err)
		}
		d := time.Duration(n) * clockTick
		if i == 3 || i == 4 {
			c.idle += d
		} else {
			c.busy += d
		}
	}
	return c, nil
}

// Foreign returns which part of the machine's processors others used between two
// readings: neither this process nor programs of its own that used spent, and that
// it has not waited for yet. What was stolen from a virtual machine is of others.
func Foreign(before, after Clock, spent time.Duration) float64 {
	busy, idle := after.busy-before.busy, after.idle-before.idle
	if busy+idle <= 0 {
		return 0
	}
	others := busy - (after.own - before.own) - spent
	return max(0, float64(others)/float64(busy+idle))
}
