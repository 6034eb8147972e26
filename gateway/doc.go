// Package gateway speaks the S3 REST dialect, path style, over any
// [object.Store]. It stores nothing, caches nothing and decides nothing about
// keys: every question goes to the Store, and every answer is one of the
// Store's, translated. It does not authenticate: a signature that a request
// carries is neither needed nor checked. Multipart uploads, versions, tags,
// ACLs of objects and copies are answered 501 NotImplemented, and so is every
// header of an upload whose effect would silently be missing.
//
// # What goes in
//
// The request target is read raw and percent-decoded exactly once; nothing is
// cleaned or redirected, and a name that no object may have is refused before
// the Store hears of it. Request headers of the cluster's own namespace,
// Micelio-*, are dropped before anything looks at them. The bytes of an upload
// reach the Store through a source that replaces the end of the body by an
// error whenever the framing, the length or a checksum is wrong, so that a
// damaged upload cannot be published.
//
// # What comes out
//
// Every answer carries X-Cache (the tier that answered a read, otherwise
// "none"), Micelio-Node and x-amz-request-id. A body that fails on its way out
// breaks the connection: an answer that ends cleanly is complete.
//
// # Which request it is done for
//
// The contexts that the Store gets carry a trail (package internal/trail): the
// request's id and its trace, which is that of the client's traceparent and
// tracestate (W3C Trace Context) or a new one, not sampled. The client's own
// X-Request-Id replaces nothing; it is part of the [Observation].
//
// # The status of errors
//
//	object.ErrNotFound        404 NoSuchKey
//	object.ErrPrecondition    412 PreconditionFailed
//	object.ErrRange           416 InvalidRange
//	object.ErrTooLarge        413 EntityTooLarge
//	object.ErrInvalidKey      400 InvalidArgument
//	object.ErrDigest          400 BadDigest or XAmzContentSHA256Mismatch
//	object.ErrConflict        409 ObjectAlreadyExists
//	object.ErrUnavailable     503 ServiceUnavailable, Retry-After
//	object.RetryLaterError    503 SlowDown, Retry-After as it says
//	object.ErrUnknownOutcome  503 ServiceUnavailable, Micelio-Outcome: unknown
//	context.DeadlineExceeded  503 ServiceUnavailable, Retry-After
//	context.Canceled          499, which nobody is left to read
//	anything else             500 InternalError, logged
//
// ObjectAlreadyExists is no code of S3, which has no objects that the first
// write settles for ever. It is a 409 that no SDK retries, because another
// attempt can never succeed.
//
// # The server around it
//
// The handler bounds how long one read or write of a connection may take (see
// [StallTimeout]). Everything before the handler belongs to the http.Server:
// ReadHeaderTimeout, IdleTimeout, MaxHeaderBytes, and
// DisableGeneralOptionsHandler, without which "OPTIONS *" never arrives here.
package gateway
