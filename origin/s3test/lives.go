package s3test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Pause stops the service as it stands, with all its connections open, until
// Resume. Only services that VersityGW started can be paused and killed, and by
// one goroutine at a time.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	// The signal stops one thread after the other, and the last may still answer.
	threads := fmt.Sprintf("/proc/%d/task/*/stat", s.process.cmd.Process.Pid)
	for !allStopped(threads) {
		runtime.Gosched()
	}
}

// allStopped reports whether all threads stand still whose status files match
// pattern. The state is the first field behind the name, which is in parentheses.
func allStopped(pattern string) bool {
	files, _ := filepath.Glob(pattern)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if _, state, ok := strings.Cut(string(b), ") "); ok && state[0] != 'T' {
			return false
		}
	}
	return true
}

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.process.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the service as a crash would. What it has stored stays.
func (s *Server) Kill() { s.process.kill() }

// Restart begins a killed service again, at its address and over its objects,
// and waits until it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.process.run(t)
	if err := s.process.await(t); err != nil {
		t.Fatal(err)
	}
}
