// Package s3fifo is a cache in memory that is bounded in weight and that a scan
// does not flush. It follows S3-FIFO (Yang et al., "FIFO queues are all you need
// for cache eviction", SOSP '23): new entries wait in a small queue, and only
// those that are asked for again before they reach its end come into the main
// one; the fingerprints of those that went are remembered for a while, and an
// entry that comes back in that time goes to the main queue at once. A hit moves
// nothing: it raises a number of two bits.
//
// The paper found S3-FIFO to have the lowest mean miss ratio of the policies it
// compares on 10 of 14 collections of traces. Three things are ours, because it
// lost on loops and with constants that are no good for all:
//
//   - While main is smaller than its share, all that leave the small queue go
//     there. Of a loop larger than the cache a part stays, instead of none.
//   - An entry that comes back gets a place in main only if the hand of main,
//     which then goes a few steps, finds one that was not asked for since it last
//     passed. Else it is declined, and has to wait in the small queue again.
//   - How large the small queue is, and how many those steps are, follows from
//     what is seen (see tuner), as in ARC (Megiddo and Modha, FAST '03) and
//     LeCaR (Vietri et al., HotStorage '18), which weigh what ghosts tell too.
//
// How it does against others is in docs/benchmarks.md.
//
// # Shards
//
// Each shard has a lock, queues and ghosts of its own. The capacity, the share of
// the small queues and the pace of the hands are common to all, and all let
// entries go in turn: with shares of their own, a heavy entry would flush the
// shard it comes to.
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
