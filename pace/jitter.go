package pace

import (
	"math/rand/v2"
	"time"
)

// FullJitter returns how long to wait before attempt number attempt+1: a random
// part of base doubled attempt times, at most of most. Of the ways to spread
// retries it sends the fewest and is done first (Brooker, Exponential Backoff
// and Jitter, AWS Architecture Blog, 2015).
func FullJitter(attempt int, base, most time.Duration) time.Duration {
	if base <= 0 || most <= 0 {
		return 0
	}
	limit := most
	// Shifting most down, not base up, cannot overflow.
	if shift := max(attempt, 0); base <= most>>shift {
		limit = base << shift
	}
	return time.Duration(rand.Uint64N(uint64(limit) + 1))
}
