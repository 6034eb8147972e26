package s3fifo

// ranks is how many degrees of heat the policy tells apart: how often an entry
// was asked for lately and, among equals, whether that made it stay.
const ranks = 2 * (maxFreq + 1)

// Hottest returns up to n values, the most asked for first. It is no request for
// them. It goes through all entries, one shard after the other, and is meant for
// a moment that does not come often.
func (c *Cache[K, V]) Hottest(n int) []V {
	var found [ranks][]V
	for i := range c.shards {
		c.shards[i].rank(n, &found)
	}
	var hottest []V
	for r := ranks - 1; r >= 0 && len(hottest) < n; r-- {
		hottest = append(hottest, found[r][:min(len(found[r]), n-len(hottest))]...)
	}
	return hottest
}

// rank adds up to n values of each rank.
func (s *shard[K, V]) rank(n int, found *[ranks][]V) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.len {
		e := s.slot(uint32(at))
		r := 2 * e.freq
		if e.main {
			r++
		}
		if len(found[r]) < n {
			found[r] = append(found[r], e.value)
		}
	}
}
