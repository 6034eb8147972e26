package peer

import (
	"context"
	"net/http"
	"time"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

// maxRequestID is the longest id of a request that is taken over, in bytes: what a
// gateway makes has 16.
const maxRequestID = 64

// An Observation describes one request of another node that has been answered.
type Observation struct {
	// Op is "get", "head", "put", "delete", "list", or, for what is asked of the
	// tiers alone, "get-cached" or "head-cached"; "" if the request was malformed.
	Op       string
	Key      object.Key  // "" for a listing
	Status   int         // the status sent, 0 if the request ended without one
	Tier     object.Tier // that answered a read, "" otherwise
	Node     string      // that answered, "" if no object was described
	Duration time.Duration
	BytesIn  int64 // of bodies
	BytesOut int64
	Aborted  bool  // the answer broke off, or the page ended early, for a reason of this node's
	Left     bool  // whoever asked wanted no answer any more when it ended, so that it can have failed for that
	Err      error // why it failed, nil if it did not

	Trail  trail.Trail // that it came with, zero if it came with none
	From   string      // the node that asked
	Remote string      // and its address
}

// observe ends a request that was let in.
func (x *exchange) observe(began time.Time) {
	if x.cfg.Observe == nil {
		return
	}
	o := &x.seen
	o.Duration, o.BytesIn = time.Since(began), x.read.Load()
	o.Left = x.r.Context().Err() != nil
	if o.Op == "put" {
		o.Tier = "" // it describes what is stored
	}
	o.Trail, _ = trail.From(x.ctx)
	o.From, o.Remote = x.r.Header.Get(headerFrom), x.r.RemoteAddr
	x.cfg.Observe(*o)
}

// setTrail puts the trail of ctx into the header of a request, if it has one. The
// names are the cluster's own, so that the proof covers them: nobody on the way can
// put one request's lines into another's trace. An older node's handler passes over
// them.
func setTrail(header http.Header, ctx context.Context) {
	t, ok := trail.From(ctx)
	if !ok {
		return
	}
	header[headerParent] = []string{t.Parent()}
	if state := t.State(); state != "" {
		header[headerState] = []string{state}
	}
	if isRequestID(t.Request) {
		header[headerRequest] = []string{t.Request}
	}
}

// withTrail returns ctx with the trail that a request came with, if it came with one.
// Of a malformed trace another is begun, and a malformed id is none: the request is
// answered like any other.
func withTrail(ctx context.Context, header http.Header) context.Context {
	parent := header[headerParent]
	if len(parent) == 0 {
		return ctx
	}
	id := ""
	if ids := header[headerRequest]; len(ids) == 1 && isRequestID(ids[0]) {
		id = ids[0]
	}
	return trail.With(ctx, trail.Continue(id, parent, header[headerState]))
}

// isRequestID reports whether s is fit for a header and for a log.
func isRequestID(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= maxRequestID
}
