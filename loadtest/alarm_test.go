package loadtest

import (
	"context"
	"testing"
	"time"
)

// However busy the machine, an alarm is never early; how late it is nobody can
// promise. One whose context ends does not go on waiting.
func TestAnAlarmIsNeverEarly(t *testing.T) {
	for name, newAlarm := range map[string]func(context.Context) alarm{
		"file":  newFileAlarm,
		"timer": func(context.Context) alarm { return newTimerAlarm() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		a := newAlarm(ctx)
		if a == nil {
			t.Logf("the system has no alarm of the kind %s", name)
			cancel()
			continue
		}
		for _, d := range []time.Duration{-time.Second, 0, 1, time.Microsecond, 700 * time.Microsecond, 3 * time.Millisecond} {
			start := time.Now()
			if !a.wait(ctx, d) {
				t.Errorf("%s: %v was not waited for", name, d)
			}
			if took := time.Since(start); took < d {
				t.Errorf("%s: %v took %v", name, d, took)
			}
		}
		ended := make(chan bool, 1)
		go func() { ended <- a.wait(ctx, time.Hour) }()
		cancel()
		if <-ended {
			t.Errorf("%s: an hour was waited for after the context had ended", name)
		}
		if a.wait(ctx, time.Hour) {
			t.Errorf("%s: an hour was waited for in a context that had ended", name)
		}
		a.close()
	}
}
