package loadtest

import (
	"context"
	"time"
)

// An alarm is how one worker waits.
type alarm interface {
	// wait returns after d, true, or as soon as ctx ends, false.
	wait(ctx context.Context, d time.Duration) bool
	close()
}

// A timerAlarm waits by a timer of Go: the clock of a bubble, and that of systems
// other than Linux.
type timerAlarm struct{ timer *time.Timer }

func newTimerAlarm() alarm {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timerAlarm{timer}
}

func (a timerAlarm) wait(ctx context.Context, d time.Duration) bool {
	a.timer.Reset(d)
	select {
	case <-a.timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a timerAlarm) close() { a.timer.Stop() }
