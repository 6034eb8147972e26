// Package hotset finds the keys that are read more often than the one node that
// owns them should have to answer, and answers them from copies that live for
// seconds. It is a Store over the Store of the whole cluster. It decides nothing
// about ownership, and never copies a key that can change.
//
// A read of a key without a copy goes on to the Store below. One of so many such
// reads is noted in a sketch, which tells with a known error how often each of the
// most wanted keys was read lately (see sketch.go). A key that passes both
// thresholds, in reads a second and in its share of all reads, is fetched once
// more, whole and proven, and answered from memory from then on:
//
//	read ──> table of copies ──(there is one)──> answer
//	            │
//	            └─(none)──> Store below ──> answer
//	                  └─ one in n ──> sketch ──(hot)──> Run: fetch a copy
//
// A copy ends at most MaxLife after it was asked for. One that is still hot is
// renewed before, by one conditional read while the old one goes on answering, so
// that however many readers there are, nobody waits and the owner is asked once.
//
// A read takes no lock that another read takes, but for the few that are noted.
// The table is read through atomic pointers; changes of it, which are seldom, are
// under Store.mu. Lock order: Store.mu before sketch.mu. No lock is held over a
// request to the Store below.
package hotset
