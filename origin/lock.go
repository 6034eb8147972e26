package origin

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"syscall"
	"time"

	"github.com/micelio/micelio/object"
	"golang.org/x/sys/unix"
)

const (
	// lockStripes is how many locks all keys share. Two of 64 concurrent writers
	// meet on one by accident less often than one time in ten.
	lockStripes = 1024

	// pollFirst and pollMost are the pauses between attempts at a lock that
	// another process holds. flock can wait by itself, but not until a context
	// ends, and a stopped process would hold up this one for ever. A holder
	// needs a few milliseconds, for two or three syncs.
	pollFirst = 200 * time.Microsecond
	pollMost  = 4 * time.Millisecond
)

// stripes are locks within the process that a context can stop waiting for.
// Full means locked.
type stripes [lockStripes]chan struct{}

func newStripes() *stripes {
	var s stripes
	for i := range s {
		s[i] = make(chan struct{}, 1)
	}
	return &s
}

func (s *stripes) lock(ctx context.Context, i uint32) error {
	select {
	case s[i] <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stripes) tryLock(i uint32) bool {
	select {
	case s[i] <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *stripes) unlock(i uint32) { <-s[i] }

// stripeOf must give the same answer in every process.
func stripeOf(key object.Key) uint32 {
	h := fnv.New32a()
	h.Write([]byte(key))
	return h.Sum32() % lockStripes
}

func lockName(stripe uint32) string { return fmt.Sprintf("%03x", stripe) }

// errLocked says that somebody else has the lock of a key.
var errLocked = errors.New("locked")

// lock takes the lock of key, which every change of the object needs, against
// this process and all others on the directory. It gives up when ctx ends.
func (l *Local) lock(ctx context.Context, key object.Key) (unlock func(), err error) {
	stripe := stripeOf(key)
	if err := l.keys.lock(ctx, stripe); err != nil {
		return nil, err
	}
	timer := time.NewTimer(pollFirst)
	defer timer.Stop()
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		if unlock, err = l.flock(stripe); !errors.Is(err, errLocked) {
			break
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			l.keys.unlock(stripe)
			return nil, ctx.Err()
		}
	}
	if err != nil {
		l.keys.unlock(stripe)
		return nil, ioError(err)
	}
	return unlock, nil
}

// tryLock is lock for those who rather do without.
func (l *Local) tryLock(key object.Key) (unlock func(), ok bool) {
	stripe := stripeOf(key)
	if !l.keys.tryLock(stripe) {
		return nil, false
	}
	unlock, err := l.flock(stripe)
	if err != nil {
		l.keys.unlock(stripe)
		return nil, false
	}
	return unlock, true
}

// flock takes the half of a lock that other processes see. The caller has the
// other half, and unlock gives both back. The file is opened each time: a lock
// that belongs to an open file ends with it, whatever else goes wrong.
func (l *Local) flock(stripe uint32) (unlock func(), err error) {
	f, err := l.root.OpenFile(lockDir+"/"+lockName(stripe), os.O_CREATE|os.O_RDONLY, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK || err == syscall.EINTR {
			return nil, errLocked
		}
		return nil, err
	}
	return func() {
		f.Close()
		l.keys.unlock(stripe)
	}, nil
}
