// Package ring says who owns a key: it follows which nodes are alive by gossip
// and places every key on one of them, as immutable views. It moves no objects,
// opens no connection between nodes other than the gossip's own, and decides
// nothing about what an owner must do.
//
// Membership is hashicorp/memberlist, placement is buraksezer/consistent over
// xxhash, or over SipHash where there is a secret. A [Ring] turns the events of the former into a [View] of the latter
// and publishes it behind an atomic pointer, so that asking for an owner costs
// a hash and two array reads, takes no lock and allocates nothing.
//
// The ring is a hint. Two nodes can hold different views for as long as gossip
// takes, a second or so, and a crash is seen only after several; whoever asks a
// view must be correct when the answer is out of date.
package ring
