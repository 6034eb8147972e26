// Package fastlane answers plain reads of what is in memory, and leaves every
// other request to net/http. It stands in front of a server, not beside it: a
// [Listener] gives the server its connections, and a connection that the server
// reads from looks at what has come before it hands it out. If that is a request
// of a narrow, safe grammar whose answer is at hand, it answers by itself, up to
// 64 KiB in one system call, and reads on; the server never hears of it. Anything else comes out
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
// does not see. A Read is at the beginning of a request if three things hold. The
// server has announced that it waits for one: the state of the connection is new or
// idle. It has not found one in its buffer meanwhile: then it would have set a
// deadline for the rest, after the one for waiting. And all of its buffer is free: as
// much as at its first Read, when it had read nothing. Everything between the
// hand-over of a request and the next announcement is passed through unseen.
//
// In one thing the two differ: net/http passes over empty lines that follow the
// body of a POST, as RFC 9112 §2.2 asks for, and does so also if the lane has
// answered requests since.
//
// # Slow clients
//
// A client that sends slowly is the server's: what came of a request that is not
// complete is handed over. One that reads slowly has Config.StallTimeout for each piece of
// at most 64 KiB.
package fastlane
