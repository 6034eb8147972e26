package origin

// MemoryIsFree reports whether no part and no upload holds memory.
func (s *S3) MemoryIsFree() bool {
	if !s.memory.TryAcquire(s.cfg.Memory) {
		return false
	}
	s.memory.Release(s.cfg.Memory)
	return true
}
