package tiers

// Borrow takes n bytes of the memory for objects on their way, for somebody else
// who holds objects, and the RAM tier does without them as it does for fills. It
// does not wait: it reports false if there are not so many, or if fills wait.
//
// A fill needs up to 1 MiB and waits until it gets it. Whoever borrows must leave
// that.
func (c *Cache) Borrow(n int64) bool { return c.tryAcquire(n) }

// GiveBack ends what Borrow began, in any pieces.
func (c *Cache) GiveBack(n int64) { c.giveBack(n) }
