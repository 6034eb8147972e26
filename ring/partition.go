package ring

// Partition returns the number of the part of the key space that the key is in.
// All keys of a partition have the same owner and the same successors.
func (v *View) Partition(key string) int { return int(v.table.partition(key)) }
