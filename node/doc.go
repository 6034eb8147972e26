// Package node is one worker of the cluster: it assembles the stack of Stores
// from a [Config], routes every key to the node that serves it, and starts,
// reports, drains and stops. It moves no bytes itself and parses no requests.
//
// The stack, from the client down:
//
//	gateway   the S3 dialect                              step 1
//	router    self, or one hop to the key's owner         steps 2 and 3
//	tiers     RAM, SSD and flights                        steps 4 to 7
//	guard     the promises of key classes
//	origin    the authority
//
// Other nodes enter at tiers, through the peer listener: a request that has
// come one hop never goes another.
package node
