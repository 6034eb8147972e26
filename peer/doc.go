// Package peer is a Store that lives on another node: a [Client] that speaks to
// it and the handler ([NewHandler]) that answers there. It does not choose
// nodes, keeps no objects, never forwards a request that was forwarded already,
// and repeats nothing that may have been applied.
//
// # Wire
//
// HTTP/1.1 with keep-alive, one request per operation, but for quick reads:
//
//	GET, HEAD, PUT, DELETE /o/<key>   an object; the key percent-escaped once
//	GET                    /l         one page of a listing
//	GET                    /alive     204: a sign of life, which takes no Store
//	POST                   /h         objects to fetch from the one who asks, before it goes
//	GET                    /c/<key>   what the node has of an object in its tiers, see copies.go
//	GET                    /quick     a connection for quick reads from then on, see quick.go
//
// What else an operation says is in headers that hold fields, name=value joined
// by "&" in ascending order of their names, values percent-escaped, so that any
// string passes (see appendEscaped). No header of a client's is ever replayed
// under its own name.
//
//	Micelio-Hop      request   always "1": forwarded once, not to be forwarded again
//	Micelio-Cluster  both      name of the cluster; both sides refuse another's
//	Micelio-From     request   node that sent it
//	Micelio-Options  request   conditions, range, attributes, digests, selection
//	Micelio-Info     answer    object.Info, on every successful answer about an object and on 304
//	Micelio-Error    answer    code of the error, see outcomes; absent on success
//	Micelio-Epoch    both      the view of the ring that the sender has
//	Micelio-Proof    both      shows that the sender has the cluster's secret, if there is one
//	Micelio-Challenge answer   what a proof has to be bound to, with the refusal of one that is not
//	Micelio-Copies   answer   what a node has of an object, tier by tier
//	Micelio-Quick    both      what each side drew for a quick lane
//	Micelio-Request      request   id of the client's request that it is made for, if it is known
//	Micelio-Traceparent  request   the W3C's traceparent of it, with an id of this request's own
//	Micelio-Tracestate   request   and its tracestate
//
// A GET or HEAD with the option cached=1 is answered from what the peer has at
// hand, without its upstream ([CachedReader]), or with the code not-cached and, in
// Micelio-Previous, the ids of nodes that may have the object.
//
// An answer without the cluster's own mark comes from a stranger and proves
// nothing: its 404 is object.ErrUnavailable, not object.ErrNotFound.
//
// A peer whose view differs answers all the same. Both sides learn that there is
// another view, and whoever made them may do something about it.
//
// A read that waits for more than the peer's own memory and disk gets an interim
// answer, 102, first (see [OnWorking]).
//
// # Who is believed
//
// With a secret (see [Config] and [HandlerConfig]) requests and answers are
// proven, as proof.go describes: strangers are refused and change nothing, what
// was recorded is worth nothing when it is sent again, and an answer that proves
// nothing is no answer. It needs no clock, and no more round trips than one for
// each start of a peer. Bodies are sent as they are: the proofs keep out who is
// not of the cluster, not who sits on the way between two nodes. Quick reads are
// sealed, bodies and all.
//
// # Quick reads
//
// A small object that the peer has in memory, and whose bytes never change, is
// read with [Client.Quick] in a tenth of what HTTP costs: many reads share one
// connection, and few and large reads and writes of it. What that way cannot
// answer at once it does not answer, and takes the ordinary one.
//
// They carry no trail: they are answered from memory alone, and nobody else is
// asked for them.
//
// # Writes
//
// A PUT waits for "100 Continue" before its source is opened, so an owner that
// refuses, or a connection that is dead, costs no byte of a source that can be
// read only once. A body that breaks ends its connection without a clean end,
// sized or chunked. An empty object travels as an empty chunked body, so that
// even there the headers alone are never a complete write.
//
// # Budgets
//
// A request's and an answer's headers take at most [MaxHeaderBytes]. A key takes
// up to 3 KiB of that, a selection of a listing up to 9 KiB, user metadata of
// legal size up to 6 KiB. Connecting, the first byte, the answer to a write and
// every pause inside a body have a time limit (see [Config]); the length of a
// body has none. So have the requests under way to one peer, large bodies apart
// from the rest: one more is refused with [ErrBusy].
package peer
