package origin

import (
	"context"
	"time"

	"github.com/micelio/micelio/object"
)

// An arrival is when a write arrived.
//
// A process can stand still between the arrival of a write and its publication:
// stopped, swapped out, on a machine that pauses. Its client gives up, somebody
// else writes through another process, and that write must not be buried when
// this one goes on. Up to the lock of the key nothing is held that would keep
// others out; from there on they wait until the lock's holder is through, or
// dead. So the moment that counts is when the lock is taken, and what is known
// then:
//
//   - A write whose context has ended is not published. That is certain.
//   - The end of a client is news that a process which stood still has yet to
//     receive: the end of the connection waits in a socket, a deadline in a
//     timer. So a write that took long and meets an object that is newer than
//     its arrival, or none, waits a moment for such news. That is all that can
//     be done here; a client whose end never reaches this machine, because the
//     network is cut as well, is taken to be waiting still.
type arrival time.Time

const (
	// promptly is how long a write may take for nobody to have given it up: no
	// client has such short patience.
	promptly = time.Second

	// newsTime is how long the end of a client takes to become known in a
	// process that is running again. One turn of the poller would do.
	newsTime = 50 * time.Millisecond
)

func arrive() arrival { return arrival(time.Now()) }

// wanted returns the error of the context if it has ended, by all that can be
// known. The caller holds the key's lock.
func (a arrival) wanted(ctx context.Context, l *Local, key object.Key) error {
	if at := time.Time(a); ctx.Err() == nil && time.Since(at) > promptly && l.changedSince(key, at) {
		sleep(ctx, newsTime)
	}
	return ctx.Err()
}

// changedSince reports whether the object may have been written or deleted since
// then. Writers set the time of what they publish, and by the same clock.
func (l *Local) changedSince(key object.Key, then time.Time) bool {
	fi, _, err := find(l, key, l.stat)
	return err != nil || !fi.ModTime().Before(then)
}
