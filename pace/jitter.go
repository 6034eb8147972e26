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
	limit := most
	if attempt < 32 && base<<attempt < most {
		limit = base << attempt
	}
	if limit <= 0 {
		return 0
	}
	return rand.N(limit + 1)
}
