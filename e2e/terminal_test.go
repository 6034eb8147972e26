package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"
)

// openTerminal returns both ends of a new terminal: what a person has in front,
// and what a program is started on.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	var locked, number int32
	raw, err := person.SyscallConn() // Fd would make reads of it block for good
	if err != nil {
		t.Fatal(err)
	}
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		var errno syscall.Errno
		err := raw.Control(func(fd uintptr) {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg)))
		})
		if err != nil || errno != 0 {
			t.Fatal(err, errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// startMigrateOnTerminal runs the command with a terminal, where both of its
// outputs appear.
func startMigrateOnTerminal(t *testing.T, env []string, args ...string) *migrating {
	t.Helper()
	person, program := openTerminal(t)
	defer program.Close()
	m := &migrating{t: t, term: person, cmd: exec.Command(binary, append([]string{"migrate"}, args...)...)}
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = program, program, program
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	m.launch(env)
	return m
}
