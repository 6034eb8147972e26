package peer

import (
	"crypto/rand"
	"sync"
)

const (
	// replayWindow is how far behind the latest request of its session one may
	// be: numbers are given before a connection is opened, which can take a
	// second in which ten thousands of others go out. A request that is older
	// is refused and numbered again.
	replayWindow = 1 << 15

	// maxSessions bounds the sessions that are remembered, at 4 KiB each. There
	// is one for each start of each other node, so that only a cluster that has
	// run for very long has so many. When there are more, another challenge
	// voids them all, and those that are alive begin again.
	maxSessions = 1024
)

// sessions knows which requests came already.
type sessions struct {
	mu        sync.Mutex // guards the following
	challenge challenge
	of        map[session]*window
}

// A window is which numbers of one session were used.
type window struct {
	last uint64 // the greatest
	used [replayWindow / 64]uint64
}

func newSessions() *sessions {
	s := &sessions{}
	s.renew()
	return s
}

// renew draws a challenge and forgets what was bound to the one before.
func (s *sessions) renew() {
	_, _ = rand.Read(s.challenge[:]) // never fails
	s.of = make(map[session]*window)
}

// current returns the challenge that requests have to be bound to.
func (s *sessions) current() challenge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.challenge
}

// use takes the number of a request that was proven, and reports whether it was
// good: current, if it belongs to the challenge and the window; fresh, if it has
// not been used.
func (s *sessions) use(st *stamp) (current, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.challenge != s.challenge {
		return false, false
	}
	w := s.of[st.session]
	if w == nil {
		if len(s.of) >= maxSessions {
			s.renew()
			return false, false
		}
		w = &window{}
		s.of[st.session] = w
	}
	return w.use(st.number)
}

func (w *window) use(n uint64) (current, fresh bool) {
	if n > w.last {
		if n-w.last >= replayWindow {
			w.used = [replayWindow / 64]uint64{}
		} else {
			for i := w.last + 1; i < n; i++ {
				w.used[i%replayWindow/64] &^= 1 << (i % 64)
			}
		}
		w.last = n
	} else if w.last-n >= replayWindow {
		return false, false
	} else if w.used[n%replayWindow/64]&(1<<(n%64)) != 0 {
		return true, false
	}
	w.used[n%replayWindow/64] |= 1 << (n % 64)
	return true, true
}
