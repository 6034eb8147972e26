package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/micelio/micelio/internal/bulk"
	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

const (
	// DefaultMaxObject is the largest object of a single PUT, in bytes. It is
	// S3's own limit.
	DefaultMaxObject = 5 << 30

	// StallTimeout is how long a single read from or write to a client may
	// take. It starts anew with every piece of at most 256 KiB, so a slow client
	// is served as long as it moves, and one that stands still gives back its
	// connection and whatever its request holds.
	StallTimeout = 60 * time.Second

	// drainTimeout bounds the wait for the rest of a body that nobody wants.
	// net/http reads up to 256 KiB of it before it sends an early answer.
	drainTimeout = 2 * time.Second

	// maxStrayBody is how much body a request without use for one may have.
	maxStrayBody = 64 << 10

	// writePiece is the most that a client has to take within StallTimeout, in
	// bytes. Smaller ones wake it more often, and cost the node for each byte a
	// quarter more at 64 KiB. Who took the last piece within bulk.Haste has to take
	// bulk.Large, and will in a fraction of a second: from memory that costs the node
	// a quarter less.
	writePiece = 256 << 10

	// maxHeaderLines bounds the header fields of a request. Clients seen send
	// under 30; 2 KiB of user metadata make at most a few dozen more.
	maxHeaderLines = 256
)

// Config says what a gateway serves. Store, Bucket and Node are required.
type Config struct {
	Store     object.Store
	Bucket    string       // the only bucket
	Region    string       // what GetBucketLocation answers
	Node      string       // the Micelio-Node of answers that name no other node
	MaxObject int64        // the largest object accepted, in bytes; 0 for DefaultMaxObject
	Loop      string       // who we are in CDN-Loop (RFC 8586); a request that names it is refused. "" refuses none
	Log       *slog.Logger // nil for none

	// Observe, if not nil, is called once at the end of every request, from
	// the goroutine that served it.
	Observe func(Observation)
}

// The operations that observations tell apart. The list is closed, so it can
// label a metric.
const (
	OpGet    = "get"
	OpHead   = "head"
	OpPut    = "put"
	OpDelete = "delete" // of one object or of many
	OpList   = "list"
	OpBucket = "bucket" // everything else about buckets
	OpOther  = "other"  // requests refused before their operation was known
)

// An Observation describes one finished request.
type Observation struct {
	Op       string
	Key      object.Key  // "" if the request is not about one
	Status   int         // the status sent, 0 if the request ended without one
	Tier     object.Tier // that answered a read, "" otherwise
	Node     string      // that answered, as in Micelio-Node; "" without an answer
	Duration time.Duration
	BytesIn  int64 // of request body taken off the wire, framing included
	BytesOut int64 // of response body
	Aborted  bool  // the answer broke off and the connection was cut
	Err      error // why, or why the status is 500 or above

	ID       string // of the request, the x-amz-request-id of its answer
	Trace    string // id of its trace, 32 hexadecimal digits
	ClientID string // the X-Request-Id that it came with, "" for none or an odd one
	Remote   string // the address that it came from
}

// New returns the handler of the S3 dialect over cfg.Store. It is safe for
// concurrent use, starts nothing and needs no closing.
func New(cfg Config) http.Handler {
	if cfg.MaxObject == 0 {
		cfg.MaxObject = DefaultMaxObject
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &gateway{Config: cfg}
	return g
}

type gateway struct {
	Config
	buffers bulk.Lender
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{
		gateway: g, w: w, r: r,
		rc:    http.NewResponseController(w),
		id:    fmt.Sprintf("%016X", rand.Uint64()),
		op:    OpOther,
		start: time.Now(),
	}
	x.trail = trail.Continue(x.id, r.Header["Traceparent"], r.Header["Tracestate"])
	x.context = trail.With(r.Context(), x.trail)
	x.in = clientBody{rc: x.rc, body: r.Body, done: r.Body == nil || r.Body == http.NoBody}
	defer x.finish()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// An exchange is one request and its answer.
type exchange struct {
	*gateway
	w     http.ResponseWriter
	r     *http.Request
	rc    *http.ResponseController
	id    string
	op    string
	start time.Time
	in    clientBody

	trail   trail.Trail
	context context.Context // the request's, with its trail

	key     object.Key
	status  int
	node    string // that answers
	err     error  // why it does so with a failure
	tier    object.Tier
	out     int64
	piece   int // of a body, that is written next; 0 for the least
	aborted bool
}

func (x *exchange) ctx() context.Context { return x.context }

// serve routes the request. An error is still to be answered.
func (x *exchange) serve() error {
	dropPrivate(x.r.Header)
	if err := checkRequest(x.r); err != nil {
		return err
	}
	if x.Loop != "" && namesLoop(x.r.Header.Values("CDN-Loop"), x.Loop) {
		return &apiError{status: http.StatusLoopDetected, code: "LoopDetected",
			message: "The request came from this cluster: its CDN or its S3 endpoint leads back to it."}
	}
	t, err := parseTarget(x.r.RequestURI)
	if err != nil {
		return err
	}
	if x.r.Method != http.MethodPut && x.r.Method != http.MethodPost {
		if err := x.dropStrayBody(); err != nil {
			return err
		}
	}
	switch {
	case t.bucket == "":
		return x.serveService()
	case t.bucket != x.Bucket:
		return x.serveOtherBucket(t)
	case t.key == "":
		return x.serveBucket(t)
	}
	return x.serveObject(t)
}

// dropPrivate removes the header fields that only nodes may send each other.
func dropPrivate(h http.Header) {
	const prefix = "micelio-"
	for name := range h {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			delete(h, name)
		}
	}
}

// checkRequest refuses what no operation accepts.
func checkRequest(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPost:
	default:
		return methodNotAllowed("GET, HEAD, PUT, DELETE, POST")
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > maxHeaderLines {
		return &apiError{status: http.StatusBadRequest, code: "RequestHeaderSectionTooLarge",
			message: fmt.Sprintf("The request has %d header fields, at most %d are allowed.", lines, maxHeaderLines)}
	}
	return nil
}

// dropStrayBody reads away the body of a request that has no use for one.
func (x *exchange) dropStrayBody() error {
	if x.in.done {
		return nil
	}
	if n, err := io.CopyN(io.Discard, &x.in, maxStrayBody); err != io.EOF {
		if err == nil {
			return invalidRequest(fmt.Sprintf("This request takes no body, and more than %d bytes came.", n-1))
		}
		return bodyError(err)
	}
	return nil
}

// serveObject serves the requests for one object.
func (x *exchange) serveObject(t target) error {
	x.key = t.key
	for _, name := range objectSubresources {
		if t.query.Has(name) {
			return notImplemented("The subresource " + name + " of objects is not implemented.")
		}
	}
	if v := t.query.Get("versionId"); v != "" && v != "null" {
		return errNoSuchVersion
	}
	switch x.r.Method {
	case http.MethodGet:
		x.op = OpGet
		return x.getObject(t)
	case http.MethodHead:
		x.op = OpHead
		return x.headObject(t)
	case http.MethodPut:
		x.op = OpPut
		return x.putObject(t.key)
	case http.MethodDelete:
		x.op = OpDelete
		return x.deleteObject(t.key)
	}
	return methodNotAllowed("GET, HEAD, PUT, DELETE")
}

var errNoSuchVersion = &apiError{status: http.StatusNotFound, code: "NoSuchVersion",
	message: "Versioning is off: the only version of an object is null."}

// objectSubresources are the query parameters that make a request on an
// object mean something else than the object. They must never be ignored: a
// PUT of an ACL or of a part is not a PUT of the object.
var objectSubresources = []string{
	"acl", "append", "attributes", "encryption", "legal-hold", "partNumber", "renameObject", "restore",
	"retention", "select", "tagging", "torrent", "uploadId", "uploads",
}

// finish ends the exchange, also when it panics.
func (x *exchange) finish() {
	x.in.stop()
	if x.Observe == nil {
		return
	}
	x.Observe(Observation{
		Op: x.op, Key: x.key, Status: x.status, Tier: x.tier, Node: x.node, Duration: time.Since(x.start),
		BytesIn: x.in.read(), BytesOut: x.out, Aborted: x.aborted, Err: x.err,
		ID: x.id, Trace: x.trail.Trace(), ClientID: trail.ClientID(x.r.Header["X-Request-Id"]...), Remote: x.r.RemoteAddr,
	})
}
