package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/internal/bulk"
	"github.com/micelio/micelio/object"
)

// StuckTimeout is how long the handler lets a client neither send nor take a
// byte of a body before it breaks the connection, so that a stuck peer cannot
// hold memory. It is longer than InactivityTimeout: the client knows more about
// why there is no progress and gives up first. On the other hand, a client
// whose own source or reader stands still for so long loses its connection.
const StuckTimeout = time.Minute

// A HandlerConfig says who answers.
type HandlerConfig struct {
	Node    string // id of this node, reported as Info.Node where the Store left that empty
	Cluster string // name of the cluster; requests that name another are refused

	// Secrets are what the nodes of the cluster share. A request must be proven
	// with one of them. Empty: whoever reaches the handler is let in.
	Secrets [][]byte

	// Epoch, if not nil, names the view of the ring that the node has now. It is
	// on every answer. OtherEpoch, if not nil, is told of requests from nodes
	// that have another; it must be quick.
	Epoch      func() uint64
	OtherEpoch func(node string, epoch uint64)

	// Refused, if not nil, is told of each request that was not let in, with
	// the code of the answer, of which there are few.
	Refused func(code string)

	// Cached answers cached reads. nil: nothing is cached.
	Cached CachedReader

	// Copies says what the node has of a key in its own tiers. nil: nothing.
	Copies func(key object.Key) []Copy

	// Quick answers quick reads, see [Client.Quick], on connections that are
	// its own from then on. nil: nobody does.
	Quick *QuickServer

	// Previous returns the ids of nodes that may have what is not cached here,
	// for whoever asks to ask them. nil: none.
	Previous func(key object.Key) []string

	// Handover is told of objects that another node had, which goes, and that
	// this one is to have now. It returns when it has fetched those it wants, or
	// ctx has ended, and reports whether more are welcome. nil: it wants none.
	Handover func(ctx context.Context, keys []object.Key) bool

	// Observe, if not nil, is called once at the end of each request about an object
	// and each page of a listing, from the goroutine that served it.
	Observe func(Observation)

	Log *slog.Logger // nil to log nothing
}

// NewHandler returns the handler of a node's peer listener. It answers from
// store, and from nowhere else: a request that reached it was forwarded once
// already.
//
// It reads the request line as it came and must not sit behind a ServeMux or
// anything else that rewrites paths. The server in front of it needs
// MaxHeaderBytes, an IdleTimeout above IdleTimeout and a ReadHeaderTimeout, and
// neither ReadTimeout nor WriteTimeout: bodies have deadlines that move with
// their progress.
func NewHandler(store object.Store, cfg HandlerConfig) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &handler{
		store:   store,
		cfg:     cfg,
		cluster: []string{string(appendEscaped(nil, cfg.Cluster))},
		guard:   newGuard(cfg.Secrets, cfg.Cluster),
		epoch:   epochMark{of: cfg.Epoch},
		refused: refusalLog{log: cfg.Log, kind: make(map[string]*refusals)},
	}
}

type handler struct {
	store   object.Store
	cfg     HandlerConfig
	cluster []string // as it travels, on every answer; never changed
	guard   *guard
	epoch   epochMark
	refused refusalLog
	buffers bulk.Lender
}

// An exchange is one request that was let in, with its answer.
type exchange struct {
	*handler
	w       http.ResponseWriter
	r       *http.Request
	conn    *http.ResponseController
	options string
	proven  *proven         // nil without secrets, and for a stranger
	ctx     context.Context // the request's, with the trail that it came with
	seen    Observation
	read    atomic.Int64 // bytes of the request's body; a Store may read on in a goroutine of its own
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{handler: h, w: w, r: r, conn: http.NewResponseController(w)}
	header := w.Header()
	header[headerCluster] = h.cluster
	header["Content-Type"] = contentType
	if o, err := x.admit(); err != nil {
		x.turnAway(o, err)
		return
	}
	x.options = r.Header.Get(headerOptions)
	if r.RequestURI == aliveTarget {
		x.respond(http.StatusNoContent)
		return
	}
	if r.RequestURI == quickTarget {
		x.quick()
		return
	}
	if r.RequestURI == handoverTarget {
		x.handover()
		return
	}
	if escaped, ok := strings.CutPrefix(r.RequestURI, copiesTarget); ok {
		x.copies(escaped)
		return
	}
	x.ctx = withTrail(r.Context(), r.Header)
	defer x.observe(time.Now())
	if r.RequestURI == listTarget {
		x.seen.Op = "list"
		x.list()
		return
	}
	escaped, ok := strings.CutPrefix(r.RequestURI, objectTarget)
	if !ok {
		x.refuse(badRequest, fmt.Errorf("no such target %.64q", r.RequestURI))
		return
	}
	key, err := parseKey(escaped)
	if err != nil {
		x.fail(err)
		return
	}
	x.serveObject(key)
}

// contentType is that of every answer: without one net/http looks into bodies
// to guess it. The object's own travels in its Info.
var contentType = []string{"application/octet-stream"}

// admit checks that r comes, at its first hop, from a node of this cluster.
func (x *exchange) admit() (outcome, error) {
	h, r := x.handler, x.r
	hop, cluster, from := r.Header[headerHop], r.Header[headerCluster], r.Header[headerFrom]
	switch {
	case len(hop) != 1 || len(cluster) != 1 || len(from) != 1:
		return unmarked, fmt.Errorf("%s, %s and %s must be there once each", headerHop, headerCluster, headerFrom)
	case cluster[0] != h.cluster[0]:
		return wrongCluster, fmt.Errorf("node %.64q of cluster %.64q asked one of %.64q", from[0], cluster[0], h.cluster[0])
	}
	var o outcome
	var err error
	if x.proven, o, err = h.guard.admit(r); err != nil {
		return o, err
	}
	h.epoch.set(x.w.Header())
	switch {
	case hop[0] != forwardedOnce:
		return hopLimit, fmt.Errorf("node %.64q sent a request of hop %.8q", from[0], hop[0])
	case len(r.Header[headerOptions]) > 1:
		return badRequest, fmt.Errorf("%s: %w", headerOptions, errNoHeader)
	}
	if epoch, differs := h.epoch.other(r.Header); differs && h.cfg.OtherEpoch != nil {
		h.cfg.OtherEpoch(from[0], epoch)
	}
	return outcome{}, nil
}

// turnAway answers a request that is not let in. A node that has just been
// started is asked to prove itself to it, and that is nobody's fault.
func (x *exchange) turnAway(o outcome, err error) {
	if o == challenged || o == replayed {
		x.guard.invite(x.w.Header())
	}
	if o != challenged {
		x.refused.refused(x.r.RemoteAddr, o, err)
		if x.cfg.Refused != nil {
			x.cfg.Refused(o.code)
		}
	}
	x.refuse(o, err)
}

// prove proves an answer, which has all its headers, to a request that was
// proven.
func (x *exchange) prove(status int) {
	if x.proven != nil {
		header := x.w.Header()
		header[headerProof] = []string{x.proven.key.ofAnswer(x.proven.sum, status, header).String()}
	}
}

// parseKey decodes the rest of a request target, once, into the key it names.
func parseKey(escaped string) (object.Key, error) {
	s, err := unescape(escaped)
	if err != nil || strings.ContainsAny(escaped, "?#") {
		return "", fmt.Errorf("%w: malformed target", object.ErrInvalidKey)
	}
	return object.ParseKey(s)
}

func (x *exchange) serveObject(key object.Key) {
	x.seen.Key = key
	switch x.r.Method {
	case http.MethodGet:
		x.seen.Op = "get"
		x.get(key)
	case http.MethodHead:
		x.seen.Op = "head"
		x.head(key)
	case http.MethodPut:
		x.seen.Op = "put"
		x.put(key)
	case http.MethodDelete:
		x.seen.Op = "delete"
		x.delete(key)
	default:
		x.refuse(badRequest, fmt.Errorf("no such method %.16q", x.r.Method))
	}
}

// fail answers with an error of the Store.
func (x *exchange) fail(err error) {
	var nm *object.NotModifiedError
	if errors.As(err, &nm) {
		x.describe(nm.Info)
	}
	x.refuse(outcomeOf(err), err)
}

// malformed answers a request whose options do not parse.
func (x *exchange) malformed(err error) {
	x.refuse(badRequest, fmt.Errorf("%s: %w", headerOptions, err))
}

func (x *exchange) refuse(o outcome, err error) {
	if o.status != http.StatusNotModified { // which is an answer
		x.seen.Err = err
	}
	message := cutMessage(err.Error())
	header := x.w.Header()
	header[headerError] = []string{o.code}
	if later := (*object.RetryLaterError)(nil); o.err == object.ErrUnavailable && errors.As(err, &later) {
		header[headerRetryAfter] = []string{strconv.FormatInt(later.After.Milliseconds(), 10)}
	}
	if o.status == http.StatusNotModified {
		message = "" // a 304 has no body
	} else {
		header["Content-Length"] = []string{strconv.Itoa(len(message))}
	}
	x.respond(o.status)
	if message != "" && x.r.Method != http.MethodHead {
		// A client that is gone needs no answer.
		_, _ = x.w.Write([]byte(message))
	}
}

// describe sets the header that describes an object.
func (x *exchange) describe(info object.Info) {
	if info.Node == "" {
		info.Node = x.cfg.Node
	}
	x.seen.Tier, x.seen.Node = info.Tier, info.Node
	x.w.Header()[headerInfo] = []string{string(encodeInfo(info))}
}

func cutMessage(s string) string { return s[:min(len(s), maxMessage)] }
