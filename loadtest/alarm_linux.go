package loadtest

import (
	"context"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// A fileAlarm waits by a timerfd. Go's own timers are waited for in epoll_wait,
// whose time-out counts in milliseconds, so that they are late by half of one on
// average (golang/go issue 44343). A timerfd is one more file in the same
// epoll_wait, and as late as the scheduler is: of 1,000 requests a second half
// were sent 0.05 ms late at most, and with Go's timers 0.53 ms, for as much CPU
// time.
type fileAlarm struct {
	fd   uintptr
	file *os.File
	done func() bool
}

// An itimerspec is struct itimerspec of timerfd_settime(2).
type itimerspec struct{ interval, value syscall.Timespec }

const clockMonotonic = 1

// newFileAlarm makes one that ctx ends; nil if the system has none.
func newFileAlarm(ctx context.Context) alarm {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil
	}
	a := &fileAlarm{fd: fd, file: os.NewFile(fd, "timerfd")}
	past := time.Unix(1, 0)
	if err := a.file.SetReadDeadline(time.Time{}); err != nil { // it cannot be waited for
		a.file.Close()
		return nil
	}
	a.done = context.AfterFunc(ctx, func() { _ = a.file.SetReadDeadline(past) })
	return a
}

func (a *fileAlarm) wait(ctx context.Context, d time.Duration) bool {
	spec := itimerspec{value: syscall.NsecToTimespec(max(int64(d), 1))} // 0 would be never
	_, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, a.fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	runtime.KeepAlive(a.file)
	if errno == 0 {
		var expired [8]byte
		if _, err := a.file.Read(expired[:]); err == nil {
			return true
		}
	}
	if ctx.Err() != nil {
		return false
	}
	// Not known to happen. A worker that did not wait would send early.
	return newTimerAlarm().wait(ctx, d)
}

func (a *fileAlarm) close() {
	a.done()
	a.file.Close()
}
