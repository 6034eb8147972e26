// Package proc runs programs beside the one that measures them: it holds them to
// a processor, and says what they and their children use of the machine. It knows
// nothing of what they do. It needs Linux.
package proc

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Any is no processor in particular.
const Any = -1

// patience is how long a program may take to end when it is asked to.
const patience = 10 * time.Second

// Two returns the processors for a server and for who asks it, of those that this
// process may run on. There may be only one for both.
func Two() (server, client int, err error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, 0, fmt.Errorf("processors: %w", err)
	}
	var found []int
	for i := 0; len(found) < min(2, allowed.Count()); i++ {
		if allowed.IsSet(i) {
			found = append(found, i)
		}
	}
	return found[0], found[len(found)-1], nil
}

// Pin holds the calling goroutine, and what it starts until release is called, to
// a processor.
func Pin(core int) (release func(), err error) {
	if core == Any {
		return func() {}, nil
	}
	runtime.LockOSThread()
	var old, one unix.CPUSet
	one.Set(core)
	err = unix.SchedGetaffinity(0, &old)
	if err == nil {
		err = unix.SchedSetaffinity(0, &one)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("processor %d: %w", core, err)
	}
	return func() {
		if unix.SchedSetaffinity(0, &old) == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}, nil
}

// A Process is a program that runs. Whoever started it stops it.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// Start runs a program on a processor. What it says goes to log, which is used
// until the program has ended.
func Start(core int, env []string, log io.Writer, program string, args ...string) (*Process, error) {
	release, err := Pin(core)
	if err != nil {
		return nil, err
	}
	defer release()
	p := &Process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	p.cmd.WaitDelay = patience // for a grandchild that keeps the log open
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop asks the program to end, ends it if it does not, and returns when it has.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// A Use is what processes have used so far.
type Use struct {
	CPU time.Duration // of all threads, those that have ended included
	RSS int64         // bytes that are resident now
}

// Use returns what the program and its descendants have used. Descendants that
// have ended are not in it.
func (p *Process) Use() (Use, error) {
	all, err := table("/proc")
	if err != nil {
		return Use{}, err
	}
	if _, ok := all[p.PID()]; !ok {
		return Use{}, fmt.Errorf("%s has ended", filepath.Base(p.cmd.Path))
	}
	return sum(all, p.PID()), nil
}

// clockTick is the unit of processor time in /proc: USER_HZ, 100 on every Linux.
const clockTick = 10 * time.Millisecond

// An entry is one line of the table of processes.
type entry struct {
	parent int
	use    Use
}

// table reads the processes that there are.
func table(dir string) (map[int]entry, error) {
	files, err := filepath.Glob(filepath.Join(dir, "[0-9]*", "stat"))
	if err != nil {
		return nil, err
	}
	all := make(map[int]entry, len(files))
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		pid, e, err := parse(string(stat))
		if err != nil {
			return nil, err
		}
		all[pid] = e
	}
	return all, nil
}

// parse reads what proc(5) calls stat.
func parse(stat string) (pid int, e entry, err error) {
	name, rest, ok := cutLast(stat, ") ") // the name may hold anything
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 {
		return 0, entry{}, fmt.Errorf("/proc: %q", stat)
	}
	number := func(text string) int64 {
		n, bad := strconv.ParseInt(text, 10, 64)
		err = cmp.Or(err, bad)
		return n
	}
	first, _, _ := strings.Cut(name, " ")
	pid, e.parent = int(number(first)), int(number(fields[1]))
	e.use.CPU = time.Duration(number(fields[11])+number(fields[12])) * clockTick
	e.use.RSS = number(fields[21]) * int64(os.Getpagesize())
	if err != nil {
		return 0, entry{}, fmt.Errorf("/proc: %q: %w", stat, err)
	}
	return pid, e, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// sum adds up a process and its descendants.
func sum(all map[int]entry, pid int) Use {
	total := all[pid].use
	for child, e := range all {
		if e.parent == pid && child != pid {
			u := sum(all, child)
			total.CPU, total.RSS = total.CPU+u.CPU, total.RSS+u.RSS
		}
	}
	return total
}
