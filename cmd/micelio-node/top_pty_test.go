//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A session is the program on a terminal of its own, with a person in front.
type session struct {
	t       *testing.T
	person  *os.File // what is typed and seen
	program *os.File // the other end
	screen  *terminal
	changed chan struct{}
	before  unix.Termios
	cmd     *exec.Cmd
	ended   bool
}

// newSession starts the program at a terminal of 100 x 30.
func newSession(t *testing.T, mode string, args ...string) *session {
	t.Helper()
	s := &session{t: t, screen: newTerminal(size{100, 30}), changed: make(chan struct{}, 1)}
	s.person, s.program = openTerminal(t)
	s.resize(size{100, 30})
	s.before = s.modes()
	s.cmd = exec.Command(os.Args[0], args...)
	s.cmd.Env = []string{asProgram + "=" + mode, "TERM=xterm", "LANG=C.UTF-8", "GORACE=atexit_sleep_ms=0"}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.program, s.program, s.program
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var looking sync.WaitGroup
	looking.Go(s.look)
	t.Cleanup(func() {
		if !s.ended {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
		s.program.Close()
		looking.Wait()
		s.person.Close()
	})
	return s
}

// look shows what the program writes, until nobody has the other end.
func (s *session) look() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.person.Read(buf)
		s.screen.write(buf[:n])
		select {
		case s.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// openTerminal returns both ends of a new terminal: what a person has in front,
// and what a program is started on.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	control(t, person, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// control does something to a file without making its reads block for good, as
// Fd would.
func control(t *testing.T, f *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if outer := raw.Control(func(fd uintptr) { err = do(int(fd)) }); outer != nil || err != nil {
		t.Fatal(outer, err)
	}
}

func (s *session) modes() (t unix.Termios) {
	control(s.t, s.program, func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			t = *now
		}
		return err
	})
	return t
}

func (s *session) resize(to size) {
	s.screen.resize(to)
	control(s.t, s.person, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(to.columns), Row: uint16(to.rows)})
	})
}

func (s *session) press(keys string) {
	s.t.Helper()
	if _, err := s.person.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for the screen to be so.
func (s *session) until(isSo func(rows []string) bool) {
	for !isSo(s.screen.rows()) {
		<-s.changed
	}
}

func (s *session) untilIt(says string) {
	s.until(func(rows []string) bool { return strings.Contains(strings.Join(rows, "\n"), says) })
}

// wait returns the exit code, when all that was written has been seen.
func (s *session) wait() int {
	err := s.cmd.Wait()
	s.ended = true
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		s.t.Error(err)
	}
	s.until(func([]string) bool {
		s.screen.mu.Lock()
		defer s.screen.mu.Unlock()
		return s.screen.left > 0 && !s.screen.alternate
	})
	return s.cmd.ProcessState.ExitCode()
}

// isRestored reports what is not as it was.
func (s *session) isRestored() {
	s.t.Helper()
	if now := s.modes(); now != s.before {
		s.t.Errorf("the modes are %+v, were %+v", now, s.before)
	}
	s.screen.mu.Lock()
	defer s.screen.mu.Unlock()
	if s.screen.alternate || s.screen.hidden || s.screen.unwrapped {
		s.t.Errorf("the other screen %v, no cursor %v, no wrapping %v", s.screen.alternate, s.screen.hidden, s.screen.unwrapped)
	}
	if len(s.screen.strange) > 0 {
		s.t.Errorf("the terminal got %q", s.screen.strange)
	}
}

// A scriptedNode answers /status with the sample.
type scriptedNode struct {
	server *http.Server
	addr   string
}

func startScriptedNode(t *testing.T, addr string) *scriptedNode {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n := &scriptedNode{addr: l.Addr().String()}
	n.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(sampleStatus())
	})}
	go n.server.Serve(l)
	t.Cleanup(n.stop)
	return n
}

func (n *scriptedNode) stop() { n.server.Close() }

func TestTopLeavesTheTerminalAsItWas(t *testing.T) {
	n := startScriptedNode(t, "127.0.0.1:0")
	const ctrlC = "\x03"
	for _, tt := range []struct {
		name string
		end  func(*session)
		code int
	}{
		{"q", func(s *session) { s.press("q") }, exitOK},
		{"Ctrl-C", func(s *session) { s.press(ctrlC) }, exitOK},
		{"SIGTERM", func(s *session) { s.cmd.Process.Signal(syscall.SIGTERM) }, exitOK},
		{"SIGHUP", func(s *session) { s.cmd.Process.Signal(syscall.SIGHUP) }, exitOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSession(t, "yes", "top", "--admin-listen", n.addr)
			s.untilIt("1 overview")
			s.untilIt("node-1")
			s.screen.mu.Lock()
			if !s.screen.alternate || !s.screen.hidden {
				t.Error("it draws over what was there")
			}
			s.screen.mu.Unlock()
			if s.modes() == s.before {
				t.Error("keys wait for a line to end")
			}
			tt.end(s)
			if code := s.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			s.isRestored()
		})
	}
	t.Run("panic", func(t *testing.T) {
		s := newSession(t, "broken", "top", "--admin-listen", n.addr)
		if code := s.wait(); code != exitUsage { // what the runtime ends with
			t.Errorf("exit code %d", code)
		}
		s.isRestored()
	})
}

func TestTopFollowsItsTerminalAndItsKeys(t *testing.T) {
	n := startScriptedNode(t, "127.0.0.1:0")
	s := newSession(t, "yes", "top", "--admin-listen", n.addr)
	footAt := func(row int) func([]string) bool {
		return func(rows []string) bool { return len(rows) > row && strings.Contains(rows[row], "q quit") }
	}
	s.until(footAt(29))
	s.resize(size{60, 12})
	s.until(footAt(11))
	s.resize(size{140, 40})
	s.until(footAt(39))
	s.until(func(rows []string) bool { return strings.Contains(strings.Join(rows, "\n"), "UPSTREAM  BREAKER") })
	s.press("6")
	s.untilIt("cluster-secret")
	s.press("\x1b[Z") // Shift-Tab
	s.untilIt("0af7651916cd43dd8448eb211c80319c")
	s.press("p?")
	s.untilIt("paused")
	s.untilIt("pause, and go on")
	s.press("p?\t1")
	s.untilIt("ANSWERED FROM")
	s.press("q")
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	s.isRestored()
}

func TestTopOutlivesItsNode(t *testing.T) {
	n := startScriptedNode(t, "127.0.0.1:0")
	s := newSession(t, "yes", "top", "--admin-listen", n.addr, "--interval", "100ms")
	s.untilIt("ANSWERED FROM")
	n.stop()
	s.untilIt("SILENT for")
	s.untilIt("connection refused")
	s.untilIt("ANSWERED FROM") // the last figures stay
	startScriptedNode(t, n.addr)
	s.until(func(rows []string) bool { return strings.HasPrefix(rows[0], "node-1  ready") })
	s.press("q")
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestTopStopsAndGoesOnWithCtrlZ(t *testing.T) {
	n := startScriptedNode(t, "127.0.0.1:0")
	s := newSession(t, "yes", "top", "--admin-listen", n.addr)
	s.untilIt("ANSWERED FROM")
	s.press("\x1a")
	var status unix.WaitStatus
	if _, err := unix.Wait4(s.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("it is not stopped: %v, %v", status, err)
	}
	s.until(func([]string) bool { s.screen.mu.Lock(); defer s.screen.mu.Unlock(); return !s.screen.alternate })
	s.isRestored()
	s.screen.resize(size{100, 30}) // a shell was here
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.untilIt("ANSWERED FROM")
	s.press("q")
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	s.isRestored()
}
