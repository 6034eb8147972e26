package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// processGone reports whether a process has ended, also one that its parent has
// not asked about yet: a zombie takes signals, and does nothing any more.
func processGone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	state, _ := stat(fmt.Sprintf("/proc/%d/stat", pid))
	return state == 'Z'
}

// onlyZombies reports whether a group has nobody alive in it. What the shell left
// behind is the child of process 1, which in a container may never ask about it.
func onlyZombies(group int) bool {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return false // no Linux: kill tells
	}
	for _, file := range files {
		if state, of := stat(file); of == group && state != 'Z' {
			return false
		}
	}
	return true
}

// stat reads the state and the group of a process from /proc/PID/stat, 0 if there
// is none. See proc_pid_stat(5): the name, in parentheses, may have any bytes.
func stat(file string) (state byte, group int) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 3 || len(fields[0]) != 1 {
		return 0, 0
	}
	group, err = strconv.Atoi(string(fields[2]))
	if err != nil {
		return 0, 0
	}
	return fields[0][0], group
}
