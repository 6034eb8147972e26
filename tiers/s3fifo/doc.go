// Package s3fifo is a cache in memory that is bounded in weight and that a scan
// does not flush. It follows S3-FIFO (Yang et al., "FIFO queues are all you need
// for cache eviction", SOSP '23): new entries wait in a small queue, and only
// those that are asked for again before they reach its end come into the main
// one; the fingerprints of those that went are remembered for a while, and an
// entry that comes back in that time goes to the main queue at once. A hit moves
// nothing: it raises a number of two bits.
//
// The paper found S3-FIFO to have the lowest mean miss ratio of the policies it
// compares on 10 of 14 collections of traces. How it does against others here is
// in docs/benchmarks.md.
//
// # Memory
//
// A garbage collector that has to walk ten million entries takes seconds for
// it, again and again. So the index is a map without pointers from a hash to a
// number, and what it names are slots in large pages: all that is left to walk
// is the pages, from front to end, and what the values point to. Slots lie
// dense: the last one moves into the place of one that goes, so that memory for
// small entries is given back when large ones take their budget.
package s3fifo
