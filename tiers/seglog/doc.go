// Package seglog stores objects on a disk as a log: records are appended to
// segments of fixed size, the index is in memory, and when the log has used all
// its segments the oldest one is emptied and written again. It is what a cache
// needs and a database is not: nothing is ever changed in place, nothing has to
// be on the disk by any moment, and a record that is lost or damaged is a miss.
//
//	segment file:  [header][record][record] … [record]      [footer entries][footer]
//	record:        [header][description][bytes]              an object of at most MaxInline bytes
//	               [header page][bytes]                      one chunk of a larger object
//	               [header][description]                     that object's description
//	               [header]                                  a tombstone: what it names is deleted
//
// The layout follows CacheLib's BlockCache (Berg et al., OSDI '20) and its FIFO
// with reinsertion: a record that was read since it was written is appended
// again when its segment goes, up to a fifth of the segment.
//
// # What can be trusted
//
// A record is found by the index, and believed because of its header: a random
// nonce of the segment's present life, the id and sequence number that the index
// expects, and crc32c over header, description and every block of 64 KiB. So no
// write is synced: a torn one, one of an earlier life of the segment, or one
// that a client made look like a record inside an object fails one of these.
//
// # Coming back
//
// A full segment ends with a footer: one entry a record. A start reads footers
// only (56 bytes a record); a segment without a valid footer, which a crash
// leaves, is searched for records. Of several records of an id the one with the
// highest sequence number counts, and a tombstone kills those up to its own.
// Segments are emptied strictly in the order in which they were filled, so that
// no tombstone goes before what it must kill.
//
// # A disk that fails
//
// After three failures in a row nothing is written for half a minute. A write
// that does not return within five seconds is given up by those who wait for it,
// with its room and its memory, and nothing else is written until it has
// returned. What is there is read all the while.
//
// # Locks
//
// Store.mu (allocation) and Store.putMu (the batch) are never held together, nor
// either of them during I/O; shard locks and segment locks come after both. A
// reader pins the segment for the length of one read; a pinned segment is not
// written again.
package seglog
