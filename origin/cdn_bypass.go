package origin

import (
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

const (
	// bypassKey is how long a key is read upstream after the CDN had a wrong
	// object for it. CDNs keep what they have for hours, so asking again soon
	// would only cost.
	bypassKey = 10 * time.Minute

	// bypassAll is how long all keys are after bypassLimit different ones were
	// wrong within bypassWindow: then it is not the object but the CDN.
	bypassAll    = time.Minute
	bypassLimit  = 3
	bypassWindow = time.Minute

	// maxBypassed bounds the keys that are remembered: 1 MiB if all are as long
	// as keys may be. The oldest is forgotten first, and costs another wrong
	// answer if it is read again.
	maxBypassed = 1024
)

// A bypass remembers for which keys the CDN was wrong.
type bypass struct {
	mu     sync.Mutex // guards the following
	since  map[object.Key]time.Time
	recent []mismatch // at most bypassLimit, of different keys, oldest first
	all    time.Time  // until when all keys are bypassed
}

type mismatch struct {
	key object.Key
	at  time.Time
}

func newBypass() *bypass { return &bypass{since: make(map[object.Key]time.Time)} }

// holds reports whether key must be read upstream.
func (b *bypass) holds(key object.Key, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, found := b.since[key]
	return now.Before(b.all) || found && now.Before(since.Add(bypassKey))
}

// add bypasses key. A damning one counts against the CDN as a whole; add reports
// whether it was one too many.
func (b *bypass) add(key object.Key, now time.Time, damning bool) (all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetLocked(now)
	b.since[key] = now
	if !damning {
		return false
	}
	kept := b.recent[:0]
	for _, m := range b.recent {
		if m.key != key && now.Before(m.at.Add(bypassWindow)) {
			kept = append(kept, m)
		}
	}
	b.recent = append(kept, mismatch{key, now})
	if len(b.recent) < bypassLimit {
		return false
	}
	b.recent, b.all = nil, now.Add(bypassAll)
	return true
}

// forgetLocked drops what has expired, and the oldest if there is no room.
func (b *bypass) forgetLocked(now time.Time) {
	var oldest object.Key
	var age time.Duration = -1
	for key, since := range b.since {
		if d := now.Sub(since); d >= bypassKey {
			delete(b.since, key)
		} else if d > age {
			oldest, age = key, d
		}
	}
	if len(b.since) >= maxBypassed {
		delete(b.since, oldest)
	}
}

// state returns how many keys are bypassed, and whether all are.
func (b *bypass) state(now time.Time) (keys int, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, since := range b.since {
		if now.Before(since.Add(bypassKey)) {
			keys++
		}
	}
	return keys, now.Before(b.all)
}
