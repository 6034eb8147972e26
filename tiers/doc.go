// Package tiers is the cache of one upstream Store: a RAM tier and an SSD tier
// before it, and flights that fill them. It decides nothing about ownership and
// knows no other node; the authority below it has the last word on every write
// and on every read of a mutable key.
//
// A read looks in RAM, then on the SSD, and then joins the flight that is
// already fetching the object or starts one. A flight reads the upstream once
// and any number of readers follow its bytes while they arrive:
//
//	upstream ──> flight ──> window (the last MiB, in memory) ──> readers near the head
//	                   └──> spool  (on the SSD tier)         ──> readers behind it
//
// The spool becomes the SSD tier's copy, and a small object's buffer the RAM
// tier's, when the last byte has arrived and the digest has matched; nothing
// is published before, and a flight that fails leaves nothing. A read of a part
// of a large object has flights of parts: see parts.go.
//
// Lock order: Cache.mu before flight.mu before the tiers' own locks. No lock is
// held while bytes move.
package tiers
