// Package fastlane answers plain reads of what is in memory, and leaves every
// other request to net/http. It stands in front of a server, not beside it: a
// [Listener] gives the server its connections, and a connection that the server
// reads from looks at what has come before it hands it out. If that is a request
// of a narrow, safe grammar whose answer is at hand, it answers by itself, in one
// system call, and reads on; the server never hears of it. Anything else comes out
// of Read as it came off the wire. So one connection changes between the two with
// each request, and there is one set of rules for accepting, idling and shutting
// down: the server's.
//
// # What is taken
//
// GET and HEAD of a key of the bucket over HTTP/1.1, whose whole header came at
// once, in fields that are known to change nothing, or to change what is done here:
// If-None-Match with one strong tag, and Range with one range. A field that is not
// known, a condition on dates, a body, an Expect, an odd byte anywhere: the server
// sees to it. Nothing is ever refused here. What the two lanes answer is the same
// but for the order of header fields, which a fuzz test compares.
//
// # How it knows where a request begins
//
// The server reads through a buffer, in which there may be bytes that this package
// does not see. A Read is at the beginning of a request if the server has announced
// that it waits for one (the state of the connection is new or idle), and has all of
// its buffer free: as much as at its first Read, when it had read nothing.
// Everything between the hand-over of a request and the next announcement is passed
// through unseen.
//
// # Slow clients
//
// A client that sends slowly is the server's: what came of a request that is not
// complete is handed over. One that reads slowly has [StallTimeout] for each piece of
// at most 64 KiB.
package fastlane
